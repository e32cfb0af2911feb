import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createHandshake, GAP_MS, type HandshakeEvent, type PartResult } from '../../../main/lineio/handshake.ts';
import { errorCodes, layOut, registerMap } from '../../../main/lineio/register-map.ts';
import { checkRequest, createGate } from '../../../main/lineio/request-gate.ts';

const options = {
  acknowledgeTimeoutMs: 50,
  resultTimeoutMs: 100,
  unsureAs: 'ng' as const,
  minSpacingMs: 0,
  debounceMs: 0,
  written: false,
};
const result = fc.record({
  verdict: fc.constantFrom('ok' as const, 'ng' as const, 'unsure' as const),
  classCode: fc.integer({ min: 0, max: 9 }),
  error: fc.constantFrom('none' as const, 'late' as const, 'notJudged' as const, 'noModel' as const),
  latencyMs: fc.integer({ min: 0, max: 90 }),
});
const seq = fc.integer({ min: 1, max: 40 });
const part = fc.option(fc.integer({ min: 1, max: 30 }));
const event: fc.Arbitrary<HandshakeEvent> = fc.oneof(
  fc.constant({ kind: 'start' as const }),
  fc.constant({ kind: 'stop' as const }),
  fc.record({
    kind: fc.constant('coils' as const),
    trigger: fc.boolean(),
    acknowledge: fc.boolean(),
    resetStatistics: fc.constant(false),
  }),
  fc.record({ kind: fc.constant('frame' as const), seq, part }),
  fc.record({ kind: fc.constant('verdict' as const), seq, part, result }),
  fc.record({ kind: fc.constant('no-frame' as const), part: fc.integer({ min: 1, max: 30 }) }),
  fc.record({ kind: fc.constant('peer' as const), speaks: fc.boolean() }),
  fc.constant({ kind: 'withdrawn' as const }),
  fc.constant({ kind: 'tick' as const }),
);

test('any interleaving: one result per accepted part, in order, none in the place of another; ok never beside ng, unsure or error; late is never ok', () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.boolean(),
      fc.array(fc.tuple(event, fc.integer({ min: 0, max: 60 })), { maxLength: 200 }),
      (triggered, written, steps) => {
        const results: PartResult[] = [];
        const machine = createHandshake({ ...options, triggered, written }, (r) => results.push(r));
        let now = 0;
        for (const [what, pause] of steps) {
          now += pause;
          const before = machine.shown;
          machine.take(what, now);
          if (before && machine.shown) expect(machine.shown).toBe(before);
          const s = machine.signals();
          if (s.ok) expect([s.ng, s.unsure, s.error, s.verdict]).toEqual([false, false, false, 1]);
          if (s.error) expect([s.ok, s.ng, s.verdict]).toEqual([false, true, 3]);
          if (!s.resultReady)
            expect([s.ok, s.ng, s.unsure, s.error, s.verdict]).toEqual([false, false, false, false, 0]);
          if (s.triggerReady) expect([s.busy, s.resultReady]).toEqual([false, false]);
          const { triggers, overruns } = machine.statistics;
          expect(results.length + overruns + machine.pending + machine.waiting).toBe(triggers);
          if (triggered) expect(machine.pending + machine.waiting).toBeLessThanOrEqual(1);
        }
        const parts = results.map((r) => r.part);
        expect(parts).toEqual([...new Set(parts)].sort((a, b) => a - b));
        for (const r of results) if (r.error !== 'none') expect(r.verdict).toBe('unsure');
      },
    ),
    { numRuns: 500 },
  );
});

test('a part that is told before those that came before it: its result waits for theirs, and none of them goes without', () => {
  const told: string[] = [];
  const machine = createHandshake({ ...options, triggered: false }, (r) => told.push(`${r.part} ${r.error}`));
  const verdict = (seq: number, error: 'none' | 'noImage', at: number) =>
    machine.take(
      { kind: 'verdict', seq, part: null, result: { verdict: 'ok', classCode: 1, error, latencyMs: 1 } },
      at,
    );
  const acknowledge = (at: number) => {
    for (const on of [true, false])
      machine.take({ kind: 'coils', trigger: false, acknowledge: on, resetStatistics: false }, at);
  };
  machine.take({ kind: 'start' }, 0);
  for (const seq of [101, 102]) machine.take({ kind: 'frame', seq, part: null }, seq);
  // 103 and 104 wait for inference as well, but word of their frames is still on its way; 105 had no room.
  verdict(105, 'noImage', 110);
  expect(machine.signals()).toMatchObject({ busy: true, resultReady: false });
  for (const seq of [103, 104]) machine.take({ kind: 'frame', seq, part: null }, 111);
  for (const seq of [101, 102, 103]) {
    verdict(seq, 'none', 120 + seq);
    acknowledge(120 + seq);
  }
  // 104 hangs: what waits for it comes with its own time-out.
  machine.take({ kind: 'tick' }, 210);
  acknowledge(210);
  acknowledge(211);
  expect(told).toEqual(['1 none', '2 none', '3 none', '4 late', '5 noImage']);
  expect(machine.signals()).toMatchObject({ busy: false, partCounter: 5, statTriggers: 5, statOverruns: 0 });
});

