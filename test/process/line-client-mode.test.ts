import { EventEmitter, once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { ModbusTCPServer } from 'jsmodbus';
import { expect, test } from 'vitest';
import { lineOutputSchema } from '../../main/contract/domain.ts';
import { openModbusClient } from '../../main/lineio/modbus-client.ts';
import { createRegisterImage } from '../../main/lineio/register-image.ts';
import { layOut, registerMap, type SignalName } from '../../main/lineio/register-map.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from './line-home.ts';

const COILS_AT = 16;
const REGISTERS_AT = 100;

/** A PLC that only serves: its program works on its own memory, the line comes to it. `answerMs`: how long an answer takes it; Infinity: it gives none. */
async function openServingPlc({ answerMs = 0 } = {}) {
  const memory = { coils: Buffer.alloc(16), holding: Buffer.alloc(2 * 200) };
  const sockets = new Set<Socket>();
  /** What its program would have found after each request. */
  const seen: { ready: boolean; part: number }[] = [];
  let connections = 0;
  /** Taken off the wire with the first request that it holds of: that is not carried out. */
  let breaksAt: ((request: Buffer) => boolean) | null = null;
  const inlet = new EventEmitter();
  new ModbusTCPServer(inlet as unknown as Server, { ...memory, discrete: Buffer.alloc(1), input: Buffer.alloc(2) });
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    const answer = (bytes: Buffer) => {
      if (answerMs === 0) socket.write(bytes);
      else if (answerMs !== Infinity) setTimeout(() => socket.write(bytes), answerMs);
    };
    const wire = Object.assign(new EventEmitter(), { write: answer });
    inlet.emit('connection', wire);
    socket.on('data', (data) => {
      if (breaksAt?.(data)) {
        breaksAt = null;
        return void socket.destroy();
      }
      wire.emit('data', data);
      seen.push({ ready: plc.bit('resultReady'), part: plc.word('partCounter', 1) });
    });
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as { port: number }).port;
  };
  const unplug = async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  const port = await listen(0);
  const plc = {
    memory,
    port,
    seen,
    get connections() {
      return connections;
    },
    /** Resolves when the connection broke before it was written that no result is ready. */
    breakAtWithdrawal: () =>
      new Promise<void>((resolve) => {
        const { address } = registerMap.resultReady;
        breaksAt = (request) => {
          const withdraws = request[7] === 15 && ((request[13 + (address >> 3)]! >> (address & 7)) & 1) === 0;
          if (withdraws) resolve();
          return withdraws;
        };
      }),
    unplug,
    plug: () => listen(port),
    ask(coil: 'trigger' | 'acknowledge', on: boolean) {
      const at = registerMap[coil].address;
      memory.coils[at >> 3] = (memory.coils[at >> 3]! & ~(1 << (at & 7))) | (Number(on) << (at & 7));
    },
    bit(name: SignalName) {
      const at = COILS_AT + registerMap[name].address;
      return ((memory.coils[at >> 3]! >> (at & 7)) & 1) === 1;
    },
    word: (name: SignalName, after = 0) =>
      memory.holding.readInt16BE(2 * (REGISTERS_AT + registerMap[name].address + after)),
    [Symbol.asyncDispose]: unplug,
  };
  return plc;
}
type ServingPlc = Awaited<ReturnType<typeof openServingPlc>>;

async function part(plc: ServingPlc) {
  await until('a trigger would be taken', () => plc.bit('triggerReady'));
  plc.ask('trigger', true);
  await until('the result', () => plc.bit('resultReady'));
  const result = { verdict: plc.word('verdict'), ok: plc.bit('ok'), ng: plc.bit('ng'), code: plc.word('classCode') };
  plc.ask('trigger', false);
  plc.ask('acknowledge', true);
  await until('it is taken back', () => !plc.bit('resultReady'));
  plc.ask('acknowledge', false);
  return result;
}

