import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CameraFrame } from '../../main/capture/camera.ts';
import { createIntake, type IntakeOptions } from '../../main/capture/intake.ts';
import {
  createRingMemory,
  createRingReader,
  createRingWriter,
  droppedFrames,
  MAX_PENDING,
  triggersOf,
  type FrameNotice,
  type RingWriter,
} from '../../main/capture/ring.ts';

const frame = (value = 1): CameraFrame => ({
  image: { width: 8, height: 8, channels: 1, data: new Uint8Array(64).fill(value) },
  capturedAt: new Date(0),
  notes: [],
  source: `part ${value}`,
});

/** An intake before a real ring, with a clock that is set by hand. */
function stand(
  over: Partial<Omit<IntakeOptions, 'trigger'>> & { trigger?: Partial<IntakeOptions['trigger']> },
  seenAs: (ring: RingWriter) => RingWriter = (ring) => ring,
) {
  const clock = { ms: 1000 };
  const memory = createRingMemory();
  const notices: FrameNotice[] = [];
  const missed: number[] = [];
  const missedParts: (number | null)[] = [];
  const overtaken: number[] = [];
  const camera = { there: true };
  let fired = 0;
  const ring = createRingWriter(
    memory,
    () => clock.ms,
    (notice) => {
      intake.noteSlot(notice.slot);
      notices.push(notice);
    },
  );
  const intake = createIntake(
    {
      dropPolicy: 'drop-newest',
      deadlineMs: 100,
      frames: { perPart: 1, rule: 'worst-of', spacingMs: 0 },
      ...over,
      trigger: { source: 'software', minSpacingMs: 0, debounceMs: 0, ...over.trigger },
    },
    {
      ring: seenAs(ring),
      now: () => clock.ms,
      fire() {
        fired += Number(camera.there);
        return camera.there;
      },
      missed: ({ atMs, part }) => (missed.push(atMs), missedParts.push(part)),
      overtaken: (slot) => overtaken.push(slot),
    },
  );
  return {
    intake,
    clock,
    memory,
    notices,
    missed,
    missedParts,
    overtaken,
    camera,
    fired: () => fired,
    reader: createRingReader(memory),
  };
}

test('a trigger asks the camera, and its frame carries the time of the trigger', () => {
  const at = stand({});
  expect(at.intake.trigger()).toBe(true);
  at.clock.ms += 30;
  expect(at.intake.offer(frame())).toBe(true);
  expect(at.fired()).toBe(1);
  expect(at.notices[0]).toMatchObject({ triggeredAtMs: 1000, arrivedAtMs: 1030 });
  expect(at.intake.offer(frame())).toBe(false);
  expect(droppedFrames(at.memory)).toBe(1);
});

test('minimum spacing and bouncing: what is refused is counted and asks nobody', () => {
  const pressed = (at: ReturnType<typeof stand>, waits: number[]) =>
    waits.map((wait) => {
      at.clock.ms += wait;
      const taken = at.intake.trigger();
      if (taken) at.intake.offer(frame());
      return taken;
    });
  const spaced = stand({ trigger: { minSpacingMs: 50 } });
  expect(pressed(spaced, [0, 20, 29, 1])).toEqual([true, false, false, true]);
  expect(triggersOf(spaced.memory)).toEqual([2, 2]);
  expect(spaced.fired()).toBe(2);
  const bouncing = stand({ trigger: { debounceMs: 10 } });
  expect(pressed(bouncing, [0, 4, 9, 9, 10])).toEqual([true, false, false, false, true]);
});

test('no frame within the deadline: answered late, and a frame that comes afterwards is nobody’s', () => {
  const at = stand({});
  at.intake.trigger();
  at.clock.ms += 99;
  at.intake.tick();
  expect(at.missed).toEqual([]);
  at.clock.ms += 1;
  at.intake.tick();
  expect(at.missed).toEqual([1000]);
  expect(at.intake.offer(frame())).toBe(false);
  expect(at.notices).toEqual([]);
});

