import { status } from './gvcp.ts';
import { format, readLeader, readTrailerHeight, type Leader, type StreamPacket } from './gvsp.ts';
import { createResendPolicy } from './resend-policy.ts';

/*
 * From packets to complete blocks. A pure machine: it is told packets and the time, and answers by calls. A block is given out
 * whole or counted as lost; there is nothing between. Blocks come out, and losses are told, in the order of their ids: whoever counts
 * frames off against triggers would else take a frame for that of another part.
 */

export interface CompleteBlock {
  blockId: number;
  leader: Leader;
  /** Lines that there are: the trailer's word where it is less than the leader's. null: as the leader says. */
  height: number | null;
  /** Payload as sent, lent for the duration of the call. */
  data: Buffer;
  /** Packets of it that had to be asked for. */
  resent: number;
}

export interface ReassemblyOptions {
  /** Payload bytes per data packet as negotiated. */
  packetBytes: number;
  /** Bytes of a block as the camera announces it (PayloadSize). */
  blockBytes: number;
  /** Whether lost packets can be asked for. */
  canResend: boolean;
  /** Silence of a block after which what is missing is asked for; without resend it is given up if a newer one is there. */
  packetTimeoutMs?: number;
  /** The same for a block that a newer one has overtaken. */
  overtakenTimeoutMs?: number;
  /** Between two requests for the same packets. */
  resendIntervalMs?: number;
  /** Silence of a block after which it is lost. */
  blockTimeoutMs?: number;
  /** Time a block may take in all from its first packet; slow cameras over slow links need more. */
  blockLimitMs?: number;
}

export interface ReassemblyEvents {
  /** False: its bytes are not the picture that its leader announces, and it is counted as lost. */
  onBlock(block: CompleteBlock): boolean;
  /** Blocks of which something was never seen, when their turn has come. `reason` is for the log. */
  onLost(count: number, reason: LostReason): void;
  requestResend(blockId: number, first: number, last: number, extended: boolean): void;
  /** False: the camera says that it can send packets again and does not; for a while it is not asked. Told once; true: it does after all. */
  onResend?(answered: boolean): void;
}
export type LostReason = 'incomplete' | 'never-seen' | 'unavailable' | 'malformed' | 'crowded-out';

export interface StreamCounts {
  packets: number;
  blocks: number;
  lost: number;
  /** Packets that came again, or for blocks that are done with. */
  duplicates: number;
  /** Packets asked for, each time. */
  resendRequests: number;
  /** Packets that came after they were asked for. */
  resent: number;
  malformed: number;
}
export const noCounts = (): StreamCounts => ({
  packets: 0,
  blocks: 0,
  lost: 0,
  duplicates: 0,
  resendRequests: 0,
  resent: 0,
  malformed: 0,
});

/** Blocks under way at a time: as many as go into this memory, within limits. */
const MAX_HELD_BYTES = 64 * 2 ** 20;
const LEAST_BLOCKS = 4;
const MOST_BLOCKS = 64;
/** Ids that may be skipped and counted as lost; beyond, the camera has begun to number anew. */
const MAX_GAP = 10_000;
/** Skipped ids that are waited for (and asked for) one by one; beyond, they are counted at once. */
const MAX_AWAITED = 4;
/** Payload of the smallest packets that a camera may choose instead of those agreed on. */
const LEAST_PACKET_BYTES = 128;
/** Requests per block and look. */
const MAX_REQUESTS = 32;
const MAX_TRIES = 16;
/** Longer without a look, and it was this program that did not listen: what came meanwhile still waits in the socket. */
const DEAF_MS = 12;
const WRAP = 65_535;

interface Block {
  id: number;
  extended: boolean;
  leader: Leader | null;
  trailerHeight: number | null;
  /** Id of the trailer packet; null: not known yet. */
  last: number | null;
  data: Buffer | null;
  /** 1 per data packet that is here. */
  have: Uint8Array;
  count: number;
  /** Bytes of the last data packet; those before are full. */
  bytes: number;
  highest: number;
  begun: number;
  heard: number;
  asked: number;
  tries: number;
  resent: number;
  /** Lost already, kept until its turn comes: its packets are still recognised. */
  failed: LostReason | null;
  /** Ids that it stands for: from its own on, where many were skipped at once. */
  ids: number;
}

