/*
 * GVCP packets as data (GigE Vision 2.x, "GVCP" chapter; UDP port 3956, big-endian). Reading never throws: what is not a packet
 * is null, for anybody on the network may send us bytes.
 */

export const GVCP_PORT = 3956;
const KEY = 0x42;
const HEADER = 8;
/** Largest GVCP packet: 576 bytes less IP and UDP headers. */
const MAX_PACKET = 548;
/** Bytes of one READMEM or WRITEMEM, a multiple of four. */
export const MAX_MEMORY_BYTES = 512;

export const command = {
  discovery: 0x0002,
  discoveryAck: 0x0003,
  packetResend: 0x0040,
  readRegister: 0x0080,
  readRegisterAck: 0x0081,
  writeRegister: 0x0082,
  writeRegisterAck: 0x0083,
  readMemory: 0x0084,
  readMemoryAck: 0x0085,
  writeMemory: 0x0086,
  writeMemoryAck: 0x0087,
  pendingAck: 0x0089,
  event: 0x00c0,
  eventAck: 0x00c1,
  eventData: 0x00c2,
  eventDataAck: 0x00c3,
} as const;

export const flag = {
  acknowledge: 0x01,
  /** DISCOVERY_CMD: the device may answer by broadcast, so that one on a foreign subnet is heard. */
  broadcastAck: 0x10,
  /** PACKETRESEND_CMD: a 64-bit block id follows. */
  extendedId: 0x10,
} as const;

/** Status codes by the names of the specification. */
const statusNames = new Map<number, string>([
  [0x0000, 'SUCCESS'],
  [0x0100, 'PACKET_RESEND'],
  [0x8001, 'NOT_IMPLEMENTED'],
  [0x8002, 'INVALID_PARAMETER'],
  [0x8003, 'INVALID_ADDRESS'],
  [0x8004, 'WRITE_PROTECT'],
  [0x8005, 'BAD_ALIGNMENT'],
  [0x8006, 'ACCESS_DENIED'],
  [0x8007, 'BUSY'],
  [0x8008, 'LOCAL_PROBLEM'],
  [0x8009, 'MSG_MISMATCH'],
  [0x800a, 'INVALID_PROTOCOL'],
  [0x800b, 'NO_MSG'],
  [0x800c, 'PACKET_UNAVAILABLE'],
  [0x800d, 'DATA_OVERRUN'],
  [0x800e, 'INVALID_HEADER'],
  [0x800f, 'WRONG_CONFIG'],
  [0x8010, 'PACKET_NOT_YET_AVAILABLE'],
  [0x8011, 'PACKET_AND_PREV_REMOVED_FROM_MEMORY'],
  [0x8012, 'PACKET_REMOVED_FROM_MEMORY'],
  [0x8013, 'NO_REF_TIME'],
  [0x8014, 'PACKET_TEMPORARILY_UNAVAILABLE'],
  [0x8015, 'OVERFLOW'],
  [0x8016, 'ACTION_LATE'],
  [0x8fff, 'ERROR'],
]);
export const statusName = (status: number): string =>
  statusNames.get(status) ?? `status 0x${status.toString(16).padStart(4, '0')}`;
export const status = {
  success: 0x0000,
  packetResend: 0x0100,
  notImplemented: 0x8001,
  invalidParameter: 0x8002,
  invalidAddress: 0x8003,
  writeProtect: 0x8004,
  badAlignment: 0x8005,
  accessDenied: 0x8006,
  busy: 0x8007,
  wrongConfig: 0x800f,
  invalidHeader: 0x800e,
  packetUnavailable: 0x800c,
  packetNotYetAvailable: 0x8010,
  packetAndPreviousRemoved: 0x8011,
  packetRemoved: 0x8012,
  packetTemporarilyUnavailable: 0x8014,
} as const;

export interface Command {
  flags: number;
  command: number;
  requestId: number;
  payload: Buffer;
}
export interface Acknowledge {
  status: number;
  command: number;
  requestId: number;
  payload: Buffer;
}

/** A command or event that came in; null: not one. */
export function readCommand(bytes: Buffer): Command | null {
  if (bytes.length < HEADER || bytes.length > MAX_PACKET || bytes[0] !== KEY) return null;
  const length = bytes.readUInt16BE(4);
  if (length % 4 !== 0 || bytes.length < HEADER + length) return null;
  return {
    flags: bytes[1]!,
    command: bytes.readUInt16BE(2),
    requestId: bytes.readUInt16BE(6),
    payload: bytes.subarray(HEADER, HEADER + length),
  };
}

