import { z } from 'zod';
import { problemSchema } from '../errors.ts';
import { id, share } from './values.ts';

/** Work that takes longer than a call. */
export const jobSchema = z.object({
  id,
  kind: z.enum(['import', 'update', 'compress', 'demo', 'shadow', 'backup', 'golden', 'recheck']),
  stationId: id.nullable(),
  state: z.enum(['waiting', 'running', 'done', 'failed', 'cancelled']),
  progress: share,
  secondsLeft: z.number().nullable(),
  /** What is being done, as a message key with details: the window translates it. */
  step: z.object({ key: z.string(), details: z.record(z.string(), z.union([z.string(), z.number()])).default({}) }),
  startedAt: z.iso.datetime(),
  problem: problemSchema.nullable(),
  /** Id of what was made: a knowledge id, candidate ids. */
  result: z.array(z.string()),
  /** Files that were left out, by name and why (the first 200). */
  skipped: z.array(z.object({ file: z.string(), code: z.string(), message: z.string() })).optional(),
});
export type Job = z.infer<typeof jobSchema>;