test('a hung part before many that are answered: those beyond the bound are a hole in the part counter, not a shift', () => {
  const told: number[] = [];
  const machine = createHandshake({ ...options, triggered: false }, (r) => told.push(r.part));
  machine.take({ kind: 'start' }, 0);
  machine.take({ kind: 'frame', seq: 1, part: null }, 0);
  for (let n = 2; n <= 70; n += 1) machine.take({ kind: 'verdict', seq: n, part: null, result: good }, 1);
  expect([machine.pending, machine.statistics.overruns]).toEqual([64, 6]);
  machine.take({ kind: 'verdict', seq: 1, part: null, result: good }, 2);
  machine.take({ kind: 'verdict', seq: 71, part: null, result: good }, 3);
  for (let n = 0; n < 20; n += 1) {
    for (const on of [true, false])
      machine.take({ kind: 'coils', trigger: false, acknowledge: on, resetStatistics: false }, 4);
  }
  expect(told[0]).toBe(1);
  expect(told.at(-1)).toBe(71);
});

test('a trigger while busy is refused and counted; a part without a frame gets no image, class -1', () => {
  const machine = createHandshake({ ...options, triggered: true });
  const coils = (trigger: boolean, acknowledge = false) =>
    machine.take({ kind: 'coils', trigger, acknowledge, resetStatistics: false }, 0);
  expect(coils(true)).toBeNull();
  machine.take({ kind: 'start' }, 0);
  coils(false);
  expect(coils(true)).toBe(1);
  coils(false);
  expect(coils(true)).toBeNull();
  machine.take({ kind: 'tick' }, 100);
  expect(machine.signals()).toMatchObject({
    error: true,
    ng: true,
    ok: false,
    classCode: -1,
    errorCode: 4,
    partCounter: 1,
    statTriggerErrors: 2,
  });
});

test('the line output keeps the spacing and swallows bounces; each refused trigger is counted', () => {
  const machine = createHandshake({ ...options, triggered: true, minSpacingMs: 30, debounceMs: 5 });
  machine.take({ kind: 'start' }, 0);
  const pulse = (at: number) => {
    const part = machine.take({ kind: 'coils', trigger: true, acknowledge: false, resetStatistics: false }, at);
    machine.take({ kind: 'coils', trigger: false, acknowledge: false, resetStatistics: false }, at);
    return part;
  };
  const judged = (part: number, at: number) => {
    const result = { verdict: 'ok', classCode: 1, error: 'none', latencyMs: 2 } as const;
    machine.take({ kind: 'verdict', seq: part, part, result }, at);
    machine.take({ kind: 'coils', trigger: false, acknowledge: true, resetStatistics: false }, at);
    machine.take({ kind: 'coils', trigger: false, acknowledge: false, resetStatistics: false }, at);
  };
  expect(pulse(100)).toBe(1);
  judged(1, 101);
  // Done, but too soon: 30 ms from the trigger before.
  expect(machine.signals().triggerReady).toBe(false);
  expect(pulse(120)).toBeNull();
  expect(pulse(124)).toBeNull();
  machine.take({ kind: 'tick' }, 130);
  expect(machine.signals().triggerReady).toBe(true);
  expect(pulse(131)).toBe(2);
  judged(2, 132);
  // 165 bounces off 163 although the spacing would be kept.
  expect(pulse(160)).toBeNull();
  expect(pulse(163)).toBeNull();
  expect(machine.statistics.triggerErrors).toBe(4);
});

