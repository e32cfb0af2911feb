import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { modelCardSchema, type CandidateStrategy, type Evidence, type ModelCard } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { judgeTile } from '../inspection/decide.ts';
import { LEAST_OK_PARTS } from '../learning/anomaly/cold-start.ts';
import { learnGoodParts } from '../learning/anomaly/learn.ts';
import { openProducts } from '../learning/dense.ts';
import { decodeModel, modelCost } from '../onnx/index.ts';
import { openSession } from '../runtime/session.ts';
import { writeBundle } from './bundle-files.ts';
import { describeEnvironment } from './environment.ts';
import { dataDigest } from './evidence/evidence.ts';
import { escapeGate, hasFailed, latencyGate, overkillGate, parityGate, worseDifference } from './evidence/gates.ts';
import { clopperPearson } from '../learning/exact-statistics.ts';
import { createImageSource, readableImages } from './image-source.ts';
import type { Measure } from './plan/contender.ts';
import { openPartContender } from './time-finished.ts';
import { tilesOf } from '../vision/tiles.ts';
import type { CompressStationInput, CompressStationOutput } from './station.ts';

/** Parts on which the deployed file is compared with the scores it was fitted by. */
const PARITY_IMAGES = 24;
/** Relative: scores are sums of squares, of any size. */
const PARITY_SHARE = 1e-2;

/**
 * The candidate of a station that has labelled nothing but good parts: whatever is unlike them is unsure with the reason novel, and nothing
 * is ever ng. It goes the road of every candidate. No defect is known, so its escape cannot be shown: the gate says so, and a
 * person has to waive it.
 * @throws INVALID_INPUT with too few good parts, FEATURES_NOT_FINITE, SINGULAR_STATISTICS, BACKBONE_UNSUITABLE, MODEL_UNREADABLE, HOME_NOT_WRITABLE, DISK_FULL, CANCELLED
 */
