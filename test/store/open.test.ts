import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { prepareHome } from '../../main/store/home.ts';
import { openStore, type Store } from '../../main/store/open.ts';
import { newPart, newStation } from './examples.ts';

let base: string;
let home: string;
const open: Store[] = [];
const openHome = async (demo = false, at = home): Promise<Store> => {
  const store = await openStore({ home: at, demo });
  open.push(store);
  return store;
};

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'mekiki-store-'));
  home = join(base, 'home 目利き');
});
afterEach(() => {
  for (const store of open.splice(0)) store.close();
  rmSync(base, { recursive: true, force: true });
});

const hashOf = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

/** Opens the home in another process, prints a line, and waits to be killed. */
const openElsewhere = async (script: string): Promise<{ pid: number; kill: () => Promise<void> }> => {
  const file = join(base, 'other.ts');
  writeFileSync(file, script);
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return {
    pid: child.pid!,
    kill: async () => {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
};
const openModule = new URL('../../main/store/open.ts', import.meta.url).href;
const examplesModule = new URL('./examples.ts', import.meta.url).href;

test('an entry of the trail and the signed head that it needs stand or fall together, also outside a transaction', async () => {
  const store = await openHome();
  store.audit.signWith(() => {
    throw new Error('killed');
  });
  const append = () => store.audit.append({ user: 'system', action: 'test.made', subject: 'x' });
  for (let n = 1; n < 100; n += 1) append();
  expect(append).toThrow('killed');
  expect(store.audit.head()?.n).toBe(99);
  store.audit.signWith((head) => ({ ...head, signature: 'made' }));
  expect(append().n).toBe(100);
  expect(store.audit.heads().map(({ n }) => n)).toEqual([100]);
});

describe('opening a home', () => {
  test('a new home gets WAL with synchronous=FULL, its folders and its mark', async () => {
    const store = await openHome();
    expect(store.isNew).toBe(true);
    expect(JSON.parse(readFileSync(join(home, 'mekiki.json'), 'utf8'))).toMatchObject({ format: 1, demo: false });
    store.close();
    expect(existsSync(join(home, 'lock'))).toBe(false);
    const db = new Sqlite(join(home, 'mekiki.sqlite'), { readonly: true });
    expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
    db.close();
    expect((await openHome()).isNew).toBe(false);
  });

  test.skipIf(process.platform === 'win32')(
    'no other account of the PC reads the database, one of an earlier version and a copy of it neither: locked keys are in it',
    async () => {
      mkdirSync(home);
      const file = join(home, 'mekiki.sqlite');
      writeFileSync(file, '', { mode: 0o644 });
      const store = await openHome();
      const copy = join(base, 'copy.sqlite');
      await store.snapshot(copy, {});
      for (const each of [file, `${file}-wal`, copy]) expect(statSync(each).mode & 0o777, each).toBe(0o600);
      await expect(store.snapshot(copy, {})).rejects.toMatchObject({ code: 'HOME_NOT_WRITABLE' });
    },
  );

  test('a damaged database is refused by name and left byte for byte as it was', async () => {
    const store = await openHome();
    store.stations.insert(newStation(), new Date());
    store.transaction(() => {
      for (let seq = 1; seq <= 500; seq += 1) store.parts.insert(newPart({ seq }));
    });
    store.close();
    const file = join(home, 'mekiki.sqlite');
    const bytes = readFileSync(file);
    // Whole pages in the middle, header untouched: only a check of the structure finds it.
    bytes.fill(0x5a, 4096 * 30, 4096 * 60);
    writeFileSync(file, bytes);
    const before = hashOf(file);
    await expect(openHome()).rejects.toMatchObject({ code: 'DATABASE_CORRUPT', details: { file } });
    expect(hashOf(file)).toBe(before);
  });

  test('a file that is no database, and one of another program, are refused and left alone', async () => {
    mkdirSync(home);
    const file = join(home, 'mekiki.sqlite');
    writeFileSync(file, 'these are somebody else’s notes'.repeat(100));
    const before = hashOf(file);
    await expect(openHome()).rejects.toMatchObject({ code: 'DATABASE_CORRUPT', details: { file } });
    expect(hashOf(file)).toBe(before);
    rmSync(file);
    const other = new Sqlite(file);
    other.exec('CREATE TABLE songs (title TEXT)');
    other.close();
    await expect(openHome()).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
  });

  test('a damaged mark is refused: nobody guesses whether a home is a demo', async () => {
    (await openHome()).close();
    writeFileSync(join(home, 'mekiki.json'), '{"format":1,"de');
    await expect(openHome()).rejects.toMatchObject({
      code: 'DATABASE_CORRUPT',
      details: { file: join(home, 'mekiki.json') },
    });
  });

  test('a database of a newer program is refused', async () => {
    (await openHome()).close();
    const db = new Sqlite(join(home, 'mekiki.sqlite'));
    db.pragma('user_version = 99990');
    db.close();
    await expect(openHome()).rejects.toMatchObject({ code: 'DATABASE_TOO_NEW', details: { found: 99990 } });
  });

  test('a path that cannot be a folder is refused as not writable', async () => {
    writeFileSync(join(base, 'file'), '');
    await expect(openHome(false, join(base, 'file', 'home'))).rejects.toMatchObject({ code: 'HOME_NOT_WRITABLE' });
    await expect(openHome(false, '/proc/mekiki')).rejects.toMatchObject({ code: 'HOME_NOT_WRITABLE' });
    // Half as many characters in Japanese: three bytes each. Nothing is left there.
    const deep = join(base, '検査'.repeat(40), '目利き'.repeat(25), 'x'.repeat(100));
    await expect(openHome(false, deep)).rejects.toMatchObject({
      details: { problem: 'its path has more than 490 bytes' },
    });
    expect(existsSync(join(base, '検査'.repeat(40)))).toBe(false);
  });

  test('a second opening is refused with the pid of the first, within a process and from another', async () => {
    await openHome();
    await expect(openHome()).rejects.toMatchObject({ code: 'HOME_IN_USE', details: { pid: process.pid } });
  });

  test('after kill -9 the lock is free, the stale lock file is no obstacle, and every committed part is there', async () => {
    const other = await openElsewhere(`
      import { openStore } from ${JSON.stringify(openModule)};
      import { newPart, newStation } from ${JSON.stringify(examplesModule)};
      const store = await openStore({ home: ${JSON.stringify(home)}, demo: false });
      store.stations.insert(newStation(), new Date());
      store.transaction(() => { for (let seq = 1; seq <= 50; seq += 1) store.parts.insert(newPart({ seq })); });
      process.stdout.write('open\\n');
      setInterval(() => {}, 1000);
    `);
    await expect(openHome()).rejects.toMatchObject({ code: 'HOME_IN_USE', details: { pid: other.pid } });
    await other.kill();
    expect(existsSync(join(home, 'lock'))).toBe(true);
    const store = await openHome();
    expect(store.parts.recent('st-1', { limit: 100 })).toHaveLength(50);
  });

  test('a copy of a home taken while it was in use opens: its lock file names a process that locks nothing', async () => {
    await openHome();
    const copy = join(base, 'copy');
    cpSync(home, copy, { recursive: true });
    await expect(openHome(false, copy)).resolves.toBeDefined();
  });
});

describe('demo homes', () => {
  test('an empty folder becomes one, and stays one', async () => {
    (await openHome(true)).close();
    expect((await openHome(false)).demo).toBe(true);
  });

  test('a used home, and a folder with other files, never become one', async () => {
    const real = await openHome(false);
    expect(real.demo).toBe(false);
    real.stations.insert(newStation(), new Date());
    await expect(real.becomeDemo()).rejects.toMatchObject({ code: 'HOME_NOT_DEMO' });
    const foreign = join(base, 'papers');
    mkdirSync(foreign);
    writeFileSync(join(foreign, 'letter.txt'), 'hello');
    await expect(openHome(true, foreign)).rejects.toMatchObject({ code: 'HOME_NOT_DEMO' });
  });

  test('a first start that was killed before its mark is begun anew', async () => {
    prepareHome(home);
    writeFileSync(join(home, 'lock'), '{"pid":1,"since":"2026-01-01T00:00:00.000Z"}');
    const first = await openHome(true);
    expect([first.isNew, first.demo]).toEqual([true, true]);
    first.close();
    rmSync(join(home, 'mekiki.json'));
    const again = await openHome(true);
    expect([again.isNew, again.demo]).toEqual([true, true]);
    again.stations.insert(newStation(), new Date());
    again.close();
    // A home that was used, or has files, and lost its mark.
    rmSync(join(home, 'mekiki.json'));
    await expect(openHome(true)).rejects.toMatchObject({ code: 'HOME_NOT_DEMO' });
    const other = join(base, 'other');
    prepareHome(other);
    writeFileSync(join(other, 'secrets', 'root.key'), 'key');
    await expect(openHome(true, other)).rejects.toMatchObject({ code: 'HOME_NOT_DEMO' });
  });

  test('a real home that nobody has used yet may become one', async () => {
    const store = await openHome(false);
    await store.becomeDemo();
    store.close();
    expect((await openHome(false)).demo).toBe(true);
  });
});