test('a trigger that comes as soon as trigger ready is on is never refused as a bounce', () => {
  const machine = createHandshake({ ...options, triggered: true, debounceMs: 20 });
  const coils = (trigger: boolean, acknowledge: boolean, at: number) =>
    machine.take({ kind: 'coils', trigger, acknowledge, resetStatistics: false }, at);
  machine.take({ kind: 'start' }, 0);
  // A quick PLC: the part is judged and acknowledged within the time in which a contact may bounce.
  let at = 100;
  for (let part = 1; part <= 3; part += 1) {
    expect(coils(true, false, at)).toBe(part);
    coils(false, false, at + 1);
    const result = { verdict: 'ok', classCode: 1, error: 'none', latencyMs: 2 } as const;
    machine.take({ kind: 'verdict', seq: part, part, result }, at + 3);
    coils(false, true, at + 5);
    coils(false, false, at + 6);
    while (!machine.signals().triggerReady) machine.take({ kind: 'tick' }, (at += 1));
  }
  expect(machine.statistics.triggerErrors).toBe(0);
});

test('the verdict of a part that was given up never counts for the part after it', () => {
  const machine = createHandshake({ ...options, triggered: true });
  const result = { verdict: 'ok', classCode: 1, error: 'none', latencyMs: 2 } as const;
  const coils = (trigger: boolean, acknowledge: boolean, at: number) =>
    machine.take({ kind: 'coils', trigger, acknowledge, resetStatistics: false }, at);
  machine.take({ kind: 'start' }, 0);
  expect(coils(true, false, 0)).toBe(1);
  machine.take({ kind: 'tick' }, 100);
  expect(machine.signals()).toMatchObject({ errorCode: 4, ng: true, ok: false });
  coils(false, true, 101);
  coils(false, false, 102);
  expect(coils(true, false, 103)).toBe(2);
  // The frame and the verdict of part 1 come now.
  machine.take({ kind: 'frame', seq: 1, part: 1 }, 104);
  machine.take({ kind: 'verdict', seq: 1, part: 1, result }, 105);
  expect(machine.signals()).toMatchObject({ busy: true, resultReady: false, ok: false });
  machine.take({ kind: 'verdict', seq: 2, part: 2, result: { ...result, verdict: 'ng' } }, 106);
  expect(machine.signals()).toMatchObject({ resultReady: true, ng: true, ok: false, partCounter: 2 });
});

const good = { verdict: 'ok', classCode: 1, error: 'none', latencyMs: 2 } as const;
/**
 * Frames that come by themselves: the result of part 1 is ready from 0 on and nobody takes it, that of part 2 waits.
 * @param begun a PLC that is written to was told long ago that none is ready
 */
function twoResults(written: boolean, begun = written) {
  const machine = createHandshake({ ...options, triggered: false, written });
  const told = (at: number) => machine.take({ kind: 'withdrawn' }, at);
  if (begun) for (const at of [-2 * GAP_MS, -GAP_MS]) told(at);
  machine.take({ kind: 'start' }, 0);
  for (const n of [1, 2]) machine.take({ kind: 'verdict', seq: n, part: null, result: good }, 0);
  return {
    machine,
    told,
    shown: () => machine.shown?.part ?? null,
    tick: (at: number) => machine.take({ kind: 'tick' }, at),
    acknowledge: (on: boolean, at: number) =>
      machine.take({ kind: 'coils', trigger: false, acknowledge: on, resetStatistics: false }, at),
  };
}

test('between a result that nobody acknowledged and the next none is ready for long enough to be seen', () => {
  const { machine, shown, tick } = twoResults(false);
  expect(shown()).toBe(1);
  tick(50);
  expect(machine.signals()).toMatchObject({ resultReady: false, ok: false, statTimeouts: 1 });
  tick(50 + GAP_MS - 1);
  expect(shown()).toBeNull();
  tick(50 + GAP_MS);
  expect(machine.signals()).toMatchObject({ resultReady: true, partCounter: 2 });
});

test('an acknowledgement that comes too late does not take the next result, which waits for its falling edge', () => {
  const { machine, shown, tick, acknowledge } = twoResults(false);
  tick(50);
  acknowledge(true, 50 + GAP_MS - 10);
  tick(50 + GAP_MS);
  expect(shown()).toBeNull();
  acknowledge(false, 50 + GAP_MS + 5);
  expect(shown()).toBe(2);
  acknowledge(true, 50 + GAP_MS + 10);
  expect([shown(), machine.waiting, machine.statistics.timeouts]).toEqual([null, 0, 1]);
});

