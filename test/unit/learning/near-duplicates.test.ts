import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { FOLDS, foldsOf, type LedgerRow } from '../../../main/learning/folds.ts';
import { nearDuplicateGroups, type Picture } from '../../../main/learning/near-duplicates.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { perceptualHash } from '../../../main/vision/perceptual-hash.ts';
import { randomOf } from '../../numeric/learning/synthetic.ts';

const shaOf = (i: number | string) => createHash('sha256').update(String(i)).digest('hex');
/** Flips bits of a hash of 16 hexadecimal digits. */
const flip = (look: string, ...bits: number[]): string =>
  bits.reduce((hex, bit) => {
    const at = bit >> 2;
    return hex.slice(0, at) + (Number.parseInt(hex[at]!, 16) ^ (1 << (bit & 3))).toString(16) + hex.slice(at + 1);
  }, look);
const spread = (count: number): Picture[] =>
  Array.from({ length: count }, (_, i) => ({ sha: shaOf(i), look: shaOf(`look ${i}`).slice(0, 16) }));
const shuffled = <T>(items: readonly T[]): T[] => {
  const draw = randomOf(4);
  return items
    .map((item) => [draw(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
};

describe('perceptual hash', () => {
  const picture = (seed: number, gain = 1, offset = 0, dx = 0): PixelImage => {
    const data = new Uint8Array(96 * 80);
    for (let y = 0; y < 80; y += 1) {
      for (let x = 0; x < 96; x += 1) {
        const wave = Math.sin((x + dx) / (5 + seed)) + Math.cos(y / (4 + 2 * seed)) + Math.sin((x + dx + 2 * y) / 17);
        data[y * 96 + x] = Math.max(0, Math.min(255, offset + gain * (128 + 30 * wave)));
      }
    }
    return { width: 96, height: 80, channels: 1, data };
  };
  const bits = (a: string, b: string) =>
    [...a].reduce((sum, digit, i) => {
      let x = Number.parseInt(digit, 16) ^ Number.parseInt(b[i]!, 16);
      let n = 0;
      for (; x > 0; x >>= 1) n += x & 1;
      return sum + n;
    }, 0);

  it('keeps through exposure and a shift of a pixel, and differs between pictures', () => {
    const first = perceptualHash(picture(1));
    expect(first).toMatch(/^[0-9a-f]{16}$/);
    expect(bits(first, perceptualHash(picture(1, 0.8, 10)))).toBeLessThanOrEqual(4);
    expect(bits(first, perceptualHash(picture(1, 1, 0, 1)))).toBeLessThanOrEqual(6);
    expect(bits(first, perceptualHash(picture(4)))).toBeGreaterThan(6);
  });
});

describe('groups of near-duplicates', () => {
  it('join within six bits and along chains, not beyond, in any order', () => {
    const pictures = spread(100);
    const { look } = pictures[0]!;
    pictures.push({ sha: shaOf('a'), look: flip(look!, 0, 9, 18, 27, 36, 63) });
    pictures.push({ sha: shaOf('b'), look: flip(look!, 0, 9, 18, 27, 36, 63, 1, 5) });
    pictures.push({ sha: shaOf('c'), look: flip(pictures[1]!.look!, 0, 1, 2, 3, 4, 5, 6) });
    const groups = nearDuplicateGroups(pictures);
    expect(groups[100]).toBe(groups[0]);
    expect(groups[101]).toBe(groups[0]);
    expect(groups[102]).not.toBe(groups[1]);
    expect(new Set(groups).size).toBe(101);
    const mixed = shuffled(pictures);
    const again = new Map(nearDuplicateGroups(mixed).map((group, i) => [mixed[i]!.sha, group]));
    pictures.forEach(({ sha }, i) => expect(again.get(sha)).toBe(groups[i]));
  });

  it('stay small where everything looks alike, and where nothing is known', () => {
    const alike = spread(200).map((picture, i) => ({ ...picture, look: flip('f0f0f0f0f0f0f0f0', i % 64) }));
    const sizes = Map.groupBy(nearDuplicateGroups(alike), (group) => group);
    expect(Math.max(...[...sizes.values()].map((list) => list.length))).toBeLessThanOrEqual(20);
    expect(new Set(nearDuplicateGroups(spread(50).map(({ sha }) => ({ sha })))).size).toBe(50);
  });

  it('are found among 50,000', () => {
    const pictures = spread(50_000);
    for (let i = 0; i < 50_000; i += 100)
      pictures.push({ sha: shaOf(`copy ${i}`), look: flip(pictures[i]!.look!, 3, 40) });
    expect(new Set(nearDuplicateGroups(pictures)).size).toBe(50_000);
  }, 60_000);
});

describe('folds', () => {
  const rows: LedgerRow[] = spread(60).map(
    (picture, i) => ({ ...picture, classId: i < 50 ? 'ok' : 'dent' }) as LedgerRow,
  );
  // Each dent was saved twice.
  for (let i = 50; i < 60; i += 1) rows.push({ ...rows[i]!, sha: shaOf(`again ${i}`) });

  it('hold copies of one shot together and every class evenly, in whatever order the rows came', () => {
    const folds = foldsOf(rows);
    for (let i = 50; i < 60; i += 1) expect(folds[i + 10]).toBe(folds[i]);
    const perFold = (id: string) =>
      Array.from({ length: FOLDS }, (_, f) => rows.filter((row, i) => row.classId === id && folds[i] === f).length);
    expect(perFold('ok')).toEqual([10, 10, 10, 10, 10]);
    expect(perFold('dent')).toEqual([4, 4, 4, 4, 4]);
    const mixed = shuffled(rows);
    const again = new Map(foldsOf(mixed).map((fold, i) => [mixed[i]!.sha, fold]));
    rows.forEach(({ sha }, i) => expect(again.get(sha)).toBe(folds[i]));
  });

  it('hold the same groups together in another drawing, dealt out anew', () => {
    const [first, other] = [foldsOf(rows), foldsOf(rows, undefined, 1)];
    for (let i = 50; i < 60; i += 1) expect(other[i + 10]).toBe(other[i]);
    expect(rows.filter((_, i) => first[i] !== other[i]).length).toBeGreaterThan(rows.length / 2);
    expect(foldsOf(rows, undefined, 1)).toEqual(other);
    for (let fold = 0; fold < FOLDS; fold += 1) {
      expect(rows.filter((row, i) => row.classId === 'ok' && other[i] === fold)).toHaveLength(10);
    }
  });
});
