import { z } from 'zod';
import {
  backboneSchema,
  changedVerdictSchema,
  criteriaSchema,
  defectClassSchema,
  environmentSchema,
  evidenceSchema,
  knowledgeSchema,
  modelCardSchema,
  recheckSchema,
  recipeSchema,
  regionSchema,
  sha256Schema,
  shadowSchema,
  verdictSchema,
} from './domain.ts';

/* What the core asks of the trainer process. It reads files and writes into the folder it is given, never the database. */

/** A labelled image. `row` is its place in the feature file; -1: features are still to be extracted. */
const labelledImageSchema = z.object({
  sha: sha256Schema,
  file: z.string(),
  /** In the rotated frame; null: whole frame. */
  region: regionSchema.nullable(),
  classId: z.string(),
  row: z.number().int().min(-1),
});
export type LabelledImage = z.infer<typeof labelledImageSchema>;

/** Classes that exported sums or earlier models name and that are no more, each with what is meant by it now; null: nothing, its sums are left out. */
const successorsSchema = z.array(z.tuple([z.string(), z.string().nullable()]));
export type Successors = z.infer<typeof successorsSchema>;

/** Perceptual hash of a picture (vision/perceptual-hash.ts). */
const lookSchema = z.string().regex(/^[0-9a-f]{16}$/);

const base = {
  backbone: backboneSchema,
  recipe: recipeSchema,
  classes: z.array(defectClassSchema),
  images: z.array(labelledImageSchema),
  criteria: criteriaSchema,
  threads: z.number().int().min(1),
  /** Where results go; made by the caller, empty. */
  outDir: z.string(),
};

const knowledgeSummarySchema = z.object({
  lambda: z.number(),
  balancing: z.number(),
  temperature: z.number(),
  balancedAccuracy: z.number().nullable(),
  classes: knowledgeSchema.shape.classes,
  seconds: z.number(),
});

/** A label that is perhaps wrong (learning/suspects.ts). */
const suspectSchema = z.object({
  sha: sha256Schema,
  classId: z.string(),
  suggestedClassId: z.string(),
  /** Probabilities of the two by a model that did not learn the picture; null: it could not be held out. */
  given: z.number().nullable(),
  suggested: z.number().nullable(),
  /** Copies of the picture under other labels. */
  contradicting: z.array(sha256Schema),
});
export type Suspect = z.infer<typeof suspectSchema>;

