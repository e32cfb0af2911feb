import type { Socket } from 'node:dgram';
import { createRandom, mixSeeds } from '../../simulated/random.ts';
import { command, status, writeAcknowledge } from '../gvcp.ts';
import { format, STANDARD_HEADER, writeStreamHeader } from '../gvsp.ts';
import { EXTENDED_IDS, IP_UDP_BYTES, packetSizeFlag, register } from '../registers.ts';
import { createControl, type Control } from './control.ts';
import { acquisitionMode, featureRegister, triggerSource } from './description.ts';
import { createMemory } from './memory.ts';
import { limits, type SimulatorSettings } from './settings.ts';
import { formatCode, formatName, patternOf, patternSize } from './test-pattern.ts';
import { createTransmitter, type TransmitterCounts } from './transmitter.ts';

/* The simulated camera from switching on to switching off: registers, acquisition, triggers. */

export const identity = { manufacturer: 'Mekiki', model: 'Simulated GigE camera', version: '1.0' } as const;
const HEARTBEAT_MS = 3_000;
const FIRST_PACKET_SIZE = 1_500;
/** Packets that wait to be overtaken are sent when nothing has followed them for so long. */
const FLUSH_MS = 2;
const LATE_ACK_SHARE = 0.1;
/** From here on a late acknowledge is announced by PENDING_ACK. */
const PENDING_FROM_MS = 100;
/** A sender that could not keep up does not send all that it missed at once. */
const MOST_BEHIND_MS = 100;
const WRAP = 65_535;

export interface SimulatedDevice {
  readonly control: Control;
  readonly counts: Readonly<TransmitterCounts>;
  /** A pulse at Line1. */
  pulse(): void;
  /** Nothing is sent from now on. */
  switchOff(): void;
}

