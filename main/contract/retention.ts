import { z } from 'zod';

/** How long a station keeps what people have not touched. Labelled, golden and queued parts, and what knowledge, evidence or a study names, stay in any case. */
export const retentionSchema = z.object({
  /** Pictures of good parts: so many newest ones. About 0.15 MB each at 512 x 512. */
  okPictures: z.number().int().min(100).max(100_000).default(2_000),
  /** Pictures of ng and unsure parts, days; null: for good. */
  otherPicturesDays: z.number().int().min(1).max(36_500).nullable().default(null),
  /** Records of the line, days; null: for good. One whose picture is kept stays with it. A month at least: charts and shifts look back so far. */
  recordsDays: z.number().int().min(30).max(36_500).nullable().default(null),
});
export type Retention = z.infer<typeof retentionSchema>;

const amountSchema = z.object({
  count: z.number().int(),
  /** About: of pictures by a sample of their files. */
  bytes: z.number(),
});
const kindSchema = amountSchema.extend({
  /** Of them, what a retention would remove now. */
  goes: amountSchema,
});

/** What lies there of a station, and what would go. */
export const retentionPreviewSchema = z.object({
  okPictures: kindSchema,
  otherPictures: kindSchema,
  records: kindSchema,
});
