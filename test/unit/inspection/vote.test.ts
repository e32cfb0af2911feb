import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Judgement } from '../../../main/contract/domain.ts';
import { unsure } from '../../../main/inspection/decide.ts';
import { vote } from '../../../main/inspection/vote.ts';

const SEVERITY = { ok: 0, unsure: 1, ng: 2 } as const;
const judgement = (verdict: Judgement['verdict'], confidence: number): Judgement => ({
  ...unsure('no-model', { modelId: 'm', latencyMs: 1 }),
  verdict,
  unsureReason: verdict === 'unsure' ? 'low-margin' : null,
  confidence,
});
const anyJudgement = fc
  .tuple(fc.constantFrom('ok' as const, 'ng' as const, 'unsure' as const), fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([verdict, confidence]) => judgement(verdict, confidence));
const anyPart = fc.array(anyJudgement, { minLength: 1, maxLength: 8 });
const rules = ['worst-of', 'majority'] as const;
const of = (...verdicts: Judgement['verdict'][]) => verdicts.map((verdict, i) => judgement(verdict, 0.5 + i / 100));

test('worst-of: one ng frame is enough, ok takes all of them', () => {
  fc.assert(
    fc.property(anyPart, (frames) => {
      const worst = Math.max(...frames.map(({ verdict }) => SEVERITY[verdict]));
      return SEVERITY[vote(frames, 'worst-of').verdict] === worst;
    }),
  );
});

test('majority: ok takes more than half, half are enough for ng', () => {
  expect(vote(of('ok', 'ok', 'ng'), 'majority').verdict).toBe('ok');
  expect(vote(of('ok', 'ng'), 'majority').verdict).toBe('ng');
  expect(vote(of('ok', 'unsure'), 'majority').verdict).toBe('unsure');
  expect(vote(of('unsure', 'ng'), 'majority').verdict).toBe('ng');
  expect(vote(of('ok', 'unsure', 'ng'), 'majority').verdict).toBe('unsure');
  expect(vote(of('ok', 'ok', 'ng', 'unsure'), 'majority').verdict).toBe('unsure');
  fc.assert(
    fc.property(anyPart, (frames) => {
      const count = (verdict: Judgement['verdict']) => frames.filter((frame) => frame.verdict === verdict).length;
      const { verdict } = vote(frames, 'majority');
      if (verdict === 'ok') return count('ok') > frames.length / 2;
      return verdict === 'ng' ? count('ng') >= frames.length / 2 : count('ok') <= frames.length / 2;
    }),
  );
});

test.each(rules)('%s: neither the order of the frames counts, nor does a worse frame make a part better', (rule) => {
  fc.assert(
    fc.property(anyPart, fc.nat(7), fc.constantFrom('unsure' as const, 'ng' as const), (frames, at, worse) => {
      const before = vote(frames, rule);
      expect(vote([...frames].reverse(), rule).verdict).toBe(before.verdict);
      const place = at % frames.length;
      if (SEVERITY[worse] <= SEVERITY[frames[place]!.verdict]) return;
      const after = vote(frames.with(place, judgement(worse, 0.9)), rule);
      expect(SEVERITY[after.verdict]).toBeGreaterThanOrEqual(SEVERITY[before.verdict]);
    }),
  );
});

test.each(rules)(
  '%s: the frame that decides says what the part is, and is the surest ng or the least sure ok',
  (rule) => {
    fc.assert(
      fc.property(anyPart, (frames) => {
        const { verdict, deciding } = vote(frames, rule);
        const alike = frames.filter((frame) => frame.verdict === verdict).map(({ confidence }) => confidence);
        const { confidence } = frames[deciding]!;
        expect(frames[deciding]!.verdict).toBe(verdict);
        expect(confidence).toBe(verdict === 'ng' ? Math.max(...alike) : Math.min(...alike));
      }),
    );
  },
);
