import { createRandom } from '../../main/capture/simulated/random.ts';
import { command, readAcknowledge, readCommand, readIdentity, readResend } from '../../main/capture/gige/gvcp.ts';
import { resendPayload, writeAcknowledge, writeCommand } from '../../main/capture/gige/gvcp.ts';
import { format, payloadType, readLeader, readStreamPacket, readTrailerHeight } from '../../main/capture/gige/gvsp.ts';
import { writeImageLeader, writeImageTrailer, writeStreamHeader } from '../../main/capture/gige/gvsp.ts';
import { imageBytes, pixelFormatOf, toImage } from '../../main/capture/gige/pixel-formats.ts';
import { createReassembly } from '../../main/capture/gige/reassembly.ts';
import { privilege, register } from '../../main/capture/gige/registers.ts';
import { createControl } from '../../main/capture/gige/simulator/control.ts';
import { describeCamera, featureRegister, storeDescription } from '../../main/capture/gige/simulator/description.ts';
import { createMemory } from '../../main/capture/gige/simulator/memory.ts';

/*
 * Random and mutated GVCP and GVSP packets, given to everything that reads packets: the driver's readers and reassembly with the
 * reader of pictures behind it, and the device's side. Deterministic from a seed.
 */

const [WIDTH, HEIGHT, PACKET] = [64, 32, 256];
const BLOCK = WIDTH * HEIGHT;
const MAX_PIXELS = 1e6;
const CONTROLLER = { address: '127.0.0.1', port: 4_000, family: 'IPv4' as const, size: 0 };
const STRANGER = { ...CONTROLLER, port: 4_001 };

