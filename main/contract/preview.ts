import { z } from 'zod';
import { cameraConfigSchema } from './domain.ts';
import { problemSchema } from './errors.ts';

/* A camera that is looked at while its station is set up. */

export const previewQuestionSchema = z.object({
  /** As it is being set up, saved or not. */
  camera: cameraConfigSchema,
  /** Number of the newest picture that was seen: it is not sent again. 0: none. */
  after: z.number().int().min(0).default(0),
});
export type PreviewQuestion = z.output<typeof previewQuestionSchema>;

/** The newest picture, scaled down; `width` and `height` are those of the whole frame, pixels. */
export const previewPictureSchema = <J extends z.ZodType>(jpeg: J) =>
  z.object({ number: z.number().int().min(1), width: z.number().int(), height: z.number().int(), jpeg });

export const previewedSchema = z.object({
  state: z.enum(['starting', 'delivering', 'lost']),
  problem: problemSchema.nullable(),
});
export type Previewed = z.infer<typeof previewedSchema>;
