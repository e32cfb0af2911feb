import { expect, test } from 'vitest';
import {
  countedSince,
  createRingMemory,
  createRingReader,
  createRingWriter,
  droppedFrames,
  MAX_PENDING,
  setLastNumber,
  SLOTS,
  type FrameNotice,
} from '../../main/capture/ring.ts';

const frame = (value: number, side = 4) => ({
  image: { width: side, height: side, channels: 1 as const, data: new Uint8Array(side * side).fill(value) },
  capturedAt: new Date(0),
  notes: [],
  source: `${value}`,
});
function ring() {
  const memory = createRingMemory();
  const notices: FrameNotice[] = [];
  let now = 0;
  const writer = createRingWriter(
    memory,
    () => (now += 1),
    (notice) => void notices.push(notice),
  );
  return { memory, notices, writer, main: createRingReader(memory), records: createRingReader(memory) };
}

test('frames get the next number and keep their pixels until both readers let go', () => {
  const { memory, notices, writer, main, records } = ring();
  setLastNumber(memory, 41);
  expect(writer.offer(frame(7))).toBe(true);
  const [notice] = notices;
  expect(notice).toMatchObject({ seq: 42, slot: 0 });
  const pixels = main.pixels(notice!);
  expect(main.claimDecided(0)).toBe(true);
  expect(records.claimLate(0)).toBe(false);
  main.release(0);
  for (let i = 0; i < 3 * SLOTS; i += 1) {
    writer.offer(frame(100));
    const next = notices.at(-1)!;
    expect(next.slot).not.toBe(0);
    main.claimDecided(next.slot);
    main.release(next.slot);
    records.release(next.slot);
  }
  expect([...pixels.data]).toEqual(Array.from({ length: 16 }, () => 7));
  records.release(0);
  expect(droppedFrames(memory)).toBe(0);
});

test('what cannot be judged in time is dropped and counted; numbers have no gap for it', async () => {
  const { memory, notices, writer, main } = ring();
  for (let i = 0; i < MAX_PENDING + 3; i += 1) writer.offer(frame(i));
  // The word behind those of the slots, two each.
  const pending = Atomics.load(memory.words, 2 * SLOTS);
  expect([notices.length, pending, droppedFrames(memory)]).toEqual([MAX_PENDING, MAX_PENDING, 3]);
  expect(writer.hasRoom(16)).toBe(false);
  const released = writer.released(5_000);
  expect(main.claimDecided(notices[0]!.slot)).toBe(true);
  await released;
  expect(writer.hasRoom(16)).toBe(true);
  writer.offer(frame(9));
  expect(notices.at(-1)!.seq).toBe(MAX_PENDING + 1);
});

test('a full ring drops, however few frames wait for a verdict', () => {
  const { memory, notices, writer, main } = ring();
  for (let i = 0; i < SLOTS + 2; i += 1) {
    if (writer.offer(frame(i))) main.claimDecided(notices.at(-1)!.slot);
  }
  expect(notices).toHaveLength(SLOTS);
  expect(droppedFrames(memory)).toBe(2);
});

test('what is counted over the end of a counter is counted on', () => {
  const { memory, writer } = ring();
  writer.missed(2 ** 31 - 2);
  const before = droppedFrames(memory);
  writer.missed(5);
  expect(countedSince(before, droppedFrames(memory))).toBe(5);
  expect(countedSince(0, droppedFrames(memory))).toBe(2 ** 31 + 3);
});

test('frames of changing size get memory that fits; a very large one is taken alone', () => {
  const { notices, writer, main, records } = ring();
  const take = (side: number) => {
    expect(writer.offer(frame(side % 250, side))).toBe(true);
    const notice = notices.at(-1)!;
    const image = main.pixels(notice);
    records.pixels(notice);
    expect([image.width, image.data.length, image.data.at(-1)]).toEqual([side, side * side, side % 250]);
    main.claimDecided(notice.slot);
    main.release(notice.slot);
    return () => records.release(notice.slot);
  };
  for (const side of [10, 20, 5, 400, 6, 1000]) take(side)();
  const giant = take(10_500);
  // 110 MB are held: nothing of that size fits beside it, small ones neither until it is gone.
  expect(writer.offer(frame(1, 10_500))).toBe(false);
  giant();
  take(64)();
  take(10_500)();
});
