import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MethodInput, MethodName } from '../../main/contract/methods.ts';
import { openStore } from '../../main/store/open.ts';
import { newJudgement } from '../store/examples.ts';
import { lineRecord, PASSWORD, setUp, startWorld } from '../unit/core/world.ts';
import { randomOf } from './faults/acts.ts';
import { record } from './record.ts';

/*
 * An archive of a million parts over a year: how long the core takes for what each screen asks, how fast it stores records (as a line hands them over, and one by one, each on the disk for good
 * before the next), and how long it takes to start.
 *   node main/host/build/launch.mjs test/bench/million.ts [parts]
 */

const PARTS = Number(process.argv[2] ?? 1_000_000);
const LABELS = Math.round(PARTS / 50);
const QUEUED = Math.round(PARTS / 200);
const CALLS = 300;
const RECORDS = 2_000;
/** What gathers at 200 parts a second between two hand-overs of a line, 50 ms (main/host/line/line.ts). */
const HANDED_OVER = 10;
const YEAR_MS = 365 * 86_400_000;

const base = mkdtempSync(join(tmpdir(), 'mekiki-million-'));
const home = join(base, 'home');
const random = randomOf(3);
const sha = (n: number) => n.toString(16).padStart(64, '0');

const first = await startWorld({ home });
const { stationId } = await setUp(first);
const { id: scratch } = await first.call('classes.create', { names: { en: 'scratch', ja: '' } });
const users = await first.call('users.list', {});
await first.core.close();

// ---------------------------------------------------------------- the archive
const building = performance.now();
const store = await openStore({ home, demo: false });
const end = Date.now();
const verdicts = ['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ng', 'unsure'] as const;
for (let from = 0; from < PARTS; from += 10_000) {
  store.transaction(() => {
    for (let i = from; i < Math.min(PARTS, from + 10_000); i += 1) {
      const verdict = verdicts[Math.floor(random() * verdicts.length)]!;
      const classId = verdict === 'ng' ? scratch : 'ok';
      const partId = store.parts.insert({
        stationId,
        origin: 'line',
        seq: i + 1,
        at: new Date(end - YEAR_MS + (i * YEAR_MS) / PARTS).toISOString(),
        imageSha: sha(i + 1),
        width: 512,
        height: 512,
        judgement: newJudgement({ verdict, classId, unsureReason: verdict === 'unsure' ? 'low-margin' : null }),
        notes: [],
        source: null,
      });
      if (verdict === 'unsure' && random() < (QUEUED / PARTS) * verdicts.length)
        store.queue.put(partId, stationId, 'low-margin', random(), 'ok');
      if (random() < LABELS / PARTS) {
        const userId = users[Math.floor(random() * users.length)]!.id;
        const label = { stationId, imageSha: sha(i + 1), classId: random() < 0.5 ? 'ok' : scratch, partId, userId };
        const at = new Date(end).toISOString();
        store.labels.set({ ...label, boxes: [], at, learntClassId: label.classId, confirmed: false });
        const changes = [{ ...label, labelBefore: null, queueStateBefore: null }];
        store.labels.recordAction({ userId, at, kind: 'label', classId: label.classId, changes });
        // Somebody else's call of one in ten, which differs now and then.
        const other = users.find(({ id }) => id !== userId);
        if (other && random() < 0.1)
          store.secondLabels.add({
            stationId,
            imageSha: label.imageSha,
            userId: other.id,
            classId: random() < 0.9 ? label.classId : 'ok',
            firstClassId: label.classId,
            firstUserId: userId,
            at,
          });
      }
    }
    store.stations.setAcknowledged(stationId, Math.min(PARTS, from + 10_000));
  });
}
// The charts watch one model since the first part.
store.alarms.setMonitor(stationId, { modelId: newJudgement().modelId!, firstPartId: 1, seen: PARTS, levels: {} });
store.close();
// The trail is written by the core, which signs it as it grows.
const world = await startWorld({ home });
await world.call('session.signIn', { name: 'sato', password: PASSWORD });
process.stderr.write(`${PARTS} parts after ${((performance.now() - building) / 1000).toFixed(0)} s\n`);
const buildSeconds = (performance.now() - building) / 1000;

