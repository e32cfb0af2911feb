import { createHash } from 'node:crypto';
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { AppError, isAppError, problemOf } from '../../contract/errors.ts';
import type { NoveltyLoss } from '../../learning/held-out-novelty.ts';
import { decodeModel, encodeModel } from '../../onnx/index.ts';
import { writeDurably } from '../../store/files.ts';
import { makeFolder } from '../bundle-files.ts';
import type { StudentChoice } from '../distill/teach-student.ts';
import type { RangeRule } from '../quantize/calibrate.ts';
import { begunFile, searchFolder, timesBegun } from './begun.ts';
import type { TrialRecord } from './trials.ts';

/*
 * What a search has measured so far, on the disk: every trial is kept when it is done, so that a search that was cancelled or killed costs one trial. A folder per
 * search, named by all that its results depend on; it is removed when the search has ended.
 */

/** Raised whenever what a trial makes or how it is measured changes: what was kept before then counts as never measured. */
export const CHECKPOINT_FORMAT = 16;

const rowSet = z.array(z.number().int().min(0)).nullable();
const trialSchema = z.object({
  id: z.string(),
  variant: z.object({
    strategy: z.enum(['none', 'pre-prune', 'post-prune', 'distill']),
    ratio: z.number(),
    shallow: z.boolean().optional(),
    inputSize: z.number(),
    precision: z.enum(['fp32', 'int8']),
  }),
  balancedAccuracy: z.number(),
  loss: z.number(),
  lost: z.object({
    accuracyPp: z.number(),
    accuracyUpperPp: z.number(),
    certaintyPp: z.number(),
    expectedPp: z.number(),
  }),
  newDefects: z.custom<NoveltyLoss | null>(
    (value) => value === null || (typeof value === 'object' && value !== null && 'loss' in value && 'lower' in value),
  ),
  latencyMs: z.number(),
  speedup: z.number(),
  bytes: z.number(),
  unseen: rowSet,
  predictedSpeedup: z.number().nullable(),
  made: z.object({
    sha256: z.string(),
    float: z.string().nullable(),
    ratio: z.number(),
    untouched: z.array(z.object({ group: z.string(), why: z.string() })),
    student: z.custom<StudentChoice | null>((value) => typeof value === 'object'),
    rule: z.custom<RangeRule>((value) => value !== null && value !== undefined).nullable(),
    untaught: rowSet,
  }),
});
const keptSchema = z.object({
  ms: z.number().min(0),
  referenceMs: z.number().nullable(),
  outcome: z.union([z.object({ problem: z.string() }), trialSchema]),
});

/** What came of a variant: measures, or why it could not be made. */
export type Outcome = TrialRecord | { problem: string };

export interface Kept {
  /** How long it took. */
  ms: number;
  /** Time of the uncompressed backbone that its time is on one scale with; null: none was measured yet. */
  referenceMs: number | null;
  outcome: Outcome;
}

export interface Checkpoint {
  /** Null: not measured before, or it cannot be read (then it is measured again). */
  take(id: string): Promise<Kept | null>;
  keep(id: string, kept: Kept): Promise<void>;
  /**
   * Notes that a variant is being tried, until it is kept or the disposer is called.
   * @returns null: with this variant the process ended again and again (out of memory, most likely), and it is better left alone
   */
  begin(id: string): Promise<(() => Promise<void>) | null>;
  /** At how many images, in how many views, the search looks: told by the first run, since only trials that saw the same compare. */
  decided(what: 'rows' | 'views', decide: () => Promise<number> | number): Promise<number>;
  /** The search is over. */
  remove(): Promise<void>;
}

/** A power cut can fall on the same variant twice; three times is no chance. */
const MOST_BEGUN = 3;

