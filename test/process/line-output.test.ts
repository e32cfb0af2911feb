import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ModbusTCPClient } from 'jsmodbus';
import { expect, test } from 'vitest';
import { lineOutputSchema } from '../../main/contract/domain.ts';
import { registerMap } from '../../main/lineio/register-map.ts';
import { openPlc } from '../helpers/plc.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from './line-home.ts';

const hasMbpoll = spawnSync('mbpoll', ['-h']).error === undefined;

async function openLine({ demo = false, partsPerMinute = 600, deadlineMs = 60_000 } = {}) {
  const at = await createLineHome({ demo });
  const line = listenedLine();
  const lineOutput = lineOutputSchema.parse({ kind: 'modbus-server', port: 0, acknowledgeTimeoutMs: 30_000 });
  const camera = { kind: 'simulated', partsPerMinute, width: 96, height: 96 };
  const station = lineStation(camera, { lineOutput, line: lineSettings({ deadlineMs }) });
  await line.configure(at.home, station, await at.bundle('m-1'), 0, null, { ok: 1, bright: 2, dark: 3 });
  return {
    at,
    line,
    station,
    async port() {
      await until('the line output listens', () => line.status().lineOutput !== null);
      return line.status().lineOutput!.port;
    },
    async [Symbol.asyncDispose]() {
      await line.line.dispose();
      at[Symbol.dispose]();
    },
  };
}

test('a Modbus master sees the verdict of each part, acknowledges, and is told off for what it may not write', async () => {
  // Sixteen results wait for a slow PLC, the next ones are given up: eight seconds of them.
  await using opened = await openLine({ partsPerMinute: 120 });
  const { line } = opened;
  const socket = connect(await opened.port(), '127.0.0.1');
  // Before the socket connects: the client listens for that.
  const plc = new ModbusTCPClient(socket, 1, 30_000);
  await once(socket, 'connect');
  const bits = async () => (await plc.readDiscreteInputs(0, 11)).response.body.valuesAsArray.map(Boolean);
  const at = registerMap;
  await plc.writeMultipleRegisters(at.lot.address, Buffer.from('LOT 7'.padEnd(16, '\0')));
  expect((await bits())[at.running.address]).toBe(false);
  await line.start();
  for (let part = 1; part <= 3; part += 1) {
    let seen = await bits();
    while (!seen[at.resultReady.address]) seen = await bits();
    const words = (await plc.readInputRegisters(0, 40)).response.body.valuesAsArray as number[];
    expect(words[at.partCounter.address + 1]).toBe(part);
    expect(Number(seen[at.ok.address]) + Number(seen[at.ng.address])).toBe(1);
    const { judgement } = line.records.find((r) => r.seq === part) ?? { judgement: null };
    if (judgement) expect(words[at.verdict.address]).toBe({ ok: 1, ng: 2, unsure: 3 }[judgement.verdict]);
    await plc.writeSingleCoil(at.acknowledge.address, true);
    expect((await bits())[at.resultReady.address]).toBe(false);
    await plc.writeSingleCoil(at.acknowledge.address, false);
  }
  await expect(plc.writeSingleRegister(200, 1)).rejects.toMatchObject({ err: 'ModbusException' });
  await expect(plc.writeSingleCoil(9, true)).rejects.toMatchObject({ err: 'ModbusException' });
  // Not Modbus: that connection ends, the others live.
  const hostile = connect(await opened.port(), '127.0.0.1');
  hostile.on('error', () => {});
  hostile.end('GET / HTTP/1.1\r\n\r\n');
  await once(hostile, 'close');
  const [, refused] = (await plc.readInputRegisters(at.statRefused.address, 2)).response.body.valuesAsArray as number[];
  expect(refused).toBe(3);
  await until('a record with its lot', () => line.records.some((r) => r.notes.includes('lot LOT 7')));
  socket.destroy();
});

test('the count of refused requests begins anew with resetStatistics and with another line output', async () => {
  await using opened = await openLine();
  const { at, line, station } = opened;
  const port = await opened.port();
  using plc = await openPlc(port);
  const refusedOnce = async () => {
    const hostile = connect(port, '127.0.0.1');
    hostile.on('error', () => {});
    hostile.end('GET / HTTP/1.1\r\n\r\n');
    await once(hostile, 'close');
    await plc.until('it is counted', (s) => s.statRefused === 1);
  };
  await refusedOnce();
  await plc.write('resetStatistics', true);
  expect(await plc.read()).toMatchObject({ statRefused: 0 });
  await refusedOnce();
  const lineOutput = lineOutputSchema.parse({ kind: 'modbus-server', port: 0, acknowledgeTimeoutMs: 7_000 });
  await line.configure(at.home, { ...station, lineOutput }, null);
  await until('it listens elsewhere', () => ![undefined, port].includes(line.status().lineOutput?.port));
  using again = await openPlc(await opened.port());
  expect(await again.read()).toMatchObject({ statRefused: 0 });
});

