import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { serve, type Serving } from '../../main/host/serve.ts';

const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}.ts`, import.meta.url));
const entries = { core: fixture('core'), line: fixture('line'), trainer: fixture('trainer') };
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==',
  'base64',
);
const sha = 'ab'.padEnd(64, '1');

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

describe('browser mode', () => {
  let folder: string;
  let serving: Serving;
  let cookie: string;

  /** The path goes out as given: fetch would tidy it up first. */
  const get = (path: string, headers: Record<string, string> = { cookie }, method = 'GET') =>
    new Promise<Answer>((resolve, reject) => {
      httpRequest({ host: '127.0.0.1', port: serving.port, path, headers, method }, (response) => {
        let body = '';
        response.setEncoding('latin1');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
      })
        .on('error', reject)
        .end();
    });
  const origin = () => `http://127.0.0.1:${serving.port}`;
  /** What became of an attempt to open a WebSocket: 'open', or the HTTP status of the refusal. */
  const attempt = async (headers: Record<string, string>, path = '/rpc') => {
    const socket = new WebSocket(`ws://127.0.0.1:${serving.port}${path}`, { headers });
    const outcome = await new Promise<string | number>((resolve) => {
      socket.on('open', () => resolve('open'));
      socket.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
      socket.on('error', () => resolve('error'));
    });
    return { outcome, socket };
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-server-'));
    const rendererDir = join(folder, 'renderer');
    mkdirSync(join(rendererDir, 'assets'), { recursive: true });
    mkdirSync(join(folder, 'home/images/ab'), { recursive: true });
    writeFileSync(join(rendererDir, 'index.html'), '<!doctype html><title>Mekiki</title>');
    writeFileSync(join(rendererDir, 'assets/main-1a2b.js'), 'export {}');
    writeFileSync(join(rendererDir, 'secrets.txt'), 'no known type');
    writeFileSync(join(folder, 'outside.js'), 'outside');
    writeFileSync(join(folder, 'home/mekiki.sqlite'), 'database');
    writeFileSync(join(folder, `home/images/ab/${sha}.png`), PNG);
    symlinkSync(join(folder, 'outside.js'), join(rendererDir, 'link.js'));
    serving = await serve({
      home: join(folder, 'home'),
      port: 0,
      demo: false,
      stderrLevel: null,
      rendererDir,
      // However long a core takes to start and lives, its second crash is followed by a pause that is long enough to be asked in.
      supervisor: { entries, backOff: { firstMs: 8_000, maxMs: 8_000, stableMs: 600_000 } },
    });
    const admitted = await get(new URL(serving.url).pathname + new URL(serving.url).search, {});
    expect(admitted.status).toBe(303);
    expect(admitted.headers.location).toBe('/');
    const [set] = admitted.headers['set-cookie']!;
    expect(set).toContain('HttpOnly');
    expect(set).toContain('SameSite=Strict');
    cookie = set!.split(';')[0]!;
  });
  afterAll(async () => {
    await serving.close();
    rmSync(folder, { recursive: true });
  });

  test('the window is served with a strict policy, its assets for ever', async () => {
    const page = await get('/');
    expect([page.status, page.body]).toEqual([200, '<!doctype html><title>Mekiki</title>']);
    const policy = page.headers['content-security-policy']!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toContain("script-src 'self' 'unsafe");
    expect(policy).toContain(`connect-src 'self' ws://127.0.0.1:${serving.port}`);
    expect(page.headers['x-content-type-options']).toBe('nosniff');
    const asset = await get('/assets/main-1a2b.js');
    expect(asset.headers['content-type']).toContain('text/javascript');
    expect(asset.headers['cache-control']).toContain('immutable');
    expect((await get('/', { cookie }, 'HEAD')).body).toBe('');
    expect((await get('/', { cookie }, 'POST')).status).toBe(405);
  });

  test('without the cookie nothing is served, and a wrong token gives none', async () => {
    for (const path of ['/', '/assets/main-1a2b.js', `/image/${sha}`, '/?token=wrong', '/?token=', '/nothing']) {
      const answer = await get(path, {});
      expect([path, answer.status, answer.headers['set-cookie']]).toEqual([path, 403, undefined]);
    }
    const [name] = cookie.split('=');
    expect((await get('/', { cookie: `${name}=${'A'.repeat(43)}` })).status).toBe(403);
    expect((await get('/', { cookie: cookie.replace(/^[^=]+/, 'mekiki') })).status).toBe(403);
  });

  test('a browser that is in use keeps its place, however often others are let in', async () => {
    const { pathname, search } = new URL(serving.url);
    const gone = (await get(pathname + search, {})).headers['set-cookie']![0]!.split(';')[0]!;
    // Whoever has a cookie may ask more often than a stranger.
    for (let n = 0; n < 120; n += 1) await get(pathname + search, { cookie });
    expect((await get('/')).status).toBe(200);
    expect((await get('/', { cookie: gone })).status).toBe(403);
  });

  test('a window that asks for nothing keeps its place while it is connected', async () => {
    const { pathname, search } = new URL(serving.url);
    const admitted = async (headers = {}) =>
      (await get(pathname + search, headers)).headers['set-cookie']![0]!.split(';')[0]!;
    const quiet = await admitted();
    const { socket } = await attempt({ cookie: quiet, origin: origin() });
    for (let n = 0; n < 120; n += 1) await admitted({ cookie });
    expect((await get('/', { cookie: quiet })).status).toBe(200);
    socket.close();
    await once(socket, 'close');
    for (let n = 0; n < 120; n += 1) await admitted({ cookie });
    expect((await get('/', { cookie: quiet })).status).toBe(403);
  });

  test('another Host (DNS rebinding) is refused, token or not', async () => {
    const { search } = new URL(serving.url);
    for (const host of ['evil.example', `evil.example:${serving.port}`, '127.0.0.1', `0.0.0.0:${serving.port}`])
      for (const path of ['/', `/${search}`]) expect((await get(path, { cookie, host })).status).toBe(403);
    expect((await get('/', { cookie, host: `localhost:${serving.port}` })).status).toBe(200);
  });

  test('no path leads out of the renderer folder', async () => {
    for (const path of [
      '/../outside.js',
      '/..%2foutside.js',
      '/%2e%2e/outside.js',
      '/assets/../../outside.js',
      '/assets/..%2f..%2foutside.js',
      '/..%5coutside.js',
      '//etc/passwd',
      '/link.js',
      '/secrets.txt',
      '/index.html%00.js',
      '/image/../../mekiki.sqlite',
      '/image/..%2f..%2fmekiki.sqlite',
      `/image/${sha.slice(0, 63)}`,
      `/image/${sha.toUpperCase()}`,
    ])
      expect([path, (await get(path)).status]).toEqual([path, 404]);
    expect((await get('/%E0%A4%A')).status).toBe(400);
  });

  test('images are served from the home, thumbnails by the core', async () => {
    const image = await get(`/image/${sha}`);
    expect(image.status).toBe(200);
    expect(image.headers['content-type']).toBe('image/png');
    expect(image.body).toBe(PNG.toString('latin1'));
    expect((await get(`/image/${sha}?w=320`)).body).toBe(`${sha} at 320`);
    expect((await get(`/image/${'c'.repeat(64)}`)).status).toBe(404);
    expect((await get(`/image/${'0'.repeat(64)}?w=320`)).status).toBe(404);
    for (const width of ['0', '15', '4097', '99999', '-1', '1e3', 'x', ''])
      expect([width, (await get(`/image/${sha}?w=${width}`)).status]).toEqual([width, 400]);
  });

  test('a WebSocket needs the cookie, this Host, this Origin and the right path', async () => {
    const good = { cookie, origin: origin() };
    const { outcome, socket } = await attempt(good);
    expect(outcome).toBe('open');
    socket.send(JSON.stringify({ id: 1, method: 'session.state', input: {} }));
    const [data] = (await once(socket, 'message')) as [Buffer];
    expect(JSON.parse(String(data))).toMatchObject({ id: 1, ok: true, value: { firstStart: false } });
    socket.close();
    expect((await attempt({ origin: origin() })).outcome).toBe(401);
    expect((await attempt({ cookie })).outcome).toBe(403);
    expect((await attempt({ cookie, origin: 'https://evil.example' })).outcome).toBe(403);
    expect((await attempt({ cookie, origin: 'null' })).outcome).toBe(403);
    const rebound = { cookie, host: `evil.example:${serving.port}`, origin: `http://evil.example:${serving.port}` };
    expect((await attempt(rebound)).outcome).toBe(403);
    expect((await attempt(good, '/rpc/../x')).outcome).toBe(404);
    expect((await attempt(good, '/other')).outcome).toBe(404);
  });

  test('the socket of a camera opens by a ticket, once, and for nobody else', async () => {
    const good = { cookie, origin: origin() };
    const [line, lineEnd] = createMemoryPair();
    const station = randomUUID();
    serving.supervisor.feeds.offer(station, lineEnd);
    const [used, unused] = [0, 1].map(() => serving.supervisor.feeds.ticket(station)!);
    expect((await attempt(good, `/feed/${'A'.repeat(32)}`)).outcome).toBe(403);
    expect((await attempt({ cookie, origin: 'https://evil.example' }, `/feed/${used}`)).outcome).toBe(403);
    expect((await attempt({ origin: origin() }, `/feed/${used}`)).outcome).toBe(401);
    const { outcome, socket } = await attempt(good, `/feed/${used}`);
    expect(outcome).toBe('open');
    expect((await attempt(good, `/feed/${used}`)).outcome).toBe(403);
    // Another page reads already.
    const second = await attempt(good, `/feed/${unused}`);
    await once(second.socket, 'close');
    const closed = once(socket, 'close');
    line.close();
    await closed;
  });

  test('a message above the limit cuts that connection alone', async () => {
    const good = { cookie, origin: origin() };
    const [{ socket: one }, { socket: two }] = [await attempt(good), await attempt(good)];
    const closed = once(one, 'close');
    one.send(JSON.stringify({ id: 1, method: 'session.state', input: { pad: 'x'.repeat(1_100_000) } }));
    expect((await closed)[0]).toBe(1009);
    two.send('not json');
    two.send(Buffer.from([1, 2, 3]));
    two.send(JSON.stringify({ id: 2, method: 'session.state', input: {} }));
    const [data] = (await once(two, 'message')) as [Buffer];
    expect(JSON.parse(String(data))).toMatchObject({ id: 2, ok: true });
    two.close();
  });

  test('while the core is restarted, windows and thumbnails are told to try again', async () => {
    const good = { cookie, origin: origin() };
    const { supervisor } = serving;
    const kill = () => process.kill(supervisor.processes()[0]!.pid!, 'SIGKILL');
    const next = (wanted: boolean) =>
      new Promise<void>((resolve) => {
        const dispose = supervisor.onCore((up) => {
          if (up !== wanted) return;
          dispose();
          resolve();
        });
      });
    await expect.poll(() => supervisor.coreUp).toBe(true);
    // There is no pause after a first crash: the second one leaves time to ask.
    const back = next(false).then(() => next(true));
    kill();
    await back;
    const { socket } = await attempt(good);
    const closed = once(socket, 'close');
    kill();
    await closed;
    expect((await attempt(good)).outcome).toBe(503);
    expect((await get(`/image/${sha}?w=320`)).status).toBe(503);
    // What needs no core is served on.
    expect((await get('/')).status).toBe(200);
    expect((await get(`/image/${sha}`)).status).toBe(200);
    for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
      const again = await attempt(good);
      again.socket.terminate();
      if (again.outcome === 'open') return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('the window never got through again');
  });

  test('a broken request is answered and does no harm', async () => {
    const socket = connectTcp(serving.port, '127.0.0.1');
    socket.write('GARBAGE\r\n\r\n');
    const [data] = (await once(socket, 'data')) as [Buffer];
    expect(String(data)).toMatch(/^HTTP\/1\.1 400/);
    socket.destroy();
    expect((await get('/')).status).toBe(200);
  });

  test('a peer that is refused an upgrade, and resets the connection or keeps it open, does no harm', async () => {
    const upgrade = (headers: string) =>
      `GET /rpc HTTP/1.1\r\nHost: 127.0.0.1:${serving.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n${headers}\r\n`;
    for (let n = 0; n < 20; n += 1) {
      const socket = connectTcp(serving.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(upgrade(n % 2 === 0 ? '' : `Cookie: ${cookie}\r\nOrigin: http://elsewhere\r\n`));
      // Before the answer, or after it.
      if (n % 4 > 1) await once(socket, 'data');
      socket.resetAndDestroy();
    }
    // Refused, and closed by the server though this side says nothing more.
    const kept = connectTcp({ port: serving.port, host: '127.0.0.1', allowHalfOpen: true });
    kept.write(upgrade(''));
    kept.resume();
    await once(kept, 'end');
    kept.destroy();
    expect((await get('/')).status).toBe(200);
  });

  test('it listens on 127.0.0.1 alone, and a port in use is an error with its number', async () => {
    const other = connectTcp(serving.port, '127.0.0.2');
    expect((await once(other, 'error').then(([error]) => error as NodeJS.ErrnoException)).code).toBe('ECONNREFUSED');
    const home = join(folder, 'second');
    const options = { home, port: serving.port, demo: false, stderrLevel: null, supervisor: { entries } } as const;
    await expect(serve(options)).rejects.toMatchObject({ code: 'PORT_IN_USE', details: { port: serving.port } });
  });

  test('the log holds neither token nor cookie', () => {
    const log = readFileSync(join(folder, 'home/logs/supervisor.log'), 'utf8');
    expect(log).toContain('serves windows');
    expect(log).not.toContain(new URL(serving.url).searchParams.get('token'));
    expect(log).not.toContain(cookie.split('=')[1]);
  });
});
