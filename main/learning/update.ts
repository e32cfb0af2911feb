import { open } from 'node:fs/promises';
import type { z } from 'zod';
import type { Backbone, Recipe } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { trainerEvents, trainerMethods } from '../contract/trainer.ts';
import { openProducts } from './dense.ts';
import { extractFeatures, openExtractor } from './extract.ts';
import { solveKnowledge } from './knowledge.ts';
import { diskError, writeKnowledge } from './knowledge-files.ts';

type Input<M extends keyof typeof trainerMethods> = z.output<(typeof trainerMethods)[M]['input']>;
type Output<M extends keyof typeof trainerMethods> = z.input<(typeof trainerMethods)[M]['output']>;
export type TrainerProgress = z.infer<(typeof trainerEvents)['trainer.progressed']>;

export interface TrainerOptions {
  onProgress?: (event: TrainerProgress) => void;
  signal?: AbortSignal;
}

/** Bytes of one row of a feature file. */
const rowBytes = (backbone: Backbone): number => backbone.features * Float32Array.BYTES_PER_ELEMENT;

/**
 * Reads rows of a feature file.
 * @throws BUNDLE_ALTERED when a row is not there
 */
export async function readFeatureRows(
  file: string,
  rows: readonly number[],
  backbone: Pick<Backbone, 'features'>,
): Promise<Float32Array> {
  const out = new Float32Array(rows.length * backbone.features);
  if (rows.length === 0) return out;
  const bytes = backbone.features * Float32Array.BYTES_PER_ELEMENT;
  const handle = await open(file, 'r');
  try {
    const view = new Uint8Array(out.buffer);
    // Rows of one update lie next to each other: read in runs.
    for (let i = 0; i < rows.length;) {
      let run = 1;
      while (i + run < rows.length && rows[i + run] === rows[i]! + run) run += 1;
      const { bytesRead } = await handle.read(view, i * bytes, run * bytes, rows[i]! * bytes);
      if (bytesRead < run * bytes) throw new AppError('BUNDLE_ALTERED', { file });
      i += run;
    }
  } finally {
    await handle.close();
  }
  return out;
}

/** Appends rows, on the disk before it returns. Gives the number of the first. */
async function appendFeatureRows(file: string, features: Float32Array, backbone: Backbone): Promise<number> {
  const bytes = rowBytes(backbone);
  try {
    const handle = await open(file, 'a+');
    try {
      const { size } = await handle.stat();
      const first = Math.ceil(size / bytes);
      // A row that a crash cut short is filled up: rows keep their places.
      if (size % bytes !== 0) await handle.write(new Uint8Array(first * bytes - size));
      await handle.write(new Uint8Array(features.buffer, features.byteOffset, features.byteLength));
      await handle.sync();
      return first;
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw diskError(cause, file);
  }
}

const EXTRACTING = 0.6;

/**
 * trainer.update: features of new images are appended to the feature file, then the knowledge of all images is solved into
 * outDir. Cancelled or failed, it leaves at most rows that nobody refers to.
 * @throws IMAGE_UNREADABLE naming the first picture that cannot be read, TOO_FEW_CLASSES, SINGULAR_STATISTICS, DISK_FULL, CANCELLED
 */
export async function updateKnowledge(
  input: Input<'trainer.update'>,
  { onProgress, signal }: TrainerOptions = {},
): Promise<Output<'trainer.update'>> {
  const started = performance.now();
  const { backbone, recipe, images, classes, criteria, threads, featureFile, outDir } = input;
  const found = new Set(images.map(({ classId }) => classId)).size;
  if (found < 2) throw new AppError('TOO_FEW_CLASSES', { found, needed: 2 });
  const report = (progress: number, key: string, details: Record<string, number> = {}) => {
    const elapsed = (performance.now() - started) / 1000;
    const secondsLeft = progress > 0.05 ? (elapsed * (1 - progress)) / progress : null;
    onProgress?.({ progress, secondsLeft, step: { key, details } });
  };
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  const places = images.map(({ row }) => row);
  const fresh = images.flatMap(({ row }, i) => (row < 0 ? [i] : []));
  const rows: { sha: string; row: number }[] = [];
  if (fresh.length > 0) {
    await using extractor = await openExtractor(backbone, { threads });
    const { features, failed } = await extractFeatures(
      extractor,
      fresh.map((i) => ({ file: images[i]!.file, region: images[i]!.region })),
      {
        recipe,
        onProgress: (done, total) => report((EXTRACTING * done) / total, 'update.features', { done, total }),
        ...(signal ? { signal } : {}),
      },
    );
    if (failed[0]) throw failed[0].error;
    const first = await appendFeatureRows(featureFile, features, backbone);
    fresh.forEach((i, k) => {
      places[i] = first + k;
      rows.push({ sha: images[i]!.sha, row: first + k });
    });
  }
  const base = fresh.length > 0 ? EXTRACTING : 0;
  // In file order: rows are then read in few pieces.
  const order = images.map((_, i) => i).sort((a, b) => places[a]! - places[b]!);
  const features = await readFeatureRows(
    featureFile,
    order.map((i) => places[i]!),
    backbone,
  );
  await using products = openProducts({ threads });
  const { knowledge } = await solveKnowledge(
    {
      features,
      stages,
      ledger: order.map((i) => {
        const { classId, sha, region } = images[i]!;
        return region
          ? { classId, sha, key: `${region.x},${region.y},${region.width},${region.height}` }
          : { classId, sha };
      }),
      okIds: new Set(classes.flatMap(({ id, isOk }) => (isOk ? [id] : []))),
      criteria,
    },
    {
      products,
      onProgress: (share) => report(base + (1 - base) * 0.98 * share, 'update.solve'),
      ...(signal ? { signal } : {}),
    },
  );
  await writeKnowledge(outDir, {
    knowledge,
    backboneId: backbone.id,
    backboneSha256: backbone.sha256,
    inputSize: backbone.inputSize,
  });
  report(1, 'update.done');
  const { lambda, balancing, temperature, balancedAccuracy } = knowledge;
  return {
    summary: {
      lambda,
      balancing,
      temperature,
      balancedAccuracy,
      classes: knowledge.classes,
      seconds: (performance.now() - started) / 1000,
    },
    rows,
  };
}

/** trainer.features: row-major [images, features]; an unreadable picture gives a row of NaN. */
export async function featuresOf(
  { backbone, recipe, images, threads }: Input<'trainer.features'>,
  { onProgress, signal }: TrainerOptions = {},
): Promise<Output<'trainer.features'>> {
  await using extractor = await openExtractor(backbone, { threads });
  const { features } = await extractFeatures(extractor, images, {
    recipe: recipe satisfies Recipe,
    onProgress: (done, total) =>
      onProgress?.({
        progress: done / total,
        secondsLeft: null,
        step: { key: 'queue.features', details: { done, total } },
      }),
    ...(signal ? { signal } : {}),
  });
  return { features };
}

export { heatMapOf } from './heat-map.ts';
