import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { lineOutputSchema, lineSettingsSchema, type Part } from '../../main/contract/domain.ts';
import { quantile } from '../../main/host/line-bench/figures.ts';
import { openInspector } from '../../main/inspection/inspector.ts';
import { decodeImage } from '../../main/vision/decode.ts';
import { openPlant, type Plant } from '../helpers/plant.ts';
import { openPlc, type Plc } from '../helpers/plc.ts';
import { record } from './record.ts';

/*
 * What a line keeps when its processes die, and when its model is exchanged. A real Modbus master triggers each part and writes a lot
 * of its own before it, so that every result that it was told can be looked for among the records.
 *   node main/host/build/launch.mjs test/bench/line-faults.ts kills [of each kind]      kill -9 of core and of line process in turn, under load
 *   node main/host/build/launch.mjs test/bench/line-faults.ts swaps [count]              activations of two approved models in turn, under 20 parts/s
 */

const [kind = 'kills', countText] = process.argv.slice(2);
const THREADS = 1;
const SIZE = 256;
/** Between two kills, so that a process is up, and the line at work, before the next one dies. */
const BETWEEN_MS = 2_000;
const RECOVERY_LIMIT_MS = 3_000;
const RATE = 20;
/** Pictures that are judged again by the model that their record names. */
const JUDGED_AGAIN = 200;

const say = (line: string) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

interface Told {
  lot: string;
  verdict: 'ok' | 'ng' | 'unsure';
  error: number;
  at: number;
}

/** A PLC that goes on for ever: triggers, takes the result, acknowledges; connects again when the line was gone. */
function runPlc(port: number, periodMs: number) {
  const told: Told[] = [];
  const stop = new AbortController();
  let asked = 0;
  let notReady = 0;
  let takenBack = 0;
  const part = async (plc: Plc) => {
    const ready = await plc.read();
    if (ready.triggerReady !== true) {
      notReady += 1;
      await sleep(5);
      return;
    }
    asked += 1;
    const lot = `P${String(asked).padStart(7, '0')}`;
    await plc.writeLot(lot);
    const result = await plc.part();
    // Taken back before this slow PLC had read it: it was told nothing.
    if (result.resultReady !== true) {
      takenBack += 1;
      return;
    }
    const verdict = ({ 1: 'ok', 2: 'ng', 3: 'unsure' } as const)[Number(result.verdict)];
    if (!verdict || (result.ok === true) !== (verdict === 'ok'))
      throw new Error(`signals that contradict each other: ${JSON.stringify(result)}`);
    told.push({ lot, verdict, error: Number(result.errorCode), at: performance.now() });
  };
  const done = (async () => {
    let due = performance.now();
    while (!stop.signal.aborted) {
      try {
        using plc = await openPlc(port, { waitMs: 10_000, answerMs: 5_000 });
        while (!stop.signal.aborted) {
          await Promise.race([part(plc), plc.closed.then(() => Promise.reject(new Error('the line is gone')))]);
          due = Math.max(due + periodMs, performance.now() - periodMs);
          await sleep(Math.max(0, due - performance.now()));
        }
      } catch (error) {
        if (String(error).includes('contradict')) throw error;
        await sleep(20);
      }
    }
  })();
  done.catch((error: unknown) => {
    say(String(error));
    process.exit(1);
  });
  return {
    told,
    get asked() {
      return asked;
    },
    get notReady() {
      return notReady;
    },
    get takenBack() {
      return takenBack;
    },
    /** The first result after this moment. */
    async resultAfter(at: number, limitMs = 60_000): Promise<number> {
      for (let seen = told.length; performance.now() - at < limitMs; await sleep(5))
        for (; seen < told.length; seen += 1) if (told[seen]!.at > at && told[seen]!.error === 0) return told[seen]!.at;
      throw new Error(`no result within ${limitMs} ms`);
    },
    async stop() {
      stop.abort();
      await done;
    },
  };
}

async function plant(models: number): Promise<{ at: Plant; port: number }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  const at = await openPlant({
    lineOutput: lineOutputSchema.parse({ kind: 'modbus-server', port, acknowledgeTimeoutMs: 30_000 }),
    line: lineSettingsSchema.parse({ trigger: { source: 'line-output' }, deadlineMs: 2_000 }),
    threads: THREADS,
    models,
    size: SIZE,
    say,
  });
  await at.client.call('line.start', { stationId: at.station.id });
  return { at, port };
}