export const trainerMethods = {
  /**
   * Extracts the features of images with row -1, appends them to featureFile (row-major float32, `features` per row), and
   * solves the knowledge of all images into outDir/knowledge.json + head.f64.
   */
  'trainer.update': {
    input: z.object({
      ...base,
      featureFile: z.string(),
      /** Folder in which the station's sums are kept between updates; without it they are made anew. */
      statisticsDir: z.string().optional(),
      /** Exported statistics of other stations, to be added. */
      exports: z.array(z.string()).optional(),
      successors: successorsSchema.optional(),
    }),
    output: z.object({
      summary: knowledgeSummarySchema,
      rows: z.array(z.object({ sha: sha256Schema, row: z.number().int() })),
      /** The surest first. */
      suspects: z.array(suspectSchema),
    }),
  },
  /** Writes the sums of all images, whose features must be there already, into a file (learning/knowledge-export.ts). */
  'trainer.export': {
    input: z.object({
      ...base,
      featureFile: z.string(),
      statisticsDir: z.string(),
      exports: z.array(z.string()),
      successors: successorsSchema.optional(),
      /** Labelled parts by user id, of a file that stays in the home: it names its images too. null: it is for others. */
      labelledBy: z.record(z.string(), z.number().int()).nullable(),
      lambda: z.number(),
      balancing: z.number(),
      file: z.string(),
      /** Fingerprint of the home's root key, id of the station. */
      source: z.object({ home: z.string(), station: z.string() }),
      /** The home is a demo. */
      demo: z.boolean(),
    }),
    output: z.object({ classes: z.array(z.object({ classId: z.string(), labelled: z.number().int() })) }),
  },
  /** Sums all images anew and compares with the sums that are kept between updates, bit by bit. */
  'trainer.check': {
    input: z.object({
      backbone: backboneSchema,
      images: z.array(labelledImageSchema),
      threads: z.number().int().min(1),
      featureFile: z.string(),
      statisticsDir: z.string(),
    }),
    output: z.object({
      images: z.number().int(),
      /** Classes that differ. */
      differing: z.array(z.string()),
      /** Classes whose kept sums did not fit the labels and were made again first. */
      rebuilt: z.array(z.string()),
    }),
  },
  /** Makes, measures and judges compressed candidates: outDir/<n>/{model.onnx, model.json, evidence.json}. */
  'trainer.compress': {
    input: z.object({
      ...base,
      featureFile: z.string(),
      /** Exported statistics of other stations: they are in the candidates' heads too. */
      exports: z.array(z.string()).default([]),
      successors: successorsSchema.optional(),
      knowledgeDir: z.string(),
      knowledgeId: z.string(),
      stationId: z.string(),
      demo: z.boolean(),
      timeBudgetS: z.number().positive(),
      /** Bundle that is active now, for the paired comparison. */
      activeBundleDir: z.string().nullable(),
      /** Ids for the candidates, in the order in which they are made. */
      candidateIds: z.array(z.string()).min(1),
      /** Of the station's line process: candidates are timed with them, and their evidence names them. */
      lineThreads: z.number().int().min(1),
      /** Where what is measured is kept, so that the call can be made again after a power cut; null: nowhere. */
      workDir: z.string().nullable().default(null),
      /** The search is over: what is in `workDir` is gone through, and the best of it finished. */
      enough: z.boolean().optional(),
      /** Where times of layers on this PC are kept from one call to the next; null: nowhere. */
      costsDir: z.string().nullable().default(null),
    }),
    output: z.object({
      candidates: z.array(
        z.object({
          dir: z.string(),
          card: modelCardSchema,
          evidence: evidenceSchema,
          ratio: z.number(),
          offered: z.boolean(),
          recommended: z.boolean(),
          reason: z.string(),
        }),
      ),
      why: z.string(),
    }),
  },
  /** Order and groups of the labelling queue: novelty, margin and look-alikes from features of unlabelled images. */
  'trainer.features': {
    input: z.object({
      backbone: backboneSchema,
      recipe: recipeSchema,
      images: z.array(labelledImageSchema.omit({ classId: true, row: true })),
      threads: z.number().int().min(1),
    }),
    /** Row-major float32 [images, features]; an unreadable image gives a row of NaN. */
    output: z.object({ features: z.instanceof(Float32Array) }),
  },
  /** Judges frames with two models and gives back where they differ; reads only. */
  'trainer.shadow': {
    input: z.object({
      candidateDir: z.string(),
      activeDir: z.string(),
      /** The station's, for a model that names none of its own. */
      recipe: recipeSchema,
      /** The newest first. */
      frames: z.array(z.object({ sha: sha256Schema, file: z.string() })),
      threads: z.number().int().min(1),
      timeBudgetS: z.number().positive(),
      /** At most so many disagreements are listed. */
      most: z.number().int().min(0),
      successors: successorsSchema.optional(),
    }),
    output: shadowSchema
      .pick({ judged: true, disagreements: true, unreadable: true, outOfTime: true })
      .extend({ examples: z.array(changedVerdictSchema.pick({ imageSha: true, from: true, to: true })) }),
  },
  /** What this process holds after it has run the model some times. It is the model's cost where nothing else was asked of the process. */
  'trainer.weigh': {
    input: z.object({ bundleDir: z.string(), threads: z.number().int().min(1) }),
    output: z.object({ rssBytes: z.number().int().min(0) }),
  },
  /** A model on images that never taught (null: none), and which of these are, or nearly are, among the learnt ones. */
  'trainer.golden': {
    input: z.object({
      bundleDir: z.string().nullable(),
      /** The station's, for a model that names none of its own. */
      recipe: recipeSchema,
      golden: z.array(z.object({ sha: sha256Schema, file: z.string() })),
      learnt: z.array(z.object({ sha: sha256Schema, file: z.string() })),
      threads: z.number().int().min(1),
    }),
    output: z.object({
      results: z.array(z.object({ sha: sha256Schema, verdict: verdictSchema, classId: z.string().nullable() })),
      leaks: z.array(z.object({ sha: sha256Schema, like: sha256Schema })),
      unreadable: z.array(sha256Schema),
      /** Of golden images that could be read and are not flat. */
      looks: z.array(z.object({ sha: sha256Schema, look: lookSchema })),
    }),
  },
  /** Which of the newly labelled pictures go to the golden set (learning/golden-share.ts). */
  'trainer.goldenShare': {
    input: z.object({
      maxPixels: z.number().int().positive(),
      fresh: z.array(z.object({ sha: sha256Schema, file: z.string(), classId: z.string() })),
      /** All others that teach; row of the feature file, -1: none, and the picture itself is looked at. */
      taught: z.array(z.object({ sha: sha256Schema, file: z.string(), row: z.number().int().min(-1) })),
      golden: z.array(z.object({ sha: sha256Schema, classId: z.string(), look: lookSchema.nullable() })),
      most: z.array(z.object({ classId: z.string(), images: z.number().int().min(0) })),
      featureFile: z.string(),
    }),
    output: z.object({ drawn: z.array(z.object({ sha: sha256Schema, look: lookSchema.nullable() })) }),
  },
  /** Measures a model on this PC, `always` or unless its evidence or `measuredOn` is of an equal one: null. */
  'trainer.recheck': {
    input: z.object({
      bundleDir: z.string(),
      measuredOn: z.array(environmentSchema),
      always: z.boolean().optional(),
      /** Pictures of the evidence's sample that are here. */
      files: z.array(z.object({ sha: sha256Schema, file: z.string() })),
      threads: z.number().int().min(1),
      criteria: criteriaSchema,
    }),
    output: recheckSchema.omit({ at: true }).nullable(),
  },
  'trainer.heatMap': {
    input: z.object({
      bundleDir: z.string(),
      file: z.string(),
      region: regionSchema.nullable(),
      /** The station's, for a model that names none of its own. */
      recipe: recipeSchema,
      classId: z.string(),
    }),
    output: z.object({
      width: z.number().int(),
      height: z.number().int(),
      weights: z.array(z.number().int()),
      region: regionSchema,
    }),
  },
} satisfies Record<string, { input: z.ZodType; output: z.ZodType }>;

export const trainerEvents = {
  'trainer.progressed': z.object({
    progress: z.number().min(0).max(1),
    secondsLeft: z.number().nullable(),
    step: z.object({ key: z.string(), details: z.record(z.string(), z.union([z.string(), z.number()])) }),
  }),
} satisfies Record<string, z.ZodType>;
