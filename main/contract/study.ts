import { z } from 'zod';
import { id, sha256Schema, share } from './domain/values.ts';

/* An acceptance study: people (and the model) judge the same parts blind, several rounds, against a reference. */

export const studySchema = z.object({
  id,
  stationId: id,
  name: z.string(),
  createdAt: z.iso.datetime(),
  createdBy: z.string(),
  /** Rounds in which every person judges every part. */
  rounds: z.number().int(),
  parts: z.number().int(),
  /** Of them, by the reference. */
  goodParts: z.number().int(),
  closedAt: z.iso.datetime().nullable(),
  raters: z.array(z.object({ userId: id, name: z.string(), done: z.number().int(), of: z.number().int() })),
});
export type Study = z.infer<typeof studySchema>;

/** What the caller judges next; nothing of it tells what others said or what the reference is. */
export const studyNextSchema = z.object({
  /** null: the caller has judged everything. */
  part: z
    .object({ partId: z.number().int(), imageSha: sha256Schema, width: z.number().int(), height: z.number().int() })
    .nullable(),
  /** From 0. */
  round: z.number().int(),
  rounds: z.number().int(),
  done: z.number().int(),
  of: z.number().int(),
});

/** A share by counts with its exact two-sided 95 % interval. */
export const countedSchema = z.object({ count: z.number().int(), of: z.number().int(), low: share, high: share });
const kappaSchema = z.object({
  n: z.number().int(),
  agreed: z.number().int(),
  kappa: z.number().nullable(),
  interval: z.tuple([z.number(), z.number()]).nullable(),
});

export const studyReportSchema = z.object({
  study: studySchema,
  raters: z.array(
    z.object({
      /** The account's name; null: the model. */
      name: z.string().nullable(),
      rounds: z.number().int(),
      /** Parts whose reference is this person's own label. */
      ownReference: z.number().int(),
      repeated: countedSchema.nullable(),
      right: countedSchema,
      escape: countedSchema,
      escapedParts: countedSchema,
      overkill: countedSchema,
      overkilledParts: countedSchema,
      kappa: kappaSchema,
    }),
  ),
  pairs: z.array(z.object({ a: z.string().nullable(), b: z.string().nullable(), kappa: kappaSchema })),
  /** Of the people; the model is left out. */
  allSame: countedSchema,
  allRight: countedSchema,
  fleiss: z.number().nullable(),
  /** The model whose verdicts, as given on the line before the parts were labelled, are compared; null: not one model judged them all. */
  modelId: id.nullable(),
  /** Parts that somebody called otherwise than the reference, most often first. */
  disputed: z.array(
    z.object({
      partId: z.number().int(),
      imageSha: sha256Schema,
      good: z.boolean(),
      wrong: z.number().int(),
      calls: z.number().int(),
    }),
  ),
});
export type StudyReport = z.infer<typeof studyReportSchema>;