export async function makeGoodPartsCandidate(
  input: CompressStationInput,
  okClass: CompressStationInput['classes'][number],
  options: {
    measure: Measure;
    signal?: AbortSignal | undefined;
    report: (progress: number, key: string, details?: Record<string, number>) => void;
  },
): Promise<CompressStationOutput> {
  const { backbone, recipe, criteria, threads, lineThreads } = input;
  const { measure, signal, report } = options;
  const labelled = input.images.filter(({ classId }) => classId === okClass.id);
  const source = createImageSource(labelled, backbone, {
    rotation: recipe.rotation,
    maxPixels: recipe.maxPixels,
    finder: recipe.finder,
    signal,
  });
  const { indices, looks } = await readableImages(source);
  const parts = new Set(indices.map((index) => labelled[index]!.sha)).size;
  if (parts < LEAST_OK_PARTS) {
    throw new AppError('INVALID_INPUT', {
      what: 'good parts',
      problem: `${parts} are too few: ${LEAST_OK_PARTS} are needed`,
    });
  }
  const size = backbone.inputSize;
  await using products = openProducts({ threads });
  const { model, anomaly, heldOut, kept, own } = await learnGoodParts({
    backbone,
    shas: indices.map((index) => labelled[index]!.sha),
    partOf: async (i) => ({ input: await source.tensor([indices[i]!], size), look: looks[i] }),
    threads,
    products,
    ...(signal ? { signal } : {}),
    onProgress: (share) => report(0.05 + 0.75 * share, 'compress.reference'),
  });
  const id = input.candidateIds[0]!;
  const card: ModelCard = modelCardSchema.parse({
    format: 1,
    id,
    createdAt: new Date().toISOString(),
    demo: input.demo,
    stationId: input.stationId,
    knowledgeId: input.knowledgeId,
    backboneId: backbone.id,
    backboneSha256: backbone.sha256,
    modelSha256: createHash('sha256').update(model).digest('hex'),
    inputSize: size,
    mean: backbone.mean,
    std: backbone.std,
    classes: [{ id: okClass.id, names: okClass.names, isOk: okClass.isOk }],
    temperature: 1,
    thresholds: { ok: 0, ng: 0, novelty: anomaly.limit },
    strategy: GOOD_PARTS,
    precision: 'fp32',
    recipe,
  } satisfies ModelCard);

  report(0.82, 'compress.compare');
  const parity = await parityOf();
  report(0.9, 'compress.time');
  const contender = await openPartContender(model, card, (await source.view(indices[0]!)).image, lineThreads);
  const latency = await measure([contender], {
    rounds: 310,
    warmUp: 5,
    signal,
    budgetMs: 15_000 * Math.min(4, tilesOf(recipe)),
  })
    .then((all) => all.get(id)!)
    .finally(() => contender[Symbol.asyncDispose]());

  const n = heldOut.length;
  const accuracy = n === 0 ? 0 : kept / n;
  const cost = modelCost(decodeModel(model, id), [1, 3, size, size], { unknownOps: 'unknown' });
  const measures: Evidence['candidate'] = {
    accuracy,
    balancedAccuracy: accuracy,
    interval: clopperPearson(kept, n),
    latencyMsP50: latency.p50,
    latencyMsP99: latency.p99,
    macs: cost.macs,
    params: cost.params,
    bytes: model.length,
  };
  const evidence: Evidence = {
    reference: measures,
    candidate: measures,
    speedup: 1,
    accuracyDropPp: 0,
    basis: `${n} good parts, each held out once over the folds; no defect is labelled yet, so what escapes is not known. Parts unlike the good ones are unsure, none is NG`,
    perClass: [{ classId: okClass.id, n, reference: accuracy, candidate: accuracy, active: null }],
    confusion: [[n]],
    gates: [
      escapeGate({ ng: 0, escaped: 0 }, criteria),
      // Nothing is ever judged ng by a model that knows no defect.
      overkillGate({ ok: n, overkilled: 0 }, criteria),
      latencyGate(latency.samples, criteria),
      parityGate(parity),
    ],
    parity,
    changed: [],
    environment: describeEnvironment(lineThreads),
    dataSha256: dataDigest(indices.map((index) => labelled[index]!)),
  };
  const dir = join(input.outDir, id);
  await writeBundle(dir, { model, card, evidence });
  const reason = 'From good parts alone: until a defect is labelled.';
  report(1, 'compress.done', { candidates: 1 });
  return {
    candidates: [{ dir, card, evidence, ratio: 0, offered: true, recommended: !hasFailed(evidence.gates), reason }],
    why: `${reason} The next update with a second class makes a classifier.`,
  };

  /** The file against the scores in float64 of the parts it was fitted on: the same verdict, and as good as the same score. */
  async function parityOf(): Promise<Evidence['parity']> {
    await using session = await openSession(model, { threads: lineThreads, name: id });
    const count = Math.min(PARITY_IMAGES, indices.length);
    let equal = 0;
    let worst = 0;
    for (let k = 0; k < count; k += 1) {
      const row = Math.floor(((k + 0.5) * indices.length) / count);
      const data = await source.tensor([indices[row]!], size);
      const outputs = await session.run({ image: { type: 'float32', dims: [1, 3, size, size], data } }, ['novelty']);
      const novelty = Number(outputs['novelty']!.data[0]);
      const difference = Math.abs(novelty - own[row]!) / Math.max(1, Math.abs(own[row]!));
      worst = worseDifference(worst, difference);
      const verdictOf = (score: number) => judgeTile({ logits: [0], novelty: score }, card).verdict;
      if (verdictOf(novelty) === verdictOf(own[row]!) || difference <= PARITY_SHARE) equal += 1;
    }
    return { images: count, equal, maxLogitDifference: worst };
  }
}

/** Strategy of a model card made from good parts alone. */
const GOOD_PARTS = 'good-parts' satisfies CandidateStrategy;

/** Classes that a bundle tells apart; null: one of good parts alone has no recall to compare with. */
export async function classesToldApart(bundleDir: string): Promise<ReadonlySet<string> | null> {
  const card = modelCardSchema.parse(JSON.parse(await readFile(join(bundleDir, 'model.json'), 'utf8')));
  return card.classes.length > 1 ? new Set(card.classes.map(({ id }) => id)) : null;
}