export interface CheckpointOptions {
  /** Folder that searches are kept in. */
  work: string;
  /** All that results depend on, serialisable. */
  key: unknown;
  /** False: begins anew, whatever was kept. */
  resume: boolean;
  /** Told once when nothing more can be kept (the disk is full): the search goes on without. */
  onProblem?: ((problem: string) => void) | undefined;
}

const sha256Of = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** @throws HOME_NOT_WRITABLE */
export async function openCheckpoint({ work, key, resume, onProblem }: CheckpointOptions): Promise<Checkpoint> {
  const folder = searchFolder(work, sha256Of(JSON.stringify([CHECKPOINT_FORMAT, key])));
  let writable = true;
  try {
    if (!resume) await rm(folder, { recursive: true, force: true });
    await makeFolder(folder);
    // Half-written by a run that was killed.
    for (const file of await readdir(folder)) if (file.endsWith('.tmp')) await rm(join(folder, file), { force: true });
  } catch (cause) {
    if (!isAppError(cause)) {
      throw new AppError('HOME_NOT_WRITABLE', { home: folder, problem: problemOf(cause) }, { cause });
    }
    // A folder that cannot be written at all is a mistake to be told at once; a full disk may have room elsewhere for what is made.
    if (cause.code !== 'DISK_FULL') throw cause;
    writable = false;
    onProblem?.(cause.message);
  }
  const write = async (files: readonly (readonly [string, Uint8Array | string])[]) => {
    if (!writable) return;
    try {
      for (const [file, bytes] of files) await writeDurably(join(folder, file), bytes);
    } catch (error) {
      writable = false;
      onProblem?.(problemOf(error));
    }
  };
  return {
    async take(id) {
      try {
        const { outcome, ...rest } = keptSchema.parse(JSON.parse(await readFile(join(folder, `${id}.json`), 'utf8')));
        if ('problem' in outcome) return { ...rest, outcome };
        const bytes = new Uint8Array(await readFile(join(folder, `${id}.onnx`)));
        const { sha256, untaught, ...made } = outcome.made;
        if (sha256Of(bytes) !== sha256) return null;
        return {
          ...rest,
          outcome: {
            ...outcome,
            unseen: outcome.unseen && new Set(outcome.unseen),
            made: {
              ...made,
              model: decodeModel(bytes, id),
              bytes,
              careful: null,
              untaught: untaught && new Set(untaught),
            },
          },
        };
      } catch {
        return null;
      }
    },
    async keep(id, { outcome, ...rest }) {
      if ('problem' in outcome) return write([[`${id}.json`, JSON.stringify({ ...rest, outcome })]]);
      const { made, unseen, ...measures } = outcome;
      const { ratio, untouched, student, rule, untaught, bytes } = made;
      const float = made.float && (typeof made.float === 'string' ? made.float : sha256Of(encodeModel(made.float)));
      const sha256 = sha256Of(bytes);
      const told = { ratio, untouched, student, rule, untaught: untaught && [...untaught], sha256, float };
      // The model first: a description without its model would count for nothing.
      await write([
        [`${id}.onnx`, bytes],
        [
          `${id}.json`,
          JSON.stringify({ ...rest, outcome: { ...measures, unseen: unseen && [...unseen], made: told } }),
        ],
      ]);
    },
    async begin(id) {
      const name = begunFile(id);
      const before = await timesBegun(join(folder, name));
      if (before >= MOST_BEGUN) return null;
      await write([[name, String(before + 1)]]);
      return () => rm(join(folder, name), { force: true });
    },
    async decided(what, decide) {
      const name = `${what}.json`;
      try {
        return z
          .number()
          .int()
          .min(1)
          .parse(JSON.parse(await readFile(join(folder, name), 'utf8')));
      } catch {
        const count = await decide();
        await write([[name, JSON.stringify(count)]]);
        return count;
      }
    },
    async remove() {
      await rm(folder, { recursive: true, force: true });
      // Others may be kept there.
      await rmdir(dirname(folder)).catch(() => {});
    },
  };
}