/** All records, after the line has been told to stop and the core has stored what it had. */
async function settle(at: Plant): Promise<Part[]> {
  await at.client.call('line.stop', { stationId: at.station.id });
  let before = -1;
  for (;;) {
    const parts = await at.parts();
    if (parts.length === before) return parts;
    before = parts.length;
    await sleep(1_000);
  }
}

const lotOf = (part: Part): string | null => part.notes.find((note) => note.startsWith('lot '))?.slice(4) ?? null;

/** Results the PLC was told, against the records. */
function compare(told: readonly Told[], parts: readonly Part[]) {
  const byLot = new Map<string, Part[]>();
  for (const part of parts) {
    const lot = lotOf(part);
    if (lot !== null) byLot.set(lot, [...(byLot.get(lot) ?? []), part]);
  }
  const judged = told.filter(({ error }) => error === 0);
  const lost = judged.filter(({ lot }) => !byLot.has(lot));
  const different = judged.filter(({ lot, verdict }) => byLot.get(lot)?.some((p) => p.judgement.verdict !== verdict));
  return {
    toldVerdicts: judged.length,
    toldErrors: told.length - judged.length,
    lost: lost.length,
    different: different.length,
    twice: [...byLot.values()].filter((list) => list.length > 1).length,
  };
}

/** SQLite's own check, and gaps in the numbering. Ends the plant: while it runs the database is its own. */
async function checkRecords(at: Plant, parts: readonly Part[]) {
  const { lostRecords } = await at.client.call('line.status', { stationId: at.station.id });
  at.client.close();
  await at.supervisor.close();
  const file = readdirSync(at.home).find((name) => name.endsWith('.sqlite') || name.endsWith('.db'));
  if (!file) throw new Error('no database in the data folder');
  const database = new Database(join(at.home, file), { readonly: true });
  const integrity = (database.pragma('integrity_check') as { integrity_check: string }[])[0]!.integrity_check;
  database.close();
  const gaps = parts.filter((part, i) => part.seq !== (parts[i - 1]?.seq ?? 0) + 1).length;
  return { integrity, records: parts.length, gaps, lostRecords };
}

async function kills(count: number) {
  const { at, port } = await plant(1);
  await using _plant = at;
  const plc = runPlc(port, 1000 / RATE);
  await plc.resultAfter(performance.now());
  const begun = performance.now();
  /** ms: until the core serves again, or the PLC has its next verdict. `gap`: the PLC's longest wait around a core's death. */
  const recovery = { core: [] as number[], line: [] as number[] };
  const duringCore: number[] = [];
  for (let n = 0; n < 2 * count; n += 1) {
    const what = n % 2 === 0 ? 'core' : 'line';
    await sleep(BETWEEN_MS);
    const pid = at.pidOf(what);
    if (pid === undefined) throw new Error(`no ${what} process`);
    const served = new Promise<void>((resolve) => {
      const dispose = at.supervisor.onCore((up) => {
        if (!up) return;
        dispose();
        resolve();
      });
      if (what === 'line') dispose();
    });
    const killed = performance.now();
    process.kill(pid, 'SIGKILL');
    if (what === 'core') {
      const [next] = await Promise.all([plc.resultAfter(killed), served]);
      recovery.core.push(performance.now() - killed);
      duringCore.push(next - killed);
      // The line outlives it: the same process.
    } else {
      // Results on their way when it died may still arrive.
      await sleep(50);
      recovery.line.push((await plc.resultAfter(killed + 50)) - killed);
    }
    say(`${n + 1} of ${2 * count}: ${what} ${recovery[what].at(-1)!.toFixed(0)} ms, ${plc.told.length} results`);
  }
  await sleep(BETWEEN_MS);
  const seconds = (performance.now() - begun) / 1000;
  await plc.stop();
  const parts = await settle(at);
  const figures = (ms: readonly number[]) => ({
    kills: ms.length,
    medianMs: Math.round(quantile(ms, 0.5)),
    maxMs: Math.round(quantile(ms, 1)),
    withinLimit: ms.filter((v) => v <= RECOVERY_LIMIT_MS).length,
  });
  return {
    seconds,
    partsPerSecond: plc.told.length / seconds,
    asked: plc.asked,
    takenBack: plc.takenBack,
    ...compare(plc.told, parts),
    ...(await checkRecords(at, parts)),
    recovery: { core: figures(recovery.core), line: figures(recovery.line), limitMs: RECOVERY_LIMIT_MS },
    /** The line does not wait for the core: until the next verdict after the core died. */
    nextVerdictAfterCore: {
      medianMs: Math.round(quantile(duringCore, 0.5)),
      maxMs: Math.round(quantile(duringCore, 1)),
    },
  };
}

