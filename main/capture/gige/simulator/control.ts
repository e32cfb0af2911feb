import type { RemoteInfo } from 'node:dgram';
import { command, flag, IDENTITY_BYTES, MAX_MEMORY_BYTES, readCommand, readResend, status } from '../gvcp.ts';
import { writeAcknowledge, type Command, type ResendRequest } from '../gvcp.ts';
import { privilege, register } from '../registers.ts';
import type { Memory } from './memory.ts';

/* The device's side of GVCP: who may do what, and what is answered. Knows no socket; `send` is the way out. */

export interface ControlHooks {
  send(bytes: Buffer, to: { address: string; port: number }): void;
  /** A register was written; the value is in the memory already. @returns a GVCP status. */
  written(address: number, value: number, from: { address: string; port: number }): number;
  resend(request: ResendRequest, extended: boolean): void;
  /** The controller let go, or was silent for longer than the heartbeat's time-out. */
  released(): void;
}

export interface Control {
  packet(bytes: Buffer, from: RemoteInfo, now: number): void;
  /** To be called now and then: the heartbeat. */
  tick(now: number): void;
  /** Nobody is in control from now on. */
  release(): void;
  readonly controller: { address: string; port: number } | null;
}

const words = (payload: Buffer): number[] =>
  Array.from({ length: payload.length >> 2 }, (_, i) => payload.readUInt32BE(4 * i));
const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
type Answer = { state: number; payload: Buffer };
const refuse = (state: number): Answer => ({ state, payload: Buffer.alloc(0) });

export function createControl(memory: Memory, hooks: ControlHooks): Control {
  let controller: { address: string; port: number } | null = null;
  let heardAt = 0;
  /** A command that comes again (its acknowledge was lost) is answered again and not carried out twice. */
  let last: { from: string; requestId: number; command: number; answer: Buffer } | null = null;

  const isController = (from: RemoteInfo) =>
    controller !== null && controller.address === from.address && controller.port === from.port;
  const release = () => {
    if (!controller) return;
    controller = null;
    memory.setWord(register.controlChannelPrivilege, 0);
    hooks.released();
  };

  const takePrivilege = (value: number, from: RemoteInfo): number => {
    if (controller && !isController(from)) return status.accessDenied;
    if ((value & (privilege.control | privilege.exclusive)) === 0) {
      release();
      return status.success;
    }
    controller = { address: from.address, port: from.port };
    memory.setWord(register.controlChannelPrivilege, value);
    return status.success;
  };
  const write = (address: number, value: number, from: RemoteInfo): number => {
    if (address === register.controlChannelPrivilege) return takePrivilege(value, from);
    if (!isController(from)) return status.accessDenied;
    const refused = memory.check(address);
    if (refused !== status.success) return refused;
    const before = memory.word(address);
    memory.setWord(address, value);
    const state = hooks.written(address, value, from);
    if (state !== status.success) memory.setWord(address, before);
    return state;
  };
  /** Index of the first that failed, as WRITEREG and WRITEMEM tell it. */
  const writeAll = (pairs: readonly (readonly [number, number])[], from: RemoteInfo): Answer => {
    for (const [i, [address, value]] of pairs.entries()) {
      const state = write(address, value, from);
      if (state !== status.success) return { state, payload: word(i) };
    }
    return { state: status.success, payload: word(pairs.length) };
  };

  const carryOut = (request: Command, from: RemoteInfo): Answer => {
    const { payload } = request;
    const exclusive = (memory.word(register.controlChannelPrivilege) & privilege.exclusive) !== 0;
    if (exclusive && !isController(from)) return refuse(status.accessDenied);
    switch (request.command) {
      case command.readRegister: {
        const values: Buffer[] = [];
        for (const address of words(payload)) {
          if (address % 4 !== 0) return refuse(status.badAlignment);
          const bytes = memory.read(address, 4);
          if (!bytes) return refuse(status.invalidAddress);
          values.push(bytes);
        }
        return { state: status.success, payload: Buffer.concat(values) };
      }
      case command.writeRegister: {
        const values = words(payload);
        const pairs = values.flatMap((address, i) => (i % 2 === 0 ? [[address, values[i + 1] ?? 0] as const] : []));
        return writeAll(pairs, from);
      }
      case command.readMemory: {
        if (payload.length < 8) return refuse(status.invalidHeader);
        const address = payload.readUInt32BE(0);
        const count = payload.readUInt16BE(6);
        if (address % 4 !== 0 || count % 4 !== 0) return refuse(status.badAlignment);
        if (count > MAX_MEMORY_BYTES + 24) return refuse(status.invalidParameter);
        const bytes = memory.read(address, count);
        return bytes
          ? { state: status.success, payload: Buffer.concat([word(address), bytes]) }
          : refuse(status.invalidAddress);
      }
      case command.writeMemory: {
        if (payload.length < 8) return refuse(status.invalidHeader);
        const [address, ...values] = words(payload);
        const answer = writeAll(
          values.map((value, i) => [address! + 4 * i, value] as const),
          from,
        );
        // Counted in bytes here.
        return { state: answer.state, payload: word(4 * answer.payload.readUInt32BE(0)) };
      }
      default:
        return refuse(status.notImplemented);
    }
  };

  return {
    packet(bytes, from, now) {
      const request = readCommand(bytes);
      if (!request) return;
      if (isController(from)) heardAt = now;
      if (request.command === command.packetResend) {
        // A receiver may ask from its stream socket, another port of the same machine.
        const asked = controller?.address === from.address ? readResend(request) : null;
        if (asked) hooks.resend(asked, (request.flags & flag.extendedId) !== 0);
        return;
      }
      if (request.command === command.discovery) {
        const identity = memory.read(0, IDENTITY_BYTES)!;
        return hooks.send(writeAcknowledge(command.discoveryAck, request.requestId, identity), from);
      }
      const sender = `${from.address}:${from.port}`;
      const again = last?.from === sender && last.requestId === request.requestId && last.command === request.command;
      if (!again) {
        const { state, payload } = carryOut(request, from);
        const answer = writeAcknowledge((request.command + 1) & 0xffff, request.requestId, payload, state);
        last = { from: sender, requestId: request.requestId, command: request.command, answer };
        // Who just took control begins to be counted.
        if (isController(from)) heardAt = now;
      }
      if ((request.flags & flag.acknowledge) !== 0) hooks.send(last!.answer, from);
    },
    tick(now) {
      if (controller && now - heardAt > memory.word(register.heartbeatTimeoutMs)) release();
    },
    release,
    get controller() {
      return controller;
    },
  };
}
