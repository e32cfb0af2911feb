import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import { openProducts, type Matrix } from '../dense.ts';
import { embed } from '../embedding.ts';
import { extractFeatures, openExtractor } from '../extract.ts';
import { gather } from '../knowledge.ts';
import { picturesIn } from '../pictures-in.ts';
import { leadingSubspace, project } from '../subspace.ts';
import { createMonitor, STATED_RUN_LENGTH, type Alarm, type PartMeasures } from './charts.ts';

/** Leading directions of the reference whose mean is charted. */
const DIRECTIONS = 8;
/** Share of reference pictures below the limit of what is unusual. */
const UNUSUAL = 0.985;
/** Reference pictures below which nothing can be said. */
const LEAST_REFERENCE = 40;

export interface DriftResult {
  threads: number;
  alarms: Alarm[];
  /** Stated in-control run length, parts. */
  runLength: number;
}

/**
 * Charts the feature mean (leading directions of the reference) and the energy outside them, over the pictures of a folder in name
 * order. One half of the reference makes the directions, the other is what is usual: a picture does not judge itself.
 * @throws DATASET_NOT_FOUND, INVALID_INPUT with a reference that is too small, IMAGE_UNREADABLE, CANCELLED
 */
export async function findDrift(options: {
  dir: string;
  reference: string;
  backbone: Backbone;
  threads: number;
  signal?: AbortSignal;
}): Promise<DriftResult> {
  const { dir, reference, backbone, threads, signal } = options;
  const found = (folder: string) =>
    picturesIn(folder).catch((cause: unknown) => {
      throw new AppError('DATASET_NOT_FOUND', { path: folder, folder: '.' }, { cause });
    });
  const [usual, watched] = [await found(reference), await found(dir)];
  if (usual.length < LEAST_REFERENCE) {
    throw new AppError('INVALID_INPUT', {
      what: 'reference',
      problem: `it has ${usual.length} pictures, ${LEAST_REFERENCE} are needed`,
    });
  }
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  await using extractor = await openExtractor(backbone, { threads });
  const embedded = async (files: readonly string[]): Promise<Matrix> => {
    const { features, failed } = await extractFeatures(
      extractor,
      files.map((file) => ({ file, region: null })),
      signal ? { signal } : {},
    );
    if (failed[0]) throw failed[0].error;
    return embed(features, stages);
  };
  await using products = openProducts({ threads });
  const making = await embedded(usual.filter((_, i) => i % 2 === 0));
  const statistics = gather(
    making,
    Array.from({ length: making.rows }, (_, i) => ({ classId: 'reference', sha: String(i) })),
  );
  const scatter = await statistics.weightedScatter(new Map([['reference', 1]]), products);
  const subspace = await leadingSubspace({ scatter }, making.rows, products, 32);
  const seen = async (z: Matrix): Promise<{ outside: number; vector: number[] }[]> => {
    const { y, outside } = await project(subspace, z, products);
    return Array.from(outside, (energy, i) => ({
      outside: energy,
      vector: Array.from(y.data.subarray(i * y.columns, i * y.columns + Math.min(DIRECTIONS, y.columns))),
    }));
  };
  const known = await seen(await embedded(usual.filter((_, i) => i % 2 === 1)));
  const limit = known.map(({ outside }) => outside).sort((a, b) => a - b)[Math.floor(UNUSUAL * known.length)]!;
  const measuresOf = ({ outside, vector }: (typeof known)[number]): PartMeasures => ({
    values: { outside },
    vector,
    events: { unusual: outside > limit },
  });
  const monitor = createMonitor(known.map(measuresOf));
  const parts = watched.length === 0 ? [] : (await seen(await embedded(watched))).map(measuresOf);
  return { threads, alarms: parts.flatMap((part) => monitor.add(part)), runLength: STATED_RUN_LENGTH };
}
