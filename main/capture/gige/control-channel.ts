import { createSocket, type Socket } from 'node:dgram';
import { AppError } from '../../contract/errors.ts';
import { createLane } from '../../contract/lane.ts';
import {
  command,
  flag,
  GVCP_PORT,
  MAX_MEMORY_BYTES,
  readAcknowledge,
  readCommand,
  readMemoryPayload,
  readRegisterPayload,
  resendPayload,
  status,
  statusName,
  writeAcknowledge,
  writeCommand,
  writeMemoryPayload,
  writeRegisterPayload,
  type Acknowledge,
} from './gvcp.ts';

/** The specification's default time for an acknowledge, and how often a command is sent in all. */
const ACK_TIMEOUT_MS = 200;
const TRIES = 4;
/** A device may ask for patience (PENDING_ACK), but not for ever. */
const MAX_PENDING_MS = 10_000;

/** The device answered with an error. `status` is one of GVCP. */
export class GvcpError extends Error {
  readonly status: number;
  constructor(what: string, code: number) {
    super(`${what}: the camera answered ${statusName(code)}`);
    this.status = code;
  }
}
/** The device did not answer. */
export class GvcpTimeout extends Error {}

/**
 * Commands to one device, one after the other, each repeated with the same request id until it is acknowledged. The socket is
 * connected: only this device is heard.
 */
export interface ControlChannel {
  readonly address: string;
  /** The address of this machine that the device sees. */
  readonly localAddress: string;
  /** @throws GvcpError, GvcpTimeout; once it is closed CANCELLED */
  readRegister(address: number): Promise<number>;
  writeRegister(address: number, value: number): Promise<void>;
  /** Any address and length; cut into pieces that the protocol carries. */
  readMemory(address: number, length: number, signal?: AbortSignal): Promise<Buffer>;
  /** @param address and length multiples of four. */
  writeMemory(address: number, data: Uint8Array): Promise<void>;
  /** Asks for lost packets; there is no acknowledge. */
  requestResend(blockId: number, first: number, last: number, extended: boolean): void;
  /** The device is gone: what waits for an answer and what is still to be said fails at once. */
  giveUp(): void;
  close(): Promise<void>;
}

/** @param address of the camera, IPv4. Nothing is sent yet: whether somebody is there shows at the first command. */
export async function openControlChannel(address: string, port = GVCP_PORT): Promise<ControlChannel> {
  const socket: Socket = createSocket('udp4');
  let closed = false;
  let gone = false;
  let lastId = 0;
  let waiting: { requestId: number; command: number; answer: (ack: Acknowledge) => void } | null = null;
  let onPending: ((ms: number) => void) | null = null;
  let onGone: (() => void) | null = null;

  // Refused by the host behind the address: the same as no answer, and the command's time-out says so.
  socket.on('error', () => {});
  socket.on('message', (bytes) => {
    const ack = readAcknowledge(bytes);
    if (waiting && ack && ack.requestId === waiting.requestId) {
      if (ack.command === command.pendingAck) {
        if (ack.payload.length >= 4) onPending?.(ack.payload.readUInt16BE(2));
        return;
      }
      if (ack.command === waiting.command) return waiting.answer(ack);
    }
    const request = readCommand(bytes);
    if (!request || (request.flags & flag.acknowledge) === 0) return;
    // Events are nothing to us; unanswered, a device would send them again and again.
    if (request.command === command.event || request.command === command.eventData) {
      send(writeAcknowledge(request.command + 1, request.requestId, Buffer.alloc(0)));
    }
  });
  const send = (bytes: Buffer) => {
    if (!closed) socket.send(bytes, () => {});
  };

  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.connect(port, address, (...args: unknown[]) => {
      const [error] = args as [Error | undefined];
      if (error) return reject(error);
      socket.off('error', reject);
      resolve();
    });
  }).catch((error: unknown) => {
    socket.close();
    throw error;
  });

  const exchange = async (what: string, code: number, payload: Uint8Array): Promise<Buffer> => {
    if (closed) throw new AppError('CANCELLED');
    lastId = (lastId % 0xffff) + 1;
    const requestId = lastId;
    const bytes = writeCommand(code, requestId, payload);
    try {
      for (let tries = 0; tries < TRIES && !closed && !gone; tries += 1) {
        const ack = await new Promise<Acknowledge | null>((resolve) => {
          let timer = setTimeout(resolve, ACK_TIMEOUT_MS, null);
          onGone = () => {
            clearTimeout(timer);
            resolve(null);
          };
          waiting = { requestId, command: code + 1, answer: resolve };
          const until = performance.now() + MAX_PENDING_MS;
          onPending = (ms) => {
            clearTimeout(timer);
            timer = setTimeout(resolve, Math.max(0, Math.min(ms, until - performance.now())), null);
          };
          send(bytes);
          const answer = waiting.answer;
          waiting.answer = (value) => {
            clearTimeout(timer);
            answer(value);
          };
        });
        if (!ack) continue;
        if (ack.status !== status.success) throw new GvcpError(what, ack.status);
        return ack.payload;
      }
    } finally {
      waiting = null;
      onPending = null;
      onGone = null;
    }
    throw new GvcpTimeout(`${what}: no answer from ${address}`);
  };
  // One command at a time: a device may refuse a second before it answered the first.
  const lane = createLane();
  const request = (what: string, code: number, payload: Uint8Array): Promise<Buffer> =>
    lane(() => exchange(what, code, payload));
  const hex = (value: number) => `0x${value.toString(16)}`;
  const tooShort = (what: string) => new GvcpError(`${what} (answer too short)`, status.invalidHeader);

  return {
    address,
    localAddress: socket.address().address,
    async readRegister(at) {
      const what = `read register ${hex(at)}`;
      const answer = await request(what, command.readRegister, readRegisterPayload(at));
      if (answer.length < 4) throw tooShort(what);
      return answer.readUInt32BE(0);
    },
    async writeRegister(at, value) {
      await request(`write register ${hex(at)}`, command.writeRegister, writeRegisterPayload(at, value));
    },
    async readMemory(at, length, signal) {
      const start = at - (at % 4);
      const end = Math.ceil((at + length) / 4) * 4;
      const pieces: Buffer[] = [];
      for (let from = start; from < end; from += MAX_MEMORY_BYTES) {
        signal?.throwIfAborted();
        const count = Math.min(MAX_MEMORY_BYTES, end - from);
        const what = `read ${count} bytes at ${hex(from)}`;
        const answer = await request(what, command.readMemory, readMemoryPayload(from, count));
        if (answer.length < 4 + count || answer.readUInt32BE(0) !== from) throw tooShort(what);
        pieces.push(Buffer.from(answer.subarray(4, 4 + count)));
      }
      return Buffer.concat(pieces).subarray(at - start, at - start + length);
    },
    async writeMemory(at, data) {
      for (let from = 0; from < data.length; from += MAX_MEMORY_BYTES) {
        const piece = data.subarray(from, from + MAX_MEMORY_BYTES);
        const what = `write ${piece.length} bytes at ${hex(at + from)}`;
        await request(what, command.writeMemory, writeMemoryPayload(at + from, piece));
      }
    },
    requestResend(blockId, first, last, extended) {
      lastId = (lastId % 0xffff) + 1;
      const payload = resendPayload(blockId, first, last, extended);
      send(writeCommand(command.packetResend, lastId, payload, extended ? flag.extendedId : 0));
    },
    giveUp() {
      gone = true;
      onGone?.();
    },
    async close() {
      if (closed) return;
      await lane(() => {});
      closed = true;
      await new Promise<void>((resolve) => socket.close(() => resolve()));
    },
  };
}
