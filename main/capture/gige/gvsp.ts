import { status } from './gvcp.ts';

/*
 * GVSP packets as data (GigE Vision 2.x, "GVSP" chapter). A block (a frame) is a leader (packet 0), data packets 1..n and a
 * trailer (n + 1). Reading never throws: what is not a packet is null.
 */

export const STANDARD_HEADER = 8;
export const EXTENDED_HEADER = 20;

export const format = { leader: 1, trailer: 2, payload: 3 } as const;
export const payloadType = { image: 0x0001, chunk: 0x0004, extendedChunkFlag: 0x4000 } as const;
/** Bytes of an image leader or trailer behind the packet header. */
const IMAGE_LEADER = 36;
const IMAGE_TRAILER = 8;

export interface StreamPacket {
  status: number;
  blockId: number;
  packetId: number;
  format: number;
  extended: boolean;
  data: Buffer;
}

/** @returns null for what is not GVSP, for formats that are not image blocks, and for test packets (block id 0). */
export function readStreamPacket(bytes: Buffer): StreamPacket | null {
  if (bytes.length < STANDARD_HEADER) return null;
  const third = bytes[4]!;
  const extended = (third & 0x80) !== 0;
  const kind = third & 0x0f;
  if (kind < format.leader || kind > format.payload) return null;
  if (!extended) {
    const blockId = bytes.readUInt16BE(2);
    if (blockId === 0) return null;
    const packetId = bytes.readUIntBE(5, 3);
    return { status: bytes.readUInt16BE(0), blockId, packetId, format: kind, extended, data: bytes.subarray(8) };
  }
  if (bytes.length < EXTENDED_HEADER) return null;
  const high = bytes.readUInt32BE(8);
  // 2^53 blocks at 1,000 a second are 285,000 years: beyond it is noise.
  if (high >= 2 ** 21) return null;
  const blockId = high * 2 ** 32 + bytes.readUInt32BE(12);
  if (blockId === 0) return null;
  return {
    status: bytes.readUInt16BE(0),
    blockId,
    packetId: bytes.readUInt32BE(16),
    format: kind,
    extended,
    data: bytes.subarray(EXTENDED_HEADER),
  };
}

export interface Leader {
  payloadType: number;
  /** Ticks of the device. */
  timestamp: bigint;
  /** null: the block's type does not say what image it holds (chunk data of GigE Vision 1.x). */
  image: {
    pixelFormat: number;
    width: number;
    height: number;
    /** Bytes after each line. */
    paddingX: number;
  } | null;
}

export function readLeader(data: Buffer): Leader | null {
  if (data.length < 12) return null;
  const type = data.readUInt16BE(2);
  const timestamp = data.readBigUInt64BE(4);
  const base = type & ~payloadType.extendedChunkFlag;
  if (base === payloadType.chunk) return { payloadType: type, timestamp, image: null };
  if (base !== payloadType.image || data.length < IMAGE_LEADER) return null;
  return {
    payloadType: type,
    timestamp,
    image: {
      pixelFormat: data.readUInt32BE(12),
      width: data.readUInt32BE(16),
      height: data.readUInt32BE(20),
      paddingX: data.readUInt16BE(32),
    },
  };
}

/** Lines that the block really has; a line-scan camera may end a frame early. null: it does not say. */
export function readTrailerHeight(data: Buffer): number | null {
  if (data.length < IMAGE_TRAILER) return null;
  const type = data.readUInt16BE(2);
  if (type === payloadType.image) return data.readUInt32BE(4);
  const chunkImage = payloadType.image | payloadType.extendedChunkFlag;
  return type === chunkImage && data.length >= 12 ? data.readUInt32BE(8) : null;
}

export function writeStreamHeader(
  into: Buffer,
  packet: { blockId: number; packetId: number; format: number; extended: boolean; status?: number },
): number {
  into.writeUInt16BE(packet.status ?? status.success, 0);
  if (!packet.extended) {
    into.writeUInt16BE(packet.blockId & 0xffff, 2);
    into[4] = packet.format;
    into.writeUIntBE(packet.packetId & 0xffffff, 5, 3);
    return STANDARD_HEADER;
  }
  into.writeUInt16BE(0, 2);
  into.writeUInt32BE((0x80 | packet.format) * 2 ** 24, 4);
  into.writeUInt32BE(Math.floor(packet.blockId / 2 ** 32), 8);
  into.writeUInt32BE(packet.blockId % 2 ** 32, 12);
  into.writeUInt32BE(packet.packetId, 16);
  return EXTENDED_HEADER;
}

export interface ImageAnnouncement {
  payloadType: number;
  timestamp: bigint;
  pixelFormat: number;
  width: number;
  height: number;
  paddingX: number;
}
/** Data of a leader. Chunk blocks of GigE Vision 1.x (payload type 4) say no more than their time. */
export function writeImageLeader(image: ImageAnnouncement): Buffer {
  const data = Buffer.alloc(image.payloadType === payloadType.chunk ? 12 : IMAGE_LEADER);
  data.writeUInt16BE(image.payloadType, 2);
  data.writeBigUInt64BE(image.timestamp, 4);
  if (image.payloadType === payloadType.chunk) return data;
  data.writeUInt32BE(image.pixelFormat, 12);
  data.writeUInt32BE(image.width, 16);
  data.writeUInt32BE(image.height, 20);
  data.writeUInt16BE(image.paddingX, 32);
  return data;
}

/** Data of a trailer. @param image.chunkBytes bytes of the block, chunk data included; only chunk blocks say it. */
export function writeImageTrailer(image: { payloadType: number; height: number; chunkBytes: number }): Buffer {
  const { payloadType: type, height, chunkBytes } = image;
  const words =
    type === payloadType.image ? [height] : type === payloadType.chunk ? [chunkBytes] : [chunkBytes, height, 0];
  const data = Buffer.alloc(4 + 4 * words.length);
  data.writeUInt16BE(type, 2);
  words.forEach((word, i) => data.writeUInt32BE(word, 4 + 4 * i));
  return data;
}
