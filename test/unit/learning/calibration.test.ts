import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../main/capture/simulated/random.ts';
import {
  calibrationError,
  chooseThresholds,
  fitTemperature,
  probabilities,
  type HeldOut,
} from '../../../main/learning/calibration.ts';
import { upperBound } from '../../../main/learning/exact-statistics.ts';

const OK = new Set(['ok']);

/** Rows whose true class is drawn from softmax(logits / temperature): calibrated at that temperature and at no other. */
function calibrated(count: number, temperature: number, seed: number, spread = 2): HeldOut {
  const random = createRandom(seed);
  const classIds = ['a', 'b', 'ok'];
  const logits = new Float64Array(3 * count);
  const truth = Array.from({ length: count }, (_, i) => {
    for (let c = 0; c < 3; c += 1) logits[3 * i + c] = spread * temperature * random.normal();
    const p = probabilities(logits, 3 * i, 3, temperature);
    let left = random.next();
    return classIds[p.findIndex((x) => (left -= x) < 0)] ?? 'ok';
  });
  return { classIds, logits, truth };
}

describe('temperature', () => {
  it('finds the one that made the parts, and the error is least there', () => {
    for (const temperature of [0.05, 0.15, 0.5]) {
      const heldOut = calibrated(4000, temperature, 3);
      expect(fitTemperature(heldOut) / temperature).toBeGreaterThan(0.85);
      expect(fitTemperature(heldOut) / temperature).toBeLessThan(1.18);
      const right = calibrationError(heldOut, temperature)!;
      expect(right).toBeLessThan(0.03);
      for (const factor of [0.5, 2])
        expect(calibrationError(heldOut, factor * temperature)!).toBeGreaterThan(3 * right);
    }
    expect(calibrationError({ classIds: ['a'], logits: new Float64Array(0), truth: [] }, 1)).toBeNull();
  });

  it('changes no decision', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 2, maxLength: 6 }), (logits) => {
        const best = (t: number) => {
          const p = probabilities(logits, 0, logits.length, t);
          return p.indexOf(Math.max(...p));
        };
        return [0.05, 0.3].every((t) => logits[best(t)]! >= Math.max(...logits) - 1e-9);
      }),
    );
  });
});

