import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createRootKey, openRootKey } from '../../../main/audit/keys.ts';
import type { TrailVerdict } from '../../../main/audit/trail.ts';
import { silentLog } from '../../../main/contract/log.ts';
import { createAuditService, type AuditService } from '../../../main/core/audit.ts';
import type { CoreContext } from '../../../main/core/context.ts';
import { openStore, type Store } from '../../../main/store/open.ts';

/* The newest entry of a long trail, noted outside the database. */

const ENTRIES = 5_000;
const { publicKey, privateKey } = openRootKey(createRootKey());
let base: string;
let store: Store;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  base = mkdtempSync(join(tmpdir(), 'mekiki-audit-'));
  store = await openStore({ home: join(base, 'home'), demo: false });
});
afterEach(() => {
  vi.useRealTimers();
  store.close();
  rmSync(base, { recursive: true });
});

const append = (count: number): void =>
  store.transaction(() => {
    for (let n = 0; n < count; n += 1) store.audit.append({ user: 'sato', action: 'line.start', subject: 'st-1' });
  });
/**
 * @param sliceMs what it takes to read a slice of the trail
 * @param rootPublicKey as the home gives it
 */
const startService = (sliceMs = 0, rootPublicKey = () => publicKey) => {
  let read = 0;
  const page: Store['audit']['page'] = (after, limit) => {
    vi.advanceTimersByTime(sliceMs);
    const entries = store.audit.page(after, limit);
    read += entries.length;
    return entries;
  };
  const context = {
    store: { ...store, audit: { ...store.audit, page } },
    keys: { signing: privateKey, rootPublicKey, installation: 'this' },
    log: silentLog,
    now: () => new Date(),
  };
  return { service: createAuditService(context as unknown as CoreContext), read: () => read };
};
const verify = ({ handlers }: AuditService): Promise<TrailVerdict> =>
  (handlers['audit.verify'] as () => Promise<TrailVerdict>)();
const noted = (): number =>
  (JSON.parse(readFileSync(join(store.home, 'trust', 'audit-head.json'), 'utf8')) as { n: number }).n;

test('a new trail that is long before it is noted for the first time is whole, then and later', async () => {
  const { service } = startService();
  append(ENTRIES);
  expect(await verify(service)).toMatchObject({ valid: true, signedUpTo: ENTRIES });
  append(ENTRIES);
  await service.close();
  const { service: next } = startService();
  expect(await verify(next)).toMatchObject({ entries: 2 * ENTRIES, valid: true, signedUpTo: 2 * ENTRIES });
  await next.close();
});

test('a new trail that a power cut meets before it is noted is whole, and one that lost its note is not', async () => {
  const { service } = startService();
  await vi.waitFor(() => expect(noted()).toBe(0));
  append(ENTRIES);
  const { service: next } = startService();
  expect(await verify(next)).toMatchObject({ entries: ENTRIES, valid: true, signedUpTo: ENTRIES });
  await Promise.all([service.close(), next.close()]);
  rmSync(join(store.home, 'trust', 'audit-head.json'));
  const { service: robbed } = startService();
  expect(await verify(robbed)).toMatchObject({ valid: false, firstBroken: ENTRIES });
  await robbed.close();
});

test('the same where nothing asks for it before the program is closed', async () => {
  const { service } = startService();
  append(ENTRIES);
  await service.close();
  expect(noted()).toBe(ENTRIES);
});

test('a trail that cannot be walked in time is not waited for, and its newest entry is not signed unseen', async () => {
  const first = startService().service;
  append(ENTRIES);
  await first.close();

  const slow = startService(400);
  append(1);
  await slow.service.close();
  expect(slow.read()).toBeLessThan(ENTRIES);
  expect(noted()).toBe(ENTRIES);

  const quick = startService(10).service;
  await quick.close();
  expect(noted()).toBe(ENTRIES + 1);
});

test('a verification that a file kept from its end is made again, and the list is shown meanwhile', async () => {
  append(10);
  let readable = false;
  const { service } = startService(0, () => {
    if (!readable) throw Object.assign(new Error('EBUSY: resource busy or locked'), { code: 'EBUSY' });
    return publicKey;
  });
  const list = service.handlers['audit.list'] as unknown as (input: {
    limit: number;
  }) => Promise<{ valid: boolean | null }>;
  expect(await list({ limit: 3 })).toMatchObject({ valid: null, entries: [{ n: 10 }, { n: 9 }, { n: 8 }] });
  readable = true;
  expect(await list({ limit: 3 })).toMatchObject({ valid: true });
  await service.close();
});

test('a note that cannot be read for a moment is not one that is missing', async () => {
  const { service: before } = startService();
  append(ENTRIES);
  await before.close();
  const file = join(store.home, 'trust', 'audit-head.json');
  renameSync(file, `${file}.kept`);
  mkdirSync(file);
  const { service } = startService();
  const list = service.handlers['audit.list'] as unknown as (input: {
    limit: number;
  }) => Promise<{ valid: boolean | null }>;
  const found = () => vi.waitFor(async () => expect((await list({ limit: 1 })).valid).not.toBeNull());
  await expect(found()).rejects.toThrow();
  rmSync(file, { recursive: true });
  renameSync(`${file}.kept`, file);
  await found();
  expect((await list({ limit: 1 })).valid).toBe(true);
  append(1);
  await service.close();
  expect(noted()).toBe(ENTRIES + 1);
});
