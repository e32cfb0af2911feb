import { textSeed } from '../../simulated/random.ts';
import { status } from '../gvcp.ts';
import { capability, EXTENDED_IDS, register, URL_BYTES } from '../registers.ts';
import { DESCRIPTION_ADDRESS, featureRegister, FEATURES_END } from './description.ts';

export interface Memory {
  word(address: number): number;
  float(address: number): number;
  setWord(address: number, value: number): void;
  /** null: there is no such place. */
  read(address: number, length: number): Buffer | null;
  /** What a program may write. @returns a GVCP status. */
  check(address: number): number;
}

export interface MemoryContent {
  manufacturer: string;
  model: string;
  version: string;
  serial: string;
  address: string;
  description: Buffer;
  url: string;
  canResend: boolean;
  extendedIds: boolean;
  packetSize: number;
  heartbeatMs: number;
  features: { width: number; height: number; pixelFormat: number; framesPerSecond: number; chunkMode: boolean };
}

const BOOTSTRAP_END = 0x1000;
const writable = new Set<number>([
  register.heartbeatTimeoutMs,
  register.gvspConfiguration,
  register.controlChannelPrivilege,
  register.streamPort,
  register.streamPacketSize,
  register.streamPacketDelay,
  register.streamAddress,
  featureRegister.width,
  featureRegister.height,
  featureRegister.pixelFormat,
  featureRegister.acquisitionMode,
  featureRegister.acquisitionStart,
  featureRegister.acquisitionStop,
  featureRegister.frameRate,
  featureRegister.exposureUs,
  featureRegister.gain,
  featureRegister.triggerSelector,
  featureRegister.triggerMode,
  featureRegister.triggerSource,
  featureRegister.triggerSoftware,
  featureRegister.chunkMode,
]);

/** MAC address of a locally administered range, from the serial number. */
const macOf = (serial: string): number[] => {
  const seed = textSeed(serial);
  return [0x02, 0x4d, seed >>> 24, (seed >>> 16) & 255, (seed >>> 8) & 255, seed & 255];
};

/** The device's registers as after switching on; big-endian words. */
export function createMemory(content: MemoryContent): Memory {
  const bootstrap = Buffer.alloc(BOOTSTRAP_END);
  const features = Buffer.alloc(FEATURES_END - featureRegister.width);
  const text = (at: number, length: number, value: string) => bootstrap.write(value, at, length - 1, 'utf8');

  bootstrap.writeUInt32BE(0x0002_0000, register.version);
  // Big-endian, UTF-8.
  bootstrap.writeUInt32BE(0x8000_0001, register.deviceMode);
  bootstrap.set(macOf(content.serial), register.macHigh + 2);
  // Its address is a fixed one.
  bootstrap.writeUInt32BE(0x0000_0007, 0x0010);
  bootstrap.writeUInt32BE(0x0000_0005, 0x0014);
  bootstrap.set(content.address.split('.').map(Number), register.currentAddress);
  bootstrap.set([255, 0, 0, 0], register.subnetMask);
  text(register.manufacturer, 32, content.manufacturer);
  text(register.model, 32, content.model);
  text(register.deviceVersion, 32, content.version);
  text(register.manufacturerInfo, 48, 'simulated');
  text(register.serial, 16, content.serial);
  text(register.firstUrl, URL_BYTES, content.url);
  bootstrap.writeUInt32BE(1, register.interfaces);
  bootstrap.writeUInt32BE(1, register.streamChannels);
  const abilities =
    capability.serialNumber |
    capability.pendingAck |
    capability.writeMemory |
    capability.concatenation |
    (content.canResend ? capability.packetResend : 0);
  bootstrap.writeUInt32BE(abilities >>> 0, register.gvcpCapability);
  bootstrap.writeUInt32BE(content.heartbeatMs, register.heartbeatTimeoutMs);
  // Timestamps are nanoseconds.
  bootstrap.writeUInt32BE(1_000_000_000, register.timestampTickLow);
  bootstrap.writeUInt32BE(content.extendedIds ? EXTENDED_IDS : 0, register.gvspConfiguration);
  bootstrap.writeUInt32BE(content.packetSize, register.streamPacketSize);

  const place = (address: number, length: number): { region: Buffer; at: number } | null => {
    for (const [region, start] of [
      [bootstrap, 0],
      [features, featureRegister.width],
      [content.description, DESCRIPTION_ADDRESS],
    ] as const) {
      // The description is padded to whole words.
      const end = start + Math.ceil(region.length / 4) * 4;
      if (address >= start && address + length <= end) return { region, at: address - start };
    }
    return null;
  };
  const need = (address: number) => {
    const at = place(address, 4);
    if (!at) throw new RangeError(`no register 0x${address.toString(16)}`);
    return at;
  };
  const memory: Memory = {
    word(address) {
      const { region, at } = need(address);
      return region.readUInt32BE(at);
    },
    float(address) {
      const { region, at } = need(address);
      return region.readFloatBE(at);
    },
    setWord(address, value) {
      const { region, at } = need(address);
      region.writeUInt32BE(value >>> 0, at);
    },
    read(address, length) {
      const at = place(address, length);
      if (!at) return null;
      const bytes = Buffer.alloc(length);
      at.region.copy(bytes, 0, at.at, at.at + length);
      return bytes;
    },
    check(address) {
      if (address % 4 !== 0) return status.badAlignment;
      if (writable.has(address)) return status.success;
      return place(address, 4) ? status.writeProtect : status.invalidAddress;
    },
  };
  const { width, height, pixelFormat, framesPerSecond, chunkMode } = content.features;
  memory.setWord(featureRegister.width, width);
  memory.setWord(featureRegister.height, height);
  memory.setWord(featureRegister.pixelFormat, pixelFormat);
  memory.setWord(featureRegister.frameRate, wordOfFloat(framesPerSecond));
  memory.setWord(featureRegister.exposureUs, wordOfFloat(100));
  memory.setWord(featureRegister.chunkMode, chunkMode ? 1 : 0);
  return memory;
}

const wordOfFloat = (value: number): number => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatBE(value);
  return bytes.readUInt32BE(0);
};
