import { createRandom, mixSeeds } from '../../simulated/random.ts';
import type { ResendRequest } from '../gvcp.ts';
import { status } from '../gvcp.ts';
import { format, payloadType, writeImageLeader, writeImageTrailer, writeStreamHeader } from '../gvsp.ts';
import { EXTENDED_HEADER, STANDARD_HEADER } from '../gvsp.ts';
import { IP_UDP_BYTES } from '../registers.ts';
import type { SimulatorSettings } from './settings.ts';

/* From frames to packets on the line, with what goes wrong on the way. Knows no socket; `send` is the way out. */

export interface OutgoingFrame {
  blockId: number;
  /** Nanoseconds. */
  timestamp: bigint;
  pixelFormat: number;
  width: number;
  height: number;
  /** Bytes of the picture, and of chunk data behind it. */
  image: Buffer;
  /** null: none. */
  chunks: Buffer | null;
}

export interface TransmitterCounts {
  frames: number;
  packets: number;
  /** Never sent, resent ones included. */
  dropped: number;
  reordered: number;
  duplicated: number;
  late: number;
  resent: number;
  /** Asked for and not there any more. */
  unavailable: number;
}

export interface Transmitter {
  frame(frame: OutgoingFrame): void;
  resend(request: ResendRequest): void;
  /** Sends what is held back for being overtaken: nothing is behind it. */
  flush(): void;
  /** Nothing that is under way is sent any more, and nothing can be asked for. */
  clear(): void;
  readonly counts: Readonly<TransmitterCounts>;
}

/** Frames that can be asked for again, within this memory. */
const KEPT_BYTES = 64 * 2 ** 20;
const KEPT_FRAMES = 64;
const MOST_OVERTAKEN = 8;
const LATE_SHARE = 1 / 50;

type Faults = Pick<SimulatorSettings, 'lossPerMille' | 'reorderPerMille' | 'duplicatePerMille' | 'lateMs' | 'seed'>;
type Sent = { frame: OutgoingFrame; payload: Buffer; packetBytes: number };

/**
 * @param line.plain chunk blocks of GigE Vision 1.x, whose leader does not say what picture they hold.
 * @param line.lying leaders say that pictures are twice as high as they are.
 */
export function createTransmitter(
  faults: Faults,
  line: { packetSize(): number; extended(): boolean; plain: boolean; lying: boolean },
  send: (header: Buffer, data: Buffer) => void,
): Transmitter {
  const random = createRandom(mixSeeds(faults.seed, 0x6753));
  const counts: TransmitterCounts = {
    frames: 0,
    packets: 0,
    dropped: 0,
    reordered: 0,
    duplicated: 0,
    late: 0,
    resent: 0,
    unavailable: 0,
  };
  const kept = new Map<number, Sent>();
  let keptBytes = 0;
  /** Overtaken by `after` more packets. */
  let held: { header: Buffer; data: Buffer; after: number }[] = [];
  const timers = new Set<NodeJS.Timeout>();

  const out = (header: Buffer, data: Buffer) => {
    counts.packets += 1;
    send(header, data);
  };
  const chance = (perMille: number) => perMille > 0 && random.chance(perMille / 1000);
  const transmit = (header: Buffer, data: Buffer) => {
    if (chance(faults.lossPerMille)) {
      counts.dropped += 1;
      return;
    }
    if (chance(faults.duplicatePerMille)) {
      counts.duplicated += 1;
      out(header, data);
    }
    if (faults.lateMs > 0 && random.chance(LATE_SHARE)) {
      counts.late += 1;
      const timer = setTimeout(() => {
        timers.delete(timer);
        out(header, data);
      }, faults.lateMs);
      timers.add(timer);
      return;
    }
    if (chance(faults.reorderPerMille)) {
      counts.reordered += 1;
      held.push({ header, data, after: random.whole(1, MOST_OVERTAKEN) });
      return;
    }
    out(header, data);
    if (held.length === 0) return;
    for (const packet of held) packet.after -= 1;
    const due = held.filter((packet) => packet.after <= 0);
    held = held.filter((packet) => packet.after > 0);
    for (const packet of due) out(packet.header, packet.data);
  };
  const headerOf = (blockId: number, packetId: number, kind: number, state: number = status.success): Buffer => {
    const extended = line.extended();
    const header = Buffer.alloc(extended ? EXTENDED_HEADER : STANDARD_HEADER);
    writeStreamHeader(header, { blockId, packetId, format: kind, extended, status: state });
    return header;
  };
  /** @returns null beyond the trailer. */
  const packetOf = ({ frame, payload, packetBytes }: Sent, packetId: number, state: number = status.success) => {
    const { blockId } = frame;
    const last = Math.ceil(payload.length / packetBytes) + 1;
    if (packetId > last) return null;
    const chunked = line.plain ? payloadType.chunk : payloadType.image | payloadType.extendedChunkFlag;
    const type = frame.chunks ? chunked : payloadType.image;
    if (packetId === 0) {
      const data = writeImageLeader({
        ...frame,
        height: frame.height * (line.lying ? 2 : 1),
        payloadType: type,
        paddingX: 0,
      });
      return { header: headerOf(blockId, 0, format.leader, state), data };
    }
    if (packetId === last) {
      const data = writeImageTrailer({
        payloadType: type,
        height: frame.height * (line.lying ? 2 : 1),
        chunkBytes: payload.length,
      });
      return { header: headerOf(blockId, last, format.trailer, state), data };
    }
    const from = (packetId - 1) * packetBytes;
    return {
      header: headerOf(blockId, packetId, format.payload, state),
      data: payload.subarray(from, from + packetBytes),
    };
  };
  const keep = (sent: Sent) => {
    kept.set(sent.frame.blockId, sent);
    keptBytes += sent.payload.length;
    for (const [id, old] of kept) {
      if (kept.size <= 1 || (kept.size <= KEPT_FRAMES && keptBytes <= KEPT_BYTES)) break;
      kept.delete(id);
      keptBytes -= old.payload.length;
    }
  };

  return {
    frame(frame) {
      const headerBytes = line.extended() ? EXTENDED_HEADER : STANDARD_HEADER;
      const packetBytes = line.packetSize() - IP_UDP_BYTES - headerBytes;
      const payload = frame.chunks ? Buffer.concat([frame.image, frame.chunks]) : frame.image;
      const sent = { frame, payload, packetBytes };
      keep(sent);
      counts.frames += 1;
      for (let id = 0; ; id += 1) {
        const packet = packetOf(sent, id);
        if (!packet) break;
        transmit(packet.header, packet.data);
      }
    },
    resend({ blockId, first, last }) {
      const sent = kept.get(blockId);
      if (!sent) {
        counts.unavailable += 1;
        return out(headerOf(blockId, first, format.payload, status.packetUnavailable), Buffer.alloc(0));
      }
      for (let id = first; id <= last; id += 1) {
        const packet = packetOf(sent, id, status.packetResend);
        if (!packet) break;
        counts.resent += 1;
        if (chance(faults.lossPerMille)) counts.dropped += 1;
        else out(packet.header, packet.data);
      }
    },
    flush() {
      for (const packet of held) out(packet.header, packet.data);
      held = [];
    },
    clear() {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
      held = [];
      kept.clear();
      keptBytes = 0;
    },
    counts,
  };
}
