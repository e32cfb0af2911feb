import { execFileSync, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { startSimulator } from '../../main/capture/gige/simulator/simulator.ts';
import { lineOutputSchema, type LineStatus } from '../../main/contract/domain.ts';
import { openPlc } from '../helpers/plc.ts';
import { ownAddress } from '../helpers/simulated-gige.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from './line-home.ts';

/* A PLC that starts each part by its trigger coil, and a line that asks its camera for a frame. */

const simulated = { kind: 'simulated', partsPerMinute: 60, width: 96, height: 96 };
const classCodes = { ok: 1, bright: 2, dark: 3 };

function stationWith(options: {
  camera?: unknown;
  output?: object;
  trigger?: object;
  picture?: object;
  deadlineMs?: number;
}) {
  // This PLC is as slow as the machine beside other work: who tests a limit sets it.
  const patient = { acknowledgeTimeoutMs: 60_000, resultTimeoutMs: 60_000 };
  const lineOutput = lineOutputSchema.parse({ kind: 'modbus-server', port: 0, ...patient, ...options.output });
  const line = lineSettings({
    trigger: { source: 'line-output', ...options.trigger },
    ...(options.deadlineMs && { deadlineMs: options.deadlineMs }),
    ...(options.picture && { picture: options.picture }),
  });
  return lineStation(options.camera ?? simulated, { lineOutput, line });
}

async function openLine(options: Parameters<typeof stationWith>[0] = {}) {
  const at = await createLineHome();
  const line = listenedLine();
  await line.configure(at.home, stationWith(options), await at.bundle('m-1'), 0, null, classCodes);
  await until('the line output listens', () => line.status().lineOutput !== null);
  const plc = await openPlc(line.status().lineOutput!.port);
  return {
    line,
    plc,
    async [Symbol.asyncDispose]() {
      plc[Symbol.dispose]();
      await line.line.dispose();
      at[Symbol.dispose]();
    },
  };
}

test('trigger, busy, result, class and part counter, acknowledge: each part by its own trigger, and as its record says', async () => {
  await using at = await openLine();
  const { line, plc } = at;
  const before = await plc.read();
  expect(before).toMatchObject({ running: false, triggerReady: false });
  // Not running: refused, counted, and no part comes of it.
  await plc.write('trigger', true);
  await plc.write('trigger', false);
  expect(await plc.read()).toMatchObject({ busy: false, statTriggerErrors: 1, statTriggers: 0 });
  await line.start();
  for (let part = 1; part <= 5; part += 1) {
    await plc.until('a trigger would be taken', (s) => s.triggerReady === true);
    await plc.write('trigger', true);
    const result = await plc.until('the result is there', (s) => s.busy === false && s.resultReady === true);
    await until('its record', () => line.records.length >= part);
    const { judgement } = line.records[part - 1]!;
    expect(result).toMatchObject({
      resultReady: true,
      triggerReady: false,
      error: false,
      ok: judgement.verdict === 'ok',
      ng: judgement.verdict !== 'ok',
    });
    const settled = await plc.read();
    expect(settled).toMatchObject({
      verdict: { ok: 1, ng: 2, unsure: 3 }[judgement.verdict],
      classCode: judgement.classId === null ? 0 : classCodes[judgement.classId as keyof typeof classCodes],
      errorCode: 0,
      partCounter: part,
      statTriggers: part,
    });
    // A trigger before the acknowledgement is refused.
    await plc.write('trigger', false);
    await plc.write('trigger', true);
    expect(await plc.read()).toMatchObject({ partCounter: part, statTriggerErrors: 1 + part, resultReady: true });
    await plc.write('trigger', false);
    await plc.write('acknowledge', true);
    expect(await plc.read()).toMatchObject({ resultReady: false, ok: false, ng: false, triggerReady: false });
    await plc.write('acknowledge', false);
  }
  // No frame came that nobody asked for.
  expect(line.records).toHaveLength(5);
  await until('the counters are told', () => line.status().refusedTriggers >= 5);
  expect(line.status()).toMatchObject({ parts: 5, triggers: 5 });
  await plc.write('resetStatistics', true);
  expect(await plc.read()).toMatchObject({ statTriggers: 0, statTriggerErrors: 0, statTimeMax: 0 });
});

test('a result that nobody acknowledges is taken back and counted, and the next part can come', async () => {
  await using at = await openLine({ output: { acknowledgeTimeoutMs: 2_500 } });
  await at.line.start();
  await at.plc.until('ready', (s) => s.triggerReady === true);
  await at.plc.write('trigger', true);
  // The count stays, where the result may be over before a busy machine looks for it.
  await at.plc.until('it is taken back', (s) => s.statTimeouts === 1);
  await at.plc.write('trigger', false);
  await until('its record', () => at.line.records.length === 1);
  // Bits and registers are read one after the other: what was seen together may have been changing.
  expect(await at.plc.read()).toMatchObject({ resultReady: false, ok: false, ng: false, verdict: 0 });
  expect(await at.plc.part()).toMatchObject({ partCounter: 2, resultReady: true });
});

test('a camera that is away: each trigger is answered at once, error 4, class -1 and ng', async () => {
  // Nobody is at this address, and nobody waits a minute for it.
  await using at = await openLine({ camera: { kind: 'gige', address: ownAddress() } });
  await at.line.start();
  await at.plc.until('ready', (s) => s.triggerReady === true);
  for (const partCounter of [1, 2])
    expect(await at.plc.part()).toMatchObject({ ok: false, ng: true, errorCode: 4, classCode: -1, partCounter });
  await until('their records', () => at.line.records.length === 2);
  for (const { judgement } of at.line.records)
    expect(judgement).toMatchObject({ verdict: 'unsure', unsureReason: 'late', errorCode: 'CAMERA_NO_FRAME' });
});

test('a camera that gives no picture: busy until the deadline, then error 4, class -1 and ng; never ok', async () => {
  // It hears its triggers, and nothing that it sends arrives.
  await using simulator = await startSimulator({ address: ownAddress(), lossPerMille: 1_000, framesPerSecond: 1_000 });
  const camera = { kind: 'gige', address: simulator.settings.address };
  await using at = await openLine({ camera, deadlineMs: 4_000 });
  await at.line.start();
  await until('it is there', () => at.line.status().camera === 'well');
  await at.plc.until('ready', (s) => s.triggerReady === true);
  await at.plc.write('trigger', true);
  expect(await at.plc.read()).toMatchObject({ busy: true, resultReady: false });
  await at.plc.until('the result', (s) => s.resultReady === true);
  const told = await at.plc.read();
  expect(told).toMatchObject({ ok: false, ng: true, error: true, errorCode: 4, classCode: -1, verdict: 3 });
  await until('its record', () => at.line.records.length === 1);
  expect(at.line.records[0]!.judgement).toMatchObject({
    verdict: 'unsure',
    unsureReason: 'late',
    errorCode: 'CAMERA_NO_FRAME',
  });
  await at.plc.write('trigger', false);
  await at.plc.write('acknowledge', true);
  await at.plc.write('acknowledge', false);
  // The frame is owed: the next trigger is answered at once.
  expect(await at.plc.part()).toMatchObject({ errorCode: 4, ng: true, partCounter: 2 });
});

test('a picture that is unfit: error 8 and ng, and its record says why', async () => {
  // Nothing of the simulated line is so bright.
  await using at = await openLine({ picture: { darkBelow: 255 } });
  await at.line.start();
  await at.plc.until('ready', (s) => s.triggerReady === true);
  expect(await at.plc.part()).toMatchObject({ ok: false, ng: true, error: true, errorCode: 8, verdict: 3 });
  await until('its record', () => at.line.records.length === 1);
  expect(at.line.records[0]!.judgement).toMatchObject({ verdict: 'unsure', errorCode: 'PICTURE_DARK' });
});

test('minimum spacing and bouncing contacts are kept by the line output', async () => {
  await using at = await openLine({ trigger: { minSpacingMs: 60_000 } });
  await at.line.start();
  await at.plc.until('ready', (s) => s.triggerReady === true);
  await at.plc.part();
  expect(await at.plc.read()).toMatchObject({ triggerReady: false, busy: false, resultReady: false });
  await at.plc.write('trigger', true);
  expect(await at.plc.read()).toMatchObject({ busy: false, statTriggers: 1, statTriggerErrors: 1 });
});

test('while inference hangs a trigger is answered late, with ng, in time', async () => {
  await using at = await openLine({ deadlineMs: 300 });
  await at.line.start();
  await at.plc.until('ready', (s) => s.triggerReady === true);
  await at.plc.part();
  const master = fileURLToPath(new URL('plc-child.ts', import.meta.url));
  // This thread owns inference: it is stuck until the master, a process of its own, has had three results.
  const out = execFileSync(process.execPath, [master, String(at.line.status().lineOutput!.port)], {
    timeout: 120_000,
    encoding: 'utf8',
  });
  const told = JSON.parse(out) as { ms: number; signals: Record<string, unknown> }[];
  expect(told).toHaveLength(3);
  for (const { ms, signals } of told) {
    expect(signals).toMatchObject({ ok: false, ng: true, error: true, errorCode: 1 });
    // By the watchdog, at the deadline of 300 ms; what a busy machine adds to it is its own affair.
    expect(ms).toBeLessThan(10_000);
  }
});

test('the line process dies: the PLC sees the end of the connection, and no old result after the restart', async () => {
  using at = await createLineHome();
  const port = await freePort();
  const station = stationWith({ output: { port } });
  const bundleDir = await at.bundle('m-1');
  await using children = endingChildren();
  const start = async () => {
    const child = children.add(
      fork(fileURLToPath(new URL('line-child.ts', import.meta.url)), [
        JSON.stringify({ home: at.home, station, bundleDir }),
      ]),
    );
    let ready = false;
    // It may run before its output listens.
    child.on('message', ({ payload }: { payload: Partial<LineStatus> }) => {
      ready ||= payload.state === 'running' && payload.lineOutput != null;
    });
    await until('the line runs and listens', () => ready);
    return child;
  };
  const first = await start();
  using plc = await openPlc(port);
  await plc.until('ready', (s) => s.triggerReady === true);
  await plc.write('trigger', true);
  const { heartbeatCounter } = await plc.until('the result', (s) => s.resultReady === true);
  await plc.until('the heartbeat goes on', (s) => s.heartbeatCounter !== heartbeatCounter);
  first.kill('SIGKILL');
  await plc.closed;
  await start();
  using again = await openPlc(port);
  const fresh = await again.until('ready', (s) => s.triggerReady === true);
  expect(fresh).toMatchObject({ resultReady: false, ok: false, ng: false, verdict: 0, partCounter: 0 });
  expect(await again.part()).toMatchObject({ resultReady: true, partCounter: 1 });
});

test('a PLC that falls silent: its result is withdrawn, people are told, and all is well when it speaks again', async () => {
  await using at = await openLine({ output: { peerTimeoutMs: 2_500 } });
  await at.line.start();
  await at.plc.until('ready', (s) => s.triggerReady === true);
  await at.plc.write('trigger', true);
  await at.plc.until('the result', (s) => s.resultReady === true);
  // Nobody asks for anything until the line has noticed.
  await until('the problem is shown', () => at.line.status().problem?.code === 'LINE_OUTPUT_SILENT');
  const back = await at.plc.read();
  expect(back).toMatchObject({ resultReady: false, ok: false, ng: false, statTimeouts: 1 });
  // It goes on speaking meanwhile.
  await expect
    .poll(async () => {
      await at.plc.read();
      return at.line.status().problem;
    })
    .toBeNull();
});

/** Processes that end with the test, however it ends. */
function endingChildren() {
  const all: ChildProcess[] = [];
  return {
    add: (child: ChildProcess) => (all.push(child), child),
    async [Symbol.asyncDispose]() {
      for (const child of all) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