test('the lot of a part is that of its trigger; in free run that of its frame', () => {
  const at = stand({});
  at.intake.setLot('A');
  at.intake.trigger();
  at.intake.setLot('B');
  at.intake.offer(frame());
  at.intake.trigger();
  at.intake.offer(frame());
  expect(at.notices.map((notice) => notice.notes)).toEqual([['lot A'], ['lot B']]);
  const free = stand({ trigger: { source: 'free-run' } });
  free.intake.offer(frame());
  free.intake.setLot('C');
  free.intake.offer(frame());
  expect(free.notices.map((notice) => notice.notes)).toEqual([[], ['lot C']]);
});

test('a frame that is owed is waited for, so that it is never taken for that of the next trigger', () => {
  const at = stand({ trigger: { source: 'line-output', minSpacingMs: 1000 } });
  expect(at.intake.trigger(7)).toBe(true);
  at.clock.ms += 100;
  at.intake.tick();
  expect(at.missedParts).toEqual([7]);
  expect(at.intake.trigger(8)).toBe(false);
  at.clock.ms += 20;
  // The late frame: nobody's, and from now on nothing is owed.
  expect(at.intake.offer(frame())).toBe(false);
  expect(at.intake.trigger(9)).toBe(true);
  expect(at.intake.offer(frame())).toBe(true);
  expect(at.notices.map((n) => n.part)).toEqual([9]);
  // One that never comes is waited for one deadline more; one that the camera says is lost is not.
  at.intake.trigger(10);
  at.clock.ms += 100;
  at.intake.tick();
  at.clock.ms += 99;
  expect(at.intake.trigger(11)).toBe(false);
  at.clock.ms += 1;
  expect(at.intake.trigger(12)).toBe(true);
  at.intake.lost(1);
  expect(at.missedParts).toEqual([7, 10, 12]);
  expect(at.intake.trigger(13)).toBe(true);
  expect(at.intake.trigger()).toBe(false);
});

test('no room: the newest is not taken, or the oldest is answered late, by the policy', () => {
  const newest = stand({ trigger: { source: 'free-run' } });
  for (let i = 0; i < MAX_PENDING + 2; i += 1) newest.intake.offer(frame(i));
  expect(newest.notices).toHaveLength(MAX_PENDING);
  expect(newest.overtaken).toEqual([]);
  const oldest = stand({ trigger: { source: 'free-run' }, dropPolicy: 'drop-oldest' });
  for (let i = 0; i < MAX_PENDING + 2; i += 1) expect(oldest.intake.offer(frame(i))).toBe(true);
  expect(oldest.overtaken).toEqual(oldest.notices.slice(0, 2).map((notice) => notice.slot));
  expect(oldest.reader.isOpen(oldest.notices[0]!.slot)).toBe(false);
  expect(droppedFrames(oldest.memory)).toBe(2);
});

test('no room: the camera waits, and not in vain for what is released while it looks', () => {
  let looks = 0;
  const at = stand({ trigger: { source: 'free-run' }, dropPolicy: 'block', deadlineMs: 20_000 }, (ring) => ({
    ...ring,
    hasRoom(length) {
      const there = ring.hasRoom(length);
      if (!there && (looks += 1) === 2) at.reader.claimDecided(at.notices[0]!.slot);
      return there;
    },
  }));
  for (let i = 0; i < MAX_PENDING; i += 1) at.intake.offer(frame(i));
  const begun = performance.now();
  expect(at.intake.offer(frame())).toBe(true);
  expect(performance.now() - begun).toBeLessThan(10_000);
});

test('no memory: the oldest would free none in time, so the newest is not taken and the others keep their verdicts', () => {
  const at = stand({ trigger: { source: 'free-run' }, dropPolicy: 'drop-oldest' });
  const data = new Uint8Array(48 * 2 ** 20);
  // Two fill the ring.
  const large = { ...frame(), image: { width: 8192, height: data.length / 8192, channels: 1 as const, data } };
  expect([1, 2, 3].map(() => at.intake.offer(large))).toEqual([true, true, false]);
  expect(at.overtaken).toEqual([]);
  expect(at.notices.map(({ slot }) => at.reader.isOpen(slot))).toEqual([true, true]);
  expect(droppedFrames(at.memory)).toBe(1);
  const { slot } = at.notices[0]!;
  at.reader.claimDecided(slot);
  at.reader.release(slot);
  at.reader.release(slot);
  expect(at.intake.offer(large)).toBe(true);
});

