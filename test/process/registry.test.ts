import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createTcp, type AddressInfo } from 'node:net';
import { createHash, randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BUNDLE_BYTES_AT_MOST } from '../../main/contract/bundle.ts';
import { parseRef, pullBundle, pushBundle } from '../../main/host/registry.ts';

/* Against the registry of Debian's package docker-registry (the Distribution project's) on loopback. */

const there = spawnSync('docker-registry', ['--version']).status === 0;

describe('what names a bundle in a registry', () => {
  test.each([
    ['localhost:5000/line/scratch:v1', 'localhost:5000', 'line/scratch', 'v1'],
    ['registry.example/mekiki', 'registry.example', 'mekiki', 'latest'],
    [`r.example/a@sha256:${'0'.repeat(64)}`, 'r.example', 'a', `sha256:${'0'.repeat(64)}`],
    ['[::1]:5000/a:b', '[::1]:5000', 'a', 'b'],
  ])('%s', (text, host, name, reference) => expect(parseRef(text)).toEqual({ host, name, reference }));
  test.each([
    '',
    'scratch',
    'host/UPPER',
    'host/../x',
    'host/a:',
    'http://host/a',
    'host/a@sha256:12',
    'host/a b',
    'h/a?x=1',
    'h:99999/a',
    '[1]/a',
  ])('not %s', (text) => expect(() => parseRef(text)).toThrow(/is not valid/));
});

