import { z } from 'zod';
import { regionSchema } from './recipe.ts';
import { id, sha256Schema, share } from './values.ts';

/* Classes, parts with their judgement, labels, the queue. */

/** Swatch tokens --c1..--c8. */
export const CLASS_COLORS = 8;

export const defectClassSchema = z.object({
  id,
  names: z.object({ en: z.string(), ja: z.string() }),
  /** The class of good parts. */
  isOk: z.boolean(),
  color: z.number().int().min(1).max(CLASS_COLORS),
  hotKey: z.string().length(1).nullable(),
  retired: z.boolean(),
});
export type DefectClass = z.infer<typeof defectClassSchema>;

export const verdictSchema = z.enum(['ok', 'ng', 'unsure']);
export type Verdict = z.infer<typeof verdictSchema>;

/** Why a part is unsure; null for ok and ng. An error is never ok. */
export const unsureReasonSchema = z.enum(['novel', 'low-margin', 'error', 'late', 'no-model']);
export type UnsureReason = z.infer<typeof unsureReasonSchema>;

/** The judgement of one frame, as the line process hands it to the line output and the archive. */
export const judgementSchema = z.object({
  verdict: verdictSchema,
  unsureReason: unsureReasonSchema.nullable(),
  /** Best class of the deciding tile; null when nothing could be inferred. */
  classId: id.nullable(),
  secondClassId: id.nullable(),
  confidence: share,
  margin: share,
  /** Confidence that the verdict had to reach. */
  limit: share,
  novelty: z.number(),
  noveltyLimit: z.number(),
  /** Deciding tile in the rotated frame, where it lay on this part; null: the whole frame was judged. */
  tile: regionSchema.extend({ index: z.number().int(), count: z.number().int() }).nullable(),
  modelId: id.nullable(),
  /** From the last byte of the frame to the verdict. */
  latencyMs: z.number().min(0),
  errorCode: z.string().nullable(),
  /**
   * For the charts of the monitor: mean and deviation of the picture as the model is given it, then up to six logits of the deciding tile.
   * Absent where nothing was inferred, and in records of earlier versions.
   */
  signature: z.array(z.number()).max(8).optional(),
});
export type Judgement = z.infer<typeof judgementSchema>;

export const partSchema = z.object({
  id: z.number().int(),
  stationId: id,
  /** Number of the line record; gaps are lost records and are shown. */
  seq: z.number().int(),
  at: z.iso.datetime(),
  imageSha: sha256Schema.nullable(),
  width: z.number().int(),
  height: z.number().int(),
  judgement: judgementSchema,
  /** Conversions and oddities ("converted from 16 bit"). */
  notes: z.array(z.string()),
  label: z.object({ classId: id, by: id, at: z.iso.datetime() }).nullable(),
});
export type Part = z.infer<typeof partSchema>;

/** `returned`: its label was taken away, so that it gets another one. */
export const queueReasonSchema = z.enum(['novel', 'low-margin', 'error', 'sent', 'imported', 'suspect', 'returned']);

/** Why a label that was given is doubted (learning/suspects.ts). */
export const labelDoubtSchema = z.object({
  /** The label. */
  classId: id,
  /** Probabilities of the label and of the suggestion by a model that did not learn this part; null: it could not be held out. */
  given: share.nullable(),
  suggested: share.nullable(),
  /** Copies of the picture that are labelled otherwise. */
  copies: z.number().int(),
  /** Who calls it otherwise, having seen the part without its label; absent: a model or copies doubt it. */
  by: z.string().optional(),
});
export type LabelDoubt = z.infer<typeof labelDoubtSchema>;

export const queueItemSchema = z.object({
  part: partSchema,
  reason: queueReasonSchema,
  /** Higher comes first. */
  usefulness: z.number(),
  /** Parts of one group look alike; null: stands alone. */
  groupId: z.number().int().nullable(),
  groupSize: z.number().int(),
  suggestedClassId: id.nullable(),
  /** Reason `suspect` alone. */
  doubt: labelDoubtSchema.nullable(),
});
export type QueueItem = z.infer<typeof queueItemSchema>;
