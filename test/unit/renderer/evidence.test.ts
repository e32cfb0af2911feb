import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeOffer } from '../../../main/compression/plan/offers.ts';
import { basisOfSums } from '../../../main/compression/sums-of-others.ts';
import { evidenceIn, sentences } from '../../../renderer/lib/i18n/evidence.ts';

/** Units and names that are written alike in Japanese. */
const ALIKE = /\b(pp|ms|PC|NG)\b/g;
const englishIn = (text: string) => text.replaceAll(ALIKE, '').match(/[A-Za-z]{2,}/g) ?? [];

const main = fileURLToPath(new URL('../../../main/', import.meta.url));
const sources = ['compression', 'core']
  .flatMap((folder) =>
    readdirSync(join(main, folder), { recursive: true, encoding: 'utf8' }).map((f) => join(folder, f)),
  )
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readFileSync(join(main, file), 'utf8'))
  .join('\n');

describe('sentences of evidence', () => {
  it('are those that the core writes', () => {
    const gone = sentences.flatMap(([english]) =>
      english
        .replace(/\.$/, '')
        .split(/\{\w+\}/)
        .filter((piece) => piece.length > 2 && !sources.includes(piece)),
    );
    expect(gone).toEqual([]);
  });

  it('say in Japanese whatever is said of an offer, with its figures', () => {
    const number = fc.double({ min: -3, max: 8, noNaN: true });
    const blind = { loss: 0.2, lower: 0.1, upper: 0.3, worst: { classId: 'c-pit', loss: 0.3 } };
    const facts = fc.record({
      speedup: fc.double({ min: 0.2, max: 20, noNaN: true }),
      speedupInterval: fc.constantFrom(null, [0.93, 1.31] as const, [1.4, 1.9] as const),
      lost: fc.record({ accuracyPp: number, accuracyUpperPp: number, certaintyPp: number, expectedPp: number }),
      latencyMs: fc.double({ min: 0.1, max: 40, noNaN: true }),
      bytes: fc.constantFrom(900, 1200),
      referenceBytes: fc.constant(1000),
      newDefects: fc.constantFrom(null, { ...blind, loss: 0, lower: 0 }, blind),
    });
    const limits = fc.record({
      maxDropPp: fc.constantFrom(0.3, 1, 2),
      latencyMs: fc.constantFrom(null, 8),
    });
    fc.assert(
      fc.property(facts, limits, (of, within) => {
        const { reason } = judgeOffer(of, within);
        const japanese = evidenceIn('ja', reason);
        expect(englishIn(japanese), reason).toEqual([]);
        const figures = reason.match(/\d+(\.\d+)?/g)!;
        for (const figure of figures) expect(japanese).toContain(figure);
        expect(evidenceIn('en', reason)).toBe(reason);
      }),
      { numRuns: 500 },
    );
  });

  it('are found one within the other, and left alone when nobody knows them', () => {
    const basis =
      '5-fold cross-validation over 612 labelled parts; verdicts without the novelty check' +
      '; the network was not fitted to 123 of them: the drop is the worse of all and of those' +
      '; against the active model: both as they inspect, both may have learnt from these parts';
    expect(englishIn(evidenceIn('ja', basis))).toEqual([]);
    expect(evidenceIn('ja', basis)).toMatch(/612.*123/);
    for (const r2 of [null, 0.31, 0.92]) {
      const map = r2 === null ? null : { images: 48, r2, heldOut: 'classes' as const, poor: r2 < 0.5 };
      const classes = [{ classId: '割れ', parts: 24, here: 0 }];
      const sums = basisOfSums({ classes, files: ['0'.repeat(64)], unlisted: 1, map }, (id) => id);
      const japanese = evidenceIn('ja', basis + sums);
      expect(englishIn(japanese), sums).toEqual([]);
      expect(japanese).toContain('含まれている可能性');
      expect(japanese).toMatch(/612.*割れ \(24\).*未測定: 割れ$/);
      if (r2 !== null) expect(japanese).toContain(`R² ${r2}`);
      expect(japanese.includes('不確か')).toBe(r2 === 0.31);
    }
    expect(evidenceIn('ja', 'imported from Press 7 (left)')).toBe('Press 7 (left) から取り込み');
    for (const text of ['Something that no core has said yet.', '', 'equally accurate, or so'])
      expect(evidenceIn('ja', text)).toBe(text);
  });
});
