import { z } from 'zod';
import { problemSchema } from '../errors.ts';
import { defectClassSchema, verdictSchema } from './part.ts';
import { recipeSchema, regionSchema } from './recipe.ts';
import { id, sha256Schema, share } from './values.ts';

/* Backbones, models, their evidence, candidates, knowledge. */

export const backboneSchema = z.object({
  id,
  sha256: sha256Schema,
  /** Absolute path on this machine; not part of the backbone's identity. */
  file: z.string(),
  inputName: z.string(),
  /** Square input, pixels. */
  inputSize: z.number().int(),
  /** True: height and width may be chosen (multiples of 32). */
  dynamicSize: z.boolean(),
  /** x = (p - mean) / std for p in 0..255, per RGB channel. */
  mean: z.tuple([z.number(), z.number(), z.number()]),
  std: z.tuple([z.number(), z.number(), z.number()]),
  /** What mean and std are from: a file beside the model, or nothing; absent: shipped, or added before this was kept. */
  normalisationFrom: z.enum(['file', 'assumed']).optional(),
  /** Outputs that make up the feature vector, in order: pooled [N,d] or maps [N,d,h,w] that are pooled by the learner. */
  featureOutputs: z
    .array(
      z.object({
        name: z.string(),
        channels: z.number().int(),
        kind: z.enum(['pooled', 'map']),
        /** Of a pooled output: the model's output [N,d,h,w] whose mean it is, where the model gives it (heat maps). */
        map: z.string().optional(),
      }),
    )
    .min(1),
  features: z.number().int(),
  macs: z.number(),
  params: z.number(),
  source: z.string(),
  licence: z.string(),
});
export type Backbone = z.infer<typeof backboneSchema>;

/**
 * model.json of a bundle: all that is needed to judge a frame beside model.onnx, whose input is `image` [N,3,S,S] float32
 * (normalised) and whose outputs are `logits` [N,C] and `novelty` [N]; `map` [N,d,h,w] where a heat map is offered.
 */
export const modelCardSchema = z.object({
  format: z.literal(1),
  id,
  createdAt: z.iso.datetime(),
  demo: z.boolean(),
  stationId: id.nullable(),
  backboneId: id,
  backboneSha256: sha256Schema,
  knowledgeId: id.nullable(),
  modelSha256: sha256Schema,
  inputSize: z.number().int(),
  mean: z.tuple([z.number(), z.number(), z.number()]),
  std: z.tuple([z.number(), z.number(), z.number()]),
  /** In the order of the logits. */
  classes: z.array(defectClassSchema.pick({ id: true, names: true, isOk: true })).min(1),
  temperature: z.number().positive(),
  /** Least confidence for ok and for ng; below: unsure. Above noveltyLimit: unsure. */
  thresholds: z.object({ ok: share, ng: share, novelty: z.number() }),
  strategy: z.string(),
  precision: z.enum(['fp32', 'int8']),
  recipe: recipeSchema.nullable(),
});
export type ModelCard = z.infer<typeof modelCardSchema>;

const measuresSchema = z.object({
  accuracy: share,
  balancedAccuracy: share,
  /** 95 % interval of balancedAccuracy. */
  interval: z.tuple([z.number(), z.number()]),
  latencyMsP50: z.number(),
  latencyMsP99: z.number(),
  macs: z.number(),
  params: z.number(),
  bytes: z.number(),
});
export type Measures = z.infer<typeof measuresSchema>;

const gateOutcomeSchema = z.enum(['pass', 'fail', 'not-enough-evidence']);
export const gateSchema = z.object({
  name: z.string(),
  limit: z.string(),
  measured: z.string(),
  /** 95 % bound, as text; null where there is none. */
  bound: z.string().nullable(),
  outcome: gateOutcomeSchema,
  /** Images missing until the bound could be met; 0 when enough, and when no number of them that can be told would do. */
  missing: z.number().int(),
});
export type Gate = z.infer<typeof gateSchema>;

