import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { criteriaSchema } from '../../../main/contract/domain.ts';
import {
  dropGate,
  escapeGate,
  latencyGate,
  noveltyGate,
  overkillGate,
  parityGate,
  recallGate,
  worseDifference,
} from '../../../main/compression/evidence/gates.ts';
import { crowdedClasses } from '../../../main/compression/part-verdicts.ts';
import { clopperPearsonBounds } from '../../../main/learning/exact-statistics.ts';
import { sampleOf } from '../../../main/learning/selection.ts';

const criteria = criteriaSchema.parse({});

describe('gates', () => {
  it('parity: what is no number fails, whatever comes after it', () => {
    for (const broken of [Number.NaN, Infinity]) {
      const maxLogitDifference = [1e-6, broken, 1e-5].reduce(worseDifference, 0);
      expect(parityGate({ images: 3, equal: 3, maxLogitDifference }).outcome).toBe('fail');
      expect(JSON.parse(JSON.stringify(maxLogitDifference))).toBe(maxLogitDifference);
    }
    expect([1e-6, 2e-6, 1e-7].reduce(worseDifference, 0)).toBe(2e-6);
  });

  it('a share passes, fails, or says how many more images it needs', () => {
    expect(escapeGate({ ng: 100, escaped: 0 }, criteria).outcome).toBe('pass');
    expect(escapeGate({ ng: 100, escaped: 20 }, criteria).outcome).toBe('fail');
    const open = escapeGate({ ng: 20, escaped: 0 }, criteria);
    expect(open.outcome).toBe('not-enough-evidence');
    expect(open.missing).toBe(39);
    expect(clopperPearsonBounds(0, 20 + open.missing).upper).toBeLessThanOrEqual(0.05);
    expect(clopperPearsonBounds(0, 19 + open.missing).upper).toBeGreaterThan(0.05);
  });

  it('a share promises no images that would take the place of others', () => {
    const ledger = [...Array.from({ length: 1300 }, () => 'ok'), ...Array.from({ length: 20 }, () => 'pit')].map(
      (classId, i) => ({ classId, sha: createHash('sha256').update(`${i}`).digest('hex') }),
    );
    expect([...crowdedClasses(sampleOf(ledger).rows, ledger)]).toEqual(['ok']);
    const counts = { ok: 1180, overkilled: 110 };
    expect(overkillGate(counts, criteria).missing).toBeGreaterThan(0);
    expect(overkillGate(counts, criteria, false)).toMatchObject({ outcome: 'not-enough-evidence', missing: 0 });
  });

  it('sense for new defects: shown, broken, or told how many more images it needs', () => {
    const worst = { classId: 'pit', loss: 0.1 };
    expect(noveltyGate({ loss: 0.01, lower: 0, upper: 0.02, worst }, 300, 2000)).toMatchObject({
      outcome: 'pass',
      missing: 0,
    });
    expect(noveltyGate({ loss: 0.05, lower: 0.01, upper: 0.09, worst }, 300, 2000).outcome).toBe('fail');
    // More than allowed, but perhaps by chance: more images of the same would not make it pass.
    expect(noveltyGate({ loss: 0.05, lower: -0.01, upper: 0.11, worst }, 300, 2000)).toMatchObject({
      outcome: 'not-enough-evidence',
      missing: 0,
    });
    // Half the distance takes four times the images.
    expect(noveltyGate({ loss: 0, lower: -0.06, upper: 0.06, worst }, 300, 2000)).toMatchObject({
      outcome: 'not-enough-evidence',
      missing: 900,
    });
    // Never more than so many are looked at: that number is no promise.
    expect(noveltyGate({ loss: 0, lower: -0.06, upper: 0.06, worst }, 300, 1199)).toMatchObject({
      outcome: 'not-enough-evidence',
      missing: 0,
    });
  });

  it('no image is never a pass', () => {
    expect(escapeGate({ ng: 0, escaped: 0 }, criteria)).toMatchObject({ outcome: 'not-enough-evidence', missing: 59 });
    expect(overkillGate({ ok: 0, overkilled: 0 }, criteria).outcome).toBe('not-enough-evidence');
    expect(recallGate([]).outcome).toBe('not-enough-evidence');
    expect(dropGate([], criteria).outcome).toBe('not-enough-evidence');
    expect(parityGate({ images: 0, equal: 0, maxLogitDifference: 0 }).outcome).toBe('not-enough-evidence');
  });

  it('a drop is judged on pairs', () => {
    const even = (n: number, lost: number, won: number) => Array.from({ length: 6 }, () => ({ n, lost, won }));
    expect(dropGate(even(210, 0, 0), criteria).outcome).toBe('pass');
    expect(dropGate(even(210, 20, 2), criteria).outcome).toBe('fail');
    const open = dropGate(even(30, 0, 0), criteria);
    expect(open.outcome).toBe('not-enough-evidence');
    expect(dropGate(even(30 + open.missing / 6, 0, 0), criteria).outcome).toBe('pass');
  });

  it('a drop is judged on what a network was not fitted to as well, and the worse is told', () => {
    const even = (n: number, lost: number, won: number) => Array.from({ length: 6 }, () => ({ n, lost, won }));
    const good = even(210, 0, 0);
    const [drop, few] = [dropGate(good, criteria), dropGate(even(42, 0, 0), criteria)];
    expect(dropGate(good, criteria, good)).toEqual(drop);
    const open = dropGate(good, criteria, even(42, 0, 0));
    expect(open).toMatchObject({ outcome: 'not-enough-evidence', bound: few.bound });
    // Of what is labelled next a fifth is kept from the network.
    expect(open.missing).toBe(5 * few.missing);
    expect(dropGate(good, criteria, even(42, 12, 0))).toMatchObject({
      outcome: 'fail',
      measured: '28.6 pp',
      missing: 0,
    });
    // What is lost even on what it was fitted to is lost.
    expect(dropGate(even(210, 20, 2), criteria, even(42, 0, 0))).toEqual(dropGate(even(210, 20, 2), criteria));
    expect(dropGate(good, criteria, [])).toMatchObject({ outcome: 'not-enough-evidence', missing: 0 });
  });

  it('one lost class fails the recall gate and is named', () => {
    const good = { classId: 'good', pairs: { n: 400, lost: 0, won: 0 } };
    expect(recallGate([good]).outcome).toBe('pass');
    const gate = recallGate([good, { classId: 'scratch', pairs: { n: 40, lost: 12, won: 0 } }]);
    expect(gate.outcome).toBe('fail');
    expect(gate.measured).toContain('scratch');
    expect(recallGate([good, { classId: 'scratch', pairs: { n: 10, lost: 0, won: 0 } }]).outcome).toBe(
      'not-enough-evidence',
    );
  });

  it('latency needs enough runs for a tail, not for being plainly too slow', () => {
    const runs = (n: number, ms: number) => Array.from({ length: n }, () => ms);
    expect(latencyGate(runs(300, 10), criteria).outcome).toBe('pass');
    expect(latencyGate(runs(100, 10), criteria)).toMatchObject({ outcome: 'not-enough-evidence', missing: 199 });
    expect(latencyGate(runs(10, 80), criteria).outcome).toBe('fail');
  });

  it('parity is all or nothing', () => {
    expect(parityGate({ images: 9, equal: 9, maxLogitDifference: 1e-4 }).outcome).toBe('pass');
    expect(parityGate({ images: 9, equal: 8, maxLogitDifference: 1e-4 }).outcome).toBe('fail');
    expect(parityGate({ images: 9, equal: 9, maxLogitDifference: 1 }).outcome).toBe('fail');
  });
});
