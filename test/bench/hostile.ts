import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { WebSocket } from 'ws';
import { roleSchema } from '../../main/contract/domain.ts';
import { fromJson } from '../../main/contract/rpc/json.ts';
import { serve, type Serving } from '../../main/host/serve.ts';
import { hostileInputs, isPolluted, type Hostile } from '../helpers/hostile.ts';
import { randomOf } from './faults/acts.ts';
import { record } from './record.ts';

/*
 * Hostile inputs against browser mode as it ships: supervisor, HTTP and WebSocket listener, real core. Inputs that break the contract go over WebSocket in every role; requests that break HTTP, lead
 * out of the folder, replay tokens or come from elsewhere go over TCP. None may be answered as done, nothing may end, memory must not grow, no row of the data folder may change.
 *   node test/bench/hostile.ts [inputs]
 */

const INPUTS = Number(process.argv[2] ?? 100_000);
const HTTP = Math.round(INPUTS * 0.2);
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
const admit = async ({ url, port }: Serving): Promise<string> => {
  const { search } = new URL(url);
  const answer = await rawHttp(port, `GET /${search} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
  return /set-cookie: ([^;]+)/i.exec(answer)![1]!;
};

/** What comes back for these bytes, to the end of the connection; '' where nothing does. */
function rawHttp(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
    socket.setTimeout(5_000, () => socket.destroy());
    socket.on('data', (data) => (text += data.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

interface Window {
  socket: WebSocket;
  call(method: string, inputJson: string): Promise<{ ok: boolean; error?: { code: string } }>;
}
async function openWindow(serving: Serving, cookie: string): Promise<Window> {
  const origin = `http://127.0.0.1:${serving.port}`;
  const socket = new WebSocket(`ws://127.0.0.1:${serving.port}/rpc`, { headers: { cookie, origin } });
  await once(socket, 'open');
  const waiting = new Map<number, (answer: never) => void>();
  let next = 0;
  socket.on('message', (data) => {
    const answer = JSON.parse(String(data)) as { id?: number };
    if (answer.id !== undefined) waiting.get(answer.id)?.(answer as never);
    waiting.delete(answer.id ?? -1);
  });
  socket.on('close', () => {
    for (const settle of waiting.values()) settle({ ok: false, error: { code: 'closed' } } as never);
  });
  return {
    socket,
    call: (method, inputJson) =>
      new Promise((resolve) => {
        const id = (next += 1);
        waiting.set(id, resolve as never);
        socket.send(`{"id":${id},"method":${JSON.stringify(method)},"input":${inputJson}}`);
      }),
  };
}

const rssOf = (pid: number): number => {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line![1]) / 1024;
};
const memory = (serving: Serving) => ({
  supervisorMb: rssOf(process.pid),
  coreMb: rssOf(serving.supervisor.processes().find(({ name }) => name === 'core')!.pid!),
});

const counts: Record<string, number> = {};
const count = (what: string) => (counts[what] = (counts[what] ?? 0) + 1);
const accepted: string[] = [];

// A home with an account of each role, and an earlier launch whose token and cookie are to be replayed.
const first = await open();
const oldToken = new URL(first.url).search;
const oldCookie = await admit(first);
const setUp = await openWindow(first, oldCookie);
await setUp.call('session.firstStart', JSON.stringify({ language: 'en', name: 'sato', password: PASSWORD }));
for (const role of roleSchema.options)
  await setUp.call('users.add', JSON.stringify({ name: `a-${role}`, role, password: PASSWORD }));
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
const corePid = serving.supervisor.processes().find(({ name }) => name === 'core')!.pid;
const cookie = await admit(serving);
const windows: Window[] = [];
for (const role of [null, ...roleSchema.options]) {
  const window = await openWindow(serving, cookie);
  if (role !== null) {
    const signed = await window.call('session.signIn', JSON.stringify({ name: `a-${role}`, password: PASSWORD }));
    if (!signed.ok) throw new Error(`${role} could not sign in`);
  }
  windows.push(window);
}

const started = performance.now();
const inputs = hostileInputs(random);
const samples: ReturnType<typeof memory>[] = [];
const contract = INPUTS - HTTP;
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
for (let n = 0; n < contract; n += AT_ONCE) {
  const batch = Array.from({ length: Math.min(AT_ONCE, contract - n) }, () => inputs.next().value as Hostile);
  await Promise.all(batch.map((input, i) => tried(n + i, input)));
  await sleep(Math.max(0, dueAt(n) - performance.now()));
  if (n % 2_000 < AT_ONCE) samples.push(memory(serving));
  if (n % 10_000 < AT_ONCE) process.stderr.write(`${n} of ${contract}: ${JSON.stringify(memory(serving))}\n`);
}
for (const { socket } of windows) socket.close();

