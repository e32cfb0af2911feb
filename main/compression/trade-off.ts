import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Backbone } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import { scanDataset } from '../learning/dataset.ts';
import { writeDurably } from '../store/files.ts';
import { compressDataset } from './dataset.ts';
import type { CompressReport } from './dataset-report.ts';
import { describeEnvironment, integerWeightBits } from './environment.ts';
import { dataDigest } from './evidence/evidence.ts';
import { CHECKPOINT_FORMAT } from './plan/checkpoint.ts';
import type { Precision, Strategy } from './plan/variant.ts';

/** One compressed model of a curve, against the uncompressed one of the same run. */
const pointSchema = z.object({
  set: z.string(),
  strategy: z.enum(['none', 'pre-prune', 'post-prune', 'distill']),
  precision: z.enum(['fp32', 'int8']),
  id: z.string(),
  ratio: z.number(),
  inputSize: z.number(),
  macs: z.number(),
  /** Of the uncompressed model's. */
  macsShare: z.number(),
  bytes: z.number(),
  speedup: z.number(),
  validationDropPp: z.number(),
  testBalancedAccuracy: z.number(),
  testDropPp: z.number(),
  grouped: z
    .object({
      images: z.number(),
      balancedAccuracy: z.number(),
      interval: z.tuple([z.number(), z.number()]),
      dropPp: z.number(),
      dropLowerPp: z.number(),
      dropUpperPp: z.number(),
    })
    .nullable(),
  offered: z.boolean(),
});
export type TradeOffPoint = z.infer<typeof pointSchema>;

const jobSchema = z.object({
  key: z.string(),
  seconds: z.number(),
  points: z.array(pointSchema),
  skipped: z.array(z.object({ id: z.string(), problem: z.string() })),
  outOfTime: z.boolean(),
  why: z.string(),
});
type KeptJob = z.infer<typeof jobSchema>;

export interface TradeOffOptions {
  sets: readonly { name: string; dir: string }[];
  backbone: Backbone;
  strategies: readonly Strategy[];
  /** Shares of multiply-accumulates that pruning removes; `none` goes through the input sizes instead. */
  ratios: readonly number[];
  precision: Precision | 'auto';
  /** Per job; decides how long students are taught. */
  timeBudgetS: number;
  maxDropPp: number;
  /** One file per finished job. */
  work: string;
  /** Takes finished jobs from `work` instead of running them again. */
  resume: boolean;
  seed: number;
  threads: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((line: string) => void) | undefined;
}

/** A job that lacks points. */
export interface IncompleteJob {
  set: string;
  strategy: Strategy;
  /** null: it went through the input sizes. */
  ratio: number | null;
  /** Models that could not be made. */
  skipped: { id: string; problem: string }[];
  /** The time budget ended before all were tried. */
  outOfTime: boolean;
  /** Why there is no point at all; null: there are some. */
  why: string | null;
}

export interface TradeOff {
  points: TradeOffPoint[];
  incomplete: IncompleteJob[];
  jobs: { done: number; taken: number; seconds: number };
}

interface Job {
  set: TradeOffOptions['sets'][number];
  strategy: Strategy;
  ratio: number | undefined;
}

/**
 * Trade-off curves: each strategy alone, at several ratios, on several data sets. Every job (set, strategy, ratio) is kept when it is done, so a run that was cut
 * short costs one job.
 * @throws INVALID_INPUT for two sets of one name, and what compressDataset throws
 */
export async function measureTradeOff(options: TradeOffOptions): Promise<TradeOff> {
  const { work, signal } = options;
  checkNames(options.sets);
  await mkdir(work, { recursive: true }).catch((cause: unknown) => {
    throw new AppError('HOME_NOT_WRITABLE', { home: work, problem: problemOf(cause) }, { cause });
  });
  const jobs = jobsOf(options);
  const result: TradeOff = { points: [], incomplete: [], jobs: { done: jobs.length, taken: 0, seconds: 0 } };
  const digests = new Map<string, string>();
  for (const [i, job] of jobs.entries()) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const { name, dir } = job.set;
    const digest = digests.get(dir) ?? (await digestOf(dir, signal));
    digests.set(dir, digest);
    const key = keyOf(job, digest, options);
    const file = join(work, fileOf(job, key));
    let kept = options.resume ? await readJob(file, key) : null;
    if (kept) {
      result.jobs.taken += 1;
    } else {
      kept = { key, ...(await runJob(job, options, `${i + 1} of ${jobs.length}, ${name} ${job.strategy}`)) };
      await writeDurably(file, JSON.stringify(kept));
      result.jobs.seconds += kept.seconds;
    }
    result.points.push(...kept.points);
    result.incomplete.push(...lackOf(job, kept));
  }
  return result;
}