/** @param onWornOut it has sent as many frames as it should before it goes silent. */
export function switchOn(
  settings: SimulatorSettings,
  stored: { bytes: Buffer; url: string },
  sockets: { control: Socket; stream: Socket },
  onWornOut: () => void,
): SimulatedDevice {
  const random = createRandom(mixSeeds(settings.seed, 0x4743));
  const lateAcks = new Set<NodeJS.Timeout>();
  let on = true;
  const memory = createMemory({
    ...identity,
    serial: settings.serial,
    address: settings.address,
    description: stored.bytes,
    url: stored.url,
    canResend: settings.resend !== 'no',
    extendedIds: settings.extendedIds,
    packetSize: FIRST_PACKET_SIZE,
    heartbeatMs: HEARTBEAT_MS,
    features: {
      width: settings.width,
      height: settings.height,
      pixelFormat: formatCode(settings.pixelFormat)!,
      framesPerSecond: settings.framesPerSecond,
      chunkMode: settings.chunks !== 'off',
    },
  });
  memory.setWord(register.streamSourcePort, sockets.stream.address().port);
  const target = { port: 0, address: '' };
  const isExtended = () => (memory.word(register.gvspConfiguration) & EXTENDED_IDS) !== 0;
  const transmitter = createTransmitter(
    settings,
    {
      packetSize: () => memory.word(register.streamPacketSize) & 0xffff,
      extended: isExtended,
      plain: settings.chunks === 'plain',
      lying: settings.lie === 'leader',
    },
    (header, data) => {
      if (target.port !== 0 && on) sockets.stream.send([header, data], target.port, target.address, () => {});
    },
  );
  let running: { timer: NodeJS.Timeout | null; blockId: number; sent: number } | null = null;
  let flushing: NodeJS.Timeout | null = null;
  let { busyTriggers } = settings;

  const sendFrame = () => {
    if (!running) return;
    const { blockId } = running;
    const [width, height] = [memory.word(featureRegister.width), memory.word(featureRegister.height)];
    const pixelFormat = memory.word(featureRegister.pixelFormat);
    const image = patternOf(formatName(pixelFormat)!, width, height, blockId);
    const timestamp = process.hrtime.bigint();
    const chunks = memory.word(featureRegister.chunkMode) === 1 ? chunkData(image.length, blockId, timestamp) : null;
    transmitter.frame({ blockId, timestamp, pixelFormat, width, height, image, chunks });
    flushing ??= setTimeout(() => {
      flushing = null;
      transmitter.flush();
    }, FLUSH_MS);
    running.blockId = isExtended() ? blockId + 1 : (blockId % WRAP) + 1;
    running.sent += 1;
    if (memory.word(featureRegister.acquisitionMode) === acquisitionMode.singleFrame) stop();
    else if (settings.disconnectAfter > 0 && running.sent >= settings.disconnectAfter) onWornOut();
  };
  const isTriggered = () => memory.word(featureRegister.triggerMode) === 1;
  const hears = (source: number) => isTriggered() && memory.word(featureRegister.triggerSource) === source;
  const stop = () => {
    if (running?.timer) clearTimeout(running.timer);
    running = null;
  };
  const start = () => {
    stop();
    const mine = { timer: null as NodeJS.Timeout | null, blockId: settings.firstBlockId, sent: 0 };
    running = mine;
    let due = performance.now();
    const next = () => {
      const perSecond = isTriggered() ? settings.framesPerSecond : memory.float(featureRegister.frameRate);
      const exposureMs = memory.float(featureRegister.exposureUs) / 1_000;
      if (!isTriggered() || hears(triggerSource.line1)) sendFrame();
      if (running !== mine) return;
      due = Math.max(due + Math.max(1_000 / perSecond, exposureMs), performance.now() - MOST_BEHIND_MS);
      mine.timer = setTimeout(next, Math.max(0, due - performance.now()));
    };
    mine.timer = setTimeout(next, 0);
  };

  const written = (at: number, value: number): number => {
    switch (at) {
      case register.streamPacketSize: {
        const size = value & 0xffff;
        if (size < 576 || size > limits.largestPacket || size % 4 !== 0) return status.invalidParameter;
        if ((value & packetSizeFlag.fireTestPacket) !== 0 && size <= settings.largestPacket) sendTestPacket(size);
        memory.setWord(at, (value & ~packetSizeFlag.fireTestPacket) >>> 0);
        return status.success;
      }
      case register.streamPort:
        target.port = value & 0xffff;
        if (target.port === 0) stop();
        return status.success;
      case register.streamAddress:
        target.address = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join('.');
        return status.success;
      case featureRegister.acquisitionStart:
        start();
        return status.success;
      case featureRegister.acquisitionStop:
        stop();
        return status.success;
      case featureRegister.triggerSoftware:
        if (!hears(triggerSource.software)) return status.wrongConfig;
        if ((busyTriggers -= 1) >= 0) return status.busy;
        sendFrame();
        return status.success;
      case featureRegister.width:
        return within(value, 16, limits.width, 4);
      case featureRegister.height:
        return within(value, 2, limits.height, 2);
      case featureRegister.pixelFormat:
        return formatName(value) === null ? status.invalidParameter : status.success;
      default:
        return status.success;
    }
  };
  /** The size of a block changes with what it is made of: kept in its register. */
  const announcePayload = () => {
    const name = formatName(memory.word(featureRegister.pixelFormat))!;
    const [width, height] = [memory.word(featureRegister.width), memory.word(featureRegister.height)];
    const image = patternSize(name, width, height);
    const extra = memory.word(featureRegister.chunkMode) === 1 ? chunkData(image, 0, 0n).length : 0;
    memory.setWord(featureRegister.payloadSize, (image + extra) * (settings.lie === 'payload' ? 16 : 1));
  };
  const sendTestPacket = (size: number) => {
    const header = Buffer.alloc(STANDARD_HEADER);
    writeStreamHeader(header, { blockId: 0, packetId: 0, format: format.payload, extended: false });
    const data = Buffer.alloc(size - IP_UDP_BYTES - STANDARD_HEADER);
    if (target.port !== 0) sockets.stream.send([header, data], target.port, target.address, () => {});
  };
  announcePayload();
  const control: Control = createControl(memory, {
    send(bytes, to) {
      const late = settings.lateMs > 0 && random.chance(LATE_ACK_SHARE);
      if (!late) return void sockets.control.send(bytes, to.port, to.address, () => {});
      if (settings.lateMs >= PENDING_FROM_MS) {
        const patience = Buffer.alloc(4);
        patience.writeUInt16BE(Math.min(0xffff, settings.lateMs + PENDING_FROM_MS), 2);
        const pending = writeAcknowledge(command.pendingAck, bytes.readUInt16BE(6), patience);
        sockets.control.send(pending, to.port, to.address, () => {});
      }
      const timer = setTimeout(() => {
        lateAcks.delete(timer);
        sockets.control.send(bytes, to.port, to.address, () => {});
      }, settings.lateMs);
      lateAcks.add(timer);
    },
    written(at, value) {
      const state = written(at, value);
      announcePayload();
      return state;
    },
    resend: (request) => {
      if (settings.resend === 'yes') transmitter.resend(request);
    },
    released() {
      stop();
      target.port = 0;
      memory.setWord(register.streamPort, 0);
    },
  });
  const switchOff = () => {
    stop();
    on = false;
    if (flushing) clearTimeout(flushing);
    for (const timer of lateAcks) clearTimeout(timer);
    transmitter.clear();
  };
  const pulse = () => {
    if (hears(triggerSource.line1)) sendFrame();
  };
  return { control, counts: transmitter.counts, pulse, switchOff };
}

const within = (value: number, min: number, max: number, step: number): number =>
  value >= min && value <= max && value % step === 0 ? status.success : status.invalidParameter;

/**
 * Chunks as GigE Vision 1.x and 2.x lay them: each one's data, then its id and length; the picture is the first. A reader begins
 * at the end. Behind the picture: frame id and time, 8 bytes each.
 */
function chunkData(imageBytes: number, frameId: number, timestamp: bigint): Buffer {
  const padding = (4 - (imageBytes % 4)) % 4;
  const data = Buffer.alloc(padding + 8 + 16 + 16);
  data.writeUInt32BE(CHUNK_IMAGE, padding);
  data.writeUInt32BE(imageBytes + padding, padding + 4);
  [BigInt(frameId), timestamp].forEach((value, i) => {
    const at = padding + 8 + 16 * i;
    data.writeBigUInt64BE(value, at);
    data.writeUInt32BE(CHUNK_IMAGE + 1 + i, at + 8);
    data.writeUInt32BE(8, at + 12);
  });
  return data;
}
const CHUNK_IMAGE = 0x4d4b_0001;
