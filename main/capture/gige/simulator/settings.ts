/** What a simulated camera is and what goes wrong with it. Shares are per mille of packets. */
export interface SimulatorSettings {
  serial: string;
  /** One of this machine's addresses; the port is the protocol's. */
  address: string;
  width: number;
  height: number;
  /** PFNC name. */
  pixelFormat: string;
  /** Of free running, and of the pulses at its input Line1. */
  framesPerSecond: number;
  /** Packets that are never sent, resent ones included. */
  lossPerMille: number;
  /** Packets that are overtaken by up to eight later ones. */
  reorderPerMille: number;
  duplicatePerMille: number;
  /** One stream packet in fifty and one acknowledge in ten come so late. */
  lateMs: number;
  /** Frames after which it goes silent as if unplugged, again and again; 0: never. */
  disconnectAfter: number;
  /** How long it is away; it comes back as if just switched on. */
  downMs: number;
  /** Chunk data behind the picture: none, in blocks that still say their size, or in those of GigE Vision 1.x, which do not. */
  chunks: 'off' | 'extended' | 'plain';
  zippedXml: boolean;
  /** 64-bit block ids and 32-bit packet ids. */
  extendedIds: boolean;
  /** `ignored`: it says that it can send packets again, and does not. */
  resend: 'yes' | 'no' | 'ignored';
  /** Largest packet that its network carries, IP and UDP headers included. */
  largestPacket: number;
  firstBlockId: number;
  /** It announces blocks sixteen times as large as they are, or pictures twice as high. */
  lie: 'none' | 'payload' | 'leader';
  /** Software triggers that it refuses as busy, the first ones after it was switched on. */
  busyTriggers: number;
  seed: number;
}

export const defaultSettings: SimulatorSettings = {
  serial: 'SIM1',
  address: '127.0.0.1',
  width: 512,
  height: 512,
  pixelFormat: 'Mono8',
  framesPerSecond: 10,
  lossPerMille: 0,
  reorderPerMille: 0,
  duplicatePerMille: 0,
  lateMs: 0,
  disconnectAfter: 0,
  downMs: 1_000,
  chunks: 'off',
  zippedXml: false,
  extendedIds: false,
  resend: 'yes',
  largestPacket: 9_000,
  firstBlockId: 1,
  lie: 'none',
  busyTriggers: 0,
  seed: 1,
};

/** Highest values that the simulated camera takes. */
export const limits = { width: 8_192, height: 8_192, framesPerSecond: 2_000, largestPacket: 16_000 } as const;