async function swaps(count: number) {
  const { at, port } = await plant(2);
  await using _plant = at;
  const plc = runPlc(port, 1000 / RATE);
  await plc.resultAfter(performance.now());
  const begun = performance.now();
  const switchMs: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const asked = performance.now();
    // Back to a model that inspected before is signed: the time is that of password and exchange.
    await at.client.call('models.activate', { candidateId: at.models[(n + 1) % 2]!.id, signature: at.signature });
    switchMs.push(performance.now() - asked);
    await plc.resultAfter(performance.now());
    await sleep(250);
    say(`${n + 1} of ${count}: ${switchMs.at(-1)!.toFixed(0)} ms, ${plc.told.length} results`);
  }
  const seconds = (performance.now() - begun) / 1000;
  await plc.stop();
  const parts = await settle(at);
  const status = await at.client.call('line.status', { stationId: at.station.id });
  return {
    seconds,
    swaps: count,
    partsPerSecond: plc.told.length / seconds,
    asked: plc.asked,
    takenBack: plc.takenBack,
    ...compare(plc.told, parts),
    ...(await checkRecords(at, parts)),
    triggers: status.triggers,
    late: status.late,
    dropped: status.droppedFrames,
    activateMs: { median: Math.round(quantile(switchMs, 0.5)), max: Math.round(quantile(switchMs, 1)) },
    byModel: Object.fromEntries(
      at.models.map(({ id }, i) => [i, parts.filter((p) => p.judgement.modelId === id).length]),
    ),
    withoutModel: parts.filter((p) => p.judgement.modelId === null).length,
    judgedAgain: await judgeAgain(at, parts),
  };
}

/** Archived pictures judged by each of the two models: the one that the record names has to say the same, and the other one not always. */
async function judgeAgain(at: Plant, parts: readonly Part[]) {
  const inspectors = await Promise.all(
    at.models.map(({ id }) => openInspector({ bundleDir: join(at.home, 'bundles', id), threads: THREADS })),
  );
  const sample = parts.filter((p) => p.imageSha !== null && p.judgement.errorCode === null).slice(-JUDGED_AGAIN);
  let byNamed = 0;
  let byOther = 0;
  for (const { imageSha, judgement } of sample) {
    const png = await readFile(join(at.home, 'images', imageSha!.slice(0, 2), `${imageSha}.png`));
    const { image } = await decodeImage(png, { name: imageSha!, maxPixels: 1e7 });
    for (const inspector of inspectors) {
      const again = await inspector.inspect(image, { recipe: at.station.recipe });
      const same =
        again.classId === judgement.classId &&
        Math.abs(again.confidence - judgement.confidence) < 1e-5 &&
        Math.abs(again.novelty - judgement.novelty) < 1e-5;
      if (same && inspector.card.id === judgement.modelId) byNamed += 1;
      if (same && inspector.card.id !== judgement.modelId) byOther += 1;
    }
  }
  for (const inspector of inspectors) await inspector.dispose();
  return { pictures: sample.length, sameByTheNamedModel: byNamed, sameByTheOther: byOther };
}

/** Work of others on the machine: runnable threads per core, over the last minute; above 1 nothing here had the machine to itself. */
const load = () => loadavg()[0]! / cpus().length;

const count = Number(countText ?? (kind === 'kills' ? 50 : 100));
const loadBefore = load();
const result = kind === 'kills' ? await kills(count) : await swaps(count);
record(`line-${kind}`, `node main/host/build/launch.mjs test/bench/line-faults.ts ${kind} ${count}`, {
  ...result,
  loadPerCore: { before: loadBefore, after: load() },
});
