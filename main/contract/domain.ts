import { z } from 'zod';
import { sha256Schema } from './sha256.ts';
import { usbCameraSchema } from './usb-camera.ts';

export { sha256Schema, usbCameraSchema };

/* The words of PRODUCT as types. Sizes in pixels, times in ms unless the name says otherwise, accuracies 0..1. */

const id = z.string().min(1).max(64);
const share = z.number().min(0).max(1);

/** An auditor reads everything, the trail and the accounts included, and changes nothing. */
export const roleSchema = z.enum(['operator', 'technician', 'supervisor', 'engineer', 'auditor']);
export type Role = z.infer<typeof roleSchema>;

export const languageSchema = z.enum(['en', 'ja']);

export const userSchema = z.object({ id, name: z.string(), role: roleSchema, disabled: z.boolean() });
export type User = z.infer<typeof userSchema>;

// ---------------------------------------------------------------- recipe
export const regionSchema = z.object({
  x: z.number().int().min(0),
  y: z.number().int().min(0),
  width: z.number().int().min(1),
  height: z.number().int().min(1),
});
export type Region = z.infer<typeof regionSchema>;
/** Places of one defect that a person marks on a picture. */
export const BOXES_AT_MOST = 32;

/** What a part is recognised by: grey values of `region` of the rotated frame it was taught on, `scale` x `scale` pixels to one. */
export const templateSchema = z
  .object({
    region: regionSchema,
    scale: z.number().int().min(1).max(1024),
    width: z.number().int().min(8).max(128),
    height: z.number().int().min(8).max(128),
    /** Bytes, row-major, as base64. */
    pixels: z.base64().max(22_000),
  })
  .refine(({ width, height, pixels }) => Math.floor((pixels.replace(/=+$/, '').length * 3) / 4) === width * height, {
    message: 'a template has width x height pixels',
  });
export type Template = z.infer<typeof templateSchema>;

/** How a part is found; regions are drawn where it lay then and move with it (vision/find-part.ts). */
export const finderSchema = z.discriminatedUnion('kind', [
  /** Where regions were drawn. */
  z.object({ kind: z.literal('fixed') }),
  /** So many pixels from there, since the trigger now comes earlier or later. Regions have to be drawn. */
  z.object({
    kind: z.literal('trigger-offset'),
    x: z.number().int().min(-20_000).max(20_000),
    y: z.number().int().min(-20_000).max(20_000),
  }),
  /** Where its template fits best. Without regions the template's own place is what is judged. */
  z.object({
    kind: z.literal('template'),
    template: templateSchema,
    /** Farthest that the part may lie from where it was taught, pixels. */
    searchX: z.number().int().min(0).max(20_000).default(200),
    searchY: z.number().int().min(0).max(20_000).default(200),
    /** Correlation below which it is not the part: an error, and never ok. */
    minScore: z.number().min(0.1).max(1).default(0.6),
  }),
]);
export type Finder = z.infer<typeof finderSchema>;

/** How a station looks at a part. Rotation is applied to the frame first; regions are in the rotated frame; each region is tiled. */
export const recipeSchema = z.object({
  finder: finderSchema.default({ kind: 'fixed' }),
  rotation: z.union([z.literal(0), z.literal(90), z.literal(180), z.literal(270)]).default(0),
  /** Empty: the whole frame. */
  regions: z.array(regionSchema).max(64).default([]),
  /** Grid per region; overlap is the share of a tile that neighbours have in common. The worst tile decides the part. */
  tiles: z
    .object({
      columns: z.number().int().min(1).max(32).default(1),
      rows: z.number().int().min(1).max(32).default(1),
      overlap: z.number().min(0).max(0.5).default(0),
    })
    .default({ columns: 1, rows: 1, overlap: 0 }),
  maxPixels: z.number().int().min(1).default(100_000_000),
});
export type Recipe = z.infer<typeof recipeSchema>;

// ---------------------------------------------------------------- camera and station
export const surfaceSchema = z.enum(['brushed-metal', 'cast', 'fabric', 'printed-board']);
export type Surface = z.infer<typeof surfaceSchema>;

