import fc from 'fast-check';
import { expect, test } from 'vitest';
import { judgementSchema, type ModelCard } from '../../../main/contract/domain.ts';
import { decide, judgeTile, unsure, type TileOutput } from '../../../main/inspection/decide.ts';

const card: Pick<ModelCard, 'classes' | 'temperature' | 'thresholds'> = {
  classes: [
    { id: 'scratch', names: { en: 'Scratch', ja: '傷' }, isOk: false },
    { id: 'ok', names: { en: 'OK', ja: '良品' }, isOk: true },
    { id: 'pit', names: { en: 'Pit', ja: 'くぼみ' }, isOk: false },
  ],
  temperature: 1,
  thresholds: { ok: 0.9, ng: 0.6, novelty: 5 },
};
const ok: TileOutput = { logits: [0, 9, 0], novelty: 1 };
const ng: TileOutput = { logits: [9, 0, 0], novelty: 1 };
const weakNg: TileOutput = { logits: [0, 0, 2], novelty: 1 };
const close: TileOutput = { logits: [1, 1.4, 0], novelty: 1 };
const novel: TileOutput = { logits: [0, 9, 0], novelty: 5.1 };
const broken: TileOutput = { logits: [0, Number.NaN, 0], novelty: 1 };
const region = (x: number) => ({ x, y: 0, width: 8, height: 8 });
const judge = (...tiles: TileOutput[]) =>
  decide(tiles, card, { regions: tiles.map((_, i) => region(i)), modelId: 'm', latencyMs: 1 });

test('one tile: confidence of the best class against the limit of its kind', () => {
  const { confidence, margin, limit, verdict } = judgeTile(ok, card);
  expect(verdict).toBe('ok');
  expect(confidence).toBeCloseTo(1 / (1 + 2 * Math.exp(-9)), 12);
  expect(margin).toBeCloseTo((1 - Math.exp(-9)) / (1 + 2 * Math.exp(-9)), 12);
  expect(limit).toBe(0.9);
  expect(judgeTile(ng, card)).toMatchObject({ verdict: 'ng', classId: 'scratch', limit: 0.6, unsureReason: null });
  expect(judgeTile(close, card)).toMatchObject({
    verdict: 'unsure',
    unsureReason: 'low-margin',
    classId: 'ok',
    secondClassId: 'scratch',
  });
  expect(judgeTile(novel, card)).toMatchObject({ verdict: 'unsure', unsureReason: 'novel' });
  // Exactly at a limit passes; a hotter temperature flattens.
  expect(judgeTile({ logits: [0, 9, 0], novelty: 5 }, card).verdict).toBe('ok');
  expect(judgeTile(ok, { ...card, temperature: 10 }).verdict).toBe('unsure');
});

test('a tie of a good and a bad class is unsure, whichever the card names first', () => {
  const [scratch, good] = card.classes;
  const lenient = { ...card, thresholds: { ok: 0.5, ng: 0.5, novelty: 5 } };
  for (const classes of [
    [good!, scratch!],
    [scratch!, good!],
  ]) {
    expect(judgeTile({ logits: [0.5, 0.5], novelty: 1 }, { ...lenient, classes })).toMatchObject({
      verdict: 'unsure',
      unsureReason: 'low-margin',
      confidence: 0.5,
      margin: 0,
    });
  }
  // Two kinds of bad are bad.
  const bad = [scratch!, card.classes[2]!];
  expect(judgeTile({ logits: [0.5, 0.5], novelty: 1 }, { ...lenient, classes: bad }).verdict).toBe('ng');
});

test('what is no number is an error, never ok', () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    expect(judgeTile({ logits: [0, 9, bad], novelty: 1 }, card).unsureReason).toBe('error');
    expect(judgeTile({ logits: [0, 9, 0], novelty: bad }, card).unsureReason).toBe('error');
  }
  expect(judge(ok, broken)).toMatchObject({ verdict: 'unsure', unsureReason: 'error', errorCode: 'INFERENCE_FAILED' });
});

test('the worst tile decides, and is named', () => {
  expect(judge(ok, close, weakNg, ng, novel)).toMatchObject({
    verdict: 'ng',
    classId: 'scratch',
    tile: { x: 3, index: 3, count: 5 },
  });
  expect(judge(broken, ng).verdict).toBe('ng');
  expect(judge(ok, close, novel)).toMatchObject({ unsureReason: 'novel', tile: { index: 2 } });
  expect(judge(ok, close)).toMatchObject({ unsureReason: 'low-margin', tile: { index: 1 } });
  expect(judge(ok, { logits: [0, 6, 0], novelty: 1 }, ok).tile).toMatchObject({ index: 1 });
  // One region is a tile of its own; a whole frame is none (inspector.test.ts).
  expect(judge(ok).tile).toMatchObject({ index: 0, count: 1 });
});

const tile = fc.record({
  logits: fc.tuple(
    ...[0, 1, 2].map(() => fc.oneof(fc.double({ min: -30, max: 30, noNaN: true }), fc.constant(Number.NaN))),
  ),
  novelty: fc.oneof(fc.double({ min: 0, max: 10, noNaN: true }), fc.constant(Number.NaN)),
});

test('for any tiles: ok only if all are ok, ng if and only if one is ng, order does not matter, the record is valid', () => {
  fc.assert(
    fc.property(fc.array(tile, { minLength: 1, maxLength: 6 }), (tiles) => {
      const each = tiles.map((t) => judgeTile(t, card).verdict);
      const judged = judge(...tiles);
      judgementSchema.parse(judged);
      expect(judged.verdict === 'ok').toBe(each.every((v) => v === 'ok'));
      expect(judged.verdict === 'ng').toBe(each.includes('ng'));
      expect(judge(...tiles.toReversed()).verdict).toBe(judged.verdict);
    }),
  );
});

test('an unjudged part is a valid, unsure record', () => {
  for (const reason of ['error', 'late', 'no-model'] as const) {
    expect(judgementSchema.parse(unsure(reason, { modelId: null, latencyMs: 3 })).verdict).toBe('unsure');
  }
});
