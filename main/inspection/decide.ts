import type { Judgement, ModelCard, Region, UnsureReason } from '../contract/domain.ts';
import { assert } from '../contract/errors.ts';

/** What the model gave for one tile. */
export interface TileOutput {
  /** [C] in the order of the card's classes. */
  logits: ArrayLike<number>;
  novelty: number;
}

/** A judgement but for what only the line knows: where the tile lies and how long it took. */
export interface TileJudgement {
  verdict: Judgement['verdict'];
  unsureReason: UnsureReason | null;
  classId: string | null;
  secondClassId: string | null;
  /** Probability of the best class, softmax(logits / temperature). */
  confidence: number;
  /** Best minus second-best probability. */
  margin: number;
  limit: number;
  novelty: number;
}

type Basis = Pick<ModelCard, 'classes' | 'temperature' | 'thresholds'>;

const clamp = (x: number): number => Math.min(1, Math.max(0, x));

/** One tile alone. Values that are no numbers make it unsure with the reason 'error'; nothing falls through to ok. */
export function judgeTile({ logits, novelty }: TileOutput, card: Basis): TileJudgement {
  const { classes, temperature, thresholds } = card;
  assert(logits.length === classes.length, 'the inspector checked the width of the logits when it opened the model');
  let best = -1;
  let second = -1;
  for (let i = 0; i < logits.length; i += 1) {
    const value = logits[i]!;
    if (!Number.isFinite(value)) return brokenTile();
    if (best < 0 || value > logits[best]!) {
      second = best;
      best = i;
    } else if (second < 0 || value > logits[second]!) {
      second = i;
    }
  }
  if (best < 0 || !Number.isFinite(novelty)) return brokenTile();
  let sum = 0;
  for (let i = 0; i < logits.length; i += 1) sum += Math.exp((logits[i]! - logits[best]!) / temperature);
  const confidence = clamp(1 / sum);
  const runnerUp = second < 0 ? 0 : clamp(Math.exp((logits[second]! - logits[best]!) / temperature) / sum);
  const winner = classes[best]!;
  const limit = winner.isOk ? thresholds.ok : thresholds.ng;
  const base = {
    classId: winner.id,
    secondClassId: second < 0 ? null : classes[second]!.id,
    confidence,
    margin: clamp(confidence - runnerUp),
    limit,
    novelty,
  };
  // A part unlike anything known is unsure however confident the model is: its confidence says nothing there.
  if (novelty > thresholds.novelty) return { verdict: 'unsure', unsureReason: 'novel', ...base };
  // As likely good as bad: which of the two classes comes first in the card decides nothing.
  const torn = classes.some(({ isOk }, i) => isOk !== winner.isOk && logits[i] === logits[best]);
  if (confidence < limit || torn) return { verdict: 'unsure', unsureReason: 'low-margin', ...base };
  return { verdict: winner.isOk ? 'ok' : 'ng', unsureReason: null, ...base };
}

const brokenTile = (): TileJudgement => ({
  verdict: 'unsure',
  unsureReason: 'error',
  classId: null,
  secondClassId: null,
  confidence: 0,
  margin: 0,
  limit: 0,
  novelty: 0,
});

/** Later reasons give way to earlier ones where several tiles are unsure. */
const reasonOrder: readonly (UnsureReason | null)[] = ['error', 'novel', 'low-margin', 'late', 'no-model', null];

type Ranked = Pick<TileJudgement, 'verdict' | 'unsureReason' | 'confidence' | 'novelty'>;

/** Whether a decides over b: ng before unsure before ok; the surest ng, the most novel or least sure unsure, the least sure ok. */
function outranks(a: Ranked, b: Ranked): boolean {
  const rank = { ng: 0, unsure: 1, ok: 2 } as const;
  if (a.verdict !== b.verdict) return rank[a.verdict] < rank[b.verdict];
  if (a.verdict === 'ng') return a.confidence > b.confidence;
  if (a.verdict === 'ok') return a.confidence < b.confidence;
  const order = reasonOrder.indexOf(a.unsureReason) - reasonOrder.indexOf(b.unsureReason);
  if (order !== 0) return order < 0;
  return a.unsureReason === 'novel' ? a.novelty > b.novelty : a.confidence < b.confidence;
}

/** Place of the tile (or frame) that decides over the part: any ng makes it ng, else any unsure unsure, ok only if all are. */
export const worstOf = (tiles: readonly Ranked[]): number =>
  tiles.reduce((worst, tile, i) => (outranks(tile, tiles[worst]!) ? i : worst), 0);

export interface DecideContext {
  /** One per tile, in the rotated frame; null: the whole frame is the one tile. */
  regions: readonly Region[] | null;
  modelId: string;
  latencyMs: number;
  /** Mean and deviation of the picture as the model was given it. */
  picture?: readonly [number, number];
}

/** Logits in a judgement's signature. */
const SIGNATURE_LOGITS = 6;
/** Six digits: a signature is charted, not computed with. */
const short = (x: number): number => Number(x.toPrecision(6));

/**
 * Worst-of rule over the tiles of a part: any ng tile makes it ng with that tile's class; else any unsure tile makes it
 * unsure; ok only if every tile is ok.
 */
export function decide(tiles: readonly TileOutput[], card: Basis, context: DecideContext): Judgement {
  assert(tiles.length > 0, 'a plan has at least one tile');
  const judged = tiles.map((tile) => judgeTile(tile, card));
  const index = worstOf(judged);
  const worst = judged[index]!;
  const region = context.regions?.[index] ?? null;
  return {
    ...worst,
    noveltyLimit: card.thresholds.novelty,
    tile: region ? { ...region, index, count: tiles.length } : null,
    modelId: context.modelId,
    latencyMs: context.latencyMs,
    errorCode: worst.unsureReason === 'error' ? 'INFERENCE_FAILED' : null,
    ...(context.picture && worst.unsureReason !== 'error'
      ? {
          signature: [...context.picture, ...Array.from(tiles[index]!.logits).slice(0, SIGNATURE_LOGITS)].map(short),
        }
      : {}),
  };
}

/** A part that was not inferred: no model, too late, or an error on the way. Never ok. */
export function unsure(
  reason: Extract<UnsureReason, 'error' | 'late' | 'no-model'>,
  facts: { modelId: string | null; latencyMs: number; errorCode?: string | null },
): Judgement {
  return {
    verdict: 'unsure',
    unsureReason: reason,
    classId: null,
    secondClassId: null,
    confidence: 0,
    margin: 0,
    limit: 0,
    novelty: 0,
    noveltyLimit: 0,
    tile: null,
    modelId: facts.modelId,
    latencyMs: facts.latencyMs,
    errorCode: facts.errorCode ?? null,
  };
}
