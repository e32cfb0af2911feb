import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLog } from '../../main/contract/log.ts';
import type { Events, Methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createForkSpawnPort } from '../../main/host/spawn.ts';
import { createSupervisor, type Supervisor } from '../../main/host/supervisor.ts';
import { withUpkeep } from '../../main/host/upkeep.ts';
import { ruinPage } from '../helpers/ruin.ts';
import { childSettings } from '../helpers/child-settings.ts';

/* A real core on a damaged database: it serves the repair alone, and a new one starts after it. */

const password = 'a long enough password';
let folder: string;
let home: string;
let supervisor: Supervisor;
const start = async () => {
  supervisor = createSupervisor({
    spawn: createForkSpawnPort(),
    settings: childSettings(home),
    log: silentLog,
  });
  await supervisor.start();
};
const attach = () => {
  const [window, ours] = createMemoryPair();
  supervisor.attachWindow(window);
  return createClient<Methods, Events>(ours, { peer: 'core' });
};
const file = () => join(home, 'mekiki.sqlite');

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-repair-'));
  home = join(folder, 'home');
  await start();
  const client = attach();
  await client.call('session.firstStart', { name: 'Mori', password, language: 'en' });
  expect(await client.call('home.damage', {})).toBeNull();
  await expect(client.call('home.repair', { name: 'Mori', password })).rejects.toMatchObject({ code: 'CONFLICT' });
  await client.call('users.add', { name: 'op', role: 'operator', password });
  client.close();
  await supervisor.close();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await supervisor.close();
  rmSync(folder, { recursive: true });
});

describe('a damaged database', () => {
  it('is told, repaired for a supervisor with the password, and stands in the trail', async () => {
    ruinPage(file(), 'audit');
    const before = readFileSync(file());
    await start();
    const client = attach();
    await expect(client.call('session.state', {})).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
    const damage = (await client.call('home.damage', {}))!;
    expect(damage).toMatchObject({ hopeless: null, kept: null, accounts: [{ name: 'Mori', role: 'supervisor' }] });
    expect(damage.problems.length).toBeGreaterThan(0);
    expect(damage.tables).toMatchObject([{ name: 'audit', unreadable: true }]);
    // Looking and asking changed nothing.
    expect(readFileSync(file()).equals(before)).toBe(true);
    expect(readdirSync(home).filter((name) => /^(repair-trial|damaged)/.test(name))).toEqual([]);
    for (const asked of [
      { name: 'Mori', password: 'another password' },
      { name: 'op', password },
      { name: 'nobody', password },
    ])
      await expect(client.call('home.repair', asked)).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    expect(readFileSync(file()).equals(before)).toBe(true);

    const { kept } = await client.call('home.repair', { name: 'mori', password });
    expect(readFileSync(join(kept!, 'mekiki.sqlite')).equals(before)).toBe(true);
    // A new core serves the whole home; until it does a connection comes to nothing.
    let again = client;
    const open = () => {
      again.close();
      again = attach();
      return again
        .call('session.signIn', { name: 'Mori', password })
        .then(({ user }) => user?.name)
        .catch(() => null);
    };
    await expect.poll(open, { interval: 500 }).toBe('Mori');
    const { entries } = await again.call('audit.list', { limit: 50 });
    expect(entries).toContainEqual(expect.objectContaining({ action: 'home.repair', user: 'Mori', subject: kept }));
    expect(existsSync(join(home, 'repaired.json'))).toBe(false);
    again.close();
  });

  it('with accounts that cannot be read is left to whoever administers the PC', async () => {
    ruinPage(file(), 'users');
    await start();
    const client = attach();
    expect((await client.call('home.damage', {}))!.accounts).toEqual([]);
    await expect(client.call('home.repair', { name: 'Mori', password })).rejects.toMatchObject({
      code: 'WRONG_PASSWORD',
    });
    client.close();
  });
});

/** A process of its own for a folder that no core has open. @param given as MEKIKI_PASSWORD */
const upkeepOf = <T>(at: string, given: string, work: Parameters<typeof withUpkeep<T>>[1]): Promise<T> => {
  vi.stubEnv('MEKIKI_PASSWORD', given);
  return withUpkeep({ spawn: createForkSpawnPort(), settings: childSettings(at), log: silentLog }, work);
};

describe('a folder that nobody has open', () => {
  it('is made from a backup, read and repaired by a process that opens no home before', async () => {
    const [file, again] = [join(folder, 'a.mekiki-backup'), join(folder, 'again')];
    await start();
    const client = attach();
    await client.call('session.signIn', { name: 'Mori', password });
    await client.call('home.backup', { file, password });
    await expect.poll(async () => (await client.call('home.state', {})).lastBackup?.file).toBe(file);
    await supervisor.close();

    await upkeepOf(again, 'another password', async (upkeep) => {
      const locked = { code: 'BACKUP_LOCKED', details: { user: 'Mori' } };
      await expect(upkeep.call('upkeep.restore', { file })).rejects.toMatchObject(locked);
      await expect(upkeep.call('upkeep.check', { repair: false })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
    expect(existsSync(again)).toBe(false);

    // As a restore that was killed leaves it.
    mkdirSync(again);
    for (const name of ['restoring', 'mekiki.sqlite']) writeFileSync(join(again, name), '');
    await upkeepOf(again, password, async (upkeep) => {
      const told: string[] = [];
      upkeep.on('upkeep.progressed', (line) => told.push(line));
      const restored = { whole: true, report: expect.stringContaining(`${again} is as it was at `) };
      expect(await upkeep.call('upkeep.restore', { file })).toEqual(restored);
      expect(told[0]).toMatch(/^restore: 1 of \d+ files$/);
      await expect(upkeep.call('upkeep.restore', { file })).rejects.toMatchObject({ code: 'HOME_NOT_EMPTY' });
      const whole = { whole: true, report: expect.stringContaining('The database is whole.') };
      expect(await upkeep.call('upkeep.check', { repair: false })).toEqual(whole);
      ruinPage(join(again, 'mekiki.sqlite'), 'audit');
      const found = await upkeep.call('upkeep.check', { repair: false });
      expect(found).toEqual({ whole: false, report: expect.stringContaining('mekiki --check --repair') });
      const mended = await upkeep.call('upkeep.check', { repair: true });
      expect(mended).toEqual({ whole: true, report: expect.stringContaining('the damaged file is in') });
    });
  });
});