describe.skipIf(!there)('a registry', () => {
  let folder: string;
  let registry: ChildProcess;
  let host: string;
  const bundle = randomBytes(300_000);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-registry-'));
    const probe = createTcp().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    host = `127.0.0.1:${port}`;
    writeFileSync(
      join(folder, 'config.yml'),
      `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${join(folder, 'data')}\nhttp:\n  addr: ${host}\n` +
        `  secret: test\n`,
    );
    registry = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
    for (const end = Date.now() + 60_000; ;) {
      if (
        await fetch(`http://${host}/v2/`).then(
          ({ ok }) => ok,
          () => false,
        )
      )
        break;
      if (Date.now() > end) throw new Error('the registry did not start');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  afterAll(async () => {
    const ended = once(registry, 'exit');
    registry.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  const ref = (tail: string) => parseRef(`${host}/${tail}`);

  test('gives back what it was given, by tag and by digest; the same twice is stored once', async () => {
    const { digest } = await pushBundle(ref('line/scratch:v1'), bundle, { title: 'm-1.mekiki' });
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    const pulled = await pullBundle(ref('line/scratch:v1'));
    expect(pulled.bytes.equals(bundle)).toBe(true);
    expect(pulled.digest).toBe(digest);
    expect((await pullBundle(ref(`line/scratch@${digest}`))).bytes.equals(bundle)).toBe(true);
    expect((await pushBundle(ref('line/scratch:v2'), bundle, { title: 'm-1.mekiki' })).digest).toBe(digest);
  });

  test('what is not there, or is something else, is told as that', async () => {
    await expect(pullBundle(ref('line/scratch:none'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(pullBundle(ref(`line/scratch@sha256:${'0'.repeat(64)}`))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(
      pushBundle(ref(`line/scratch@sha256:${'0'.repeat(64)}`), bundle, { title: 't' }),
    ).rejects.toMatchObject({ code: 'REGISTRY_FAILED' });
    await expect(pullBundle(parseRef('127.0.0.1:1/a:b'))).rejects.toMatchObject({ code: 'REGISTRY_FAILED' });
  });

  test('content that was changed on its disk does not come through', async () => {
    const other = randomBytes(300_000);
    await pushBundle(ref('line/other:v1'), other, { title: 'm-2.mekiki' });
    const blobs = join(folder, 'data');
    const file = readdirSync(blobs, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.name === 'data' && entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .find((path) => readFileSync(path).equals(other))!;
    const changed = readFileSync(file);
    changed[1000]! ^= 1;
    writeFileSync(file, changed);
    await expect(pullBundle(ref('line/other:v1'))).rejects.toMatchObject({ code: 'REGISTRY_FAILED' });
  });
});

describe('a registry that asks who one is', () => {
  let server: Server;
  let host: string;
  /** Address of the token service that it names. */
  let realm: string;
  const seen: { path: string; authorization: string | undefined }[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      const { authorization } = request.headers;
      seen.push({ path: request.url!, authorization });
      if (request.url!.startsWith('/token')) {
        response.end(JSON.stringify({ token: authorization === `Basic ${btoa('hana:secret')}` ? 'good' : 'bad' }));
      } else if (authorization === 'Bearer good') response.writeHead(404).end();
      else {
        response
          .writeHead(401, {
            'www-authenticate': `Bearer realm="${realm}",service="s",scope="repository:a:pull"`,
          })
          .end();
      }
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    seen.length = 0;
    realm = `http://${host}/token`;
  });
  afterAll(async () => {
    server.close();
    await once(server, 'close');
  });

  test('gets the password at its token service and the token after that', async () => {
    const pull = (password: string) => pullBundle(parseRef(`${host}/a:b`), { user: 'hana', password });
    await expect(pull('secret')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(seen.map(({ authorization }) => authorization?.split(' ')[0])).toEqual([undefined, 'Basic', 'Bearer']);
    expect(seen[1]!.path).toContain('scope=repository%3Aa%3Apull');
    await expect(pull('wrong')).rejects.toMatchObject({ code: 'REGISTRY_FAILED' });
  });

  test('a token that is good for looking alone is exchanged for one that may write', async () => {
    const tokens: string[] = [];
    await using own = createServer((request, response) => {
      const { method, url, headers } = request;
      request.resume();
      const at = `http://${headers.host}`;
      const scope = `repository:a:${method === 'HEAD' ? 'pull' : 'pull,push'}`;
      if (url!.startsWith('/token')) {
        const asked = new URL(url!, at).searchParams.get('scope')!;
        tokens.push(asked);
        response.end(JSON.stringify({ token: asked }));
      } else if (!headers.authorization?.startsWith(`Bearer ${scope}`)) {
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${at}/token",scope="${scope}"` }).end();
      } else if (method === 'HEAD') response.writeHead(404).end();
      else response.writeHead(method === 'POST' ? 202 : 201, { location: '/upload' }).end();
    }).listen(0, '127.0.0.1');
    await once(own, 'listening');
    const { port } = own.address() as AddressInfo;
    const account = { user: 'hana', password: 'secret', title: 'm-1.mekiki' };
    const { digest } = await pushBundle(parseRef(`127.0.0.1:${port}/a:b`), Buffer.from('a bundle'), account);
    expect(digest).toMatch(/^sha256:/);
    expect(tokens).toEqual(['repository:a:pull', 'repository:a:pull,push']);
  });

  test('a token service elsewhere gets the password only where a person named it', async () => {
    const asked: (string | undefined)[] = [];
    await using elsewhere = createServer((request, response) => {
      asked.push(request.headers.authorization?.split(' ')[0]);
      response.end(JSON.stringify({ token: 'good' }));
    }).listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    const other = `127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
    realm = `http://${other}/token`;
    const pull = (options: object) =>
      pullBundle(parseRef(`${host}/a:b`), { user: 'hana', password: 'secret', ...options });
    for (const options of [{}, { plainHttp: true }, { tokenHost: host }])
      await expect(pull(options)).rejects.toMatchObject({
        code: 'REGISTRY_FAILED',
        message: expect.stringContaining(`--token-host ${other}`) as unknown,
      });
    expect(asked).toEqual([]);
    await expect(pull({ tokenHost: other })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(asked).toEqual(['Basic']);
  });

  test('one that names a token service which is no address is told as that', async () => {
    realm = 'https://[/token';
    await expect(pullBundle(parseRef(`${host}/a:b`), {})).rejects.toMatchObject({
      code: 'REGISTRY_FAILED',
      message: expect.stringContaining('"https://[/token" is no address') as unknown,
    });
  });
});

test('a registry that names no address for an upload is told as that', async () => {
  await using server = createServer((request, response) => {
    if (request.method === 'HEAD') return response.writeHead(404).end();
    response.writeHead(202, { location: 'http://[/upload' }).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await expect(
    pushBundle(parseRef(`127.0.0.1:${port}/a:b`), Buffer.from('bundle'), { title: 'm-1.mekiki' }),
  ).rejects.toMatchObject({
    code: 'REGISTRY_FAILED',
    message: expect.stringContaining('is no address') as unknown,
  });
});

test('a bundle may come as large as one in a file', async () => {
  const layer = { mediaType: 'application/vnd.mekiki.bundle.v1', digest: `sha256:${'0'.repeat(64)}` };
  let size = BUNDLE_BYTES_AT_MOST;
  await using server = createServer((request, response) => {
    const isManifest = request.url!.includes('/manifests/');
    response.end(isManifest ? JSON.stringify({ schemaVersion: 2, layers: [{ ...layer, size }] }) : 'another one');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const ref = parseRef(`127.0.0.1:${(server.address() as AddressInfo).port}/a:b`);
  const told = (text: string) => ({ code: 'REGISTRY_FAILED', message: expect.stringContaining(text) as unknown });
  await expect(pullBundle(ref)).rejects.toMatchObject(told(`what it sent is not ${layer.digest}`));
  size += 1;
  await expect(pullBundle(ref)).rejects.toMatchObject(told('its manifest cannot be read'));
});

describe('a registry behind a slow network', () => {
  const bundle = randomBytes(300_000);
  const digest = `sha256:${createHash('sha256').update(bundle).digest('hex')}`;
  const mediaType = 'application/vnd.mekiki.bundle.v1';
  const manifest = JSON.stringify({ schemaVersion: 2, layers: [{ mediaType, digest, size: bundle.length }] });
  const QUIET_MS = 1_000;
  let server: Server;
  let host: string;
  /** Of 30,000 bytes, of the bundle, before it falls silent. */
  let pieces: number;
  const pushed: { length: string | undefined; bytes: Buffer }[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      void (async () => {
        if (request.method === 'HEAD') return response.writeHead(404).end();
        if (request.method === 'POST') return response.writeHead(202, { location: '/upload' }).end();
        if (request.method === 'PUT') {
          const chunks: Buffer[] = [];
          for await (const chunk of request) {
            chunks.push(chunk as Buffer);
            await sleep(QUIET_MS / 10);
          }
          pushed.push({ length: request.headers['content-length'], bytes: Buffer.concat(chunks) });
          return response.writeHead(201).end();
        }
        if (request.url!.includes('/manifests/')) return response.end(manifest);
        response.writeHead(200, { 'content-length': bundle.length });
        for (let n = 0; n < pieces; n += 1) {
          response.write(bundle.subarray(n * 30_000, (n + 1) * 30_000));
          await sleep(QUIET_MS / 4);
        }
        if (pieces === 10) response.end();
      })();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const ref = () => parseRef(`${host}/line/scratch:v1`);
  const options = { quietMs: QUIET_MS };

  test('is waited for as long as it goes on sending, and taking', async () => {
    pieces = 10;
    const begun = performance.now();
    expect((await pullBundle(ref(), options)).bytes.equals(bundle)).toBe(true);
    expect(performance.now() - begun).toBeGreaterThan(2 * QUIET_MS);
    await pushBundle(ref(), bundle, { title: 'm-1.mekiki', ...options });
    expect(pushed.some(({ length, bytes }) => length === `${bundle.length}` && bytes.equals(bundle))).toBe(true);
  });

  test('one that falls silent is given up, in words that say of what and how far it was', async () => {
    pieces = 3;
    await expect(pullBundle(ref(), options)).rejects.toMatchObject({
      code: 'REGISTRY_FAILED',
      message: expect.stringMatching(
        new RegExp(`${host} failed at line/scratch: GET .*: nothing came or went for 1 s, after 90000 bytes`),
      ) as unknown,
    });
  });

  test('whoever waits for it can give it up himself', async () => {
    pieces = 3;
    const reason = new Error('enough');
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 100);
    await expect(pullBundle(ref(), { signal: stop.signal })).rejects.toBe(reason);
  });
});
