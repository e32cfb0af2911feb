import { z } from 'zod';
import { judgementSchema, lineStatusSchema, sha256Schema, stationSchema, testSignalsSchema } from './domain.ts';
import { previewedSchema, previewPictureSchema, previewQuestionSchema } from './preview.ts';
import { wireErrorSchema } from './errors.ts';

/* What the core asks of a line process, and what it hears from it. Same rpc as the window's contract. */

const none = z.object({});

/** One inspected part as the line writes it to its spool, before anything else hears of it. */
export const lineRecordSchema = z.object({
  /** Counts from 1 per station and never restarts. */
  seq: z.number().int().min(1),
  at: z.iso.datetime(),
  /** null: the frame could not be stored (disk full); the verdict stands. */
  imageSha: sha256Schema.nullable(),
  width: z.number().int(),
  height: z.number().int(),
  judgement: judgementSchema,
  notes: z.array(z.string()),
});
export type LineRecord = z.infer<typeof lineRecordSchema>;

/**
 * Records that wait in the core at a time. What comes beyond is dropped, and asked for again (line.configure) when these are stored: a line that sends again
 * may stop behind the first that is beyond. The same for good, for a line may be older or newer than its core.
 */
export const MOST_WAITING_RECORDS = 20_000;

export const lineMethods = {
  /** First call after a (re)start. Bundle folders are checked here as in activate: the line trusts no caller. */
  'line.configure': {
    input: z.object({
      home: z.string(),
      station: stationSchema,
      /** Folder of the active bundle (model.onnx, model.json, evidence.json, approval.json); null: every part is unsure. */
      bundleDir: z.string().nullable(),
      /** Greatest number that the core has stored; the spool re-sends what came after it, before the answer and no more than can wait. */
      acknowledged: z.number().int().min(0),
      /** Number of each class for the line output; by class id. */
      classCodes: z.record(z.string(), z.number().int()).default({}),
      /**
       * Pictures of ok parts kept; older ones are deleted, unless a file `<sha>.keep` lies beside the picture (the core puts it
       * there for parts that are labelled or queued). null: all are kept.
       */
      keepOkImages: z.number().int().min(1).nullable().default(null),
    }),
    output: lineStatusSchema,
  },
  'line.start': { input: none, output: lineStatusSchema },
  'line.stop': { input: none, output: lineStatusSchema },
  /** Asks for a part now, where the station's trigger source is software. `taken` false: too soon, bounced, or the source is another. */
  'line.trigger': { input: none, output: z.object({ taken: z.boolean() }) },
  'line.status': { input: none, output: lineStatusSchema },
  /**
   * What a camera sees now, set as given, without a part being taken. Opened by the first call and by one with other settings; closed some seconds after
   * the last, and left as it was. null: the line runs, and its camera is not touched.
   */
  'line.preview': {
    input: previewQuestionSchema,
    output: previewedSchema.extend({ picture: previewPictureSchema(z.instanceof(Uint8Array)).nullable() }).nullable(),
  },
  /** Closes it at once; nothing to do where none is open. */
  'line.endPreview': { input: none, output: none },
  /** Puts signals out by hand for so long, while the line is stopped. CONFLICT on a line that runs, or without a line output. */
  'line.testOutput': {
    input: z.object({ signals: testSignalsSchema, seconds: z.number().min(1).max(60) }),
    output: none,
  },
  /** Hot swap between two parts; NOT_APPROVED or BUNDLE_ALTERED leaves the model that runs in place. */
  'line.activate': {
    input: z.object({ bundleDir: z.string(), classCodes: z.record(z.string(), z.number().int()).optional() }),
    output: lineStatusSchema,
  },
  /** Why no picture is stored from now on; null: they are stored. Records are in any case. */
  'line.archive': { input: z.object({ refused: wireErrorSchema.nullable() }), output: none },
  /** All records up to seq are stored for good. */
  'line.acknowledge': { input: z.object({ seq: z.number().int().min(0) }), output: none },
} satisfies Record<string, { input: z.ZodType; output: z.ZodType }>;

export const lineEvents = {
  'line.recorded': z.object({ records: z.array(lineRecordSchema) }),
  'line.changed': lineStatusSchema,
} satisfies Record<string, z.ZodType>;
