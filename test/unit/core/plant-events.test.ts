import { afterEach, beforeEach, expect, test } from 'vitest';
import { setUp, startWorld, type World } from './world.ts';

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
