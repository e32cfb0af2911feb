import { createSocket } from 'node:dgram';
import { GvcpTimeout } from './control-channel.ts';
import type { Device } from './device.ts';
import { EXTENDED_HEADER, readStreamPacket, STANDARD_HEADER } from './gvsp.ts';
import {
  createReassembly,
  noCounts,
  type CompleteBlock,
  type LostReason,
  type Reassembly,
  type StreamCounts,
} from './reassembly.ts';
import { IP_UDP_BYTES, packetSizeFlag, register } from './registers.ts';

/** Wanted of the system: a quarter of a second of Gigabit Ethernet, a tenth of what fills the loopback. Systems grant less by default and say nothing. */
const WANTED_BUFFER_BYTES = 32 * 2 ** 20;
/** Below this the warning is given: less than a frame of a common camera, or a busy moment of this thread. */
export const LEAST_BUFFER_BYTES = 2 * 2 ** 20;
/** Sizes to try, IP and UDP headers included: jumbo frames, plain Ethernet, what every network carries. */
const PACKET_SIZES = [9000, 8000, 4000, 1500, 576];
const TEST_WAIT_MS = 60;
const TEST_TRIES = 2;
const TICK_MS = 4;
/** After the camera was told to stop, what is under way still comes in. */
const DRAIN_MS = 100;

export interface StreamEvents {
  onBlock(block: CompleteBlock): boolean;
  onLost(count: number, reason: LostReason): void;
  onResend(answered: boolean): void;
}
export interface StreamChannel {
  readonly packetSize: number;
  /** As the system granted it. */
  readonly bufferBytes: number;
  readonly counts: Readonly<StreamCounts>;
  /** Milliseconds since the last packet, or since it began; Infinity: not begun. */
  silentMs(): number;
  /** Begins to put blocks together; before, only test packets are heard. */
  begin(blockBytes: number): void;
  /** Waits for what is under way, counts what is not whole, and closes. Never throws. */
  close(): Promise<void>;
}

/** Opens the stream channel 0 of a device that we control. @param largestPacket limit of the network, in bytes. */
export async function openStreamChannel(
  device: Device,
  events: StreamEvents,
  options: { largestPacket?: number; receiveBufferBytes?: number } = {},
): Promise<StreamChannel> {
  const { channel } = device;
  const socket = createSocket('udp4');
  let reassembly: Reassembly | null = null;
  let heardAt = -Infinity;
  let onTest: ((bytes: number) => void) | null = null;

  socket.on('message', (bytes, from) => {
    if (from.address !== channel.address) return;
    if (onTest) onTest(bytes.length);
    const packet = reassembly === null ? null : readStreamPacket(bytes);
    if (!packet) return;
    heardAt = performance.now();
    reassembly!.packet(packet, heardAt);
  });
  let timer: NodeJS.Timeout | null = null;
  const shut = () => new Promise<void>((resolve) => socket.close(() => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, channel.localAddress, () => {
        socket.off('error', reject);
        resolve();
      });
    });
    socket.on('error', () => {});
    socket.setRecvBufferSize(options.receiveBufferBytes ?? WANTED_BUFFER_BYTES);
    const bufferBytes = socket.getRecvBufferSize();
    const address = channel.localAddress.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    await channel.writeRegister(register.streamAddress, address);
    await channel.writeRegister(register.streamPort, socket.address().port);
    const packetSize = await negotiate();
    return {
      packetSize,
      bufferBytes,
      get counts() {
        return reassembly?.counts ?? noCounts();
      },
      silentMs: () => performance.now() - heardAt,
      begin(blockBytes) {
        heardAt = performance.now();
        const packetBytes = packetSize - IP_UDP_BYTES - (device.extendedIds ? EXTENDED_HEADER : STANDARD_HEADER);
        reassembly = createReassembly(
          { packetBytes, blockBytes, canResend: device.canResend },
          {
            onBlock: events.onBlock,
            onLost: events.onLost,
            onResend: events.onResend,
            requestResend: (...range) => channel.requestResend(...range),
          },
        );
        timer = setInterval(() => reassembly!.tick(performance.now()), TICK_MS);
      },
      async close() {
        const until = performance.now() + DRAIN_MS;
        while (reassembly && reassembly.pending > 0 && performance.now() < until) {
          await new Promise((resolve) => setTimeout(resolve, TICK_MS));
        }
        if (timer) clearInterval(timer);
        reassembly?.end(performance.now());
        await channel.writeRegister(register.streamPort, 0).catch(() => {});
        await shut();
      },
    };
  } catch (error) {
    await shut();
    throw error;
  }

  /** The largest packet that arrives whole (SCPS test packets). A camera that sends none keeps its size, or the nearest allowed; on loopback it gets the largest. */
  async function negotiate(): Promise<number> {
    const { largestPacket = PACKET_SIZES[0]! } = options;
    const before = (await channel.readRegister(register.streamPacketSize)) & 0xffff;
    const sizes = [...new Set([largestPacket, ...PACKET_SIZES])].filter((size) => size <= largestPacket);
    for (const size of sizes) {
      for (let tries = 0; tries < TEST_TRIES; tries += 1) {
        const arrived = new Promise<boolean>((resolve) => {
          const stop = setTimeout(resolve, TEST_WAIT_MS, false);
          onTest = (bytes) => {
            if (bytes + IP_UDP_BYTES < size - 3) return;
            clearTimeout(stop);
            resolve(true);
          };
        });
        const flags = packetSizeFlag.fireTestPacket | packetSizeFlag.doNotFragment;
        const accepted = await channel.writeRegister(register.streamPacketSize, (flags | size) >>> 0).then(
          () => true,
          (error: unknown) => {
            if (error instanceof GvcpTimeout) throw error;
            return false;
          },
        );
        const there = accepted && (await arrived);
        onTest = null;
        if (there) return settled(size);
        if (!accepted) break;
      }
    }
    // Loopback carries every packet whole, so there is nothing to try.
    if (channel.localAddress.startsWith('127.')) return settled(largestPacket);
    return settled(Math.min(before >= 576 ? before : 1500, 1500, largestPacket));
  }
  /** Written without the test flag and read back: the camera may round it. */
  async function settled(size: number): Promise<number> {
    await channel.writeRegister(register.streamPacketSize, (packetSizeFlag.doNotFragment | size) >>> 0);
    const granted = (await channel.readRegister(register.streamPacketSize)) & 0xffff;
    return granted > IP_UDP_BYTES + EXTENDED_HEADER ? granted : size;
  }
}