test('whatever comes in whatever order: every trigger taken has one answer, and there are no others', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('trigger' as const) }),
    fc.record({ kind: fc.constant('frame' as const) }),
    fc.record({ kind: fc.constant('lost' as const) }),
    fc.record({ kind: fc.constant('judge' as const) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 60 }) }),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 120 }),
      fc.constantFrom('drop-oldest' as const, 'drop-newest' as const),
      (steps, dropPolicy) => {
        const at = stand({ dropPolicy, trigger: { minSpacingMs: 5 } });
        let judged = 0;
        for (const one of steps) {
          if (one.kind === 'trigger') at.intake.trigger();
          else if (one.kind === 'frame') at.intake.offer(frame());
          else if (one.kind === 'lost') at.intake.lost(1);
          else if (one.kind === 'wait') at.clock.ms += one.ms;
          else if (judged < at.notices.length) {
            const { slot } = at.notices[judged++]!;
            at.reader.claimDecided(slot);
            at.reader.release(slot);
            at.reader.release(slot);
          }
          at.intake.tick();
        }
        at.clock.ms += 1000;
        at.intake.tick();
        expect(at.notices.length + at.missed.length).toBe(triggersOf(at.memory)[0]);
        const asked = [...at.notices.map((n) => n.triggeredAtMs!), ...at.missed];
        expect(new Set(asked).size).toBe(asked.length);
      },
    ),
  );
});

const frames = (perPart: number, spacingMs = 0) => ({ frames: { perPart, rule: 'worst-of' as const, spacingMs } });
/** Grey values of the pictures in a part's slot. */
const valuesOf = (at: ReturnType<typeof stand>, n: number) => {
  const notice = at.notices[n]!;
  return Array.from({ length: notice.frames }, (_, i) => at.reader.pixels(notice, i).data[0]);
};

test('several frames of a part: asked for one after the other, with their spacing, and in the ring together', () => {
  const at = stand(frames(3, 20));
  expect(at.intake.trigger()).toBe(true);
  for (const [n, value] of [11, 12, 13].entries()) {
    expect(at.fired()).toBe(n + 1);
    at.clock.ms += 5;
    expect(at.intake.trigger()).toBe(false);
    expect(at.intake.offer(frame(value))).toBe(true);
    at.intake.tick();
    expect(at.fired()).toBe(n + 1);
    // One that nobody asked for between two that were.
    if (n < 2) expect(at.intake.offer(frame(99))).toBe(false);
    at.clock.ms += 15;
    at.intake.tick();
  }
  expect(at.notices).toHaveLength(1);
  expect(at.notices[0]).toMatchObject({ triggeredAtMs: 1000, arrivedAtMs: 1045, frames: 3, width: 8, height: 8 });
  expect(valuesOf(at, 0)).toEqual([11, 12, 13]);
  expect(at.missed).toEqual([]);
  expect(at.intake.trigger()).toBe(true);
});

