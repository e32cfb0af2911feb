import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { lineStatusSchema, roleSchema } from '../../main/contract/domain.ts';
import { fromJson } from '../../main/contract/rpc/json.ts';
import { serve, type Serving } from '../../main/host/serve.ts';
import { hostileInputs, isPolluted, type Hostile } from '../helpers/hostile.ts';
import { randomOf } from './faults/acts.ts';
import { hostilePages } from './hostile/feed.ts';
import { hostileHttp } from './hostile/http.ts';
import { admit, openWindow, type Window } from './hostile/windows.ts';
import { record } from './record.ts';

/*
 * Hostile inputs against browser mode as it ships: supervisor, HTTP and WebSocket listener, real core, real line. Inputs that break the contract go over WebSocket in every role; pages that read a
 * USB camera send what nobody wanted; requests that break HTTP, lead out of the folder, replay tokens or come from elsewhere go over TCP. None may be answered as done or judged, nothing may end,
 * memory must not grow, no row of the data folder may change.
 *   node main/host/build/launch.mjs test/bench/hostile.ts [inputs]
 */

const INPUTS = Number(process.argv[2] ?? 100_000);
const HTTP = Math.round(INPUTS * 0.2);
const FEED = Math.round(INPUTS * 0.03);
const CONTRACT = INPUTS - HTTP - FEED;
const random = randomOf(7);
const PASSWORD = 'correct horse';
/** Below the limit of messages of one window (main/host/web-socket.ts), so that it is the inputs that are tried. */
const PER_SECOND = 480;
const AT_ONCE = 40;

const folder = mkdtempSync(join(tmpdir(), 'mekiki-hostile-'));
const home = join(folder, 'home');
const rendererDir = join(folder, 'renderer');
mkdirSync(rendererDir);
writeFileSync(join(rendererDir, 'index.html'), '<!doctype html>');
writeFileSync(join(folder, 'outside.js'), 'SECRET OUTSIDE');
const open = (): Promise<Serving> => serve({ home, port: 0, demo: false, stderrLevel: null, rendererDir });

/** A call that has to be done. */
const done = async (window: Window, method: string, input: unknown): Promise<unknown> => {
  const answer = await window.call(method, JSON.stringify(input));
  if (!answer.ok) throw new Error(`${method}: ${answer.error!.code}`);
  return answer.value;
};

// A home with an account of each role and a station with a USB camera, and an earlier launch whose token and cookie are to be replayed.
const first = await open();
const oldToken = new URL(first.url).search;
const oldCookie = await admit(first);
const setUp = await openWindow(first, oldCookie);
await done(setUp, 'session.firstStart', { language: 'en', name: 'sato', password: PASSWORD });
for (const role of roleSchema.options) await done(setUp, 'users.add', { name: `a-${role}`, role, password: PASSWORD });
const { id: stationId } = (await done(setUp, 'stations.add', {
  name: 'Hostile',
  camera: { kind: 'usb', label: 'x' },
})) as { id: string };
setUp.socket.close();
await first.close();
const rows = (): string => {
  const db = new Sqlite(join(home, 'mekiki.sqlite'), { readonly: true });
  const names = db
    .prepare(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
    .pluck()
    .all() as string[];
  const text = names
    .filter((name) => !['audit', 'audit_heads', 'settings', 'sign_in_attempts'].includes(name))
    .map((name) => name + JSON.stringify(db.prepare(`SELECT * FROM ${name}`).raw().all()))
    .join('\n');
  db.close();
  return text;
};
const before = rows();

const serving = await open();
const cookie = await admit(serving);
const windows: Window[] = [];
for (const role of [null, ...roleSchema.options]) {
  const window = await openWindow(serving, cookie);
  if (role !== null) await done(window, 'session.signIn', { name: `a-${role}`, password: PASSWORD });
  windows.push(window);
}
const engineer = windows[1 + roleSchema.options.indexOf('engineer')]!;
await done(engineer, 'line.start', { stationId });

const pidOf = (name: string) => serving.supervisor.processes().find((each) => each.name === name)!.pid!;
const pids = { core: pidOf('core'), line: pidOf(`line:${stationId}`) };
const rssOf = (pid: number): number => {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line![1]) / 1024;
};
/** Of the supervisor, which runs in this process, the inputs that are made here are a part. */
const memory = () => ({ supervisorMb: rssOf(process.pid), coreMb: rssOf(pids.core), lineMb: rssOf(pids.line) });
type Memory = ReturnType<typeof memory>;
const samples: Memory[] = [];
const sample = (what: string, n: number, of: number) => {
  samples.push(memory());
  process.stderr.write(`${what}: ${n} of ${of}, ${JSON.stringify(samples.at(-1))}\n`);
};