// ---------------------------------------------------------------- what the screens ask
const quantiles = (ms: number[]) => {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
  return { p50: at(0.5), p99: at(0.99), max: sorted.at(-1)! };
};
const anyPart = () => 1 + Math.floor(random() * PARTS);
const now = new Date(end).toISOString();
const ago = (days: number) => new Date(end - days * 86_400_000).toISOString();
const asked: { [M in MethodName]?: () => MethodInput<M> } = {
  'session.state': () => ({}),
  'session.accounts': () => ({}),
  'users.list': () => ({}),
  'stations.list': () => ({}),
  'classes.list': () => ({}),
  'line.status': () => ({ stationId }),
  'parts.recent': () => ({
    stationId,
    limit: 60,
    before: anyPart(),
    ...(random() < 0.5 && { verdict: 'ng' as const }),
  }),
  'parts.get': () => ({ partId: anyPart() }),
  'alarms.list': () => ({ stationId }),
  'alarms.state': () => ({ stationId }),
  'queue.list': () => ({ stationId, limit: 200 }),
  'queue.count': () => ({ stationId }),
  'labels.list': () => ({ stationId, limit: 200 }),
  'labels.summary': () => ({ stationId }),
  'labels.history': () => ({ stationId }),
  'labels.secondQueue': () => ({ stationId }),
  'labels.agreement': () => ({ stationId }),
  'golden.show': () => ({ stationId }),
  'studies.list': () => ({ stationId }),
  'knowledge.list': () => ({ stationId }),
  'candidates.list': () => ({ stationId }),
  'jobs.list': () => ({}),
  'reports.summary': () => ({ stationId, from: ago(Math.ceil(random() * 365)), to: now }),
  'reports.drift': () => ({ stationId }),
  'audit.list': () => ({ limit: 100 }),
  'home.state': () => ({}),
};
const queries: Record<string, { p50: number; p99: number; max: number }> = {};
for (const [method, input] of Object.entries(asked)) {
  const ms: number[] = [];
  for (let n = 0; n < CALLS; n += 1) {
    const started = performance.now();
    await world.call(method as 'parts.recent', (input as () => MethodInput<'parts.recent'>)());
    ms.push(performance.now() - started);
  }
  queries[method] = quantiles(ms);
}
const slowest = Object.entries(queries).toSorted(([, a], [, b]) => b.p99 - a.p99)[0]!;

// ---------------------------------------------------------------- records
await world.call('line.start', { stationId });
const line = world.lines.get(stationId)!;
let seq = PARTS;
/** Stores records so many at a time, the next when the last are acknowledged: each acknowledgement is one transaction on the disk. */
const storeRecords = async (atOnce: number) => {
  const ms: number[] = [];
  for (let n = 0; n < RECORDS; n += atOnce) {
    const records = Array.from({ length: atOnce }, (_, i) =>
      lineRecord(seq + 1 + i, { at: new Date().toISOString(), imageSha: sha(seq + 1 + i) }),
    );
    seq += atOnce;
    const started = performance.now();
    line.emit(records);
    while (line.acknowledged.at(-1) !== seq) await new Promise((resolve) => setImmediate(resolve));
    ms.push(performance.now() - started);
  }
  return { atOnce, stored: RECORDS, perSecond: (1000 * RECORDS) / ms.reduce((a, b) => a + b, 0), ms: quantiles(ms) };
};
const records = { handedOver: await storeRecords(HANDED_OVER), oneByOne: await storeRecords(1) };
await world.core.close();

// ---------------------------------------------------------------- start
const bytes = statSync(join(home, 'mekiki.sqlite')).size;
const opening = performance.now();
const again = await startWorld({ home });
const startMs = performance.now() - opening;
await again.close();
rmSync(base, { recursive: true, force: true });

record('million-parts', `node main/host/build/launch.mjs test/bench/million.ts ${PARTS}`, {
  parts: PARTS,
  labels: LABELS,
  queued: QUEUED,
  databaseMb: bytes / 1024 ** 2,
  buildSeconds,
  calls: CALLS,
  slowest: { method: slowest[0], ...slowest[1] },
  queriesMs: queries,
  records,
  startMs,
});