export const changedVerdictSchema = z.object({
  imageSha: sha256Schema,
  truthClassId: id.nullable(),
  from: z.object({ verdict: verdictSchema, classId: id.nullable() }),
  to: z.object({ verdict: verdictSchema, classId: id.nullable() }),
  kind: z.enum(['worse', 'both-wrong', 'better']),
});
export type ChangedVerdict = z.infer<typeof changedVerdictSchema>;

/** Whether held-out parts show that wrong verdicts stay below a limit, at the threshold chosen for it. */
const shownSchema = z.object({
  outcome: z.enum(['kept', 'broken', 'not-enough-evidence']),
  limit: share,
  wrong: z.number().int(),
  parts: z.number().int(),
  /** Exact 95 % upper bound. */
  bound: share,
});

/** Where a model was measured. */
export const environmentSchema = z.object({
  cpu: z.string(),
  onnxruntime: z.string(),
  threads: z.number().int(),
  /** What the processor can do that integer and float kernels are chosen by, sorted; absent: not told (older evidence, other systems). */
  features: z.array(z.string()).optional(),
});
export type Environment = z.infer<typeof environmentSchema>;

/** What a model says of single pictures, so that another PC can show that it says the same. */
const paritySampleSchema = z.object({
  /** How the frames of `pictures` were turned first. */
  rotation: recipeSchema.shape.rotation,
  /** Of the station's own, by hash; the region is in the rotated frame. */
  pictures: z.array(
    z.object({ imageSha: sha256Schema, region: regionSchema.nullable(), logits: z.array(z.number()).min(1) }),
  ),
  /** That every PC can make (compression/parity-sample.ts). */
  made: z.array(z.object({ seed: z.number().int().min(0), logits: z.array(z.number()).min(1) })),
});
export type ParitySample = z.infer<typeof paritySampleSchema>;

const sumsOfOthersSchema = z.object({
  /** Parts behind the sums of each class, and of how many parts this station has pictures. */
  classes: z.array(z.object({ classId: id, parts: z.number().int().min(1), here: z.number().int().min(0) })).min(1),
  /** sha256 of the sums that came in. */
  files: z.array(sha256Schema).min(1),
  /** How many of them came by file and do not name their pictures: this station's own may be among them. Absent in older evidence. */
  unlisted: z.number().int().min(0).optional(),
  /** Of the map from the backbone's features to this model's; null: they are the same, and the sums were added as they are. */
  map: z
    .object({
      /** Pictures of this station that the map was fitted on. */
      images: z.number().int(),
      /** Explained share of the variance of features that were held out of the fit. */
      r2: z.number(),
      heldOut: z.enum(['classes', 'folds']),
      poor: z.boolean(),
    })
    .nullable(),
});
export type EvidenceOfSums = z.infer<typeof sumsOfOthersSchema>;

/** How far two models say the same of the same pictures. */
const paritySchema = z.object({ images: z.number().int(), equal: z.number().int(), maxLogitDifference: z.number() });
export type Parity = z.infer<typeof paritySchema>;

/** What a candidate was on its way onto the line. */
const modelStageSchema = z.enum(['trained', 'compressed', 'quantised', 'deployed']);
export type ModelStage = z.infer<typeof modelStageSchema>;

/** One step on that way, or the whole of it: what it changed. */
const parityStageSchema = z.object({ from: modelStageSchema, to: modelStageSchema, ...paritySchema.shape });
export type ParityStage = z.infer<typeof parityStageSchema>;

