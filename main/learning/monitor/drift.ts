import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { SkippedFile } from '../dataset.ts';
import { openProducts, type Matrix } from '../dense.ts';
import { embed } from '../embedding.ts';
import { extractFeatures, featureRows, openExtractor } from '../extract.ts';
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
  /** By the place of the picture in name order, those that were left out counted too. */
  alarms: Alarm[];
  /** Stated in-control run length, parts. */
  runLength: number;
  /** Pictures that were left out, and why. */
  skipped: SkippedFile[];
}

/** Places of the pictures that could be read, and their features, row-major. */
interface Readable {
  places: number[];
  features: Float32Array;
}

/**
 * Charts the feature mean (leading directions of the reference) and the energy outside them, over the pictures of a folder in name
 * order. One half of the reference makes the directions, the other is what is usual: a picture does not judge itself.
 * @throws NOT_FOUND, INVALID_INPUT with a reference that is too small and with nothing to look at, CANCELLED
 */
export async function findDrift(options: {
  dir: string;
  reference: string;
  backbone: Backbone;
  threads: number;
  signal?: AbortSignal;
}): Promise<DriftResult> {
  const { dir, reference, backbone, threads, signal } = options;
  const [usual, watched] = [await picturesIn(reference), await picturesIn(dir)];
  // No alarm would be no news: nothing was looked at.
  const requireSome = ({ length }: readonly unknown[]) => {
    if (length === 0) throw new AppError('INVALID_INPUT', { what: dir, problem: 'it has no readable picture' });
  };
  requireSome(watched);
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  await using extractor = await openExtractor(backbone, { threads });
  const skipped: SkippedFile[] = [];
  const read = async (files: readonly string[]): Promise<Readable> => {
    const { features, failed } = await extractFeatures(
      extractor,
      files.map((file) => ({ file, region: null })),
      signal ? { signal } : {},
    );
    skipped.push(...failed.map(({ index, error }) => ({ name: files[index]!, problem: error.message })));
    const bad = new Set(failed.map(({ index }) => index));
    const places = [...files.keys()].filter((place) => !bad.has(place));
    return { places, features: featureRows(features, extractor.features, places) };
  };
  const known = await read(usual);
  if (known.places.length < LEAST_REFERENCE) {
    throw new AppError('INVALID_INPUT', {
      what: 'reference',
      problem: `it has ${known.places.length} readable pictures, ${LEAST_REFERENCE} are needed`,
    });
  }
  const half = (odd: 0 | 1): Matrix => {
    const rows = [...known.places.keys()].filter((row) => row % 2 === odd);
    return embed(featureRows(known.features, extractor.features, rows), stages);
  };
  await using products = openProducts({ threads });
  const making = half(0);
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
  const judging = await seen(half(1));
  const limit = judging.map(({ outside }) => outside).sort((a, b) => a - b)[Math.floor(UNUSUAL * judging.length)]!;
  const measuresOf = ({ outside, vector }: (typeof judging)[number]): PartMeasures => ({
    values: { outside },
    vector,
    events: { unusual: outside > limit },
  });
  const monitor = createMonitor(judging.map(measuresOf));
  const { places, features } = await read(watched);
  requireSome(places);
  const parts = (await seen(embed(features, stages))).map(measuresOf);
  const alarms = parts.flatMap((part) => monitor.add(part)).map((alarm) => ({ ...alarm, index: places[alarm.index]! }));
  return { threads, alarms, runLength: STATED_RUN_LENGTH, skipped };
}
