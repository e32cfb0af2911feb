import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { format, readStreamPacket, writeImageLeader, writeImageTrailer } from '../../../main/capture/gige/gvsp.ts';
import { payloadType, writeStreamHeader, type StreamPacket } from '../../../main/capture/gige/gvsp.ts';
import { createReassembly, type LostReason } from '../../../main/capture/gige/reassembly.ts';
import { patternOf } from '../../../main/capture/gige/simulator/test-pattern.ts';
import { status } from '../../../main/capture/gige/gvcp.ts';

const [WIDTH, HEIGHT, PACKET] = [80, 20, 256];
const BLOCK = WIDTH * HEIGHT;

interface Sent {
  id: number;
  extended?: boolean;
  timestamp?: bigint;
  data?: Buffer;
}
const packet = (sent: Sent, packetId: number, kind: number, data: Buffer, state = 0): StreamPacket => {
  const header = Buffer.alloc(sent.extended ? 20 : 8);
  writeStreamHeader(header, {
    blockId: sent.id,
    packetId,
    format: kind,
    extended: sent.extended ?? false,
    status: state,
  });
  return readStreamPacket(Buffer.concat([header, data]))!;
};
/** Packets of a block as a camera sends them. */
const packetsOf = (sent: Sent, packetBytes = PACKET): StreamPacket[] => {
  const data = sent.data ?? patternOf('Mono8', WIDTH, HEIGHT, sent.id);
  const leader = writeImageLeader({
    payloadType: payloadType.image,
    timestamp: sent.timestamp ?? BigInt(sent.id),
    pixelFormat: 0x0108_0001,
    width: WIDTH,
    height: HEIGHT,
    paddingX: 0,
  });
  const packets = [packet(sent, 0, format.leader, leader)];
  for (let at = 0; at < data.length; at += packetBytes) {
    packets.push(packet(sent, packets.length, format.payload, data.subarray(at, at + packetBytes)));
  }
  const trailer = writeImageTrailer({ payloadType: payloadType.image, height: HEIGHT, chunkBytes: 0 });
  packets.push(packet(sent, packets.length, format.trailer, trailer));
  return packets;
};

/** A receiver that keeps what it is given, and a clock that only moves when told to. */
const receiver = (options: { canResend?: boolean; blockBytes?: number; refuse?: boolean } = {}) => {
  const blocks: { id: number; data: Buffer }[] = [];
  const lost: { count: number; reason: LostReason }[] = [];
  const asked: { id: number; first: number; last: number }[] = [];
  /** Ids given out, and how many were lost between them, as it was told. */
  const told: (number | { lost: number })[] = [];
  const answered: boolean[] = [];
  let now = 0;
  const machine = createReassembly(
    { packetBytes: PACKET, blockBytes: options.blockBytes ?? BLOCK, canResend: options.canResend ?? false },
    {
      onBlock(block) {
        blocks.push({ id: block.blockId, data: Buffer.from(block.data) });
        told.push(block.blockId);
        return options.refuse !== true;
      },
      onLost(count, reason) {
        lost.push({ count, reason });
        told.push({ lost: count });
      },
      requestResend: (id, first, last) => asked.push({ id, first, last }),
      onResend: (answers) => answered.push(answers),
    },
  );
  return {
    machine,
    blocks,
    lost,
    asked,
    answered,
    told,
    take: (...packets: StreamPacket[]) => packets.forEach((one) => machine.packet(one, now)),
    /** @param ms as a timer that is called every four. */
    wait(ms: number) {
      for (const end = now + ms; now < end;) machine.tick((now += 4));
    },
    /** The thread was busy: no timer, no socket. */
    stall(ms: number) {
      machine.tick((now += ms));
    },
    lostCount: () => lost.reduce((sum, one) => sum + one.count, 0),
  };
};
const ids = (at: ReturnType<typeof receiver>) => at.blocks.map((block) => block.id);
const expectPattern = (at: ReturnType<typeof receiver>) => {
  for (const { id, data } of at.blocks) expect(data.equals(patternOf('Mono8', WIDTH, HEIGHT, id))).toBe(true);
};