/** An acknowledge that came in; null: not one. */
export function readAcknowledge(bytes: Buffer): Acknowledge | null {
  if (bytes.length < HEADER || bytes.length > MAX_PACKET + HEADER) return null;
  const length = bytes.readUInt16BE(4);
  if (bytes.length < HEADER + length) return null;
  return {
    status: bytes.readUInt16BE(0),
    command: bytes.readUInt16BE(2),
    requestId: bytes.readUInt16BE(6),
    payload: bytes.subarray(HEADER, HEADER + length),
  };
}

export function writeCommand(code: number, requestId: number, payload: Uint8Array, flags = flag.acknowledge as number) {
  const bytes = Buffer.alloc(HEADER + payload.length);
  bytes[0] = KEY;
  bytes[1] = flags;
  bytes.writeUInt16BE(code, 2);
  bytes.writeUInt16BE(payload.length, 4);
  bytes.writeUInt16BE(requestId, 6);
  bytes.set(payload, HEADER);
  return bytes;
}

export function writeAcknowledge(code: number, requestId: number, payload: Uint8Array, state: number = status.success) {
  const bytes = Buffer.alloc(HEADER + payload.length);
  bytes.writeUInt16BE(state, 0);
  bytes.writeUInt16BE(code, 2);
  bytes.writeUInt16BE(payload.length, 4);
  bytes.writeUInt16BE(requestId, 6);
  bytes.set(payload, HEADER);
  return bytes;
}

const words = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32BE(value >>> 0, 4 * i));
  return bytes;
};
export const readRegisterPayload = (address: number): Buffer => words(address);
export const writeRegisterPayload = (address: number, value: number): Buffer => words(address, value);
/** @param count bytes, a multiple of 4, at most 512. */
export const readMemoryPayload = (address: number, count: number): Buffer => words(address, count & 0xffff);
export const writeMemoryPayload = (address: number, data: Uint8Array): Buffer => Buffer.concat([words(address), data]);

/** @param first @param last packet ids, both asked for. */
export function resendPayload(blockId: number, first: number, last: number, extended: boolean): Buffer {
  if (!extended) return words(blockId & 0xffff, first & 0xffffff, last & 0xffffff);
  return words(0, first, last, Math.floor(blockId / 2 ** 32), blockId % 2 ** 32);
}
export interface ResendRequest {
  blockId: number;
  first: number;
  last: number;
}
/** null: too short to be one. */
export function readResend(request: Command): ResendRequest | null {
  const { payload } = request;
  const extended = (request.flags & flag.extendedId) !== 0;
  if (payload.length < (extended ? 20 : 12)) return null;
  const first = payload.readUInt32BE(4);
  const last = payload.readUInt32BE(8);
  if (extended) return { blockId: payload.readUInt32BE(12) * 2 ** 32 + payload.readUInt32BE(16), first, last };
  return { blockId: payload.readUInt16BE(2), first: first & 0xffffff, last: last & 0xffffff };
}

/** What a DISCOVERY_ACK says: the first 248 bytes of the bootstrap registers. */
export interface DeviceIdentity {
  mac: string;
  /** Dotted; what the device says of itself, not where its answer came from. */
  address: string;
  manufacturer: string;
  model: string;
  version: string;
  serial: string;
  userName: string;
}
export const IDENTITY_BYTES = 0xf8;

/** Text of a fixed field: up to the first NUL; control characters do not reach a window or a terminal. */
export const readText = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0);
  const text = Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f]/g, '').trim();
};

export function readIdentity(bytes: Buffer): DeviceIdentity | null {
  if (bytes.length < IDENTITY_BYTES) return null;
  const text = (at: number, length: number) => readText(bytes.subarray(at, at + length));
  const mac = [...bytes.subarray(0x0a, 0x10)].map((b) => b.toString(16).padStart(2, '0')).join(':');
  return {
    mac,
    address: [...bytes.subarray(0x24, 0x28)].join('.'),
    manufacturer: text(0x48, 32),
    model: text(0x68, 32),
    version: text(0x88, 32),
    serial: text(0xd8, 16),
    userName: text(0xe8, 16),
  };
}