export const cameraConfigSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('simulated'),
    surface: surfaceSchema.default('brushed-metal'),
    seed: z.number().int().min(0).default(1),
    partsPerMinute: z.number().min(1).max(60_000).default(60),
    width: z.number().int().min(64).max(4096).default(512),
    height: z.number().int().min(64).max(4096).default(512),
    /** Longest side of the marks in pixels, of the classes that can be so small; null: in proportion to the frame. */
    defectPx: z.number().min(6).max(64).nullable().default(null),
    /** Share of parts with a defect. */
    defectShare: share.default(0.15),
    /** Simulated seconds until the defect class that nobody has labelled yet appears; 0: from the start. */
    newDefectAfterS: z.number().min(0).default(120),
    /** Relative change of brightness per 1,000 parts. */
    lightDriftPer1000: z.number().min(-1).max(1).default(0),
  }),
  z.object({
    kind: z.literal('folder'),
    path: z.string().min(1),
    after: z.enum(['leave', 'move']).default('leave'),
    /** Only with after = move; default: a folder "done" beside the watched one. */
    moveTo: z.string().min(1).optional(),
    pollMs: z.number().int().min(50).max(60_000).default(500),
  }),
  /** GigE Vision. What is not given is left as the camera has it. */
  z
    .object({
      kind: z.literal('gige'),
      /** Serial number (or MAC address, where it has none). */
      serial: z.string().min(1).max(64).optional(),
      /** Asked directly, for cameras that no broadcast reaches. With a serial number, only that camera is taken there. */
      address: z.ipv4().optional(),
      exposureUs: z.number().positive().max(60_000_000).optional(),
      gain: z.number().optional(),
      pixelFormat: z.string().min(1).max(64).optional(),
      /** source: SFNC name, such as Software or Line1; mode off: free run. */
      trigger: z.object({ mode: z.enum(['on', 'off']), source: z.string().min(1).max(64).optional() }).optional(),
      /** Largest packet that the network carries, in bytes, IP and UDP headers included. */
      packetSizeLimit: z.number().int().min(576).max(16_000).optional(),
    })
    .refine((camera) => camera.serial !== undefined || camera.address !== undefined, {
      message: 'a serial number or an address is needed',
    }),
  usbCameraSchema,
]);
export type CameraConfig = z.infer<typeof cameraConfigSchema>;

/** A GigE Vision camera that answered a search. */
export const foundCameraSchema = z.object({
  /** How a configuration names it: serial number, or MAC address where it has none. */
  id: z.string(),
  manufacturer: z.string(),
  model: z.string(),
  serial: z.string(),
  mac: z.string(),
  address: z.string(),
  userName: z.string(),
});
export type FoundCamera = z.infer<typeof foundCameraSchema>;