describe('thresholds', () => {
  const rows = fc.record({
    count: fc.integer({ min: 0, max: 600 }),
    seed: fc.nat(10_000),
    spread: fc.double({ min: 0.5, max: 8, noNaN: true }),
    maxEscape: fc.constantFrom(0, 0.01, 0.05, 0.2, 1),
    maxOverkill: fc.constantFrom(0, 0.02, 0.1, 0.5, 1),
  });
  const wrongAt = ({ classIds, logits, truth }: HeldOut, least: number, ok: boolean) =>
    truth.filter((id, i) => {
      const p = probabilities(logits, 3 * i, 3, 0.2);
      const best = p.indexOf(Math.max(...p));
      return OK.has(classIds[best]!) === ok && OK.has(id) !== ok && p[best]! >= least;
    }).length;

  it('count parts by the worst-of rule where rows are tiles: more tiles of a good part are more chances to call it ng', () => {
    const tiles = 20;
    const heldOut = calibrated(tiles * 300, 0.2, 11, 3);
    // All tiles of a part have its class, as those of a good part do.
    const parts = heldOut.truth.map((id, i) => `${id} ${i % 300}`);
    const criteria = { maxEscape: 0.2, maxOverkill: 0.1 };
    const [apart, together] = [heldOut, { ...heldOut, parts }].map((of) => chooseThresholds(of, 0.2, OK, criteria));
    expect(together!.ng).toBeGreaterThan(apart!.ng);
    const worst = new Map<string, number>();
    heldOut.truth.forEach((id, i) => {
      const p = probabilities(heldOut.logits, 3 * i, 3, 0.2);
      const best = p.indexOf(Math.max(...p));
      if (OK.has(id))
        worst.set(parts[i]!, Math.max(worst.get(parts[i]!) ?? 0, OK.has(heldOut.classIds[best]!) ? 0 : p[best]!));
    });
    const wrong = [...worst.values()].filter((confidence) => confidence >= together!.ng).length;
    expect(together!.overkill).toMatchObject({ parts: worst.size, wrong });
  });

  it('keep the bound where they say so, and ask for no more than that', () => {
    fc.assert(
      fc.property(rows, ({ count, seed, spread, ...criteria }) => {
        const heldOut = calibrated(count, 0.2, seed, spread);
        const chosen = chooseThresholds(heldOut, 0.2, OK, criteria);
        for (const [shown, threshold, limit, ok] of [
          [chosen.escape, chosen.ok, criteria.maxEscape, true],
          [chosen.overkill, chosen.ng, criteria.maxOverkill, false],
        ] as const) {
          const parts = heldOut.truth.filter((id) => OK.has(id) !== ok).length;
          expect(threshold).toBeGreaterThanOrEqual(0.5);
          expect(threshold).toBeLessThan(1);
          expect(shown).toMatchObject({ parts, limit, wrong: wrongAt(heldOut, threshold, ok) });
          expect(shown.bound).toBe(upperBound(shown.wrong, parts));
          if (shown.outcome === 'kept') {
            expect(shown.bound).toBeLessThanOrEqual(limit);
            // A step less would let too many through, or is below what is certain.
            if (threshold > 0.5)
              expect(upperBound(wrongAt(heldOut, threshold - 0.001, ok), parts)).toBeGreaterThan(limit);
          } else if (shown.outcome === 'broken') {
            expect(upperBound(0, parts)).toBeLessThanOrEqual(limit);
            expect(shown.bound).toBeGreaterThan(limit);
          } else expect(upperBound(0, parts)).toBeGreaterThan(limit);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('a stricter limit never lowers a threshold', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.double({ min: 1, max: 5, noNaN: true }), (seed, spread) => {
        const heldOut = calibrated(500, 0.2, seed, spread);
        const ok = [0.3, 0.1, 0.05, 0.03].map(
          (maxEscape) => chooseThresholds(heldOut, 0.2, OK, { maxEscape, maxOverkill: 1 }).ok,
        );
        expect(ok).toEqual(ok.toSorted((a, b) => a - b));
      }),
      { numRuns: 30 },
    );
  });

  it('59 defects without an escape show 5 %, 58 do not: too few is neither kept nor broken', () => {
    const perfect = (defects: number): HeldOut => {
      const truth = Array.from({ length: defects + 1 }, (_, i) => (i === 0 ? 'ok' : 'a'));
      const logits = new Float64Array(3 * truth.length);
      truth.forEach((id, i) => (logits[3 * i + (id === 'ok' ? 2 : 0)] = 1));
      return { classIds: ['a', 'b', 'ok'], logits, truth };
    };
    const escapeOf = (n: number) => chooseThresholds(perfect(n), 0.2, OK, { maxEscape: 0.05, maxOverkill: 0.1 }).escape;
    expect(escapeOf(59).outcome).toBe('kept');
    expect(escapeOf(58)).toMatchObject({ outcome: 'not-enough-evidence', wrong: 0, parts: 58 });
    expect(escapeOf(58).bound).toBeGreaterThan(0.05);
  });

  it('escapes of new parts keep the limit as often as stated', () => {
    let broken = 0;
    let kept = 0;
    for (let seed = 0; seed < 60; seed += 1) {
      const chosen = chooseThresholds(calibrated(600, 0.2, 2 * seed, 3), 0.2, OK, { maxEscape: 0.05, maxOverkill: 1 });
      if (chosen.escape.outcome !== 'kept') continue;
      kept += 1;
      const fresh = calibrated(4000, 0.2, 2 * seed + 1, 3);
      const defects = fresh.truth.filter((id) => id !== 'ok').length;
      if (wrongAt(fresh, chosen.ok, true) / defects > 0.05) broken += 1;
    }
    expect(kept).toBeGreaterThan(30);
    // 5 % are allowed; 12 % leave room for 60 draws.
    expect(broken / kept).toBeLessThan(0.12);
  });
});
