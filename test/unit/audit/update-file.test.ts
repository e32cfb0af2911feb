import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeHead } from '../../../main/audit/signed-file.ts';
import { compareVersions, encodeUpdate, openUpdate } from '../../../main/audit/update-file.ts';
import type { UpdateManifest } from '../../../main/contract/update.ts';
import { releaseKeyOf, signUpdate } from '../../../main/host/build/sign-update.ts';

const { privateKey } = generateKeyPairSync('ed25519');
const key = releaseKeyOf(privateKey);
const about = {
  version: '1.2.0',
  minVersion: '1.0.0',
  releasedAt: '2026-05-01T08:00:00.000Z',
  notes: { en: 'Faster.\nSmaller.', ja: '高速化' },
};
let folder: string;
let update: string;
let content: Buffer;
let bytes: Buffer;
const refused = { code: 'UPDATE_REFUSED' };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-update-'));
  content = randomBytes(1500);
  writeFileSync(join(folder, 'mekiki_1.2.0_amd64.deb'), content);
  update = join(folder, 'mekiki.mekiki-update');
  await signUpdate({ packageFile: join(folder, 'mekiki_1.2.0_amd64.deb'), out: update, key: privateKey, about });
  bytes = readFileSync(update);
});
afterAll(() => rmSync(folder, { recursive: true }));

let written = 0;
const opened = (altered: Buffer, keys = [key]) => {
  written += 1;
  const file = join(folder, `altered-${written}`);
  writeFileSync(file, altered);
  return openUpdate(file, { keys }).finally(() => rmSync(file));
};