test('a frame of several that does not come, is lost, or has another size makes the part missed, and never one of fewer frames', () => {
  const late = stand(frames(2));
  late.intake.trigger();
  late.intake.offer(frame(1));
  late.clock.ms += 5;
  late.intake.tick();
  late.clock.ms += 95;
  late.intake.tick();
  expect(late.missed).toEqual([1000]);
  expect(late.intake.trigger()).toBe(false);
  // The late one ends the waiting for it, and is nobody's.
  expect(late.intake.offer(frame(2))).toBe(false);
  expect(late.intake.trigger()).toBe(true);
  late.intake.offer(frame(3));
  late.intake.tick();
  late.intake.offer(frame(4));
  expect(valuesOf(late, 0)).toEqual([3, 4]);

  const lost = stand(frames(2));
  lost.intake.trigger();
  lost.intake.offer(frame(1));
  lost.intake.tick();
  lost.intake.lost(1);
  expect(lost.missed).toEqual([1000]);
  expect(lost.intake.trigger()).toBe(true);

  const sizes = stand(frames(2));
  sizes.intake.trigger();
  sizes.intake.offer(frame(1));
  sizes.intake.tick();
  sizes.intake.offer({ ...frame(2), image: { width: 4, height: 4, channels: 1, data: new Uint8Array(16) } });
  expect(sizes.missed).toEqual([1000]);
  expect(sizes.notices).toEqual([]);
});

test('free run: consecutive frames form a part; a lost one keeps its place, and what stops in between is missed', () => {
  const at = stand({ ...frames(3), trigger: { source: 'free-run' } });
  for (const value of [1, 2, 3, 4, 5]) at.intake.offer(frame(value));
  at.intake.lost(1);
  for (const value of [7, 8, 9]) at.intake.offer(frame(value));
  expect(at.notices.map((_, n) => valuesOf(at, n))).toEqual([
    [1, 2, 3],
    [7, 8, 9],
  ]);
  expect(at.missed).toHaveLength(1);
  // A part of which nothing was seen has no record, as with single frames.
  at.intake.lost(3);
  expect(at.missed).toHaveLength(1);
  at.intake.offer(frame(10));
  at.clock.ms += 100;
  at.intake.tick();
  expect(at.missed).toHaveLength(2);
  for (const value of [13, 14, 15]) at.intake.offer(frame(value));
  expect(valuesOf(at, 2)).toEqual([13, 14, 15]);
});

test('free run: a part that the camera leaves unfinished is missed when it is lost, and what it had under way is not counted into the next', () => {
  const at = stand({ ...frames(2), trigger: { source: 'free-run' } });
  for (const value of [1, 2, 3]) at.intake.offer(frame(value));
  at.intake.setCamera('lost');
  expect(at.missed).toHaveLength(1);
  at.intake.lost(3);
  at.intake.setCamera('there');
  for (const value of [7, 8]) at.intake.offer(frame(value));
  expect(at.notices.map((_, n) => valuesOf(at, n))).toEqual([
    [1, 2],
    [7, 8],
  ]);
  expect(at.missed).toHaveLength(1);
});

test('one frame is under way at a time: a camera that takes a trigger and gives none without a word costs parts, and never shifts them', () => {
  const at = stand({});
  // A part each 40 ms, its frame 30 ms later; the third trigger is taken and gives none.
  for (let part = 1; part <= 9; part += 1) {
    at.clock.ms = 1000 + 40 * part;
    at.intake.tick();
    const before = at.fired();
    at.intake.trigger();
    at.clock.ms += 30;
    if (at.fired() > before && part !== 3) at.intake.offer(frame(part));
    at.intake.tick();
  }
  // Two deadlines after that trigger the next is taken: its frame could no more be on its way.
  expect(at.notices.map(({ triggeredAtMs }, n) => [(triggeredAtMs! - 1000) / 40, valuesOf(at, n)[0]])).toEqual([
    [1, 1],
    [2, 2],
    [8, 8],
    [9, 9],
  ]);
  expect(at.missed).toEqual([1120]);
});

test('a camera that is away: its triggers are answered at once, and the first frame after it is that of its own trigger', () => {
  const at = stand({});
  expect(at.intake.trigger()).toBe(true);
  at.clock.ms += 10;
  at.camera.there = false;
  at.intake.setCamera('lost');
  expect(at.missed).toEqual([1000]);
  at.clock.ms += 10;
  expect(at.intake.trigger()).toBe(true);
  expect(at.missed).toEqual([1000, 1020]);
  at.camera.there = true;
  at.intake.setCamera('there');
  at.clock.ms += 10;
  expect(at.intake.trigger()).toBe(true);
  expect(at.intake.offer(frame(3))).toBe(true);
  expect(at.notices.map((notice) => notice.triggeredAtMs)).toEqual([1030]);
});