/** How a station's line runs: what starts a part, how long it may take, what gives way when there is too much. */
export const lineSettingsSchema = z.object({
  trigger: z
    .object({
      /**
       * free-run: each frame is a part. camera: the same, but the camera waits for its own input, so no part may go without an answer.
       * software, line-output: the line asks the camera for a frame when told to (a call; the PLC).
       */
      source: z.enum(['free-run', 'software', 'camera', 'line-output']).default('free-run'),
      /** Triggers that come sooner after the last one taken are refused and counted. */
      minSpacingMs: z.number().min(0).max(60_000).default(0),
      /** A trigger counts when none came for so long before it: a contact that bounces gives one part. */
      debounceMs: z.number().min(0).max(10_000).default(0),
    })
    .prefault({}),
  /** Several frames of each part: one verdict, one record, one result to the PLC. One that does not come makes the part unsure. */
  frames: z
    .object({
      perPart: z.number().int().min(1).max(8).default(1),
      /** Any frame decides for the worse, or more than half of them for ok and half of them for ng (main/inspection/vote.ts). */
      rule: z.enum(['worst-of', 'majority']).default('worst-of'),
      /** Between two frames that the line asks the camera for; in free run the camera sets the pace. */
      spacingMs: z.number().min(0).max(10_000).default(0),
    })
    .prefault({}),
  /** From the trigger, or the frame where there is none, to the verdict; beyond it `unsure: late`. null: ten times maxLatencyMsP99, 500 at least. */
  deadlineMs: z.number().min(20).max(60_000).nullable().default(null),
  /** When more parts wait than could be judged in time: the camera waits, the oldest is answered `late`, or the newest is not taken. */
  dropPolicy: z.enum(['block', 'drop-oldest', 'drop-newest']).default('drop-newest'),
  /**
   * A picture beyond one of these is not judged: unsure, with the reason. null: not looked at. What is dark, saturated or blurred depends
   * on part and lamp (an even white part is no fault), so these have to be set; main/vision/picture-quality.ts says how they are measured.
   */
  picture: z
    .object({
      /** Grey value, 0..255, that more than a thousandth of the pixels has to reach. */
      darkBelow: z.number().min(0).max(255).nullable().default(null),
      saturatedShareAbove: z.number().min(0).max(1).nullable().default(null),
      sharpnessBelow: z.number().min(0).max(1).nullable().default(null),
      /** After so many repetitions the very same picture counts as frozen. Not looked at where pictures are files. */
      frozenAfter: z.number().int().min(1).max(1_000).nullable().default(2),
    })
    .prefault({}),
});
export type LineSettings = z.infer<typeof lineSettingsSchema>;
/** What both ways to speak Modbus have in common. */
const handshakeSettings = {
  /** A result that nobody acknowledges is taken back after so long. */
  acknowledgeTimeoutMs: z.number().int().min(20).max(600_000).default(2_000),
  /** A part without verdict for so long gets an error; the watchdog's own limit comes first where it is shorter. */
  resultTimeoutMs: z.number().int().min(50).max(600_000).default(5_000),
  /** A PLC that asks for nothing for so long is taken as gone: no result is put out, no trigger taken, alarm. null: never. */
  peerTimeoutMs: z.number().int().min(100).max(600_000).nullable().default(null),
  unsureAs: z.enum(['ng', 'apart']).default('ng'),
  /** Signals that lie elsewhere than the table says, by name. */
  addresses: z.record(z.string(), z.number().int().min(0).max(1_000)).default({}),
};

/** How a station tells its verdicts to the plant's control (main/lineio has the register map and the handshake). */
export const lineOutputSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('none') }),
  z.object({
    kind: z.literal('modbus-server'),
    /** The one address of this PC that is listened on. */
    address: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
    /** 0: any free one. */
    port: z.number().int().min(0).max(65_535).default(502),
    /** Addresses that may connect beside this PC itself. */
    peers: z
      .array(z.union([z.ipv4(), z.ipv6()]))
      .max(16)
      .default([]),
    ...handshakeSettings,
  }),
  /** For a PLC that only serves: this PC reads what it wants, and writes the result into its coils and registers. */
  z.object({
    kind: z.literal('modbus-client'),
    /** Of the PLC: the one that is connected to. */
    address: z.union([z.ipv4(), z.ipv6()]),
    port: z.number().int().min(1).max(65_535).default(502),
    unit: z.number().int().min(0).max(255).default(1),
    pollMs: z.number().int().min(5).max(1_000).default(20),
    /** Longest time for one answer of the PLC; after that it is connected to anew. Where peerTimeoutMs is shorter it counts as gone before. */
    answerTimeoutMs: z.number().int().min(50).max(60_000).default(1_000),
    /** The PLC's coil for discrete signal 0, and its holding register for input register 0; what it asks for lies before them. */
    writeCoilsAt: z.number().int().min(0).max(60_000).default(16),
    writeRegistersAt: z.number().int().min(0).max(60_000).default(100),
    ...handshakeSettings,
    peerTimeoutMs: handshakeSettings.peerTimeoutMs.default(2_000),
  }),
]);
export type LineOutput = z.infer<typeof lineOutputSchema>;

