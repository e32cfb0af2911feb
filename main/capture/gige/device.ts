import { AppError, problemOf } from '../../contract/errors.ts';
import { GvcpError, GvcpTimeout, openControlChannel, type ControlChannel } from './control-channel.ts';
import type { FoundDevice } from './discovery.ts';
import { fetchDescription } from './genicam/fetch.ts';
import { createNodeMap, type NodeMap, type Port } from './genicam/node-map.ts';
import { parseDescription, type Description } from './genicam/nodes.ts';
import { status } from './gvcp.ts';
import { capability, EXTENDED_IDS, privilege, register } from './registers.ts';

/** Without a command for so long the device lets go of us, so that a program that died does not hold it for ever. */
const HEARTBEAT_TIMEOUT_MS = 2_000;
const HEARTBEAT_MS = 500;
/** Every so many heartbeats are a write, which tells another controller apart from us; the privilege register does not. */
const WRITE_EVERY = 4;
/** Heartbeats in a row that may be answered with BUSY: ten seconds, as a device may ask for patience otherwise (PENDING_ACK). */
const MOST_BUSY = 20;

/** Descriptions by device and version: a megabyte is two thousand questions, which a reconnect need not ask again. */
export type DescriptionCache = Map<string, Description>;
const MAX_CACHED = 8;

export interface Device {
  readonly identity: FoundDevice;
  readonly channel: ControlChannel;
  readonly features: NodeMap;
  readonly canResend: boolean;
  /** The camera is set to 64-bit block ids. */
  readonly extendedIds: boolean;
  /** Lets go of the control privilege and closes. Never throws. */
  close(): Promise<void>;
}

export interface OpenDeviceOptions {
  /** Names the camera in errors. */
  cameraId: string;
  /** False: only reads; somebody else may control the camera meanwhile. */
  control: boolean;
  cache?: DescriptionCache;
  signal?: AbortSignal;
  /** The device stopped answering, or somebody else took it over. Once. */
  onLost?: (error: unknown) => void;
}

/** @throws AppError CAMERA_BUSY; GvcpError, GvcpTimeout, DescriptionError */
export async function openDevice(identity: FoundDevice, options: OpenDeviceOptions): Promise<Device> {
  const { cameraId, control, cache, signal, onLost } = options;
  const channel = await openControlChannel(identity.address);
  let heartbeat: NodeJS.Timeout | null = null;
  let closed = false;
  let hasHeartbeat = false;

  const close = async () => {
    if (closed) return;
    closed = true;
    if (heartbeat) clearInterval(heartbeat);
    if (control) await channel.writeRegister(register.controlChannelPrivilege, 0).catch(() => {});
    await channel.close();
  };
  const isHeld = async () => {
    const holders = privilege.control | privilege.exclusive;
    return ((await channel.readRegister(register.controlChannelPrivilege).catch(() => 0)) & holders) !== 0;
  };
  try {
    if (control) {
      try {
        await channel.writeRegister(register.controlChannelPrivilege, privilege.control);
      } catch (cause) {
        const denied = cause instanceof GvcpError && cause.status === status.accessDenied;
        // Some devices do not answer the writes of one who is not in control, only his reads.
        const held = denied || (cause instanceof GvcpTimeout && (await isHeld()));
        if (!held) throw cause;
        throw new AppError('CAMERA_BUSY', { cameraId }, { cause });
      }
      hasHeartbeat = await channel.writeRegister(register.heartbeatTimeoutMs, HEARTBEAT_TIMEOUT_MS).then(
        () => true,
        (error: unknown) => {
          // Some devices have a fixed one; ours is sent often enough for any that the specification allows.
          if (error instanceof GvcpError) return false;
          throw error;
        },
      );
    }
    const key = [identity.manufacturer, identity.model, identity.version, identity.serial, identity.mac].join('\n');
    let description = cache?.get(key);
    if (!description) {
      description = parseDescription(await fetchDescription(channel, signal));
      if (cache && cache.size >= MAX_CACHED) cache.clear();
      cache?.set(key, description);
    }
    // Registers that older devices lack: an error is a no.
    const flags = (at: number) =>
      channel.readRegister(at).catch((error: unknown) => {
        if (error instanceof GvcpError) return 0;
        throw error;
      });
    const capabilities = await flags(register.gvcpCapability);
    const extendedIds = ((await flags(register.gvspConfiguration)) & EXTENDED_IDS) !== 0;
    const features = createNodeMap(description, portOf(channel, (capabilities & capability.writeMemory) !== 0));
    if (control) {
      let asking = false;
      let beats = 0;
      let busy = 0;
      const beat = async () => {
        const held = await channel.readRegister(register.controlChannelPrivilege);
        if ((held & (privilege.control | privilege.exclusive)) === 0) throw new Error('the camera let go of us');
        beats += 1;
        if (!hasHeartbeat || beats % WRITE_EVERY !== 0) return;
        await channel.writeRegister(register.heartbeatTimeoutMs, HEARTBEAT_TIMEOUT_MS);
      };
      heartbeat = setInterval(() => {
        if (asking || closed) return;
        asking = true;
        beat().then(
          () => {
            asking = false;
            busy = 0;
          },
          (error: unknown) => {
            // It is there, and the command counts for its own time-out.
            if (error instanceof GvcpError && error.status === status.busy && (busy += 1) <= MOST_BUSY) {
              asking = false;
              return;
            }
            // `asking` stays: it is told once.
            if (closed) return;
            if (error instanceof GvcpTimeout) channel.giveUp();
            onLost?.(error);
          },
        );
      }, HEARTBEAT_MS);
    }
    const canResend = (capabilities & capability.packetResend) !== 0;
    return { identity, channel, features, canResend, extendedIds, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Registers of the device as GenICam sees them: single words as registers, the rest as memory. */
function portOf(channel: ControlChannel, hasWriteMemory: boolean): Port {
  const readWord = async (address: number): Promise<Buffer> => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(await channel.readRegister(address));
    return bytes;
  };
  const read = (address: number, length: number): Promise<Buffer> =>
    address % 4 === 0 && length === 4 ? readWord(address) : channel.readMemory(address, length);
  return {
    read,
    async write(address, bytes) {
      const from = address - (address % 4);
      const to = Math.ceil((address + bytes.length) / 4) * 4;
      let data: Buffer = Buffer.from(bytes);
      if (from !== address || to !== address + bytes.length) {
        data = await read(from, to - from);
        data.set(bytes, address - from);
      }
      if (data.length > 4 && hasWriteMemory) return channel.writeMemory(from, data);
      for (let i = 0; i < data.length; i += 4) await channel.writeRegister(from + i, data.readUInt32BE(i));
    },
  };
}

/** What went wrong with a camera, as an error of the catalogue. */
export const cameraError = (cameraId: string, error: unknown): AppError =>
  error instanceof AppError
    ? error
    : new AppError('CAMERA_LOST', { cameraId, problem: problemOf(error) }, { cause: error });
