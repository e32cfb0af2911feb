import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkHome } from '../../main/core/home-check.ts';
import { checkText } from '../../main/host/upkeep-texts.ts';
import { checkDatabase } from '../../main/store/check.ts';
import { openStore } from '../../main/store/open.ts';
import { repairDatabase, tryRepair } from '../../main/store/repair.ts';
import { smallDisk } from '../helpers/small-disk.ts';
import { newPart, newStation, sha } from './examples.ts';

let base: string;
let home: string;
let file: string;
const PARTS = 3_000;
beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'mekiki-repair-'));
  home = join(base, 'home');
  file = join(home, 'mekiki.sqlite');
  const store = await openStore({ home, demo: false });
  store.stations.insert(newStation(), new Date());
  store.transaction(() => {
    for (let seq = 1; seq <= PARTS; seq += 1) store.parts.insert(newPart({ seq, imageSha: sha(seq) }));
    for (let n = 0; n < 50; n += 1) store.audit.append({ user: 'u', action: 'a.b', subject: `${n}` });
  });
  store.close();
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** Pages of a table or index, from the file itself. */
const pagesOf = (name: string): { pages: number[]; size: number } => {
  const db = new Sqlite(file, { readonly: true });
  const size = db.pragma('page_size', { simple: true }) as number;
  const pages = db.prepare('SELECT pageno FROM dbstat WHERE name = ? AND pagetype = ?').pluck();
  const found = pages.all(name, 'leaf') as number[];
  db.close();
  return { pages: found, size };
};
const ruin = (page: number, size: number, from = 0, length = size): void => {
  const handle = openSync(file, 'r+');
  writeSync(handle, Buffer.alloc(length, 0xa5), 0, length, (page - 1) * size + from);
  closeSync(handle);
};
const count = (table: string): number => {
  const db = new Sqlite(file, { readonly: true });
  const n = db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
  db.close();
  return n;
};
const foldersLeft = (at: string): string[] => readdirSync(at).filter((name) => /^(repair-trial|damaged)-/.test(name));
const opens = async (): Promise<void> => (await openStore({ home, demo: false })).close();