describe('an update file', () => {
  test('gives the package as it was signed, in pieces', async () => {
    const parts: Uint8Array[] = [];
    const manifest = await openUpdate(update, {
      keys: ['0'.repeat(64), key],
      take: async (chunk) => void parts.push(Uint8Array.from(chunk)),
    });
    expect(manifest).toMatchObject({ ...about, platform: 'linux', arch: 'x64', key, kind: 'deb', bytes: 1500 });
    expect(Buffer.concat(parts).equals(content)).toBe(true);
  });

  test('is refused after a change of any one bit, any cut and any addition', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async (bit) => {
        const altered = Buffer.from(bytes);
        altered[bit >> 3]! ^= 1 << (bit & 7);
        await expect(opened(altered)).rejects.toMatchObject(refused);
      }),
      { numRuns: 1500 },
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), async (length) => {
        await expect(opened(bytes.subarray(0, length))).rejects.toMatchObject(refused);
      }),
    );
    await expect(opened(Buffer.concat([bytes, Buffer.of(0)]))).rejects.toMatchObject(refused);
  });

  test('that is there and cannot be read is not told as one that is away', async () => {
    const loop = join(folder, 'loop');
    symlinkSync(loop, loop);
    const details = { what: loop, problem: expect.stringContaining('ELOOP') as unknown };
    await expect(openUpdate(loop, { keys: [key] })).rejects.toMatchObject({ code: 'INVALID_INPUT', details });
    await expect(openUpdate(join(folder, 'none'), { keys: [key] })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test.skipIf(process.platform === 'win32')('that is a pipe is refused, and not waited for', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    await expect(openUpdate(pipe, { keys: [key] })).rejects.toMatchObject(refused);
  });

  test('is refused without a key, and with keys that are not its own; a name it gives itself is no proof', async () => {
    await expect(openUpdate(update, { keys: [] })).rejects.toMatchObject({ code: 'NO_RELEASE_KEY' });
    await expect(openUpdate(update, { keys: ['ab'.repeat(32)] })).rejects.toMatchObject(refused);
    const other = generateKeyPairSync('ed25519').privateKey;
    // Claims the known key, is signed with another.
    const manifest = await openUpdate(update, { keys: [key] });
    const forged = encodeUpdate(manifest, (head) => sign(null, head, other));
    await expect(opened(Buffer.concat([forged.head, content, forged.signature]))).rejects.toMatchObject(refused);
    // What the key signed for another kind of file is no update.
    const bundle = encodeHead('MEKIKIB1', manifest);
    await expect(opened(Buffer.concat([bundle, content, sign(null, bundle, privateKey)]))).rejects.toMatchObject(
      refused,
    );
  });

  test('that leads into another folder, lies about its kind or hides signs for a terminal is not signed and not opened', async () => {
    const manifest = await openUpdate(update, { keys: [key] });
    const wrong: Partial<Record<keyof UpdateManifest, unknown>>[] = [
      { fileName: '../evil.deb' },
      { fileName: '/etc/cron.d/x.deb' },
      { fileName: 'C:evil.deb' },
      { fileName: '.deb' },
      { kind: 'exe' },
      { kind: 'exe', fileName: 'Mekiki-Setup-1.2.0-x64.exe' },
      { platform: 'win32' },
      { version: '1.2' },
      { version: `1.2.0-${'a'.repeat(80)}` },
      { notes: { en: '\u001b[2Jgone', ja: '' } },
      { more: 1 } as never,
      { bytes: -1 },
    ];
    for (const change of wrong) {
      const changed = { ...manifest, ...change } as UpdateManifest;
      expect(() => encodeUpdate(changed, () => new Uint8Array(64))).toThrow();
      const head = encodeHead('MEKIKIU1', changed);
      await expect(opened(Buffer.concat([head, content, sign(null, head, privateKey)]))).rejects.toMatchObject(refused);
    }
  });

  test.each([
    ['Mekiki-Setup-1.2.0-x64.exe', undefined, { platform: 'win32', arch: 'x64', kind: 'exe' }],
    ['Mekiki-1.2.0-arm64.AppImage', undefined, { platform: 'linux', arch: 'arm64', kind: 'AppImage' }],
    ['Mekiki-1.2.0.tar.gz', 'arm64', { platform: 'linux', arch: 'arm64', kind: 'tar.gz' }],
    ['Mekiki-1.2.0.tar.gz', undefined, 'give --arch x64 or --arch arm64'],
    ['mekiki_1.2.0_arm64.deb', 'x64', 'is for arm64, and not for x64'],
    ['mekiki_1.3.0_arm64.deb', undefined, 'is of version 1.3.0, and not 1.2.0: give --version'],
    ['mekiki_1.2.0~rc.1_arm64.deb', undefined, { platform: 'linux', arch: 'arm64', kind: 'deb' }],
    ['Mekiki Setup 1.2.0 x64.exe', 'x64', 'cannot be signed: fileName: it holds other signs than letters'],
    ['mekiki.zip', 'x64', 'is none of deb, tar.gz, AppImage, exe'],
  ] as const)('of %s (arch given: %s) is for what the package is for, whoever signs', async (name, arch, wanted) => {
    const packageFile = join(folder, name);
    writeFileSync(packageFile, content);
    const signed = signUpdate({ packageFile, out: join(folder, 'other'), key: privateKey, about, arch });
    if (typeof wanted === 'string') await expect(signed).rejects.toThrow(wanted);
    else expect(await signed).toMatchObject(wanted);
  });

  test('random bytes, folders, devices and what is not there are refused in words', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (noise, magic) => {
        await expect(
          opened(Buffer.concat([magic ? Buffer.from('MEKIKIU1') : Buffer.alloc(0), noise])),
        ).rejects.toMatchObject(refused);
      }),
    );
    mkdirSync(join(folder, 'inside'));
    for (const file of [join(folder, 'inside'), '/dev/zero', join(folder, 'none'), '/nul\0'])
      await expect(openUpdate(file, { keys: [key] })).rejects.toMatchObject({ name: 'AppError' });
  });
});

describe('versions', () => {
  test('are ordered by their numbers, a preview before what it leads to', () => {
    const ordered = ['0.9.9', '0.10.0', '1.0.0-rc.2', '1.0.0-rc.10', '1.0.0', '1.0.1', '1.2.0', '10.0.0'];
    for (let i = 0; i < ordered.length; i += 1)
      for (let j = 0; j < ordered.length; j += 1)
        expect(Math.sign(compareVersions(ordered[i]!, ordered[j]!))).toBe(Math.sign(i - j));
  });
});