// ---------------------------------------------------------------- HTTP
const { port } = serving;
const host = `127.0.0.1:${port}`;
const paths = [
  '/../outside.js',
  '/..%2foutside.js',
  '/%2e%2e/outside.js',
  '/..%5coutside.js',
  '//etc/passwd',
  '/index.html%00.js',
  '/image/../../mekiki.sqlite',
  '/image/..%2f..%2fsecrets%2froot.key',
  '/%E0%A4%A',
  `/image/${'0'.repeat(64)}?w=1e9`,
  `/${'a/'.repeat(2_000)}`,
  '/image/%2e%2e/trust/root.pub',
  '/rpc',
  '/assets/../../home/secrets/root.key',
  '/\\..\\outside.js',
];
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
const requests: (() => [kind: string, text: string | Buffer])[] = [
  () => ['path', `GET ${pick(paths)} HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`],
  () => [
    'no cookie',
    `GET ${pick(['/', '/index.html', ...paths])} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
  ],
  () => ['replayed token', `GET /${oldToken} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`],
  () => [
    'replayed cookie',
    `GET / HTTP/1.1\r\nHost: ${host}\r\nCookie: ${pick([oldCookie, `${cookie.split('=')[0]}=${oldCookie.split('=')[1]}`])}\r\nConnection: close\r\n\r\n`,
  ],
  () => [
    'other host',
    `GET / HTTP/1.1\r\nHost: ${pick(['evil.example', `evil.example:${port}`, '127.0.0.1', '[::1]'])}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`,
  ],
  () => [
    'other origin',
    `GET /rpc HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nOrigin: ${pick(['http://evil.example', 'null', `https://${host}`])}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  ],
  () => [
    'method',
    `${pick(['POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT', 'PATCH', 'OPTIONS'])} / HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello`,
  ],
  () => [
    'two lengths',
    `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: ${host}\r\nCookie: ${cookie}\r\n\r\n`,
  ],
  () => ['long header', `GET / HTTP/1.1\r\nHost: ${host}\r\nX: ${'a'.repeat(20_000)}\r\nConnection: close\r\n\r\n`],
  () => ['noise', Buffer.from(Array.from({ length: 200 }, () => Math.floor(random() * 256)))],
  () => ['cut off', `GET / HTTP/1.1\r\nHost: ${host}\r\nCook`],
  () => ['guessed token', `GET /?token=${'A'.repeat(43)} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`],
];
const statuses: Record<string, Record<string, number>> = {};
for (let n = 0; n < HTTP; n += 20) {
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      const [kind, text] = pick(requests)();
      const answer = await rawHttp(port, text);
      const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 'closed';
      const row = (statuses[kind] ??= {});
      row[status] = (row[status] ?? 0) + 1;
      // 101: a WebSocket was opened; 303: a cookie was given.
      if (['200', '101', '303'].includes(status) || /SECRET|SQLite format|BEGIN/.test(answer))
        accepted.push(`${kind}: ${status}`);
    }),
  );
  if (n % 2_000 === 0) samples.push(memory(serving));
}
const seconds = (performance.now() - started) / 1000;

const again = await openWindow(serving, cookie);
const alive = (await again.call('session.state', '{}')).ok;
again.socket.close();
const after = memory(serving);
const restarts = serving.supervisor.processes().reduce((sum, each) => sum + each.restarts, 0);
const sameCore = serving.supervisor.processes().find(({ name }) => name === 'core')!.pid === corePid;
await serving.close();
const unchanged = rows() === before;
// The first fifth lets caches and heaps grow to what they are at work.
const quiet = samples[Math.floor(samples.length / 5)]!;
const result = {
  inputs: INPUTS,
  contract: { inputs: contract, answers: counts, roles: windows.length },
  http: { requests: HTTP, statuses },
  accepted: accepted.slice(0, 20),
  acceptedCount: accepted.length,
  restarts,
  sameCore,
  servesOn: alive,
  rowsUnchanged: unchanged,
  polluted: isPolluted(),
  memory: {
    afterOneFifth: quiet,
    atTheEnd: after,
    highest: {
      supervisorMb: Math.max(...samples.map((s) => s.supervisorMb)),
      coreMb: Math.max(...samples.map((s) => s.coreMb)),
    },
  },
  seconds,
};
rmSync(folder, { recursive: true, force: true });
record('hostile-inputs', `node test/bench/hostile.ts ${INPUTS}`, result);
if (accepted.length > 0 || restarts > 0 || !sameCore || !alive || !unchanged || isPolluted()) process.exitCode = 1;