export interface Reassembly {
  packet(packet: StreamPacket, now: number): void;
  /** Has to be called every few milliseconds while blocks are under way. */
  tick(now: number): void;
  /** Nothing more will come: what is not whole is lost. */
  end(now: number): void;
  readonly counts: Readonly<StreamCounts>;
  /** Blocks under way. */
  readonly pending: number;
  readonly heldBytes: number;
}

export function createReassembly(options: ReassemblyOptions, events: ReassemblyEvents): Reassembly {
  const { blockBytes } = options;
  const {
    packetTimeoutMs = 20,
    overtakenTimeoutMs = 4,
    resendIntervalMs = 15,
    blockTimeoutMs = 250,
    blockLimitMs = 5_000,
  } = options;
  const maxBlocks = Math.min(MOST_BLOCKS, Math.max(LEAST_BLOCKS, Math.floor(MAX_HELD_BYTES / Math.max(1, blockBytes))));
  let packetBytes = options.packetBytes;
  let lookedAt: number | null = null;
  const counts = noCounts();
  /** Oldest first; ids ascend by one, but where numbering began anew. */
  let blocks: Block[] = [];
  const spare: Buffer[] = [];
  /** Id of the newest block that has begun, or was skipped. */
  let newest: number | null = null;
  let newestTimestamp = -1n;
  /** Ids of the last blocks that were lost before their leader came, and the time that it named if it came since: asked for again, it may come more than once. */
  const lateLeaders = new Map<number, bigint | null>();

  const next = (id: number, extended: boolean) => (extended ? id + 1 : (id % WRAP) + 1);
  /** How far b is ahead of a; negative: behind. 16-bit ids go round from 65535 to 1. */
  const ahead = (a: number, b: number, extended: boolean): number => {
    if (extended) return b - a;
    const distance = (((b - a) % WRAP) + WRAP) % WRAP;
    return distance > WRAP / 2 ? distance - WRAP : distance;
  };
  const packetsOf = (bytes: number) => Math.max(1, Math.ceil(bytes / packetBytes));
  const resend = createResendPolicy(options.canResend, () => packetsOf(blockBytes) + 2, events.onResend?.bind(events));

  const create = (id: number, extended: boolean, now: number): Block => {
    const block: Block = {
      id,
      extended,
      leader: null,
      trailerHeight: null,
      last: null,
      data: null,
      have: new Uint8Array(0),
      count: 0,
      bytes: 0,
      highest: 0,
      begun: now,
      heard: now,
      asked: -Infinity,
      tries: 0,
      resent: 0,
      failed: null,
      ids: 1,
    };
    blocks.push(block);
    newest = id;
    return block;
  };
  const release = (block: Block) => {
    // One spare per block under way at most, and all of one size.
    if (block.data && spare.length < maxBlocks) spare.push(block.data);
    block.data = null;
  };
  const lose = (count: number, reason: LostReason) => {
    counts.lost += count;
    events.onLost(count, reason);
  };
  const fail = (block: Block, reason: LostReason) => {
    if (block.failed) return;
    block.failed = reason;
    release(block);
  };
  const isWhole = (block: Block) => block.leader !== null && block.last !== null && block.count === block.last - 1;

  /** Gives out or drops blocks from the oldest on, as long as they are done. */
  const settle = () => {
    for (let block = blocks[0]; block && (block.failed || isWhole(block)); block = blocks[0]) {
      blocks.shift();
      if (block.failed) {
        if (!block.leader) lateLeaders.set(block.id, null);
        if (lateLeaders.size > MOST_BLOCKS) lateLeaders.delete(lateLeaders.keys().next().value!);
        lose(block.ids, block.failed);
        continue;
      }
      const length = block.last === 1 ? 0 : (block.last! - 2) * packetBytes + block.bytes;
      const data = (block.data ?? Buffer.alloc(0)).subarray(0, length);
      const { id, leader, trailerHeight, resent } = block;
      const accepted = events.onBlock({ blockId: id, leader: leader!, height: trailerHeight, data, resent });
      if (accepted) counts.blocks += 1;
      else lose(1, 'malformed');
      release(block);
    }
  };

  const find = (packet: StreamPacket, now: number): Block | null => {
    const { blockId: id, extended } = packet;
    if (newest === null) {
      // Numbering begins at 1 with the channel: a first packet of a block soon after means that those before are late, or lost.
      if (id > 1 && id <= MAX_AWAITED + 1) for (let before = 1; before < id; before += 1) create(before, extended, now);
      return create(id, extended, now);
    }
    const distance = ahead(newest, id, extended);
    if (distance <= 0 && distance > -MAX_GAP) {
      const known = blocks.find((block) => {
        const behind = ahead(block.id, id, extended);
        return behind >= 0 && behind < block.ids;
      });
      if (known) return known;
    }
    if (distance > 0 && distance <= MAX_GAP) {
      const skipped = distance - 1;
      let awaited = next(newest, extended);
      if (skipped > MAX_AWAITED) {
        const gone = create(awaited, extended, now);
        gone.ids = skipped - MAX_AWAITED;
        fail(gone, 'never-seen');
        for (let i = 0; i < gone.ids; i += 1) awaited = next(awaited, extended);
      }
      // The last few that were skipped may only be late.
      for (; awaited !== id; awaited = next(awaited, extended)) create(awaited, extended, now);
      const block = create(id, extended, now);
      while (blocks.length > maxBlocks) {
        fail(blocks[0]!, 'crowded-out');
        settle();
      }
      return block;
    }
    // Behind what is known: late or twice. Only a leader that is newer by its own clock begins a new numbering.
    const leader = packet.format === format.leader ? readLeader(packet.data) : null;
    if (!leader || leader.timestamp <= newestTimestamp) return null;
    const late = lateLeaders.get(id);
    if (late === null) lateLeaders.set(id, leader.timestamp);
    if (late === null || late === leader.timestamp) return null;
    end();
    return create(id, extended, now);
  };

  const memoryFor = (block: Block): Buffer => {
    if (block.data) return block.data;
    const size = packetsOf(blockBytes) * packetBytes;
    let buffer = spare.pop();
    if (!buffer || buffer.length !== size) buffer = Buffer.allocUnsafeSlow(size);
    block.data = buffer;
    block.have = new Uint8Array(packetsOf(blockBytes) + 1);
    return buffer;
  };

  /** The camera sends others than agreed on: the blocks to come are read so. Those under way lie in memory by the old size. */
  const agreeOn = (bytes: number): void => {
    packetBytes = bytes;
    for (const block of blocks) if (block.count > 0) fail(block, 'malformed');
  };

  const takeData = (block: Block, packet: StreamPacket): void => {
    const { packetId: id, data } = packet;
    const buffer = memoryFor(block);
    const tooFar = id < 1 || id >= block.have.length || (block.last !== null && id >= block.last);
    const tooLong = data.length > packetBytes;
    const isShort = data.length < packetBytes;
    // A short packet ends its block: nothing may stand behind it.
    const afterShort = id > block.highest && block.highest > 0 && block.bytes < packetBytes;
    if (tooFar || data.length === 0 || tooLong || afterShort || (isShort && id < block.highest)) {
      // The first of several packets is full.
      if (!tooFar && tooLong && id === 1 && data.length <= blockBytes) agreeOn(data.length);
      if (afterShort && block.highest === 1 && block.bytes >= LEAST_PACKET_BYTES) agreeOn(block.bytes);
      counts.malformed += 1;
      return fail(block, 'malformed');
    }
    if (block.have[id] === 1) {
      counts.duplicates += 1;
      return;
    }
    data.copy(buffer, (id - 1) * packetBytes);
    block.have[id] = 1;
    block.count += 1;
    if (id > block.highest) {
      block.highest = id;
      block.bytes = data.length;
    }
  };

  const takeTrailer = (block: Block, packet: StreamPacket): void => {
    const { packetId } = packet;
    if (block.last !== null) {
      counts.duplicates += 1;
      return;
    }
    if (packetId < 1 || packetId <= block.highest || packetId > packetsOf(blockBytes) + 1) {
      counts.malformed += 1;
      return fail(block, 'malformed');
    }
    block.last = packetId;
    block.trailerHeight = readTrailerHeight(packet.data);
  };

  const take = (block: Block, packet: StreamPacket): void => {
    if (packet.format === format.payload) return takeData(block, packet);
    if (packet.format === format.trailer) return takeTrailer(block, packet);
    const leader = packet.packetId === 0 ? readLeader(packet.data) : null;
    if (!leader) {
      counts.malformed += 1;
      return fail(block, 'malformed');
    }
    if (block.leader) {
      counts.duplicates += 1;
      return;
    }
    block.leader = leader;
    if (leader.timestamp > newestTimestamp || block.id === newest) newestTimestamp = leader.timestamp;
  };

  /** The packets of a block that are missing, as ranges; to the end that it should have. */
  const missing = (block: Block): [first: number, last: number][] => {
    const ranges: [number, number][] = [];
    const last = block.last ?? packetsOf(blockBytes) + 1;
    let first: number | null = block.leader ? null : 0;
    for (let id = 1; id <= last; id += 1) {
      const here = id === last ? block.last !== null : block.have[id] === 1;
      if (here && first !== null) {
        ranges.push([first, id - 1]);
        first = null;
      } else if (!here && first === null) first = id;
    }
    if (first !== null) ranges.push([first, last]);
    return ranges;
  };

  const ask = (block: Block, now: number): void => {
    block.asked = now;
    block.tries += 1;
    for (const [first, end] of missing(block).slice(0, MAX_REQUESTS)) {
      const asked = resend.take(end - first + 1);
      if (asked === 0) return;
      counts.resendRequests += asked;
      events.requestResend(block.id, first, first + asked - 1, block.extended);
    }
  };

  /** Silence is measured while this program listens. */
  const allowForDeafness = (now: number): void => {
    const passed = lookedAt === null ? 0 : now - lookedAt;
    lookedAt = now;
    resend.passed(passed);
    const deaf = passed - DEAF_MS;
    if (deaf <= 0) return;
    for (const block of blocks) {
      block.heard = Math.min(now, block.heard + deaf);
      block.begun = Math.min(now, block.begun + deaf);
      block.asked = Math.min(now, block.asked + deaf);
    }
  };
  const giveUp = (block: Block, reason: LostReason, now: number): void => {
    fail(block, reason);
    if (block.tries > 0) resend.gaveUp(now);
  };

  const look = (now: number): void => {
    allowForDeafness(now);
    for (const [i, block] of blocks.entries()) {
      if (block.failed || isWhole(block)) continue;
      const silent = now - block.heard;
      const overtaken = i < blocks.length - 1;
      if (silent > blockTimeoutMs || now - block.begun > blockLimitMs) {
        giveUp(block, block.count > 0 ? 'incomplete' : 'never-seen', now);
        continue;
      }
      const asks = resend.asks(now);
      if (silent <= (overtaken && asks ? overtakenTimeoutMs : packetTimeoutMs)) continue;
      if (asks) {
        if (now - block.asked < resendIntervalMs) continue;
        if (block.tries >= MAX_TRIES) giveUp(block, 'incomplete', now);
        else ask(block, now);
      } else if (overtaken) fail(block, 'incomplete');
    }
    settle();
  };

  function end(): void {
    for (const block of blocks) if (!isWhole(block)) fail(block, 'incomplete');
    settle();
    blocks = [];
    lateLeaders.clear();
  }

  return {
    packet(packet, now) {
      counts.packets += 1;
      const refused = packet.status >= 0x8000;
      if (refused && packet.status !== status.packetUnavailable) {
        // Not yet, or not now: it is asked for again. What was removed from memory will never come.
        const gone = packet.status === status.packetAndPreviousRemoved || packet.status === status.packetRemoved;
        if (!gone) return;
      }
      const block = find(packet, now);
      if (!block || block.failed) {
        counts.duplicates += 1;
        return;
      }
      if (refused) fail(block, 'unavailable');
      else {
        block.heard = now;
        if (block.asked > 0) {
          block.resent += 1;
          counts.resent += 1;
          resend.answered();
        } else resend.came();
        take(block, packet);
      }
      settle();
    },
    tick: look,
    end,
    counts,
    get pending() {
      return blocks.length;
    },
    get heldBytes() {
      return (
        spare.reduce((sum, buffer) => sum + buffer.length, 0) +
        blocks.reduce((sum, block) => sum + (block.data?.length ?? 0), 0)
      );
    },
  };
}
