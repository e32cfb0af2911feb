import { setTimeout as sleep } from 'node:timers/promises';
import { rawHttp } from './windows.ts';

/* Requests that break HTTP, lead out of the folder, replay tokens or come from elsewhere. */

export interface HttpTarget {
  port: number;
  cookie: string;
  /** Of an earlier launch: `?token=…` and a cookie. */
  oldToken: string;
  oldCookie: string;
  /** Tickets of cameras' sockets that were used. */
  usedTickets: readonly string[];
}

export interface HttpOutcome {
  statuses: Record<string, Record<string, number>>;
  accepted: string[];
  /** Requests that nobody answered or ended. */
  silent: string[];
}

const PATHS = [
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
  '/feed/x',
  '/assets/../../home/secrets/root.key',
  '/\\..\\outside.js',
];
const METHODS = ['POST', 'PUT', 'DELETE', 'TRACE', 'CONNECT', 'PATCH', 'OPTIONS'];
const AT_ONCE = 20;
/** Half of them bear the cookie: below the limit of those, so that it is the requests that are tried. */
const PER_SECOND = 1_500;

export async function hostileHttp(
  { port, cookie, oldToken, oldCookie, usedTickets }: HttpTarget,
  count: number,
  random: () => number,
  onBatch: (n: number) => void,
): Promise<HttpOutcome> {
  const host = `127.0.0.1:${port}`;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const get = (path: string, headers: Record<string, string>) =>
    `GET ${path} HTTP/1.1\r\n${Object.entries({ Host: host, Connection: 'close', ...headers })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n`;
  const upgrade = (path: string, headers: Record<string, string>) =>
    get(path, {
      Upgrade: 'websocket',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version': '13',
      ...headers,
      Connection: 'Upgrade',
    });
  const Cookie = cookie;
  const Origin = `http://${host}`;
  const guessed = () => `/feed/${'A'.repeat(32)}`;
  const used = () => (usedTickets.length === 0 ? guessed() : `/feed/${pick(usedTickets)}`);
  const replayed = () => pick([oldCookie, `${cookie.split('=')[0]}=${oldCookie.split('=')[1]}`]);
  const elsewhere = () => pick(['http://evil.example', 'null', `https://${host}`]);

  const requests: (() => [kind: string, bytes: string | Buffer, cutOff?: true])[] = [
    () => ['path', get(pick(PATHS), { Cookie })],
    () => ['no cookie', get(pick(['/', '/index.html', ...PATHS]), {})],
    () => ['replayed token', get(`/${oldToken}`, {})],
    () => ['replayed cookie', get('/', { Cookie: replayed() })],
    () => ['guessed token', get(`/?token=${'A'.repeat(43)}`, {})],
    () => [
      'other host',
      get('/', { Host: pick(['evil.example', `evil.example:${port}`, '127.0.0.1', '[::1]']), Cookie }),
    ],
    () => ['other origin', upgrade(pick(['/rpc', used()]), { Cookie, Origin: elsewhere() })],
    () => ['socket without cookie', upgrade(pick(['/rpc', used()]), { Origin })],
    () => ['guessed ticket', upgrade(guessed(), { Cookie, Origin })],
    () => ['used ticket', upgrade(used(), { Cookie, Origin })],
    () => ['socket elsewhere', upgrade(pick(['/feed/../rpc', '/feed/', '/rpc/', '/x']), { Cookie, Origin })],
    () => ['method', `${get('/', { Cookie, 'Content-Length': '5' }).replace('GET', pick(METHODS))}hello`],
    () => [
      'two lengths',
      `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n${get('/', { Cookie })}`,
    ],
    () => ['long header', get('/', { X: 'a'.repeat(20_000) })],
    () => ['noise', Buffer.from(Array.from({ length: 200 }, () => Math.floor(random() * 256))), true],
    () => ['cut off', `GET / HTTP/1.1\r\nHost: ${host}\r\nCook`, true],
  ];

  const outcome: HttpOutcome = { statuses: {}, accepted: [], silent: [] };
  const started = performance.now();
  for (let n = 0; n < count; n += AT_ONCE) {
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, count - n) }, async () => {
        const [kind, bytes, cutOff = false] = pick(requests)();
        const { text, silent } = await rawHttp(port, bytes, { cutOff });
        const status = /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 'closed';
        const row = (outcome.statuses[kind] ??= {});
        row[status] = (row[status] ?? 0) + 1;
        if (silent) outcome.silent.push(kind);
        // 101: a WebSocket was opened; 303: a cookie was given.
        if (['200', '101', '303'].includes(status) || /SECRET|SQLite format|BEGIN/.test(text))
          outcome.accepted.push(`${kind}: ${status}`);
      }),
    );
    onBatch(n);
    await sleep(Math.max(0, started + (1000 * n) / PER_SECOND - performance.now()));
  }
  return outcome;
}
