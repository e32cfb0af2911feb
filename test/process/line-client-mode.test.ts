import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { ModbusTCPServer } from 'jsmodbus';
import { expect, test } from 'vitest';
import { lineOutputSchema } from '../../main/contract/domain.ts';
import { registerMap, type SignalName } from '../../main/lineio/register-map.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from './line-home.ts';

const COILS_AT = 16;
const REGISTERS_AT = 100;

/** A PLC that only serves: its program works on its own memory, the line comes to it. */
async function openServingPlc(port = 0) {
  const memory = { coils: Buffer.alloc(16), holding: Buffer.alloc(2 * 200) };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  new ModbusTCPServer(server, { ...memory, discrete: Buffer.alloc(1), input: Buffer.alloc(2) });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  return {
    memory,
    port: (server.address() as { port: number }).port,
    ask(coil: 'trigger' | 'acknowledge', on: boolean) {
      const at = registerMap[coil].address;
      memory.coils[at >> 3] = (memory.coils[at >> 3]! & ~(1 << (at & 7))) | (Number(on) << (at & 7));
    },
    bit(name: SignalName) {
      const at = COILS_AT + registerMap[name].address;
      return ((memory.coils[at >> 3]! >> (at & 7)) & 1) === 1;
    },
    word: (name: SignalName) => memory.holding.readInt16BE(2 * (REGISTERS_AT + registerMap[name].address)),
    close,
    [Symbol.asyncDispose]: close,
  };
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

test('a PLC that only serves: the line reads its trigger and writes the result; after a break it goes on, without an old result', async () => {
  using at = await createLineHome();
  const first = await openServingPlc();
  const { port } = first;
  // It is on already when the line comes: that asks for nothing.
  first.ask('trigger', true);
  first.memory.holding.write('LOT 9', 2 * registerMap.lot.address, 'latin1');
  const line = listenedLine();
  const output = {
    kind: 'modbus-client',
    address: '127.0.0.1',
    port,
    pollMs: 5,
    acknowledgeTimeoutMs: 60_000,
    resultTimeoutMs: 60_000,
  };
  const station = lineStation(
    { kind: 'simulated', width: 96, height: 96 },
    {
      lineOutput: lineOutputSchema.parse({ ...output, peerTimeoutMs: 3_000 }),
      line: lineSettings({ trigger: { source: 'line-output' } }),
    },
  );
  try {
    await line.configure(at.home, station, await at.bundle('m-1'), 0, null, { ok: 1, bright: 2, dark: 3 });
    await line.start();
    await until('it has come', () => first.bit('running') && first.bit('triggerReady'));
    expect(first.bit('busy')).toBe(false);
    // The status is told now and then: without this, one from before the first reading would do for the next wait.
    await until('the line has seen it on', () => line.status().lineOutput?.signals['trigger'] === true);
    first.ask('trigger', false);
    await until('the line has seen it', () => line.status().lineOutput?.signals['trigger'] === false);
    const told = [await part(first), await part(first), await part(first)];
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

    // A result is out, nobody has taken it, and the PLC is gone.
    first.ask('trigger', true);
    await until('the result', () => first.bit('resultReady'));
    await first.close();
    await until('people are told', () => line.status().problem?.code === 'LINE_OUTPUT_SILENT');
    await using second = await openServingPlc(port);
    await until('it is back', () => second.bit('triggerReady'));
    expect([second.bit('resultReady'), second.bit('ok'), second.bit('ng'), second.word('verdict')]).toEqual([
      false,
      false,
      false,
      0,
    ]);
    await until('the problem is over', () => line.status().problem === null);
    await part(second);
  } finally {
    await line.line.dispose();
    await first.close();
  }
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