export const evidenceSchema = z.object({
  /** Uncompressed backbone with the same knowledge. */
  reference: measuresSchema,
  candidate: measuresSchema,
  speedup: z.number(),
  /** 95 % of it; null: too few runs. Absent in older evidence. */
  speedupInterval: z.tuple([z.number(), z.number()]).nullable().optional(),
  /** Balanced accuracy of the reference less that of the candidate, percentage points: what the candidate was judged by. */
  accuracyDropPp: z.number(),
  /** How the accuracies were found, e.g. "5-fold cross-validation over 240 labelled parts". */
  basis: z.string(),
  perClass: z.array(
    z.object({
      classId: id,
      n: z.number().int(),
      /** Held out: of parts that the model's head had not learnt. */
      reference: share,
      candidate: share,
      /** As it inspects, on parts that it may have learnt; null: no model inspects, or it does not know the class. */
      active: share.nullable(),
      /** Of the candidate the same way: what compares with `active`. Absent in older evidence. */
      deployed: share.nullable().optional(),
    }),
  ),
  confusion: z.array(z.array(z.number().int())),
  gates: z.array(gateSchema),
  /** Expected calibration error on held-out folds before and after the temperature, and what the thresholds keep. Absent in older evidence. */
  calibration: z
    .object({
      temperature: z.number().positive(),
      eceBefore: share.nullable(),
      ece: share.nullable(),
      escape: shownSchema,
      overkill: shownSchema,
      unsureShare: share.nullable(),
      /** Share of known parts that the novelty limit promises not to exceed; null: nothing could be held out. Absent in older evidence. */
      falseNovel: share.nullable().optional(),
    })
    .optional(),
  parity: paritySchema,
  /** Step by step from the trained model to the deployed file, and the whole way last. Absent in older evidence, and of models that learnt good parts only. */
  parityStages: z.array(parityStageSchema).optional(),
  changed: z.array(changedVerdictSchema),
  /** Of a pruned model: groups of channels that pruning left alone, and why. Absent in older evidence, and of others. */
  untouched: z.array(z.object({ group: z.string(), why: z.string() })).optional(),
  /** Of a pruned model: operators that pruning does not know, and how many of each there are. */
  unknownOperators: z.record(z.string(), z.number().int()).optional(),
  /** What the head has from other stations as sums, without their pictures. Absent: nothing. */
  sumsOfOthers: sumsOfOthersSchema.optional(),
  environment: environmentSchema,
  /** Absent in older evidence, and of models that learnt good parts only. */
  sample: paritySampleSchema.optional(),
  /** sha256 over the sorted (image hash, class) pairs that the evidence stands on. */
  dataSha256: sha256Schema,
});
export type Evidence = z.infer<typeof evidenceSchema>;

/** An archived frame that the candidate and the active model judge differently. */
const disagreementSchema = changedVerdictSchema.omit({ kind: true });

/** What a candidate would have decided on archived frames, beside the active model: nothing of it reached line or archive. */
export const shadowSchema = z.object({
  at: z.iso.datetime(),
  activeModelId: id,
  /** Frames that both models judged. */
  judged: z.number().int(),
  disagreements: z.number().int(),
  unreadable: z.number().int(),
  /** The time budget ended before all frames were judged. */
  outOfTime: z.boolean(),
  /** The newest disagreements. */
  examples: z.array(disagreementSchema),
  /**
   * Resident bytes of a process that has done nothing but run the model, one process for each of the two; Node and ONNX Runtime are in both.
   * Absent: not measured.
   */
  memory: z.object({ candidateBytes: z.number().int().min(0), activeBytes: z.number().int().min(0) }).optional(),
});
export type Shadow = z.infer<typeof shadowSchema>;

/** What a model does on this PC, where its evidence was made on another one. */
export const recheckSchema = z.object({
  at: z.iso.datetime(),
  environment: environmentSchema,
  /** Pictures of the evidence that were at hand; `parity.images` counts the made ones too. */
  pictures: z.number().int(),
  parity: paritySchema,
  latencyMsP50: z.number(),
  latencyMsP99: z.number(),
  /** Parity and latency, by the limits of the evidence. */
  gates: z.array(gateSchema),
});
export type Recheck = z.infer<typeof recheckSchema>;

/** Wrong verdicts among parts whose truth is known, with the exact two-sided 95 % interval of their share. */
export const checkedSchema = z.object({
  wrong: z.number().int(),
  parts: z.number().int(),
  low: share,
  high: share,
});