describe('repair', () => {
  test('a whole database is left as it is', async () => {
    const before = readFileSync(file);
    expect(await repairDatabase(home, new Date())).toMatchObject({ problems: [], kept: null });
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  test('a ruined index is built anew, and nothing is lost', async () => {
    const { pages, size } = pagesOf('parts_recent');
    ruin(pages[1]!, size);
    await expect(opens()).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
    const report = await repairDatabase(home, new Date());
    expect(report.problems.length).toBeGreaterThan(0);
    expect(report.tables).toEqual([]);
    expect(checkDatabase(file)).toEqual([]);
    expect(count('parts')).toBe(PARTS);
    await opens();
  });

  test('ruined rows are left out and counted; all others, triggers and counters are as they were', async () => {
    const hours = count('part_hours');
    const { pages, size } = pagesOf('parts');
    ruin(pages[Math.floor(pages.length / 2)]!, size);
    const report = await repairDatabase(home, new Date());
    const parts = report.tables.find(({ name }) => name === 'parts')!;
    expect(parts).toMatchObject({ unreadable: true, read: count('parts') });
    // A leaf holds a few dozen rows.
    expect(parts.read).toBeGreaterThan(PARTS - 200);
    expect(parts.read).toBeLessThan(PARTS);
    expect(count('audit')).toBe(50);
    expect(count('part_hours')).toBe(hours);
    expect(checkDatabase(file)).toEqual([]);
    const store = await openStore({ home, demo: false });
    // Numbers are given on, not again; the trail is still one that nobody can take from.
    const last = store.parts.insert(newPart({ seq: PARTS + 1 }));
    expect(last).toBe(PARTS + 1);
    store.close();
    const db = new Sqlite(file);
    expect(() => db.exec('DELETE FROM audit')).toThrow();
    db.close();
  });

  test('numbers of rows that were gone before the repair are not given again', async () => {
    const db = new Sqlite(file);
    db.exec(`DELETE FROM parts WHERE id > ${PARTS - 10}`);
    db.close();
    const { pages, size } = pagesOf('parts_recent');
    ruin(pages[1]!, size);
    await repairDatabase(home, new Date());
    const store = await openStore({ home, demo: false });
    expect(store.parts.insert(newPart({ seq: PARTS + 1 }))).toBe(PARTS + 1);
    store.close();
  });

  test.each([2 ** 40, 2 ** 53 + 2, 2 ** 62, -(2 ** 62)])(
    'a row whose number is damaged (%d) holds up no repair',
    async (number) => {
      const db = new Sqlite(file);
      db.prepare('UPDATE parts SET id = ? WHERE id = 7').run(BigInt(number));
      db.close();
      const { pages, size } = pagesOf('parts');
      ruin(pages[Math.floor(pages.length / 2)]!, size);
      const report = await repairDatabase(home, new Date());
      expect(checkDatabase(file)).toEqual([]);
      expect(report.tables.find(({ name }) => name === 'parts')).toMatchObject({ unreadable: true });
      expect(count('parts')).toBeGreaterThan(PARTS - 200);
      expect(count('parts')).toBeLessThan(PARTS);
    },
  );

  test.each(['first', 'last'])('the %s page of the trail being ruined costs no entry of the others', async (which) => {
    const { pages, size } = pagesOf('audit');
    expect(pages.length).toBeGreaterThan(2);
    ruin(pages.at(which === 'first' ? 0 : -1)!, size);
    await repairDatabase(home, new Date());
    expect(count('audit')).toBeGreaterThan(20);
    expect(count('audit')).toBeLessThan(50);
  });

  test('what only a backup can help is told as that, stays byte for byte, and leaves no copy at each try', async () => {
    ruin(1, statSync(file).size, 0, statSync(file).size);
    const damaged = readFileSync(file);
    await expect(repairDatabase(home, new Date())).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
    expect(readFileSync(file).equals(damaged)).toBe(true);
    expect(foldersLeft(home)).toEqual([]);
  });

  test('the copy of an earlier damage is not touched', async () => {
    const { pages, size } = pagesOf('parts_recent');
    ruin(pages[1]!, size);
    const at = new Date();
    const { kept } = await repairDatabase(home, at);
    const earlier = readFileSync(join(kept!, 'mekiki.sqlite'));
    ruin(pagesOf('parts_recent').pages[1]!, size);
    await expect(repairDatabase(home, at)).rejects.toMatchObject({ code: 'HOME_NOT_WRITABLE' });
    expect(readFileSync(join(kept!, 'mekiki.sqlite')).equals(earlier)).toBe(true);
  });

  test.for([
    { what: 'for the copy', times: 1.5 },
    { what: 'for the new database', times: 2.5 },
  ])('a disk without room $what is told as that and left as it was', async ({ times }, context) => {
    const { pages, size } = pagesOf('parts_recent');
    ruin(pages[1]!, size);
    const disk = join(base, 'disk');
    mkdirSync(disk);
    const unmount = smallDisk(disk, `${Math.ceil(statSync(file).size * times)}`);
    context.skip(unmount === null, 'this account may not mount a small disk');
    try {
      const there = join(disk, 'mekiki.sqlite');
      copyFileSync(file, there);
      const damaged = readFileSync(there);
      expect(() => tryRepair(disk)).toThrow(expect.objectContaining({ code: 'DISK_FULL' }));
      await expect(repairDatabase(disk, new Date())).rejects.toMatchObject({
        code: 'DISK_FULL',
        details: { path: there },
      });
      expect(readFileSync(there).equals(damaged)).toBe(true);
      expect(foldersLeft(disk)).toEqual([]);
    } finally {
      unmount!();
    }
  });

  test('check tells what is wrong, changes nothing unless it is told to, and sees a picture that changed', async () => {
    const store = await openStore({ home, demo: false });
    const png = Buffer.from('a picture');
    const name = await store.images.put(png);
    store.parts.insert(newPart({ seq: PARTS + 1, imageSha: name }));
    store.close();
    expect(await checkHome({ home, repair: false })).toMatchObject({
      whole: true,
      pictures: { whole: 1, damaged: [] },
    });
    writeFileSync(join(home, 'restoring'), '');
    await expect(checkHome({ home, repair: true })).rejects.toMatchObject({ code: 'RESTORE_UNFINISHED' });
    rmSync(join(home, 'restoring'));
    const handle = openSync(join(home, 'images', name.slice(0, 2), `${name}.png`), 'r+');
    writeSync(handle, 'A');
    closeSync(handle);
    expect(await checkHome({ home, repair: false })).toMatchObject({ whole: false, pictures: { damaged: [name] } });
    // What the disk gives no more of is damaged as well, and ends nothing; and what is told in names is not all that is counted.
    const more = await openStore({ home, demo: false });
    for (let n = 0; n < 101; n += 1) {
      const sha = await more.images.put(Buffer.from(`picture ${n}`));
      more.parts.insert(newPart({ seq: PARTS + 2 + n, imageSha: sha }));
      const at = join(home, 'images', sha.slice(0, 2), `${sha}.png`);
      rmSync(at);
      mkdirSync(at);
    }
    more.close();
    const ill = await checkHome({ home, repair: false });
    expect(ill).toMatchObject({ whole: false, pictures: { damagedInAll: 102 } });
    expect(ill.pictures!.damaged).toHaveLength(100);
    expect(checkText(ill)).toContain('102 are damaged');
    const { pages, size } = pagesOf('parts_recent');
    ruin(pages[0]!, size);
    const before = readFileSync(file);
    const damaged = await checkHome({ home, repair: false });
    expect(damaged.problems.length).toBeGreaterThan(0);
    expect(damaged.pictures).toBeNull();
    expect(checkText(damaged)).toContain('No picture was looked at');
    expect(readFileSync(file).equals(before)).toBe(true);
    expect((await checkHome({ home, repair: true })).repair).toMatchObject({ tables: [] });
    expect(existsSync(join(home, 'repaired.json'))).toBe(true);
    await expect(checkHome({ home: join(base, 'nowhere'), repair: false })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const open = await openStore({ home, demo: false });
    await expect(checkHome({ home, repair: false })).rejects.toMatchObject({ code: 'HOME_IN_USE' });
    open.close();
  });
});
