import { cpSync, readdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { verifyBundle } from '../../../main/audit/approval.ts';
import { createRootKey, openRootKey } from '../../../main/audit/keys.ts';
import { shippedSources } from '../../../main/core/shipped-sources.ts';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

const worlds: World[] = [];
const open = async (options: Parameters<typeof startWorld>[0] = {}): Promise<World> => {
  const world = await startWorld(options);
  worlds.push(world);
  return world;
};
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

describe('a demo home', () => {
  test('goes round the loop by itself, leaves the late defect unknown, and is marked for ever', async () => {
    const world = await open();
    const job = await world.done(await world.call('session.startDemo', { language: 'en' }));
    expect(job.state).toBe('done');
    const [station] = await world.call('stations.list', {});
    expect(station?.activeModelId).toBe(job.result[0]);
    const active = await world.call('candidates.show', { candidateId: station!.activeModelId! });
    expect(active).toMatchObject({ state: 'active', approval: { userName: 'demo-supervisor' } });

    const { defectClassesOf } = await import('../../../main/capture/simulated/render.ts');
    const late = defectClassesOf('brushed-metal').filter((each) => each.late);
    const known = (await world.call('classes.list', {})).map((each) => each.names.en);
    expect(late.length).toBeGreaterThan(0);
    for (const each of late) expect(known).not.toContain(each.names.en);
    expect(known).toHaveLength(1 + defectClassesOf('brushed-metal').length - late.length);

    const state = await world.call('session.state', {});
    expect(state).toMatchObject({ demo: true, firstStart: false });
    const [account] = state.demoAccounts;
    await world.call('session.signIn', { name: account!.name, password: account!.password });
    const outside = { config: { kind: 'mqtt', address: '127.0.0.1', port: 1883, prefix: 'mekiki', user: '' } } as const;
    await expect(world.call('events.set', outside)).rejects.toMatchObject({ code: 'DEMO_FORBIDS' });
    await world.reopen();
    expect((await world.call('session.state', {})).demo).toBe(true);
    // Asked again, it is ready at once.
    expect((await world.done(await world.call('session.startDemo', { language: 'en' }))).result).toEqual([]);
    await world.call('line.start', { stationId: station!.id });
    expect(world.lines.get(station!.id)?.configured).toHaveLength(1);
  });

  test('is not made of a real home', async () => {
    const world = await open();
    await setUp(world);
    await expect(world.call('session.startDemo', { language: 'en' })).rejects.toMatchObject({ code: 'HOME_NOT_DEMO' });
    await world.core.close();
    await expect(open({ home: world.home, demo: true })).rejects.toMatchObject({ code: 'HOME_NOT_DEMO' });
  });

  test('its approvals count in no real home, even with its key brought along', async () => {
    // Who has signed is what counts here: a few parts are drawn, not a hundred.
    const demo = await open({ renderDemoImages: (camera) => shippedSources().renderDemoImages(camera, 2) });
    const job = await demo.done(await demo.call('session.startDemo', { language: 'en' }));
    const bundleDir = join(demo.home, 'bundles', job.result[0]!);
    const [station] = await demo.call('stations.list', {});
    const { readFileSync } = await import('node:fs');
    const rootPublicKey = readFileSync(join(demo.home, 'trust', 'root.pub'), 'utf8');
    const check = { bundleDir, rootPublicKey, stationId: station!.id };
    await expect(verifyBundle({ ...check, demo: true })).resolves.toMatchObject({ card: { id: job.result[0] } });
    await expect(verifyBundle({ ...check, demo: false })).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    const other = openRootKey(createRootKey()).publicKey;
    await expect(verifyBundle({ ...check, rootPublicKey: other, demo: true })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
    await expect(verifyBundle({ ...check, stationId: 'st-other', demo: true })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
    // The mark taken off the home: nothing it approved counts any more.
    await demo.core.close();
    writeFileSync(
      join(demo.home, 'mekiki.json'),
      JSON.stringify({ format: 1, demo: false, createdAt: '2026-01-01T00:00:00.000Z' }),
    );
    await demo.reopen();
    await expect(demo.call('line.start', { stationId: station!.id })).rejects.toMatchObject({ code: 'NOT_APPROVED' });
  });
});

describe('the root key', () => {
  test('is a file that only this account may read', async () => {
    const world = await open();
    expect(statSync(join(world.home, 'secrets', 'root.key')).mode & 0o777).toBe(0o600);
  });

  test('gone or exchanged, the home does not start, and says so', async () => {
    const world = await open();
    await setUp(world);
    await world.core.close();
    const copy = `${world.home}-copy`;
    cpSync(world.home, copy, { recursive: true });
    unlinkSync(join(copy, 'secrets', 'root.key'));
    await expect(open({ home: copy })).rejects.toMatchObject({ code: 'ROOT_KEY_LOST' });
    writeFileSync(join(world.home, 'trust', 'root.pub'), openRootKey(createRootKey()).publicKey);
    await expect(open({ home: world.home })).rejects.toMatchObject({ code: 'ROOT_KEY_LOST' });
  });

  test('left-overs of a killed run are taken away at the next start', async () => {
    const world = await open();
    await setUp(world);
    await world.core.close();
    cpSync(join(world.home, 'trust'), join(world.home, 'bundles', '.making-1'), { recursive: true });
    cpSync(join(world.home, 'trust'), join(world.home, 'knowledge', 'k-orphan'), { recursive: true });
    await world.reopen();
    expect(readdirSync(join(world.home, 'bundles'))).toEqual([]);
    expect(readdirSync(join(world.home, 'knowledge'))).toEqual([]);
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
  });
});
