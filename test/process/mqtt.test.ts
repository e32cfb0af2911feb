import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '../../main/contract/log.ts';
import { lineMessageSchema, partMessageSchema, plantEventsSchema } from '../../main/contract/plant-events.ts';
import { MOST_WAITING, openPublisher } from '../../main/lineio/mqtt/publisher.ts';
import { lineRecord, PASSWORD, setUp, startWorld } from '../unit/core/world.ts';

/*
 * Events out against a broker and a subscriber of somebody else's: Debian's mosquitto and mosquitto_sub.
 */

const find = (name: string) =>
  ['', '/usr/sbin/', '/usr/bin/'].map((at) => at + name).find((path) => spawnSync(path, ['-h']).error === undefined);
const broker = find('mosquitto');
const subscriber = find('mosquitto_sub');
const passwords = find('mosquitto_passwd');
const withoutTls = spawnSync('openssl', ['version']).status !== 0;
if (withoutTls) process.stderr.write('openssl is not installed: MQTT over TLS is not tested\n');
const missing = !broker || !subscriber || !passwords;
if (missing)
  process.stderr.write('mosquitto, mosquitto_sub or mosquitto_passwd is not installed: MQTT is not tested\n');

let dir: string;
const running: ChildProcess[] = [];
const roads: Server[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mekiki-mqtt-'));
});
afterEach(async () => {
  for (const road of roads.splice(0)) road.close();
  await Promise.all(running.splice(0).map(end));
  rmSync(dir, { recursive: true, force: true });
});
const end = async (child: ChildProcess) => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
};

