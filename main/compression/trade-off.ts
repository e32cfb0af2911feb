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
import { dataDigest } from './evidence/evidence.ts';
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

const jobSchema = z.object({ key: z.string(), seconds: z.number(), points: z.array(pointSchema) });

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

export interface TradeOff {
  points: TradeOffPoint[];
  jobs: { done: number; taken: number; seconds: number };
}

/**
 * Trade-off curves: each strategy alone, at several ratios, on several data sets. Every job (set, strategy, ratio) is kept when it is done, so a run that was cut
 * short costs one job.
 * @throws DATASET_*, CANCELLED, HOME_NOT_WRITABLE and what compressDataset throws
 */
export async function measureTradeOff(options: TradeOffOptions): Promise<TradeOff> {
  const { backbone, ratios, work, signal } = options;
  await mkdir(work, { recursive: true }).catch((cause: unknown) => {
    throw new AppError('HOME_NOT_WRITABLE', { home: work, problem: problemOf(cause) }, { cause });
  });
  const jobs = options.sets.flatMap((set) =>
    options.strategies.flatMap((strategy) =>
      (strategy === 'none' ? [undefined] : ratios).map((ratio) => ({ set, strategy, ratio })),
    ),
  );
  const points: TradeOffPoint[] = [];
  let taken = 0;
  let seconds = 0;
  const digests = new Map<string, string>();
  for (const [i, { set, strategy, ratio }] of jobs.entries()) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    let digest = digests.get(set.dir);
    if (digest === undefined) digests.set(set.dir, (digest = await digestOf(set.dir)));
    const { precision, timeBudgetS, maxDropPp, seed, threads } = options;
    const settings = { strategy, ratio, precision, timeBudgetS, maxDropPp, seed, threads };
    const key = createHash('sha256')
      .update(JSON.stringify([backbone.sha256, backbone.mean, backbone.std, digest, settings]))
      .digest('hex');
    const file = join(work, `${set.name}-${strategy}${ratio === undefined ? '' : `-${Math.round(100 * ratio)}`}.json`);
    const say = (line: string) => options.onProgress?.(`${i + 1} of ${jobs.length}, ${set.name} ${strategy}: ${line}`);
    const known = options.resume ? await readJob(file, key) : null;
    if (known) {
      taken += 1;
      points.push(...known.points);
      continue;
    }
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
      onProgress: say,
    });
    const job = { key, seconds: report.seconds, points: pointsOf(set.name, report) };
    await writeDurably(file, JSON.stringify(job));
    seconds += job.seconds;
    points.push(...job.points);
  }
  return { points, jobs: { done: jobs.length, taken, seconds } };
}

async function digestOf(dir: string): Promise<string> {
  const { train, test } = await scanDataset(dir);
  return [train, test]
    .map((part) => dataDigest(part.map(({ sha, className }) => ({ sha, classId: className }))))
    .join(' ');
}

/** A finished job with the same settings and data; null: there is none, or it cannot be read (then it is run again). */
async function readJob(file: string, key: string): Promise<z.infer<typeof jobSchema> | null> {
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
