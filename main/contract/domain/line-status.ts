import { z } from 'zod';
import { problemSchema } from '../errors.ts';
import { id } from './values.ts';

/* How a line stands, and what its monitor raises. */

/** What a chart of the monitor watches, and `revalidation`: the active model is to be looked at again. */
const alarmMeasureSchema = z.enum([
  'novelty',
  'margin',
  'feature-mean',
  'ng-share',
  'unsure-share',
  'unusual-share',
  'revalidation',
]);
/** The line is no longer what it was when the model was activated, or it was activated long ago. */
export const alarmSchema = z.object({
  id: z.number().int(),
  stationId: id,
  modelId: id,
  measure: alarmMeasureSchema,
  at: z.iso.datetime(),
  /** At which the chart went beyond its limit; of `revalidation` the newest one. */
  partId: z.number().int(),
  acknowledged: z.object({ by: z.string(), at: z.iso.datetime() }).nullable(),
});
export type Alarm = z.infer<typeof alarmSchema>;

const lampSchema = z.enum(['well', 'look', 'fault', 'busy', 'off']);
/** Signals that a person may put out by hand while the line is stopped, to see whether the PLC hears them. */
export const testedSignals = ['busy', 'resultReady', 'ok', 'ng', 'unsure', 'error', 'alarm', 'recipeError'] as const;
export const testSignalsSchema = z.partialRecord(z.enum(testedSignals), z.boolean());
export type TestSignals = z.infer<typeof testSignalsSchema>;

/** How the line output stands. */
const lineOutputStatusSchema = z.object({
  /** well: connected; look: listening, and nobody there. */
  lamp: lampSchema,
  port: z.number().int(),
  peers: z.number().int(),
  /** By the names of the register map. */
  signals: z.record(z.string(), z.union([z.boolean(), z.number(), z.string()])),
});
export type LineOutputStatus = z.infer<typeof lineOutputStatusSchema>;

export const lineStatusSchema = z.object({
  stationId: id,
  state: z.enum(['stopped', 'starting', 'running', 'fault']),
  camera: lampSchema,
  problem: problemSchema.nullable(),
  modelId: id.nullable(),
  startedAt: z.iso.datetime().nullable(),
  parts: z.number().int(),
  ok: z.number().int(),
  ng: z.number().int(),
  unsure: z.number().int(),
  ngByClass: z.record(z.string(), z.number().int()),
  droppedFrames: z.number().int(),
  /** Triggers taken, and those refused: too soon after the last one, or bounced. 0 in free run. */
  triggers: z.number().int().default(0),
  refusedTriggers: z.number().int().default(0),
  /** Parts that were answered too late. */
  late: z.number().int().default(0),
  /** Records that a power cut took: gaps in the numbering. */
  lostRecords: z.number().int(),
  partsPerMinute: z.number(),
  latencyMsP50: z.number(),
  latencyMsP99: z.number(),
  /** Last ten minutes, oldest first: [p50, p99] per 10 s. */
  latencyTrend: z.array(z.tuple([z.number(), z.number()])),
  rssBytes: z.number(),
  /** null: the station has none, or it is not open. */
  lineOutput: lineOutputStatusSchema.nullable().default(null),
});
export type LineStatus = z.infer<typeof lineStatusSchema>;