export function createPacketFuzz(seed: number) {
  const random = createRandom(seed);
  let now = 0;
  let read = 0;
  let answers = 0;
  let pictures = 0;
  let id = 1;

  const machine = createReassembly(
    { packetBytes: PACKET, blockBytes: BLOCK, canResend: true },
    {
      // As the acquisition does with a block.
      onBlock({ leader, data, height }) {
        if (!leader.image) return false;
        const { pixelFormat, width, paddingX } = leader.image;
        const lines = height !== null && height > 0 ? Math.min(height, leader.image.height) : leader.image.height;
        const pixels = pixelFormatOf(pixelFormat);
        if (!pixels || width < 1 || lines < 1 || width * lines > MAX_PIXELS) return false;
        if (data.length < imageBytes(pixels, width, lines, paddingX)) return false;
        toImage(pixels, data, width, lines, paddingX);
        pictures += 1;
        return true;
      },
      onLost() {},
      requestResend() {},
    },
  );
  const stored = storeDescription(describeCamera({ manufacturer: 'M', model: 'F' }), false);
  const memory = createMemory({
    manufacturer: 'M',
    model: 'F',
    version: '1',
    serial: 'F',
    address: '127.0.0.1',
    description: stored.bytes,
    url: stored.url,
    canResend: true,
    extendedIds: false,
    packetSize: 1_500,
    heartbeatMs: 1e9,
    features: { width: WIDTH, height: HEIGHT, pixelFormat: 0x0108_0001, framesPerSecond: 10, chunkMode: false },
  });
  const device = createControl(memory, {
    send: () => (answers += 1),
    written: () => 0,
    resend() {},
    released() {},
  });
  const word = (...values: number[]) => {
    const bytes = Buffer.alloc(4 * values.length);
    values.forEach((value, i) => bytes.writeUInt32BE(value >>> 0, 4 * i));
    return bytes;
  };
  const takeControl = writeCommand(command.writeRegister, 1, word(register.controlChannelPrivilege, privilege.control));
  const addresses = [...Object.values(register), ...Object.values(featureRegister), 0x20_0000, 0xffff_fffc];

  const bytesOf = (length: number) => {
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i += 1) bytes[i] = random.whole(0, 255);
    return bytes;
  };
  const numbers = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff];
  /** A well-formed packet with some of its bytes changed, cut, or grown. */
  const mutate = (bytes: Buffer): Buffer => {
    let out = Buffer.from(bytes);
    for (let times = random.whole(0, 4); times > 0; times -= 1) {
      const at = random.whole(0, Math.max(0, out.length - 1));
      const kind = random.whole(0, 4);
      if (kind === 0 && out.length > 0) out[at]! ^= 1 << random.whole(0, 7);
      else if (kind === 1 && out.length > 0) out[at] = random.whole(0, 255);
      else if (kind === 2 && out.length > at + 1) out.writeUInt16BE(random.pick(numbers as [number]), at);
      else if (kind === 3) out = Buffer.from(out.subarray(0, at));
      else if (kind === 4) out = Buffer.concat([out, bytesOf(random.whole(0, 40))]);
    }
    return out;
  };
  const last = Math.ceil(BLOCK / PACKET) + 1;
  const streamPacket = (packetId: number, extended: boolean): Buffer => {
    const kind = packetId === 0 ? format.leader : packetId === last ? format.trailer : format.payload;
    const header = Buffer.alloc(extended ? 20 : 8);
    const state = random.chance(0.01) ? random.pick([0x0100, 0x800c, 0x8010, 0x8012]) : 0;
    writeStreamHeader(header, { blockId: ((id - 1) % 65_535) + 1, packetId, format: kind, extended, status: state });
    const type = random.pick([payloadType.image, payloadType.image, 0x4001, payloadType.chunk]);
    const image = { payloadType: type, timestamp: BigInt(id), pixelFormat: 0x0108_0001, paddingX: 0 };
    const data =
      kind === format.leader
        ? writeImageLeader({ ...image, width: WIDTH, height: HEIGHT })
        : kind === format.trailer
          ? writeImageTrailer({ payloadType: type, height: HEIGHT, chunkBytes: BLOCK })
          : Buffer.alloc(PACKET);
    return Buffer.concat([header, data]);
  };
  /** A block as a camera sends it, of which the caller may damage some packets. */
  let underWay: Buffer[] = [];
  const nextStreamPacket = (): Buffer => {
    if (underWay.length === 0) {
      id += random.chance(0.9) ? 1 : random.whole(0, 3);
      const extended = random.chance(0.02);
      underWay = Array.from({ length: last + 1 }, (_, packetId) => streamPacket(packetId, extended));
    }
    return underWay.shift()!;
  };
  const controlPacket = (): Buffer => {
    const code = random.pick(Object.values(command) as [number, ...number[]]);
    const address = random.pick(addresses as [number, ...number[]]);
    const payload = random.pick([
      word(address),
      word(address, random.whole(0, 0xffff_ffff)),
      word(address, random.whole(0, 600)),
      resendPayload(id, random.whole(0, 20), random.whole(0, 0xffffff), false),
      Buffer.alloc(0),
    ]);
    const requestId = random.whole(0, 0xffff);
    return random.chance(0.8)
      ? writeCommand(code, requestId, payload, random.pick([1, 0x11, 0]))
      : writeAcknowledge(code, requestId, payload, random.pick([0, 0x8001, 0x8006]));
  };

  return {
    /** One packet, to everybody. */
    next(): void {
      const draw = random.next();
      const bytes =
        draw < 0.15
          ? bytesOf(random.whole(0, 64))
          : draw < 0.4
            ? nextStreamPacket()
            : draw < 0.6
              ? mutate(underWay[0] ?? nextStreamPacket())
              : mutate(controlPacket());
      const packet = readStreamPacket(bytes);
      if (packet) {
        read += 1;
        readLeader(packet.data);
        readTrailerHeight(packet.data);
        machine.packet(packet, now);
      }
      const asked = readCommand(bytes);
      if (asked) readResend(asked);
      const answer = readAcknowledge(bytes);
      if (answer) readIdentity(answer.payload);
      if (random.chance(0.02)) device.packet(takeControl, CONTROLLER, now);
      device.packet(bytes, random.chance(0.8) ? CONTROLLER : STRANGER, now);
      if (random.chance(0.05)) {
        now += random.whole(1, 10);
        machine.tick(now);
        device.tick(now);
      }
    },
    counts: () => ({ read, pictures, driver: machine.counts, device: { answers } }),
    heldBytes: () => machine.heldBytes,
    /** Blocks under way and as many spare ones, each rounded up to whole packets of at most twice the size agreed on. */
    mostHeldBytes: 2 * 64 * 4 * BLOCK,
  };
}
