import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { evidenceSchema, type ParitySample, type Recipe } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { openInspector, wholeFrame, type Inspector } from '../inspection/inspector.ts';
import type { PixelImage } from '../vision/image.ts';
import { tilesOf } from '../vision/tiles.ts';
import { createImageSource } from './image-source.ts';
import { describeEnvironment, sameEnvironment } from './environment.ts';
import { latencyGate, parityGate } from './evidence/gates.ts';
import { measureInterleaved, type Contender } from './evidence/latency.ts';
import { parityOf } from './evidence/parity.ts';
import { madePicture } from './parity-sample.ts';
import { createLogits } from './region-logits.ts';
import { partContender } from './time-finished.ts';

type Input = z.output<(typeof trainerMethods)['trainer.recheck']['input']>;
type Output = z.output<(typeof trainerMethods)['trainer.recheck']['output']>;

/** 299 runs give a bound of the 99th percentile. */
const ROUNDS = 310;
const BUDGET_MS = 30_000;

/**
 * A part's recipe for a made picture: as many tiles, but nothing can be found on it, and what was taught may lie outside, so each
 * region is the whole of it.
 */
const recipeForMade = (recipe: Recipe, { width, height }: PixelImage): Recipe => ({
  ...recipe,
  finder: { kind: 'fixed' },
  regions: recipe.regions.map(() => ({ x: 0, y: 0, width, height })),
});

/** Any picture does for time; where none is at hand, or the part is not found on it, one of twice the input's size. */
async function partToTime(inspector: Inspector, taken: PixelImage | null): Promise<Contender> {
  const { inputSize, recipe } = inspector.card;
  if (taken) {
    const contender = partContender(inspector, taken);
    const judged = await contender.run().then(
      () => true,
      () => false,
    );
    if (judged) return contender;
  }
  const made = madePicture(0, 2 * inputSize);
  return partContender(inspector, made, recipeForMade(recipe ?? wholeFrame, made));
}

/**
 * Measures a model again where CPU, runtime or threads are not those of its evidence: decisions and logits on the pictures of the evidence that are at hand
 * and on those that every PC can make, and the time for one part with all tiles of its recipe.
 * @returns null when this PC is one that it was measured on, and it is not to be measured `always`
 * @throws BUNDLE_ALTERED, MODEL_UNREADABLE, CANCELLED
 */
export async function recheckBundle(
  { bundleDir, measuredOn, always, files, threads, criteria }: Input,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Output> {
  const environment = describeEnvironment(threads);
  const file = join(bundleDir, 'evidence.json');
  const evidence = await readFile(file, 'utf8').then(
    (text) => evidenceSchema.parse(JSON.parse(text)),
    (cause: unknown) => {
      throw new AppError('BUNDLE_ALTERED', { file }, { cause });
    },
  );
  if (!always && [evidence.environment, ...measuredOn].some((known) => sameEnvironment(known, environment)))
    return null;
  const sample: ParitySample = evidence.sample ?? { rotation: 0, pictures: [], made: [] };
  await using inspector = await openInspector({ bundleDir, threads });
  const { card, session } = inspector;
  const paths = new Map(files.map(({ sha, file }) => [sha, file]));
  const here = sample.pictures.flatMap((picture) => {
    const path = paths.get(picture.imageSha);
    return path === undefined ? [] : [{ ...picture, file: path }];
  });
  const source = createImageSource(here, card, {
    rotation: sample.rotation,
    maxPixels: card.recipe?.maxPixels ?? 1e8,
    finder: card.recipe?.finder ?? { kind: 'fixed' },
    signal: options.signal,
  });
  const logits = createLogits(session, card);
  const compared: [given: Float32Array, wanted: readonly number[]][] = [];
  let pictures = 0;
  for (const [i, { logits: wanted }] of here.entries()) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const view = await source.view(i).catch(() => null);
    // Gone or damaged since it was listed: one picture fewer.
    if (view === null) continue;
    compared.push([await logits(view.image, view.region), wanted]);
    pictures += 1;
  }
  for (const { seed, logits: wanted } of sample.made) {
    compared.push([await logits(madePicture(seed, card.inputSize), null), wanted]);
  }
  const parity = parityOf(compared);
  const taken = pictures > 0 ? await source.view(0).catch(() => null) : null;
  const contender = await partToTime(inspector, taken?.image ?? null);
  const times = await measureInterleaved([contender], {
    rounds: ROUNDS,
    warmUp: 5,
    signal: options.signal,
    // As for the evidence: a part of many tiles takes longer, and a bound of the 99th percentile needs its runs all the same.
    budgetMs: BUDGET_MS * Math.min(4, tilesOf(card.recipe ?? wholeFrame)),
  });
  const { p50, p99, samples } = times.get(card.id)!;
  return {
    environment,
    pictures,
    parity,
    latencyMsP50: p50,
    latencyMsP99: p99,
    gates: [parityGate(parity), latencyGate(samples, criteria)],
  };
}
