import { z } from 'zod';
import { recipeSchema } from './recipe.ts';
import { usbCameraSchema } from './usb-camera.ts';
import { id, share } from './values.ts';

/* A station as it is set up: camera, line, line output, criteria. */

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
  /** When more parts wait than could be judged in time: the camera waits (no GigE or USB camera can: its newest is not taken), the oldest is answered `late`, or the newest is not taken. */
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

/** Where a signal may lie in its area. */
export const signalAddressSchema = z.number().int().min(0).max(1_000);

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
  addresses: z.record(z.string(), signalAddressSchema).default({}),
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
  /** So long after its last approval or measurement the active model is to be looked at again, in days; 0: nobody is reminded. */
  revalidateDays: z.number().int().min(0).max(3_650).default(90),
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

/** Name of the station that a new home is made with, in the home's language. */
export const FIRST_STATION = { en: 'Line 1', ja: 'ライン 1' } as const;