/** A running line that is master of the PLC. */
async function openLine(
  plc: ServingPlc,
  peerTimeoutMs: number | null,
  { acknowledgeTimeoutMs = 600_000, source = 'line-output' } = {},
) {
  const at = await createLineHome();
  const line = listenedLine();
  const lineOutput = lineOutputSchema.parse({
    kind: 'modbus-client',
    address: '127.0.0.1',
    port: plc.port,
    pollMs: 5,
    answerTimeoutMs: 30_000,
    acknowledgeTimeoutMs,
    resultTimeoutMs: 60_000,
    peerTimeoutMs,
  });
  const station = lineStation(
    { kind: 'simulated', width: 96, height: 96 },
    { lineOutput, line: lineSettings({ trigger: { source } }) },
  );
  await line.configure(at.home, station, await at.bundle('m-1'), 0, null, { ok: 1, bright: 2, dark: 3 });
  await line.start();
  const signal = (name: SignalName) => line.status().lineOutput?.signals[name];
  return {
    ...line,
    signal,
    /** The trigger is on already; until it falls that asks for nothing. */
    async triggerCountsNot() {
      // The status is told now and then: without this, one from before the first reading would do for the next wait.
      await until('the line has seen it on', () => signal('trigger') === true);
      await until('a trigger would be taken', () => plc.bit('triggerReady'));
      expect(plc.bit('busy')).toBe(false);
      plc.ask('trigger', false);
      await until('the line has seen it off', () => signal('trigger') === false);
    },
    async [Symbol.asyncDispose]() {
      await line.line.dispose();
      at[Symbol.dispose]();
    },
  };
}

test('a PLC that only serves: the line reads its trigger and writes the result; once it was gone it goes on without an old result or trigger', async () => {
  await using plc = await openServingPlc();
  plc.ask('trigger', true);
  plc.memory.holding.write('LOT 9', 2 * registerMap.lot.address, 'latin1');
  await using line = await openLine(plc, 3_000);
  await line.triggerCountsNot();
  const told = [await part(plc), await part(plc), await part(plc)];
  await until('the records', () => line.records.length >= 3);
  expect(line.records).toHaveLength(3);
  for (const [i, { verdict, ok, ng }] of told.entries()) {
    const { judgement, notes } = line.records[i]!;
    expect([verdict, ok, ng]).toEqual([
      { ok: 1, ng: 2, unsure: 3 }[judgement.verdict],
      judgement.verdict === 'ok',
      judgement.verdict !== 'ok',
    ]);
    expect(notes).toContain('lot LOT 9');
  }

  // A result is out, nobody has taken it, and the PLC is gone; when it is back its program has begun anew, with a trigger on.
  await until('a trigger would be taken', () => plc.bit('triggerReady'));
  plc.ask('trigger', true);
  await until('the result', () => plc.bit('resultReady'));
  plc.ask('trigger', false);
  await until('the line has seen it', () => line.signal('trigger') === false);
  await plc.unplug();
  await until('people are told', () => line.status().problem?.code === 'LINE_OUTPUT_SILENT');
  plc.memory.coils.fill(0);
  plc.memory.holding.fill(0);
  plc.ask('trigger', true);
  await plc.plug();
  await line.triggerCountsNot();
  expect([plc.bit('resultReady'), plc.bit('ok'), plc.bit('ng'), plc.word('verdict')]).toEqual([false, false, false, 0]);
  await until('the problem is over', () => line.status().problem === null);
  await part(plc);
  await until('the record', () => line.records.length >= 5);
  expect(line.records).toHaveLength(5);
});

test('a short break of the connection: a trigger and an acknowledgement of the meantime count, each once', async () => {
  await using plc = await openServingPlc();
  await using line = await openLine(plc, null);
  await part(plc);
  await until('a trigger would be taken', () => plc.bit('triggerReady'));
  await plc.unplug();
  plc.ask('trigger', true);
  await plc.plug();
  await until('the result', () => plc.bit('resultReady'));
  await plc.unplug();
  plc.ask('trigger', false);
  plc.ask('acknowledge', true);
  await plc.plug();
  await until('it is taken back', () => !plc.bit('resultReady'));
  plc.ask('acknowledge', false);
  await part(plc);
  await until('the status', () => line.signal('statTriggers') === 3);
  expect([line.signal('statTriggerErrors'), line.signal('statTimeouts')]).toEqual([0, 0]);
  await until('the records', () => line.records.length >= 3);
  expect(line.records).toHaveLength(3);
});

