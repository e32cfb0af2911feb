import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '../../main/contract/log.ts';
import type { events, methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createKeychain, keyPlaceOf, sealedFile, type SystemCipher } from '../../main/host/sealed-secrets.ts';
import { createForkSpawnPort } from '../../main/host/spawn.ts';
import { createSupervisor } from '../../main/host/supervisor.ts';

/* Real supervisor and core; of the keychain only the system's part is small here: Electron's own needs a session with one. */

let folder: string;
let home: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-keychain-'));
  home = join(folder, 'home');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** One account's: another mask opens nothing that it sealed. */
const cipherOf = (mask: number): SystemCipher => ({
  seal: (text) => Buffer.from(`${mask}:${text}`).map((byte) => byte ^ mask),
  open(sealed) {
    const text = Buffer.from(sealed.map((byte) => byte ^ mask)).toString('utf8');
    if (!text.startsWith(`${mask}:`)) throw new Error('this account did not seal it');
    return text.slice(`${mask}:`.length);
  },
});

const NONE = 'the system offers "basic_text" only';
/** @param cipher null: a start without --keychain, where there is none */
const started = async <T>(
  cipher: SystemCipher | string | null,
  work: (client: ReturnType<typeof createClient<typeof methods, typeof events>>) => Promise<T>,
): Promise<T> => {
  const supervisor = createSupervisor({
    spawn: createForkSpawnPort(),
    settings: {
      home,
      demo: false,
      version: '1.0.0',
      testRuntime: false,
      logLevel: 'info',
      stderrLevel: null,
      trainerThreads: 1,
    },
    log: silentLog,
    keyPlace: () => keyPlaceOf(home, { asked: cipher !== null, cipher: cipher ?? NONE }),
  });
  try {
    await supervisor.start();
    const [near, far] = createMemoryPair();
    supervisor.attachWindow(far);
    return await work(createClient<typeof methods, typeof events>(near));
  } finally {
    await supervisor.close();
  }
};
const firstStart = { language: 'en' as const, name: 'hana', password: 'correct horse' };

test('the key of a new home goes into the keychain, and only there', async () => {
  const { installation } = await started(cipherOf(7), async (client) => {
    await client.call('session.firstStart', firstStart);
    return client.call('bundles.trusted', {});
  });
  expect(readdirSync(join(home, 'secrets'))).toEqual(['root.key.sealed']);
  expect(statSync(join(home, 'secrets/root.key.sealed')).mode & 0o777).toBe(0o600);
  const again = await started(cipherOf(7), (client) => client.call('bundles.trusted', {}));
  expect(again.installation).toBe(installation);
  // Without it, or as somebody else: told, and no other key is made in its place.
  for (const other of [null, NONE, cipherOf(8)])
    await expect(started(other, async () => 0)).rejects.toMatchObject({ code: 'KEY_SEALED', details: { home } });
  expect(readdirSync(join(home, 'secrets'))).toEqual(['root.key.sealed']);
});

test('a new home whose key is to rest in a keychain that is not there does not start, and no key is made', async () => {
  await expect(started(NONE, async () => 0)).rejects.toMatchObject({
    code: 'NO_KEYCHAIN',
    details: { home, problem: NONE },
    nextAction: expect.stringContaining('without --keychain'),
  });
  expect(existsSync(join(home, 'secrets/root.key'))).toBe(false);
  // As it was told: both ways out are open.
  await started(cipherOf(7), (client) => client.call('session.firstStart', firstStart));
});

test('a home whose key lies in a file keeps it there, and says so where the keychain was asked for', async () => {
  await started(null, (client) => client.call('session.firstStart', firstStart));
  const key = readFileSync(join(home, 'secrets/root.key'));
  for (const asked of [cipherOf(7), NONE])
    expect(await started(asked, (client) => client.call('home.state', {}))).toMatchObject({ keyInFile: true });
  expect(await started(null, (client) => client.call('home.state', {}))).toMatchObject({ keyInFile: false });
  expect(readFileSync(join(home, 'secrets/root.key')).equals(key)).toBe(true);
  expect(existsSync(join(home, 'secrets/root.key.sealed'))).toBe(false);
});

test('a key that cannot be written leaves nothing half done, and says what stands in the way', async () => {
  const keychain = createKeychain(home, cipherOf(7));
  mkdirSync(sealedFile(home, 'root.key'), { recursive: true });
  await expect(keychain.set('root.key', Buffer.from('key'))).rejects.toThrow();
  expect(readdirSync(join(home, 'secrets'))).toEqual(['root.key.sealed']);
  rmSync(join(home, 'secrets'), { recursive: true });
  writeFileSync(join(home, 'secrets'), 'no folder');
  await expect(keychain.set('root.key', Buffer.from('key'))).rejects.toMatchObject({ code: 'HOME_NOT_WRITABLE' });
});