/** Leads from one port to another, until the end of the test: whoever waits at `from` gets through from now on. */
async function leadOn(from: number, to: number): Promise<void> {
  const server = createServer((socket) => {
    const far = connect(to, '127.0.0.1');
    for (const [one, other] of [
      [socket, far],
      [far, socket],
    ] as const) {
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  }).listen(from, '127.0.0.1');
  await once(server, 'listening');
  roads.push(server);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Resolves when the broker says the next time that somebody has subscribed: what the subscriber prints of it lies in its buffer. */
let subscribed: () => void = () => {};

/** @param identity the broker's certificate and key: it then speaks TLS alone */
async function startBroker(
  port: number,
  account?: { user: string; password: string },
  identity?: Identity,
): Promise<void> {
  const file = join(dir, 'mosquitto.conf');
  let access = 'allow_anonymous true';
  if (account) {
    const list = join(dir, 'accounts');
    spawnSync(passwords!, ['-b', '-c', list, account.user, account.password]);
    access = `allow_anonymous false\npassword_file ${list}`;
  }
  const secure = identity ? `certfile ${identity.certificate}\nkeyfile ${identity.key}\n` : '';
  // On a busy PC the subscriber may be slower than the publisher: by itself the broker keeps a thousand messages for it and drops the rest.
  const more = 'max_queued_messages 0\npersistence false\nuser root';
  writeFileSync(file, `listener ${port} 127.0.0.1\n${secure}${access}\n${more}\n`);
  const child = spawn(broker!, ['-v', '-c', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  const up = new Promise<void>((resolve) => {
    for (const from of [child.stderr, child.stdout])
      createInterface({ input: from }).on('line', (line) => {
        if (line.includes('running')) resolve();
        if (line.includes('Sending SUBACK')) subscribed();
      });
  });
  await up;
}

interface Identity {
  certificate: string;
  key: string;
}
/** A certificate that is its own authority. @param altName as openssl takes it: IP:127.0.0.1, DNS:broker.plant */
function makeIdentity(name: string, altName: string): Identity {
  const identity = { certificate: join(dir, `${name}.pem`), key: join(dir, `${name}.key`) };
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const about = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${altName}`, '-days', '2'];
  const made = spawnSync('openssl', [
    'req',
    '-x509',
    ...curve,
    ...about,
    '-keyout',
    identity.key,
    '-out',
    identity.certificate,
  ]);
  if (made.status !== 0) throw new Error(String(made.stderr));
  return identity;
}

interface Heard {
  topic: string;
  text: string;
}
async function subscribe(
  port: number,
  account?: { user: string; password: string },
  identity?: Identity,
): Promise<Heard[]> {
  const login = [
    ...(account ? ['-u', account.user, '-P', account.password] : []),
    ...(identity ? ['--cafile', identity.certificate] : []),
  ];
  const args = ['-h', '127.0.0.1', '-p', String(port), '-q', '1', '-v', '-t', '#', ...login];
  const ready = new Promise<void>((resolve) => {
    subscribed = resolve;
  });
  const child = spawn(subscriber!, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  running.push(child);
  const heard: Heard[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const space = line.indexOf(' ');
    heard.push({ topic: line.slice(0, space), text: line.slice(space + 1) });
  });
  await ready;
  return heard;
}
const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
};
const of = (heard: readonly Heard[], end: string) => heard.filter(({ topic }) => topic.endsWith(end));

test.skipIf(missing)(
  'every stored part and the state of its line are told, by the documented schema, also after a restart',
  async () => {
    const port = await freePort();
    const account = { user: 'mekiki', password: 'of the line' };
    await startBroker(port, account);
    const heard = await subscribe(port, account);
    const world = await startWorld();
    try {
      const { stationId } = await setUp(world);
      expect((await world.call('events.get', {})).state.connection).toBe('off');
      const config = { kind: 'mqtt', address: '127.0.0.1', port, prefix: 'plant/hall-2', user: account.user } as const;
      // The broker refuses the wrong password, and that is shown.
      await world.call('events.set', { config, password: 'wrong' });
      await until(async () => (await world.call('events.get', {})).state.problem !== null);
      await world.call('events.set', { config, password: account.password });
      await until(async () => (await world.call('events.get', {})).state.connection === 'connected');
      expect(JSON.stringify(await world.call('events.get', {}))).not.toContain(account.password);
      // A line that stands is told as well, or whoever listens takes silence for an answer.
      await until(() => of(heard, '/line').some(({ text }) => JSON.parse(text).state === 'stopped'));
      await world.call('line.start', { stationId });
      const line = world.lines.get(stationId)!;
      const sent = Array.from({ length: 300 }, (_, i) => lineRecord(i + 1, { notes: ['lot A-17'] }));
      line.emit(sent);
      // Sent again after a lost acknowledgement: it is not told twice.
      line.emit(sent.slice(0, 10));
      await until(() => of(heard, '/part').length >= 300);
      const parts = of(heard, '/part').map(({ text }) => partMessageSchema.strict().parse(JSON.parse(text)));
      expect(parts.map(({ seq }) => seq)).toEqual(sent.map(({ seq }) => seq));
      expect(parts[0]).toMatchObject({ station: { id: stationId }, lot: 'A-17', verdict: sent[0]!.judgement.verdict });
      await until(() => of(heard, '/line').some(({ text }) => JSON.parse(text).state === 'running'));
      for (const { text } of of(heard, '/line')) lineMessageSchema.strict().parse(JSON.parse(text));
      expect(of(heard, '/part')[0]!.topic).toBe(`plant/hall-2/${stationId}/part`);
      // Kept over a restart of the core; off when it is switched off, with a goodbye.
      await world.reopen();
      await world.call('session.signIn', { name: 'sato', password: PASSWORD });
      await until(async () => (await world.call('events.get', {})).state.connection === 'connected');
      await until(() => of(heard, '/online').at(-1)?.text === '1');
      await world.call('events.set', { config: { kind: 'none' } });
      await until(() => of(heard, '/online').at(-1)?.text === '0');
    } finally {
      await world.close();
    }
  },
);

test.skipIf(missing)('what a line recorded while the core was away is told to a broker that is there', async () => {
  const port = await freePort();
  await startBroker(port);
  const heard = await subscribe(port);
  const world = await startWorld();
  try {
    const { stationId } = await setUp(world);
    await world.call('line.start', { stationId });
    await world.call('events.set', { config: { kind: 'mqtt', address: '127.0.0.1', port } });
    const state = async () => (await world.call('events.get', {})).state;
    await until(async () => (await state()).connection === 'connected');
    const line = world.lines.get(stationId)!;
    line.resend = Array.from({ length: MOST_WAITING + 2_000 }, (_, i) => lineRecord(i + 1));
    line.die();
    await until(() => line.acknowledged.includes(MOST_WAITING + 2_000));
    await until(async () => (await state()).waiting === 0);
    expect(await state()).toMatchObject({ dropped: 0, problem: null });
    await until(() => of(heard, '/part').length >= MOST_WAITING + 2_000);
  } finally {
    await world.close();
  }
});

test.skipIf(missing || withoutTls)(
  'over TLS a broker is believed by the certificate given and its name, and nothing is told to any other',
  async () => {
    const port = await freePort();
    const [own, other] = [makeIdentity('broker', 'IP:127.0.0.1'), makeIdentity('other', 'IP:127.0.0.1')];
    await startBroker(port, undefined, own);
    const heard = await subscribe(port, undefined, own);
    const pem = ({ certificate }: Identity) => readFileSync(certificate, 'utf8');
    const publisher = async (tls: { ca: string; serverName?: string } | null) => {
      const config = plantEventsSchema.parse({ kind: 'mqtt', address: '127.0.0.1', port, tls });
      if (config.kind === 'none') throw new Error('it names a broker');
      return openPublisher(config, { clientId: 'test', password: null, log: silentLog });
    };
    const refused: [{ ca: string; serverName?: string } | null, RegExp][] = [
      [{ ca: pem(other) }, /self-signed certificate|unable to (verify|get)/],
      [{ ca: pem(own), serverName: 'broker.plant' }, /does not match certificate/],
      [null, /./],
    ];
    for (const [tls, problem] of refused) {
      const stranger = await publisher(tls);
      try {
        stranger.publish('s/part', { n: 0 });
        await until(() => stranger.state().problem !== null);
        expect(stranger.state()).toMatchObject({ connection: 'connecting', sent: 0, waiting: 1 });
        expect(stranger.state().problem).toMatch(problem);
      } finally {
        await stranger.dispose();
      }
    }
    const trusted = await publisher({ ca: pem(own) });
    try {
      trusted.publish('s/part', { n: 1 });
      await until(() => of(heard, 's/part').length > 0);
      expect(of(heard, 's/part').map(({ text }) => JSON.parse(text))).toEqual([{ n: 1 }]);
      expect(trusted.state()).toMatchObject({ connection: 'connected', problem: null });
    } finally {
      await trusted.dispose();
    }
    const bad = {
      kind: 'mqtt',
      address: '127.0.0.1',
      port,
      tls: { ca: `${pem(own)}${readFileSync(own.key, 'utf8')}` },
    };
    expect(plantEventsSchema.safeParse(bad).success).toBe(false);
  },
);

test.skipIf(missing)(
  'a broker that is away holds nobody up: so much waits, the oldest is given up and counted, the rest is told later',
  async () => {
    const [away, port] = [await freePort(), await freePort()];
    const config = plantEventsSchema.parse({ kind: 'mqtt', address: '127.0.0.1', port: away });
    if (config.kind === 'none') throw new Error('it names a broker');
    const publisher = await openPublisher(config, { clientId: 'test', password: null, log: silentLog });
    try {
      const more = 500;
      for (let n = 0; n < MOST_WAITING + more; n += 1) publisher.publish('s/part', { n });
      for (let n = 0; n < 50; n += 1) publisher.publish('s/line', { n }, { retain: true, key: 's' });
      expect(publisher.state()).toMatchObject({ sent: 0, waiting: MOST_WAITING, dropped: more + 1 });
      // Who subscribes is there before what waited comes.
      await startBroker(port);
      const heard = await subscribe(port);
      await leadOn(away, port);
      await until(() => of(heard, 's/part').length + of(heard, 's/line').length >= MOST_WAITING);
      const numbers = of(heard, 's/part').map(({ text }) => JSON.parse(text).n as number);
      expect([numbers[0], numbers.at(-1)]).toEqual([more + 1, MOST_WAITING + more - 1]);
      // Of states that waited the last alone.
      expect(of(heard, 's/line').map(({ text }) => JSON.parse(text).n)).toEqual([49]);
    } finally {
      await publisher.dispose();
    }
  },
);