test('an acknowledgement that comes too late and is short does not end the gap', () => {
  const { shown, tick, acknowledge } = twoResults(false);
  tick(50);
  acknowledge(true, 60);
  acknowledge(false, 61);
  expect(shown()).toBeNull();
  tick(50 + GAP_MS);
  expect(shown()).toBe(2);
});

test('a PLC that is written to: the gap begins when it was told, and ends when it was read after that', () => {
  const { shown, tick, told } = twoResults(true);
  tick(50);
  tick(1_000);
  expect(shown()).toBeNull();
  told(1_000);
  tick(2_000);
  expect(shown()).toBeNull();
  told(2_000);
  expect(shown()).toBe(2);
});

test('a PLC that is written to: what it may still hold is over before the first result, and an acknowledged one before the next', () => {
  const { machine, shown, tick, acknowledge, told } = twoResults(true, false);
  tick(40);
  expect(shown()).toBeNull();
  told(100);
  told(100 + GAP_MS);
  expect(shown()).toBe(1);
  acknowledge(true, 310);
  told(311);
  acknowledge(false, 312);
  expect(shown()).toBe(2);
  machine.take({ kind: 'verdict', seq: 3, part: null, result: good }, 313);
  // The connection breaks before it is written; the PLC gave a pulse.
  acknowledge(true, 320);
  acknowledge(false, 330);
  expect(shown()).toBeNull();
  told(340);
  expect(shown()).toBeNull();
  told(340 + GAP_MS);
  expect(shown()).toBe(3);
});

test('a PLC that speaks no more finds no old result when it is back', () => {
  const machine = createHandshake({ ...options, triggered: true });
  const result = { verdict: 'ok', classCode: 1, error: 'none', latencyMs: 2 } as const;
  machine.take({ kind: 'start' }, 0);
  machine.take({ kind: 'coils', trigger: true, acknowledge: false, resetStatistics: false }, 0);
  machine.take({ kind: 'verdict', seq: 1, part: 1, result }, 5);
  expect(machine.signals().ok).toBe(true);
  machine.take({ kind: 'peer', speaks: false }, 10);
  expect(machine.signals()).toMatchObject({ ok: false, resultReady: false, triggerReady: false, statTimeouts: 1 });
  machine.take({ kind: 'peer', speaks: true }, 20);
  expect(machine.signals()).toMatchObject({ ok: false, resultReady: false, triggerReady: true });
});

const gateOf = () => {
  const seen = { passed: [] as Buffer[], answers: 0, refused: 0 };
  const gate = createGate({
    layout: layOut({}),
    pass: (request) => seen.passed.push(request),
    answer: () => (seen.answers += 1),
    onRefused: () => (seen.refused += 1),
  });
  return { gate, seen };
};

test('100,000 random and mutated packets: nothing thrown, nothing passed that the map does not allow', () => {
  let state = 12345;
  const random = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const layout = layOut({});
  for (let i = 0; i < 100_000; i += 1) {
    const { gate, seen } = gateOf();
    const packet = Buffer.from([0, 1, 0, 0, 0, 6, 1, 1 + random(16), 0, random(20), 0, random(20)]);
    for (let n = random(4); n > 0; n -= 1) packet[random(packet.length)] = random(256);
    gate.push(i % 3 === 0 ? Buffer.concat([packet, packet.subarray(0, random(12))]) : packet);
    for (const request of seen.passed) {
      expect(checkRequest(request.subarray(7), layout)).toBe(0);
      expect(request.length).toBe(6 + request.readUInt16BE(4));
    }
  }
}, 30_000);

test('the register map: no overlap, a wrong one is refused, and the README shows this table', () => {
  expect(() => layOut({ acknowledge: 0 })).toThrow(/acknowledge/);
  expect(() => layOut({ nothing: 0 })).toThrow(/nothing/);
  expect(layOut({ lot: 100 }).addressOf.lot).toBe(100);
  const words = (text: string) => text.replace(/\s+/g, ' ');
  const readme = words(readFileSync(new URL('../../../main/lineio/README.md', import.meta.url), 'utf8'));
  for (const [name, { area, address, type, meaning }] of Object.entries(registerMap))
    expect(readme).toContain(`| \`${name}\` | ${area} | ${address} | ${type} | ${meaning} |`);
  for (const [code, meaning] of Object.values(errorCodes)) expect(readme).toContain(`| ${code} | ${meaning} |`);
});