export const criteriaSchema = z.object({
  /** Greatest share of NG parts judged ok, as a 95 % upper bound. */
  maxEscape: share.default(0.05),
  /** Greatest share of OK parts judged ng, as a 95 % upper bound. */
  maxOverkill: share.default(0.1),
  maxLatencyMsP99: z.number().positive().default(50),
  /** Greatest drop of balanced accuracy against the uncompressed model, in percentage points. */
  maxDropPp: z.number().min(0).default(1),
});
export type Criteria = z.infer<typeof criteriaSchema>;

export const stationSchema = z.object({
  id,
  name: z.string().min(1).max(80),
  camera: cameraConfigSchema,
  recipe: recipeSchema,
  criteria: criteriaSchema,
  backboneId: id,
  /** Intra-op threads of this station's line process. */
  threads: z.number().int().min(1).max(64).default(2),
  activeModelId: id.nullable(),
  line: lineSettingsSchema.prefault({}),
  lineOutput: lineOutputSchema.default({ kind: 'none' }),
});
export type Station = z.infer<typeof stationSchema>;

// ---------------------------------------------------------------- classes, parts, labels
export const defectClassSchema = z.object({
  id,
  names: z.object({ en: z.string(), ja: z.string() }),
  /** The class of good parts. */
  isOk: z.boolean(),
  /** 1..8: swatch token --c1..--c8. */
  color: z.number().int().min(1).max(8),
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

export const queueReasonSchema = z.enum(['novel', 'low-margin', 'error', 'sent', 'imported', 'suspect']);
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

// ---------------------------------------------------------------- backbones, models, candidates
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

export const measuresSchema = z.object({
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

export const gateOutcomeSchema = z.enum(['pass', 'fail', 'not-enough-evidence']);
export const gateSchema = z.object({
  name: z.string(),
  limit: z.string(),
  measured: z.string(),
  /** 95 % bound, as text; null where there is none. */
  bound: z.string().nullable(),
  outcome: gateOutcomeSchema,
  /** Images missing until the bound could be met; 0 when enough. */
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

export const evidenceSchema = z.object({
  /** Uncompressed backbone with the same knowledge. */
  reference: measuresSchema,
  candidate: measuresSchema,
  speedup: z.number(),
  /** 95 % of it; null: too few runs. Absent in older evidence. */
  speedupInterval: z.tuple([z.number(), z.number()]).nullable().optional(),
  accuracyDropPp: z.number(),
  /** How the accuracies were found, e.g. "5-fold cross-validation over 240 labelled parts". */
  basis: z.string(),
  perClass: z.array(
    z.object({
      classId: id,
      n: z.number().int(),
      reference: share,
      candidate: share,
      active: share.nullable(),
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
  parity: z.object({ images: z.number().int(), equal: z.number().int(), maxLogitDifference: z.number() }),
  changed: z.array(changedVerdictSchema),
  /** Of a pruned model: groups of channels that pruning left alone, and why. Absent in older evidence, and of others. */
  untouched: z.array(z.object({ group: z.string(), why: z.string() })).optional(),
  /** Of a pruned model: operators that pruning does not know, and how many of each there are. */
  unknownOperators: z.record(z.string(), z.number().int()).optional(),
  environment: environmentSchema,
  /** Absent in older evidence, and of models that learnt good parts only. */
  sample: paritySampleSchema.optional(),
  /** sha256 over the sorted (image hash, class) pairs that the evidence stands on. */
  dataSha256: sha256Schema,
});
export type Evidence = z.infer<typeof evidenceSchema>;

/** An archived frame that the candidate and the active model judge differently. */
const disagreementSchema = changedVerdictSchema.omit({ kind: true });
export type Disagreement = z.infer<typeof disagreementSchema>;

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
  parity: z.object({ images: z.number().int(), equal: z.number().int(), maxLogitDifference: z.number() }),
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
export const goldenResultSchema = z.object({
  at: z.iso.datetime(),
  /** Of the set's images and classes. */
  setSha256: sha256Schema,
  /** Which use of the set this was, from 1: the more candidates were tried on it, the less it says. */
  use: z.number().int(),
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

export const candidateStateSchema = z.enum(['candidate', 'submitted', 'approved', 'active', 'retired', 'rejected']);
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
  classes: z.array(z.object({ classId: id, labelled: z.number().int() })),
  lambda: z.number(),
  balancing: z.number(),
  /** Cross-validated over the folds. */
  balancedAccuracy: share.nullable(),
  seconds: z.number(),
  /** Of the images and classes that it was made of; absent: made before these were kept. */
  snapshotId: sha256Schema.optional(),
});
export type Knowledge = z.infer<typeof knowledgeSchema>;

// ---------------------------------------------------------------- alarms
/** What a chart of the monitor watches. */
export const alarmMeasureSchema = z.enum([
  'novelty',
  'margin',
  'feature-mean',
  'ng-share',
  'unsure-share',
  'unusual-share',
]);
/** The line is no longer what it was when the model was activated. */
export const alarmSchema = z.object({
  id: z.number().int(),
  stationId: id,
  modelId: id,
  measure: alarmMeasureSchema,
  at: z.iso.datetime(),
  /** At which the chart went beyond its limit. */
  partId: z.number().int(),
  acknowledged: z.object({ by: z.string(), at: z.iso.datetime() }).nullable(),
});
export type Alarm = z.infer<typeof alarmSchema>;

// ---------------------------------------------------------------- line and jobs
export const lampSchema = z.enum(['well', 'look', 'fault', 'busy', 'off']);
/** How the line output stands; `signals` by the names of the register map. */
/** Signals that a person may put out by hand while the line is stopped, to see whether the PLC hears them. */
export const testedSignals = ['busy', 'resultReady', 'ok', 'ng', 'unsure', 'error', 'alarm', 'recipeError'] as const;
export const testSignalsSchema = z.partialRecord(z.enum(testedSignals), z.boolean());
export type TestSignals = z.infer<typeof testSignalsSchema>;

export const lineOutputStatusSchema = z.object({
  /** well: connected; look: listening, and nobody there. */
  lamp: lampSchema,
  port: z.number().int(),
  peers: z.number().int(),
  signals: z.record(z.string(), z.union([z.boolean(), z.number(), z.string()])),
});
export type LineOutputStatus = z.infer<typeof lineOutputStatusSchema>;
export const lineStatusSchema = z.object({
  stationId: id,
  state: z.enum(['stopped', 'starting', 'running', 'fault']),
  camera: lampSchema,
  problem: wireProblem().nullable(),
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

function wireProblem() {
  return z.object({
    code: z.string(),
    message: z.string(),
    nextAction: z.string(),
    details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).default({}),
  });
}

/** An activation that a supervisor has set a time for. */
export const plannedActivationSchema = z.object({
  candidateId: id,
  at: z.iso.datetime(),
  userId: id,
  userName: z.string(),
  plannedAt: z.iso.datetime(),
  /** Why it did not come about; it is not tried again. */
  problem: wireProblem().nullable(),
});
export type PlannedActivation = z.infer<typeof plannedActivationSchema>;

export const jobSchema = z.object({
  id,
  kind: z.enum(['import', 'update', 'compress', 'demo', 'shadow', 'backup', 'golden']),
  stationId: id.nullable(),
  state: z.enum(['waiting', 'running', 'done', 'failed', 'cancelled']),
  progress: share,
  secondsLeft: z.number().nullable(),
  /** What is being done, as a message key with details: the window translates it. */
  step: z.object({ key: z.string(), details: z.record(z.string(), z.union([z.string(), z.number()])).default({}) }),
  startedAt: z.iso.datetime(),
  problem: wireProblem().nullable(),
  /** Id of what was made: a knowledge id, candidate ids. */
  result: z.array(z.string()),
  /** Files that were left out, by name and why (the first 200). */
  skipped: z.array(z.object({ file: z.string(), code: z.string(), message: z.string() })).optional(),
});
export type Job = z.infer<typeof jobSchema>;