describe('reassembly', () => {
  it('gives out a block whatever the order of its packets, and however often they come', () => {
    fc.assert(
      fc.property(
        fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7, 8], { minLength: 9 }),
        fc.array(fc.nat(8)),
        (order, twice) => {
          const at = receiver();
          const packets = packetsOf({ id: 1 });
          expect(packets.length).toBe(9);
          for (const [i, index] of order.entries()) {
            at.take(packets[index]!);
            if (twice.includes(i)) at.take(packets[index]!);
          }
          at.machine.end(0);
          expect(ids(at)).toEqual([1]);
          expectPattern(at);
          expect(at.lostCount()).toBe(0);
        },
      ),
    );
  });

  it('gives out whole blocks alone, in order, and counts every other one', () => {
    const fault = fc.record({ drop: fc.boolean(), twice: fc.boolean(), delay: fc.nat(12) });
    fc.assert(
      fc.property(
        fc.array(fc.array(fault, { minLength: 9, maxLength: 9 }), { minLength: 1, maxLength: 12 }),
        (frames) => {
          const at = receiver();
          const line: { packet: StreamPacket; at: number }[] = [];
          const whole = new Set<number>();
          let lastSeen = 1;
          for (const [i, faults] of frames.entries()) {
            const id = i + 1;
            // The first leader is not touched: what was never heard of cannot be counted.
            const dropped = faults.map((one, k) => one.drop && one.delay % 3 === 0 && !(i === 0 && k === 0));
            if (!dropped.includes(true)) whole.add(id);
            if (dropped.includes(false)) lastSeen = id;
            for (const [k, one] of packetsOf({ id }).entries()) {
              if (dropped[k]) continue;
              const delay = i === 0 && k === 0 ? 0 : faults[k]!.delay;
              line.push({ packet: one, at: 9 * i + k + delay });
              if (faults[k]!.twice) line.push({ packet: one, at: 9 * i + k + delay + 2 });
            }
          }
          line.sort((a, b) => a.at - b.at);
          for (const { packet: one } of line) at.take(one);
          at.wait(2_000);
          at.machine.end(0);
          expect(ids(at)).toEqual([...ids(at)].sort((a, b) => a - b));
          for (const id of ids(at)) expect(whole.has(id)).toBe(true);
          expectPattern(at);
          expect(at.blocks.length).toBe(whole.size);
          expect(at.blocks.length + at.lostCount()).toBe(lastSeen);
          expect(at.machine.pending).toBe(0);
          // Each loss is told in its place: the nth frame that is told of is that with the id n.
          let place = 0;
          for (const one of at.told) {
            place += typeof one === 'number' ? 1 : one.lost;
            if (typeof one === 'number') expect(one).toBe(place);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('asks for what is missing until all is there', () => {
    const drops = fc.array(fc.array(fc.nat(9), { minLength: 9, maxLength: 9 }), { minLength: 2, maxLength: 20 });
    fc.assert(
      fc.property(drops, fc.infiniteStream(fc.nat(3)), (frames, luck) => {
        const at = receiver({ canResend: true });
        const sent = new Map<number, StreamPacket[]>();
        const answer = () => {
          for (const { id, first, last } of at.asked.splice(0)) {
            for (const one of sent.get(id)!.slice(first, last + 1)) if (luck.next().value !== 0) at.take(one);
          }
        };
        for (const [i, dropped] of frames.entries()) {
          const packets = packetsOf({ id: i + 1 });
          sent.set(i + 1, packets);
          // Of the last block something is heard.
          for (const [k, one] of packets.entries()) if (dropped[k] !== 0 || k === 0) at.take(one);
          at.wait(4);
          answer();
        }
        for (let tries = 0; tries < 100 && at.machine.pending > 0; tries += 1) {
          at.wait(4);
          answer();
        }
        expect(ids(at)).toEqual(frames.map((_, i) => i + 1));
        expectPattern(at);
        expect(at.lostCount()).toBe(0);
        expect(at.answered).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  it('does not ask for more than its share, however much is missing', () => {
    const at = receiver({ canResend: true });
    // Every block is half there; nothing that is asked for comes.
    for (let id = 1; id <= 400; id += 1) {
      at.take(...packetsOf({ id }).slice(0, 4));
      at.wait(4);
    }
    const came = 400 * 4;
    expect(at.machine.counts.resendRequests).toBeLessThan(came / 4 + 1_600 + 40);
    expect(at.machine.heldBytes).toBeLessThan(65 * 9 * PACKET);
  });

  it('follows ids round from 65535 to 1', () => {
    const at = receiver();
    const sent = [65_533, 65_534, 65_535, 1, 2, 3];
    for (const id of sent) at.take(...packetsOf({ id, timestamp: 1n }));
    expect(ids(at)).toEqual(sent);
    expectPattern(at);
    // One that is lost on the way round is counted once.
    for (const id of [65_534, 1]) at.take(...packetsOf({ id, timestamp: 2n }));
  });

  it('counts a block that is lost where ids go round', () => {
    const at = receiver();
    for (const id of [65_534, 1, 2]) at.take(...packetsOf({ id, timestamp: 1n }));
    at.wait(1_000);
    expect(ids(at)).toEqual([65_534, 1, 2]);
    expect(at.lostCount()).toBe(1);
  });

  it('takes 64-bit ids beyond 32 bits', () => {
    const at = receiver();
    const first = 2 ** 32 - 2;
    for (let id = first; id < first + 5; id += 1) at.take(...packetsOf({ id, extended: true }));
    expect(ids(at)).toEqual([0, 1, 2, 3, 4].map((i) => first + i));
    expectPattern(at);
  });

  it('begins anew with a camera that begins to number anew, and not with a late packet', () => {
    const at = receiver();
    for (const id of [30_000, 30_001]) at.take(...packetsOf({ id, timestamp: BigInt(id) }));
    const late = packetsOf({ id: 10, timestamp: 5n });
    at.take(...late);
    expect(ids(at)).toEqual([30_000, 30_001]);
    at.take(...packetsOf({ id: 1, timestamp: 40_000n }), ...packetsOf({ id: 2, timestamp: 40_001n }));
    expect(ids(at)).toEqual([30_000, 30_001, 1, 2]);
    expect(at.lostCount()).toBe(0);
  });

  it('counts what was skipped before the first block that it hears of', () => {
    const at = receiver();
    at.take(...packetsOf({ id: 3 }));
    at.wait(1_000);
    expect(ids(at)).toEqual([3]);
    expect(at.lostCount()).toBe(2);
  });

  it.each<[string, (sent: Sent) => StreamPacket[]]>([
    ['is longer than announced', (sent) => packetsOf({ ...sent, data: Buffer.alloc(BLOCK + 2 * PACKET) })],
    [
      'ends before packets that are there already',
      (sent) => {
        const packets = packetsOf(sent);
        const early = packet(sent, 3, format.trailer, packets.at(-1)!.data);
        return [...packets.slice(0, 5), early, ...packets.slice(5, -1)];
      },
    ],
    [
      'has a trailer where no packet can be',
      (sent) => {
        const packets = packetsOf(sent);
        return [...packets.slice(0, -1), packet(sent, 0xff_ffff, format.trailer, packets.at(-1)!.data)];
      },
    ],
    [
      'has a short packet in its middle',
      (sent) => {
        const packets = packetsOf(sent);
        packets[3] = packet(sent, 3, format.payload, packets[3]!.data.subarray(0, 20));
        return packets;
      },
    ],
    [
      'has an empty packet',
      (sent) => {
        const packets = packetsOf(sent);
        packets[3] = packet(sent, 3, format.payload, Buffer.alloc(0));
        return packets;
      },
    ],
    [
      'has a leader that cannot be read',
      (sent) => {
        const packets = packetsOf(sent);
        packets[0] = packet(sent, 0, format.leader, Buffer.alloc(3));
        return packets;
      },
    ],
    [
      'was removed from the memory of the camera',
      (sent) => {
        const packets = packetsOf(sent);
        packets[2] = packet(sent, 2, format.payload, Buffer.alloc(0), status.packetUnavailable);
        return packets;
      },
    ],
  ])('counts a block as lost that %s, and takes the next', (_, lie) => {
    const at = receiver({ canResend: true });
    at.take(...packetsOf({ id: 1 }), ...lie({ id: 2 }), ...packetsOf({ id: 3 }));
    expect(ids(at)).toEqual([1, 3]);
    expectPattern(at);
    expect(at.lostCount()).toBe(1);
    expect(at.machine.pending).toBe(0);
  });

  it('tells a loss after the frames before it, however early it is known', () => {
    const at = receiver({ canResend: true });
    const [first, refused] = [packetsOf({ id: 1 }), packetsOf({ id: 2 })];
    const gone = packet({ id: 2 }, 2, format.payload, Buffer.alloc(0), status.packetUnavailable);
    at.take(...first.slice(0, 5), ...refused.slice(0, 2), gone, ...packetsOf({ id: 3 }));
    // Skipped at once, more than are waited for.
    at.take(...packetsOf({ id: 23 }));
    expect(at.told).toEqual([]);
    at.take(...first.slice(5));
    expect(at.told).toEqual([1, { lost: 1 }, 3, { lost: 15 }]);
    at.wait(1_000);
    expect(at.told.slice(4)).toEqual([...Array.from({ length: 4 }, () => ({ lost: 1 })), 23]);
  });

  it('counts a block that its reader refuses', () => {
    const at = receiver({ refuse: true });
    at.take(...packetsOf({ id: 1 }));
    expect(at.lost).toEqual([{ count: 1, reason: 'malformed' }]);
    expect(at.machine.counts.blocks).toBe(0);
  });

  it('follows a camera that sends other packets than agreed on, after one lost block', () => {
    for (const other of [160, 512]) {
      const at = receiver();
      for (let id = 1; id <= 5; id += 1) at.take(...packetsOf({ id }, other));
      at.wait(1_000);
      expect(ids(at)).toContain(5);
      expectPattern(at);
      expect(at.blocks.length + at.lostCount()).toBe(5);
    }
  });

  it.each([true, false])('loses a block once whose leader comes when it was given up (asked for: %s)', (canResend) => {
    const at = receiver({ canResend });
    const late = packetsOf({ id: 2 });
    at.take(...packetsOf({ id: 1 }), ...late.slice(1));
    at.wait(600);
    expect(at.lostCount()).toBe(1);
    at.take(late[0]!, late[0]!);
    at.wait(600);
    expect(at.lostCount()).toBe(1);
    at.take(...packetsOf({ id: 3 }));
    expect(at.told).toEqual([1, { lost: 1 }, 3]);
    // It is remembered for one leader, and hinders no camera that begins anew.
    at.take(...packetsOf({ id: 2, timestamp: 9n }));
    expect(ids(at)).toEqual([1, 3, 2]);
  });

  it('gives out no block of which a packet lies where the size agreed on would have it', () => {
    const at = receiver();
    const [first, second] = [packetsOf({ id: 1 }, 240), packetsOf({ id: 2 }, 240)];
    // The sizes show with the second packet of a block; one of the next block was faster.
    at.take(first[0]!, first[1]!, second[3]!, ...first.slice(2));
    at.take(...second.filter((_, i) => i !== 3));
    at.take(...packetsOf({ id: 3 }, 240));
    at.wait(1_000);
    expect(ids(at)).toEqual([3]);
    expect(at.lostCount()).toBe(2);
    expectPattern(at);
  });

  it('does not take its own silence for that of the line', () => {
    const at = receiver({ canResend: true });
    const packets = packetsOf({ id: 1 });
    at.wait(8);
    at.take(...packets.slice(0, 4));
    at.stall(3_000);
    expect(at.asked).toEqual([]);
    expect(at.lostCount()).toBe(0);
    at.take(...packets.slice(4));
    expect(ids(at)).toEqual([1]);
  });

  it('stops asking a camera that never answers, says so once, tries again later, and says when it answers after all', () => {
    const at = receiver({ canResend: true });
    let id = 0;
    const broken = () => {
      id += 1;
      at.take(...packetsOf({ id }).filter((_, k) => k !== 3));
      at.wait(300);
    };
    for (let i = 0; i < 6; i += 1) broken();
    expect(at.answered).toEqual([false]);
    const before = at.asked.length;
    for (let i = 0; i < 4; i += 1) broken();
    expect(at.asked.length).toBe(before);
    at.wait(10_000);
    for (let i = 0; i < 2; i += 1) broken();
    expect(at.asked.length).toBeGreaterThan(before);
    expect(at.answered).toEqual([false]);
    expect(at.lostCount() + at.blocks.length).toBe(id);
    id += 1;
    const packets = packetsOf({ id });
    at.take(...packets.filter((_, k) => k !== 3));
    at.wait(40);
    at.take(packets[3]!);
    expect(at.answered).toEqual([false, true]);
    expect(ids(at)).toContain(id);
  });

  it('does not grow with what is never finished', () => {
    const at = receiver({ blockBytes: 8 * 2 ** 20 });
    for (let id = 1; id <= 1_000; id += 1) at.take(packetsOf({ id })[1]!);
    expect(at.machine.pending).toBeLessThanOrEqual(8);
    expect(at.machine.heldBytes).toBeLessThanOrEqual(17 * (8 * 2 ** 20 + PACKET));
    at.machine.end(0);
    expect(at.lostCount()).toBe(1_000);
  });
});
