import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { drawGolden, goldenShare } from '../../../main/learning/golden-share.ts';

const shaOf = (name: string) => createHash('sha256').update(name).digest('hex');
/** Looks of different pictures differ in about half their bits. */
const lookOf = (name: string) => shaOf(`look ${name}`).slice(0, 16);
const pictureOf = (name: string, classId = 'a') => ({ sha: shaOf(name), look: lookOf(name), classId });
const many = (prefix: string, count: number, classId = 'a') =>
  Array.from({ length: count }, (_, i) => pictureOf(`${prefix}${i}`, classId));

describe('how many newly labelled parts judge', () => {
  it('is 30 %, at least five in the set, never more than half, and nothing of a class of fewer than ten', () => {
    const share = (fresh: number, learnt = 0, golden = 0) => goldenShare({ fresh, learnt, golden });
    expect([0, 1, 9].map((fresh) => share(fresh))).toEqual([0, 0, 0]);
    expect([10, 12, 20, 100].map((fresh) => share(fresh))).toEqual([5, 5, 6, 30]);
    // A class that is known gives some of each few, until there are five.
    expect([1, 4, 8].map((fresh) => share(fresh, 100))).toEqual([0, 2, 4]);
    expect([1, 4, 8].map((fresh) => share(fresh, 100, 5))).toEqual([0, 1, 2]);
    expect(share(4, 5)).toBe(0);
    // Whatever the numbers: half of the new ones is learnt, and at least five parts of the class are.
    for (let fresh = 0; fresh <= 40; fresh += 1) {
      for (let learnt = 0; learnt <= 20; learnt += 1) {
        const gone = share(fresh, learnt);
        expect(gone).toBeLessThanOrEqual(fresh / 2);
        if (gone > 0) expect(fresh + learnt - gone).toBeGreaterThanOrEqual(5);
      }
    }
  });
});

describe('which of them judge', () => {
  const none = { taught: [], golden: [] };

  it('is told by their content, in any order, class by class', () => {
    const fresh = [...many('x', 20), ...many('y', 12, 'b')];
    const most = new Map([
      ['a', 6],
      ['b', 5],
    ]);
    const drawn = drawGolden({ ...none, fresh, most });
    expect(drawn).toHaveLength(11);
    expect(drawGolden({ ...none, fresh: fresh.toReversed(), most })).toEqual(drawn);
    const classOf = new Map(fresh.map(({ sha, classId }) => [sha, classId]));
    expect(drawn.filter((sha) => classOf.get(sha) === 'b')).toHaveLength(5);
    expect(drawGolden({ ...none, fresh, most: new Map() })).toEqual([]);
  });

  it('is a group of look-alikes as a whole, or none of it', () => {
    const others = many('x', 40);
    const copies = ['p', 'q', 'r'].map((name) => ({ ...pictureOf(name), look: lookOf('one shot') }));
    for (let most = 0; most <= 43; most += 1) {
      const drawn = new Set(drawGolden({ ...none, fresh: [...others, ...copies], most: new Map([['a', most]]) }));
      expect([0, 3]).toContain(copies.filter(({ sha }) => drawn.has(sha)).length);
      expect(drawn.size).toBeLessThanOrEqual(most);
    }
  });

  it('is nothing that looks like what teaches, or has two labels; what looks like a golden picture comes first', () => {
    const fresh = many('x', 30);
    const near = (like: string, name: string, classId = 'a') => ({ ...pictureOf(name, classId), look: lookOf(like) });
    const all = new Map([
      ['a', 40],
      ['b', 40],
    ]);
    const drawn = new Set(
      drawGolden({
        fresh: [...fresh, near('y0', 'doubted', 'b')],
        taught: [near('x0', 'learnt')],
        golden: [near('y0', 'judge')],
        most: all,
      }),
    );
    expect([drawn.has(fresh[0]!.sha), drawn.has(shaOf('doubted')), drawn.size]).toEqual([false, false, 29]);
    const first = drawGolden({
      fresh: [...fresh, near('y0', 'like a judge')],
      taught: [],
      golden: [near('y0', 'judge')],
      most: new Map([['a', 1]]),
    });
    expect(first).toEqual([shaOf('like a judge')]);
  });
});
