/* Bootstrap registers (GigE Vision 2.x, "Bootstrap Registers"): the same in every camera. */

export const register = {
  version: 0x0000,
  deviceMode: 0x0004,
  macHigh: 0x0008,
  macLow: 0x000c,
  currentAddress: 0x0024,
  subnetMask: 0x0034,
  manufacturer: 0x0048,
  model: 0x0068,
  deviceVersion: 0x0088,
  manufacturerInfo: 0x00a8,
  serial: 0x00d8,
  userName: 0x00e8,
  firstUrl: 0x0200,
  secondUrl: 0x0400,
  interfaces: 0x0600,
  streamChannels: 0x0904,
  gvcpCapability: 0x0934,
  /** Milliseconds without a command after which the device lets go of its controller. */
  heartbeatTimeoutMs: 0x0938,
  timestampTickHigh: 0x093c,
  timestampTickLow: 0x0940,
  gvspConfiguration: 0x0960,
  controlChannelPrivilege: 0x0a00,
  streamPort: 0x0d00,
  streamPacketSize: 0x0d04,
  streamPacketDelay: 0x0d08,
  streamAddress: 0x0d18,
  streamSourcePort: 0x0d1c,
} as const;

export const URL_BYTES = 512;

/** Bits of the GVCP capability register. */
export const capability = {
  serialNumber: 1 << 30,
  pendingAck: 1 << 5,
  packetResend: 1 << 2,
  writeMemory: 1 << 1,
  concatenation: 1 << 0,
} as const;
export const privilege = { exclusive: 1, control: 2 } as const;
/** Stream channel packet size register: two flags above a 16-bit size, which counts IP and UDP headers. */
export const packetSizeFlag = { fireTestPacket: 0x8000_0000, doNotFragment: 0x4000_0000 } as const;
/** GVSP configuration: 64-bit block ids and 32-bit packet ids. */
export const EXTENDED_IDS = 0x4000_0000;
/** IP (20) and UDP (8) headers, part of every packet size in GigE Vision. */
export const IP_UDP_BYTES = 28;