/** A curve is told by the name of its set. @throws INVALID_INPUT */
function checkNames(sets: TradeOffOptions['sets']): void {
  for (const [name, alike] of Map.groupBy(sets, (set) => set.name)) {
    if (alike.length === 1) continue;
    const dirs = alike.map(({ dir }) => dir).join(', ');
    throw new AppError('INVALID_INPUT', {
      what: name,
      problem: `a curve has the name of its folder, and there are ${dirs}`,
    });
  }
}

const jobsOf = ({ sets, strategies, ratios }: TradeOffOptions): Job[] =>
  sets.flatMap((set) =>
    strategies.flatMap((strategy) =>
      (strategy === 'none' ? [undefined] : ratios).map((ratio) => ({ set, strategy, ratio })),
    ),
  );

/** Names all that the points of a job depend on. */
function keyOf({ strategy, ratio }: Job, digest: string, options: TradeOffOptions): string {
  const { backbone, precision, timeBudgetS, maxDropPp, seed, threads } = options;
  const pc = { environment: describeEnvironment(threads), weightBits: integerWeightBits() };
  const settings = { strategy, ratio, precision, timeBudgetS, maxDropPp, seed };
  return createHash('sha256')
    .update(JSON.stringify([CHECKPOINT_FORMAT, pc, backbone.sha256, backbone.mean, backbone.std, digest, settings]))
    .digest('hex');
}

/** Names are for people; the digits keep two sets of one name and two ratios of one percentage apart. */
const fileOf = ({ set, strategy, ratio }: Job, key: string): string =>
  `${set.name}-${strategy}${ratio === undefined ? '' : `-${Math.round(100 * ratio)}`}-${key.slice(0, 8)}.json`;

async function runJob(
  { set, strategy, ratio }: Job,
  options: TradeOffOptions,
  title: string,
): Promise<Omit<KeptJob, 'key'>> {
  const { backbone, precision, timeBudgetS, maxDropPp, seed, threads, signal } = options;
  const report = await compressDataset({
    dir: set.dir,
    backbone,
    strategy,
    precision,
    ...(ratio === undefined ? {} : { ratio }),
    timeBudgetS,
    maxDropPp,
    seed,
    threads,
    signal,
    onProgress: (line) => options.onProgress?.(`${title}: ${line}`),
  });
  const { seconds, skipped, outOfTime, why } = report;
  return { seconds, points: pointsOf(set.name, report), skipped, outOfTime, why };
}

/** What a job lacks, if anything. */
function lackOf({ set, strategy, ratio }: Job, { points, skipped, outOfTime, why }: KeptJob): IncompleteJob[] {
  if (points.length > 0 && skipped.length === 0 && !outOfTime) return [];
  const found = { set: set.name, strategy, ratio: ratio ?? null, skipped, outOfTime };
  return [{ ...found, why: points.length === 0 ? why : null }];
}

async function digestOf(dir: string, signal: AbortSignal | undefined): Promise<string> {
  const { train, test } = await scanDataset(dir, signal ? { signal } : {});
  return [train, test]
    .map((part) => dataDigest(part.map(({ sha, className }) => ({ sha, classId: className }))))
    .join(' ');
}

/** A finished job with the same settings and data; null: there is none, or it cannot be read (then it is run again). */
async function readJob(file: string, key: string): Promise<KeptJob | null> {
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const job = jobSchema.parse(JSON.parse(text));
    return job.key === key ? job : null;
  } catch {
    return null;
  }
}

const pointsOf = (set: string, { reference, candidates }: CompressReport): TradeOffPoint[] =>
  candidates.map((candidate) => ({
    set,
    strategy: candidate.strategy,
    precision: candidate.precision,
    id: candidate.id,
    ratio: candidate.ratio,
    inputSize: candidate.inputSize,
    macs: candidate.macs,
    macsShare: candidate.macs / reference.macs,
    bytes: candidate.bytes,
    speedup: candidate.speedup,
    validationDropPp: 100 * (reference.validation.balancedAccuracy - candidate.validation.balancedAccuracy),
    testBalancedAccuracy: candidate.balancedAccuracy,
    testDropPp: candidate.accuracyDropPp,
    grouped: candidate.grouped,
    offered: candidate.offered,
  }));
