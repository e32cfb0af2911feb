import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await setUp(world);
});
afterEach(() => world.close());

// Nobody listens there: what is sent where is tested with a broker (test/process/mqtt.test.ts).
const config = { kind: 'mqtt', address: '127.0.0.1', port: 9, prefix: 'mekiki', user: 'line' } as const;
const refused = { code: 'INVALID_INPUT', details: { what: 'password' } };

test('a password that is kept goes to no other broker or account', async () => {
  await world.call('events.set', { config, password: 'of the broker' });
  expect(await world.call('events.get', {})).toMatchObject({ hasPassword: true });
  for (const other of [{ address: '127.0.0.2' }, { port: 10 }, { user: 'boss' }])
    await expect(world.call('events.set', { config: { ...config, ...other } })).rejects.toMatchObject(refused);
  expect(await world.call('events.get', {})).toMatchObject({ config });

  await world.call('events.set', { config: { ...config, prefix: 'plant' } });
  await world.call('events.set', { config: { kind: 'none' } });
  // Not by way of nobody either.
  await expect(world.call('events.set', { config: { ...config, address: '127.0.0.2' } })).rejects.toMatchObject(
    refused,
  );
  await world.call('events.set', { config: { ...config, address: '127.0.0.2' }, password: 'of the other' });
  expect(await world.call('events.get', {})).toMatchObject({ config: { address: '127.0.0.2' }, hasPassword: true });
});

test('a change that is not stored leaves the broker of before its password', async () => {
  await world.call('events.set', { config, password: 'of the broker' });
  await world.core.close();
  const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
  db.exec(`CREATE TRIGGER not_noted BEFORE INSERT ON audit WHEN NEW.action = 'events.set'
    BEGIN SELECT RAISE(ABORT, 'no room'); END`);
  db.close();
  await world.reopen();
  await world.call('session.signIn', { name: 'sato', password: PASSWORD });
  const other = { config: { ...config, address: '127.0.0.2' }, password: 'of the other' };
  await expect(world.call('events.set', other)).rejects.toThrow('no room');
  expect(await world.call('events.get', {})).toMatchObject({ config, hasPassword: true });
  expect(readFileSync(join(world.home, 'secrets', 'mqtt-password'), 'utf8')).toBe('of the broker');
});

/** Takes whoever connects, and answers nothing else: enough for what is sent. @param onData hears all of it */
async function startBroker(onData: (data: Buffer) => void = () => {}) {
  const sockets = new Set<Socket>();
  const broker = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    socket.on('data', (data) => {
      onData(data);
      // CONNECT is answered with CONNACK.
      if (data[0] === 0x10) socket.write(Buffer.from([0x20, 2, 0, 0]));
    });
  }).listen(0, '127.0.0.1');
  await once(broker, 'listening');
  return { broker, sockets };
}

test('a line is told of though the clock is set back', async () => {
  let sent = '';
  const { broker, sockets } = await startBroker((data) => (sent += data.toString('latin1')));
  const told = () => sent.split('mekiki/line/1').length - 1;
  let clock = Date.parse('2026-03-01T08:00:00.000Z');
  const other = await startWorld({ now: () => new Date(clock) });
  try {
    const { stationId } = await setUp(other);
    await other.call('line.start', { stationId });
    const { port } = broker.address() as AddressInfo;
    await other.call('events.set', { config: { ...config, port, user: '' } });
    await expect.poll(told).toBe(1);
    // Nothing has changed, and a minute is not over.
    await other.call('line.start', { stationId });
    clock -= 2 * 3_600_000;
    await other.call('line.start', { stationId });
    await expect.poll(told).toBe(2);
  } finally {
    await other.close();
    for (const socket of sockets) socket.destroy();
    broker.close();
  }
  // All that was to be sent has been, and what is told of a line that had not changed would have come before.
  expect(told()).toBe(2);
});

test('of two changes at once none leaves a connection behind', async () => {
  const { broker, sockets } = await startBroker();
  try {
    const { port } = broker.address() as AddressInfo;
    const here = { ...config, port, user: '' };
    await Promise.all(['one', 'other'].map((prefix) => world.call('events.set', { config: { ...here, prefix } })));
    const connection = async () => (await world.call('events.get', {})).state.connection;
    while ((await connection()) !== 'connected') await setTimeout(5);
    await world.call('events.set', { config: { kind: 'none' } });
    for (let waited = 0; sockets.size > 0 && waited < 5_000; waited += 10) await setTimeout(10);
    expect(sockets.size).toBe(0);
  } finally {
    for (const socket of sockets) socket.destroy();
    broker.close();
  }
});
