import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { UpdateManifest } from '../../../main/contract/update.ts';
import { unpackUpdate, verifyUpdate } from '../../../main/core/updates.ts';
import { releaseKeyOf, signUpdate } from '../../../main/host/build/sign-update.ts';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

const { privateKey } = generateKeyPairSync('ed25519');
const keys = [releaseKeyOf(privateKey)];
const here = { version: '1.1.0', keys, platform: 'linux', arch: 'x64' };

let world: World;
let folder: string;
let content: Buffer;
const made = async (change: Partial<UpdateManifest> = {}) => {
  content = randomBytes(3 << 20);
  const packageFile = join(folder, `mekiki.deb`);
  writeFileSync(packageFile, content);
  const out = join(folder, 'new.mekiki-update');
  const { version = '1.2.0', minVersion = '1.0.0', arch = 'x64' } = change;
  const notes = { en: 'Faster', ja: '高速化' };
  const about = { version, minVersion, notes, releasedAt: '2026-05-01T08:00:00.000Z' };
  await signUpdate({ packageFile, out, key: privateKey, about, arch });
  rmSync(packageFile);
  return out;
};
beforeEach(async () => {
  world = await startWorld({ releaseKeys: keys });
  folder = dirname(world.home);
});
afterEach(() => world.close());

describe('an update', () => {
  test('is written out whole, once, with what an administrator types', async () => {
    const file = await made();
    const unpacked = await unpackUpdate(file, here);
    expect(unpacked).toMatchObject({ unfit: [], file: join(folder, 'mekiki.deb') });
    expect(unpacked.command).toBe(`sudo dpkg --install '${join(folder, 'mekiki.deb')}'`);
    expect(readFileSync(unpacked.file).equals(content)).toBe(true);
    await expect(unpackUpdate(file, here)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    // Of the folder that was named, and not of a data folder.
    for (const [name, code] of [
      ['none', 'ENOENT'],
      ['mekiki.deb', 'ENOTDIR'],
    ] as const) {
      const into = join(folder, name);
      const details = { what: into, problem: expect.stringContaining(code) as unknown };
      await expect(unpackUpdate(file, here, { folder: into })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        details,
      });
    }
  });

  test('that was altered leaves nothing behind', async () => {
    const file = await made();
    const bytes = readFileSync(file);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(file, bytes);
    await expect(unpackUpdate(file, here)).rejects.toMatchObject({ code: 'UPDATE_REFUSED' });
    expect(readdirSync(folder).filter((name) => name.includes('.deb'))).toEqual([]);
  });

  test('does not lead back, over a gap, or to another kind of PC', async () => {
    const older = await made({ version: '1.0.9' });
    expect((await verifyUpdate(older, here)).unfit).toEqual(['older']);
    await expect(unpackUpdate(older, here)).rejects.toMatchObject({ code: 'UPDATE_OLDER' });
    expect(existsSync(join(folder, 'mekiki.deb'))).toBe(false);
    rmSync((await unpackUpdate(older, here, { allowDowngrade: true })).file);
    expect((await verifyUpdate(await made({ version: '1.1.0' }), here)).unfit).toEqual([]);
    const far = await made({ version: '3.0.0', minVersion: '2.0.0' });
    await expect(unpackUpdate(far, here, { allowDowngrade: true })).rejects.toMatchObject({ code: 'UPDATE_TOO_FAR' });
    const other = await made({ arch: 'arm64' });
    expect((await verifyUpdate(other, here)).unfit).toEqual(['other-platform']);
    await expect(unpackUpdate(other, here)).rejects.toMatchObject({ code: 'UPDATE_OTHER_PLATFORM' });
  });

  test('stands in the trail when somebody at this home looked at it; a build without keys believes none', async () => {
    await setUp(world);
    // The world's core is of version 0.0.0, on this machine.
    const file = await made({ minVersion: '0.0.0', arch: process.arch as 'x64' });
    expect((await world.call('updates.verify', { file })).manifest.version).toBe('1.2.0');
    const { file: written } = await world.call('updates.unpack', { file });
    expect(readFileSync(written).equals(content)).toBe(true);
    const { entries } = await world.call('audit.list', { limit: 2 });
    expect(entries).toMatchObject([
      { action: 'update.unpacked', subject: '1.2.0', user: 'sato' },
      { action: 'update.verified', subject: '1.2.0', user: 'sato' },
    ]);
    await world.call('users.add', { name: 'op', role: 'technician', password: PASSWORD });
    const technician = world.core.openSession();
    await world.call('session.signIn', { name: 'op', password: PASSWORD }, technician);
    await expect(world.call('updates.verify', { file }, technician)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    const plain = await startWorld();
    await setUp(plain);
    await expect(plain.call('updates.verify', { file })).rejects.toMatchObject({ code: 'NO_RELEASE_KEY' });
    await plain.close();
  });
});
