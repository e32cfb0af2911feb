import type { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { openProducts, type Products } from './dense.ts';
import { readRowsOf } from './feature-rows.ts';
import { keyOf } from './folds.ts';
import { readExport, writeExport } from './knowledge-export.ts';
import { openStatistics, recomputeCheck, type CachedStatistics, type LedgerMember } from './statistics-cache.ts';
import type { TrainerOptions } from './update.ts';

/* Sums per class of a station's images, as they are kept between updates: for another station, and to be checked. */

type Input<M extends keyof typeof trainerMethods> = z.output<(typeof trainerMethods)[M]['input']>;
type Output<M extends keyof typeof trainerMethods> = z.input<(typeof trainerMethods)[M]['output']>;

type Cancelled = Pick<TrainerOptions, 'signal'>;

async function openSums(
  { backbone, featureFile, statisticsDir, images }: Input<'trainer.check'>,
  products: Products,
  signal: AbortSignal | undefined,
): Promise<CachedStatistics & { recompute: () => Promise<string[]> }> {
  const members: LedgerMember[] = images.map(({ classId, sha, region, row }) => ({
    classId,
    sha,
    row,
    ...keyOf(region),
  }));
  const options = {
    products,
    backboneSha256: backbone.sha256,
    stages: backbone.featureOutputs.map(({ channels }) => channels),
    readRows: (wanted: readonly number[]) => readRowsOf(featureFile, wanted, backbone),
    signal,
  };
  const cached = await openStatistics(members, { ...options, dir: statisticsDir });
  return { ...cached, recompute: () => recomputeCheck(cached.statistics, members, options) };
}

/**
 * trainer.export: the sums of the station's images, and of what it took in from others, as one file.
 * @throws CANCELLED, FEATURES_NOT_FINITE, BUNDLE_ALTERED, TOO_FEW_CLASSES, what readExport throws of a file that was taken in, DISK_FULL, HOME_NOT_WRITABLE
 */
export async function exportKnowledge(
  input: Input<'trainer.export'>,
  { signal }: Cancelled = {},
): Promise<Output<'trainer.export'>> {
  const { backbone, lambda, balancing, classes, threads, file, source, demo, images, labelledBy } = input;
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  await using products = openProducts({ threads });
  const { statistics } = await openSums(input, products, signal);
  const includes = [];
  for (const added of input.exports) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const { header, statistics: theirs } = await readExport(added, {
      backboneSha256: backbone.sha256,
      stages,
      successors: input.successors,
    });
    statistics.merge(theirs);
    includes.push(...(header.source ? [header.source] : []), ...header.includes);
  }
  const header = await writeExport(file, {
    statistics,
    backboneId: backbone.id,
    backboneSha256: backbone.sha256,
    stages,
    lambda,
    balancing,
    classes,
    source,
    demo,
    includes,
    ...(labelledBy && { images: [...new Set(images.map(({ sha }) => sha))], labelledBy }),
  });
  return { classes: header.classes.map(({ classId, count }) => ({ classId, labelled: count })) };
}

/**
 * trainer.check: sums everything anew from the feature file and names the classes whose kept sums differ in any bit.
 * @throws CANCELLED, FEATURES_NOT_FINITE, BUNDLE_ALTERED
 */
export async function checkSums(
  input: Input<'trainer.check'>,
  { signal }: Cancelled = {},
): Promise<Output<'trainer.check'>> {
  await using products = openProducts({ threads: input.threads });
  const { work, recompute } = await openSums(input, products, signal);
  return { images: input.images.length, differing: await recompute(), rebuilt: work.rebuilt };
}