test('the lot outlives a server that is set up anew, as soon as its port is free, and ends when the line output is switched off', async () => {
  await using opened = await openLine();
  const { at, line, station } = opened;
  const configure = (lineOutput: object) =>
    line.configure(at.home, { ...station, lineOutput: lineOutputSchema.parse(lineOutput) }, null);
  const next = async () => {
    // Not one that was taken before.
    const { length } = line.records;
    await until('later parts', () => line.records.length > length + 5);
    return line.records.at(-1)!.notes;
  };
  const before = await opened.port();
  using first = await openPlc(before);
  await first.writeLot('LOT 7');
  await line.start();
  expect(await next()).toContain('lot LOT 7');
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as AddressInfo;
  await configure({ kind: 'modbus-server', port });
  await until('it is told that the port is taken', () => line.status().problem?.code === 'LINE_OUTPUT_FAILED');
  holder.close();
  await until('it listens there', () => line.status().lineOutput?.port === port);
  expect(line.status().problem).toBeNull();
  expect(line.status().lineOutput?.signals.lot).toBe('LOT 7');
  using second = await openPlc(await opened.port());
  await second.write('acknowledge', true);
  expect(await next()).toContain('lot LOT 7');
  await configure({ kind: 'none' });
  await until('it is off', () => line.status().lineOutput === null);
  expect(await next()).not.toContain('lot LOT 7');
});

test('a camera that is refused while the line runs: the PLC sees that it runs no more', async () => {
  await using opened = await openLine();
  const { at, line, station } = opened;
  using plc = await openPlc(await opened.port());
  await line.start();
  await plc.until('it runs', (s) => s.running === true);
  const camera = lineStation({ kind: 'folder', path: join(at.home, 'mekiki.json') }).camera;
  await expect(line.configure(at.home, { ...station, camera }, null)).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
  expect(line.status().state).toBe('stopped');
  await plc.until('it was told', (s) => s.running === false);
});

test('signals put out by hand: the PLC sees them while the line is stopped, never after it was started, and not for long', async () => {
  await using opened = await openLine();
  const { line } = opened;
  using plc = await openPlc(await opened.port());
  const put = (signals: Record<string, boolean>, seconds = 30) =>
    line.line['line.testOutput']({ signals, seconds }, null, new AbortController().signal) as Promise<unknown>;
  await put({ ng: true, alarm: true });
  await plc.until('ng by hand', (s) => s.ng === true && s.alarm === true && s.resultReady === false);
  expect(line.status().lineOutput!.signals).toMatchObject({ running: false });
  await put({ ok: true });
  await plc.until('ok alone', (s) => s.ok === true && s.ng === false);
  await put({ ok: true }, 1);
  await plc.until('it fell back', (s) => s.ok === false);
  await put({ error: true });
  await plc.until('error by hand', (s) => s.error === true);
  await line.start();
  await plc.until('the test is over', (s) => s.running === true && s.error === false);
  await expect(put({ ok: true })).rejects.toMatchObject({ code: 'CONFLICT' });
});

test('while inference hangs the PLC is told late, with ng, in time', async () => {
  await using opened = await openLine({ partsPerMinute: 1200, deadlineMs: 500 });
  const { line } = opened;
  const port = await opened.port();
  await line.start();
  await until('parts', () => line.records.length >= 3);
  // This thread owns inference and is stuck; the master is a process of its own.
  const script = `
    const { connect } = require('node:net'); const { ModbusTCPClient } = require('jsmodbus');
    const s = connect(${port}, '127.0.0.1');
    const plc = new ModbusTCPClient(s, 1, 30_000);
    s.once('connect', async () => {
      for (;;) {
        const w = (await plc.readInputRegisters(0, 3)).response.body.valuesAsArray;
        const b = (await plc.readDiscreteInputs(0, 7)).response.body.valuesAsArray;
        if (w[2] === 1) { console.log(JSON.stringify({ w, b })); process.exit(0); }
        await plc.writeSingleCoil(1, true); await plc.writeSingleCoil(1, false);
      }
    });`;
  // execFileSync blocks this thread until the master has seen it: nothing of it judges meanwhile.
  const told = JSON.parse(execFileSync(process.execPath, ['-e', script], { timeout: 120_000, encoding: 'utf8' })) as {
    w: number[];
    b: number[];
  };
  expect(told.w[0]).toBe(3);
  expect([told.b[3], told.b[4], told.b[6]]).toEqual([0, 1, 1]);
});

test('a demo has no line output', async () => {
  await using opened = await openLine({ demo: true });
  await opened.line.start();
  await until('parts', () => opened.line.records.length >= 5);
  expect(opened.line.status().lineOutput).toBeNull();
});

test.skipIf(!hasMbpoll)(
  'mbpoll, an independent master, reads the signals and writes the coils',
  async () => {
    await using opened = await openLine();
    const port = String(await opened.port());
    await opened.line.start();
    await until('parts', () => opened.line.records.length >= 1);
    const { spawn } = await import('node:child_process');
    const run = async (...args: string[]) => {
      const child = spawn('mbpoll', ['-m', 'tcp', '-p', port, '-a', '1', '-0', '-1', ...args]);
      let out = '';
      child.stdout.on('data', (data: Buffer) => (out += data.toString()));
      await once(child, 'close');
      return out;
    };
    expect(await run('-t', '1', '-r', '0', '-c', '11', '127.0.0.1')).toMatch(/\[8\]:\s+1/);
    expect(await run('-t', '3', '-r', '0', '-c', '9', '127.0.0.1')).toMatch(/\[6\]:\s+1/);
    expect(await run('-t', '0', '-r', '1', '127.0.0.1', '1')).toContain('Written 1 references');
  },
  240_000,
);