const started = performance.now();
const accepted: string[] = [];

// ---------------------------------------------------------------- the contract
const counts: Record<string, number> = {};
const count = (what: string) => (counts[what] = (counts[what] ?? 0) + 1);
const inputs = hostileInputs(random);
const dueAt = (n: number) => started + (1000 * n) / (PER_SECOND * windows.length);
const tried = async (n: number, { method, inputJson, kind }: Hostile) => {
  const window = windows[n % windows.length]!;
  if (fromJson(inputJson) === undefined) {
    // Nested deeper than any message: nobody answers, and the calls beside it show that everybody lives.
    window.call(method, inputJson).catch(() => {});
    count('dropped');
    return;
  }
  const answer = await window.call(method, inputJson);
  if (answer.error?.code === 'closed')
    throw new Error(`input ${n} (${kind}, ${inputJson.length} bytes) cut the connection`);
  if (answer.ok) accepted.push(`${method} ${inputJson.slice(0, 200)}`);
  count(answer.ok ? 'accepted' : answer.error!.code);
};
for (let n = 0; n < CONTRACT; n += AT_ONCE) {
  const batch = Array.from({ length: Math.min(AT_ONCE, CONTRACT - n) }, () => inputs.next().value as Hostile);
  await Promise.all(batch.map((input, i) => tried(n + i, input)));
  await sleep(Math.max(0, dueAt(n) - performance.now()));
  if (n % 2_000 < AT_ONCE) sample('contract', n, CONTRACT);
}
const contractSeconds = (performance.now() - started) / 1000;

// ---------------------------------------------------------------- pages that read a camera
const feed = await hostilePages({ port: serving.port, cookie, stationId, window: engineer }, FEED, random, (n) =>
  sample('camera pages', n, FEED),
);
accepted.push(...feed.accepted);
const line = lineStatusSchema.parse(await done(engineer, 'line.status', { stationId }));
if (line.parts > 0) accepted.push(`${line.parts} pictures that nobody wanted were judged`);
for (const { socket } of windows) socket.close();

// ---------------------------------------------------------------- HTTP
const http = await hostileHttp(
  { port: serving.port, cookie, oldToken, oldCookie, usedTickets: feed.usedTickets },
  HTTP,
  random,
  (n) => {
    if (n % 2_000 === 0) sample('HTTP', n, HTTP);
  },
);
accepted.push(...http.accepted);
const seconds = (performance.now() - started) / 1000;

const again = await openWindow(serving, cookie);
const alive = (await again.call('session.state', '{}')).ok;
again.socket.close();
const after = memory();
const restarts = serving.supervisor.processes().reduce((sum, each) => sum + each.restarts, 0);
const sameProcesses = pidOf('core') === pids.core && pidOf(`line:${stationId}`) === pids.line;
await serving.close();
const unchanged = rows() === before;

const mean = (of: readonly Memory[], key: keyof Memory) => of.reduce((sum, one) => sum + one[key], 0) / of.length;
// The first fifth lets caches and heaps grow to what they are at work.
const fifth = Math.max(1, Math.floor(samples.length / 5));
const [early, late] = [samples.slice(fifth, 2 * fifth), samples.slice(-fifth)];
const grown = (key: keyof Memory) => mean(late, key) - mean(early, key);
const result = {
  inputs: CONTRACT + feed.inputs + HTTP,
  contract: { inputs: CONTRACT, answers: counts, roles: windows.length, seconds: contractSeconds },
  cameraPages: { inputs: feed.inputs, pages: feed.pages, ended: feed.ended, counted: line.droppedFrames },
  http: { requests: HTTP, statuses: http.statuses, unanswered: http.silent.length },
  accepted: accepted.slice(0, 20),
  acceptedCount: accepted.length,
  restarts,
  sameProcesses,
  servesOn: alive,
  rowsUnchanged: unchanged,
  polluted: isPolluted(),
  memory: {
    /** From the mean of the second fifth of the run to that of the last. */
    grownMb: { supervisor: grown('supervisorMb'), core: grown('coreMb'), line: grown('lineMb') },
    atTheEnd: after,
  },
  seconds,
};
rmSync(folder, { recursive: true, force: true });
record('hostile-inputs', `node main/host/build/launch.mjs test/bench/hostile.ts ${INPUTS}`, result);
const whole = restarts === 0 && sameProcesses && alive && unchanged && !isPolluted() && http.silent.length === 0;
if (accepted.length > 0 || !whole) process.exitCode = 1;