/** Of each result that the PLC finds it sees the end before the next one, whatever it looks at when. */
const expectEndsSeen = ({ seen }: ServingPlc) => {
  for (const [i, { ready, part }] of seen.entries()) {
    const before = seen[i - 1];
    if (ready && before?.ready) expect(part).toBe(before.part);
  }
};

test('results that nobody acknowledges, and a PLC whose answers take their time: it sees that each is gone before the next', async () => {
  await using plc = await openServingPlc({ answerMs: 150 });
  await using _line = await openLine(plc, null, { acknowledgeTimeoutMs: 2_000, source: 'free-run' });
  const shown = () => new Set(plc.seen.filter(({ ready }) => ready).map(({ part }) => part));
  await until('some results', () => shown().size >= 3);
  expectEndsSeen(plc);
});

test('a connection that breaks while it is written that an acknowledged result is no more: the PLC sees its end before the next', async () => {
  await using plc = await openServingPlc();
  await using line = await openLine(plc, null, { source: 'free-run' });
  for (let breaks = 0; breaks < 3; breaks += 1) {
    await until('a result', () => plc.bit('resultReady'));
    const shown = plc.word('partCounter', 1);
    await until('one that waits', () => line.records.length >= breaks + 2);
    const broken = plc.breakAtWithdrawal();
    plc.ask('acknowledge', true);
    await broken;
    // One that gives a pulse, and does not look whether it was taken.
    plc.ask('acknowledge', false);
    await until('the next result', () => plc.bit('resultReady') && plc.word('partCounter', 1) !== shown);
  }
  expectEndsSeen(plc);
});

test('a PLC that still holds a result of before sees its end before the first one of now', async () => {
  await using plc = await openServingPlc();
  await plc.unplug();
  const coils = COILS_AT + registerMap.resultReady.address;
  plc.memory.coils[coils >> 3] = (1 << (coils & 7)) | (1 << ((coils + 1) & 7));
  plc.memory.holding.writeInt16BE(777, 2 * (REGISTERS_AT + registerMap.partCounter.address + 1));
  await using line = await openLine(plc, null, { source: 'free-run' });
  await until('parts that wait', () => line.records.length >= 2);
  await plc.plug();
  await until('a result of now', () => plc.bit('resultReady') && plc.word('partCounter', 1) !== 777);
  expectEndsSeen(plc);
});

test('a PLC is waited for as long as its station says; one that gives no answer for longer is connected to anew', async () => {
  const layout = layOut({});
  const open = (plc: ServingPlc, answerTimeoutMs: number) => {
    const heard = { readings: 0 };
    const image = createRegisterImage(layout);
    const client = openModbusClient({
      address: '127.0.0.1',
      port: plc.port,
      unit: 1,
      pollMs: 5,
      answerTimeoutMs,
      writeCoilsAt: COILS_AT,
      writeRegistersAt: REGISTERS_AT,
      layout,
      image,
      onAnswer: () => {},
      onRead: () => (heard.readings += 1),
      onWithdrawn: () => {},
    });
    return { heard, [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() };
  };
  await using slow = await openServingPlc({ answerMs: 600 });
  await using mute = await openServingPlc({ answerMs: Infinity });
  await using ofSlow = open(slow, 60_000);
  await using ofMute = open(mute, 50);
  // One reading is two answers: 1.2 s.
  await until('the slow one was read', () => ofSlow.heard.readings >= 1);
  await until('the mute one was tried again', () => mute.connections >= 2);
  expect([slow.connections, ofMute.heard.readings]).toEqual([1, 0]);
});

test('places that overlap with what is read from the PLC are refused, and told', async () => {
  using at = await createLineHome();
  const line = listenedLine();
  try {
    const lineOutput = lineOutputSchema.parse({ kind: 'modbus-client', address: '127.0.0.1', writeRegistersAt: 3 });
    await line.configure(at.home, lineStation({ kind: 'simulated' }, { lineOutput }), null);
    await until('the problem', () => line.status().problem?.code === 'INVALID_INPUT');
  } finally {
    await line.line.dispose();
  }
});