/** A candidate on the station's golden set. */
const goldenResultSchema = z.object({
  at: z.iso.datetime(),
  /** Of the set's images and classes. */
  setSha256: sha256Schema,
  /** Which use of the set this was, from 1: the more candidates were tried on it, the less it says. */
  use: z.number().int(),
  /** So many candidates were tried on it that it should be refreshed. Absent: not yet. */
  refreshDue: z.boolean().optional(),
  /** Judged, without those that leak. */
  images: z.number().int(),
  /** Left out: learnt by this candidate, or nearly like a picture that was. */
  leaks: z.number().int(),
  unreadable: z.number().int(),
  unsure: z.number().int(),
  rightClass: z.number().int(),
  /** NG images judged ok. */
  escape: checkedSchema,
  /** OK images judged ng. */
  overkill: checkedSchema,
});
export type GoldenResult = z.infer<typeof goldenResultSchema>;

const candidateStateSchema = z.enum(['candidate', 'submitted', 'approved', 'active', 'retired', 'rejected']);
export type CandidateState = z.infer<typeof candidateStateSchema>;

export const approvalSchema = z.object({
  signatureId: id,
  userId: id,
  userName: z.string(),
  meaning: z.string(),
  waiver: z.string().nullable(),
  at: z.iso.datetime(),
  /** What it was decided by, where the station has a golden set: under the signature. Absent: no such set, or signed before they were bound. */
  golden: goldenResultSchema.optional(),
});

/** An activation that a supervisor has set a time for. */
export const plannedActivationSchema = z.object({
  candidateId: id,
  at: z.iso.datetime(),
  userId: id,
  userName: z.string(),
  plannedAt: z.iso.datetime(),
  /** Why it did not come about; it is not tried again. */
  problem: problemSchema.nullable(),
});
export type PlannedActivation = z.infer<typeof plannedActivationSchema>;

/** How a candidate is made from its backbone. A bundle of another version may name another way. */
export const candidateStrategies = ['none', 'size', 'pre-prune', 'post-prune', 'distill', 'good-parts'] as const;
export type CandidateStrategy = (typeof candidateStrategies)[number];

export const candidateSchema = z.object({
  id,
  stationId: id,
  state: candidateStateSchema,
  createdAt: z.iso.datetime(),
  knowledgeId: id,
  backboneId: id,
  strategy: z.string(),
  precision: z.enum(['fp32', 'int8']),
  ratio: z.number(),
  inputSize: z.number().int(),
  bundleSha256: sha256Schema,
  offered: z.boolean(),
  recommended: z.boolean(),
  reason: z.string(),
  evidence: evidenceSchema,
  approval: approvalSchema.nullable(),
  rejection: z.object({ userName: z.string(), reason: z.string(), at: z.iso.datetime() }).nullable(),
  activatedAt: z.iso.datetime().nullable(),
  /** Where an imported bundle came from; absent or null: made here. */
  origin: z
    .object({
      /** Raw public key of the installation that signed the file, hexadecimal. */
      installation: z.string(),
      /** As that installation calls it. */
      candidateId: id,
      stationName: z.string(),
      fileSha256: sha256Schema,
      /** Who had approved it there; it still needs an approval here. */
      approvedBy: z.string().nullable(),
    })
    .nullable()
    .optional(),
  /** Of its last shadow run; absent: none yet. */
  shadow: shadowSchema.optional(),
  /** Absent: its evidence is of this PC, or it was not measured here yet. */
  recheck: recheckSchema.optional(),
  /** Absent: not tried on a golden set. */
  golden: goldenResultSchema.optional(),
});
export type Candidate = z.infer<typeof candidateSchema>;

export const knowledgeSchema = z.object({
  id,
  stationId: id,
  backboneId: id,
  createdAt: z.iso.datetime(),
  parentId: id.nullable(),
  classes: z.array(
    z.object({
      classId: id,
      labelled: z.number().int(),
      /** Of a class of few parts: of how many it was told right, each by a fit without it. Absent: of more parts, or of one alone. */
      leaveOneOut: z.object({ right: z.number().int(), of: z.number().int() }).optional(),
    }),
  ),
  lambda: z.number(),
  balancing: z.number(),
  /** Cross-validated over the folds. */
  balancedAccuracy: share.nullable(),
  seconds: z.number(),
  /** Of the images and classes that it was made of; absent: made before these were kept. */
  snapshotId: sha256Schema.optional(),
});
export type Knowledge = z.infer<typeof knowledgeSchema>;