test('a trigger that the camera does not confirm: who waits is answered, and until its frame came or cannot come none is taken', () => {
  const at = stand({});
  at.intake.trigger();
  at.intake.unconfirmed();
  expect(at.missed).toEqual([1000]);
  at.clock.ms += 199;
  expect(at.intake.trigger()).toBe(false);
  at.clock.ms += 1;
  expect(at.intake.trigger()).toBe(true);
});

test('whatever comes in whatever order: one answer per trigger, and parts of their own frames alone', () => {
  const kind = <K extends string>(name: K) => fc.constant({ kind: name, ms: 0, yes: false });
  const step = fc.oneof(
    { weight: 4, arbitrary: kind('trigger') },
    { weight: 6, arbitrary: kind('answer') },
    kind('lost'),
    kind('skipped'),
    kind('stray'),
    kind('judge'),
    kind('plug'),
    fc.record({ kind: fc.constantFrom('unplug', 'unconfirmed'), ms: fc.constant(0), yes: fc.boolean() }),
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait'), ms: fc.nat(60), yes: fc.constant(false) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), fc.integer({ min: 1, max: 4 }), (steps, perPart) => {
      const at = stand({ ...frames(perPart), dropPolicy: 'drop-oldest' });
      let judged = 0;
      let taken = 0;
      const partAt = new Map<number, number>();
      /** The camera: each picture shows the part whose trigger was taken last, and comes within two deadlines or never. */
      let asked: { part: number; ms: number }[] = [];
      /** Taken, and never given: nobody is told. */
      let skipped: typeof asked = [];
      let fired = 0;
      const ask = () => {
        for (; fired < at.fired(); fired += 1) asked.push({ part: taken, ms: at.clock.ms });
      };
      const judge = () => {
        const { slot, triggeredAtMs } = at.notices[judged]!;
        const part = partAt.get(triggeredAtMs!);
        expect(part).toBeDefined();
        expect(valuesOf(at, judged)).toEqual(Array.from({ length: perPart }, () => part! % 251));
        judged += 1;
        at.reader.claimDecided(slot);
        at.reader.release(slot);
        at.reader.release(slot);
      };
      for (const { kind: what, ms, yes } of steps) {
        at.clock.ms += 1 + ms;
        asked = asked.filter((picture) => at.clock.ms - picture.ms < 200);
        skipped = skipped.filter((picture) => at.clock.ms - picture.ms < 200);
        if (what === 'trigger') {
          taken += 1;
          const before = triggersOf(at.memory)[0];
          if (at.intake.trigger()) partAt.set(at.clock.ms, taken);
          else taken -= 1;
          expect(triggersOf(at.memory)[0] - before).toBe(Number(partAt.has(at.clock.ms)));
        } else if (what === 'answer' && asked.length > 0) at.intake.offer(frame(asked.shift()!.part % 251));
        else if (what === 'lost' && asked.length > 0) {
          asked.shift();
          at.intake.lost(1);
        } else if (what === 'skipped') skipped.push(...asked.splice(0, 1));
        else if (what === 'stray' && asked.length + skipped.length === 0) at.intake.offer(frame(255));
        else if (what === 'unconfirmed' && asked.length > 0) {
          at.intake.unconfirmed();
          if (yes) asked.pop();
        } else if (what === 'unplug') {
          at.camera.there = false;
          at.intake.setCamera('lost');
          if (yes) at.intake.lost(asked.length);
          asked = [];
        } else if (what === 'plug') {
          at.camera.there = true;
          at.intake.setCamera('there');
        } else if (what === 'judge' && judged < at.notices.length) judge();
        ask();
        at.intake.tick();
        ask();
      }
      at.clock.ms += 1000;
      at.intake.tick();
      while (judged < at.notices.length) judge();
      expect(at.notices.length + at.missed.length).toBe(triggersOf(at.memory)[0]);
    }),
    { numRuns: 300 },
  );
});
