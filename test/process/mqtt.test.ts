import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
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
const missing = !broker || !subscriber || !passwords;
if (missing)
  process.stderr.write('mosquitto, mosquitto_sub or mosquitto_passwd is not installed: MQTT is not tested\n');

let dir: string;
const running: ChildProcess[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mekiki-mqtt-'));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map(end));
  rmSync(dir, { recursive: true, force: true });
});
const end = async (child: ChildProcess) => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
};

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

async function startBroker(port: number, account?: { user: string; password: string }): Promise<void> {
  const file = join(dir, 'mosquitto.conf');
  let access = 'allow_anonymous true';
  if (account) {
    const list = join(dir, 'accounts');
    spawnSync(passwords!, ['-b', '-c', list, account.user, account.password]);
    access = `allow_anonymous false\npassword_file ${list}`;
  }
  writeFileSync(file, `listener ${port} 127.0.0.1\n${access}\npersistence false\nuser root\n`);
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

interface Heard {
  topic: string;
  text: string;
}
async function subscribe(port: number, account?: { user: string; password: string }): Promise<Heard[]> {
  const login = account ? ['-u', account.user, '-P', account.password] : [];
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
      await world.call('events.set', { config: { kind: 'none' } });
      await until(() => of(heard, '/online').at(-1)?.text === '0');
    } finally {
      await world.close();
    }
  },
);

test.skipIf(missing)(
  'a broker that is away holds nobody up: so much waits, the oldest is given up and counted, the rest is told later',
  async () => {
    const port = await freePort();
    const config = plantEventsSchema.parse({ kind: 'mqtt', address: '127.0.0.1', port });
    if (config.kind === 'none') throw new Error('it names a broker');
    const publisher = await openPublisher(config, { clientId: 'test', password: null, log: silentLog });
    try {
      const more = 500;
      for (let n = 0; n < MOST_WAITING + more; n += 1) publisher.publish('s/part', { n });
      for (let n = 0; n < 50; n += 1) publisher.publish('s/line', { n }, { retain: true, key: 's' });
      expect(publisher.state()).toMatchObject({ sent: 0, waiting: MOST_WAITING, dropped: more + 1 });
      await startBroker(port);
      const heard = await subscribe(port);
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
