import { z } from 'zod';
import { problemSchema } from '../errors.ts';
import { id, share } from './values.ts';

/** Work that takes longer than a call. */
export const jobSchema = z.object({
  id,
  kind: z.enum(['import', 'update', 'compress', 'demo', 'shadow', 'backup', 'golden', 'recheck']),
  stationId: id.nullable(),
  /** `paused`: a person holds it, or a disk with little room (then `problem` says so); what it has done so far is kept until it is resumed or cancelled. */
  state: z.enum(['waiting', 'running', 'paused', 'done', 'failed', 'cancelled']),
  progress: share,
  secondsLeft: z.number().nullable(),
  /** What is being done, as a message key with details: the window translates it. */
  step: z.object({ key: z.string(), details: z.record(z.string(), z.union([z.string(), z.number()])).default({}) }),
  startedAt: z.iso.datetime(),
  /** It can be paused, and goes on where it was. */
  resumable: z.boolean().optional(),
  /** It is at work that can end early with what it has found. */
  finishable: z.boolean().optional(),
  /** Seconds that it ran, or waited for its turn, until it was paused, or the program ended, last: neither a pause nor the time without the program counts. */
  usedSeconds: z.number().min(0).optional(),
  /** Since when it runs or waits again after a pause or a start of the program. */
  resumedAt: z.iso.datetime().optional(),
  problem: problemSchema.nullable(),
  /** Id of what was made: a knowledge id, candidate ids. */
  result: z.array(z.string()),
  /** Files that were left out, by name and why (the first 200). */
  skipped: z.array(z.object({ file: z.string(), code: z.string(), message: z.string() })).optional(),
});
export type Job = z.infer<typeof jobSchema>;
