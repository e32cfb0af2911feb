import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeFiles, writeDurably, type FilePort } from '../../main/store/files.ts';
import { LAST_OF } from '../../main/store/audit-entries.ts';
import { createImageFiles } from '../../main/store/images.ts';
import { openStore, type Store } from '../../main/store/open.ts';
import { PICTURES } from '../../main/store/parts.ts';
import { newPart, newStation, sha } from './examples.ts';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'mekiki-durable-'));
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

/** The real file system, with a list of what was asked of it, in order. */
const recorded = (change: Partial<FilePort> = {}): { files: FilePort; calls: string[] } => {
  const calls: string[] = [];
  const real = { ...nodeFiles, ...change };
  const files = Object.fromEntries(
    Object.entries(real).map(([name, method]) => [
      name,
      (...args: never[]) => {
        calls.push(name);
        return (method as (...a: never[]) => unknown)(...args);
      },
    ]),
  ) as unknown as FilePort;
  return { files, calls };
};

describe('image files', () => {
  const png = Buffer.from('picture');
  const sha = createHash('sha256').update(png).digest('hex');

  test('content first, name second, directory last; the same picture is written once', async () => {
    const { files, calls } = recorded();
    const images = createImageFiles(base, files);
    expect(await images.put(png)).toBe(sha);
    expect(existsSync(join(base, 'images', sha.slice(0, 2), `${sha}.png`))).toBe(true);
    const order = calls.filter((call) => ['writeNew', 'rename', 'syncDirectory'].includes(call));
    expect(order.slice(0, 3)).toEqual(['writeNew', 'rename', 'syncDirectory']);
    calls.length = 0;
    await images.put(png);
    expect(calls).toEqual(['size']);
  });

  test('a torn file of the same name is replaced, an altered one is not served', async () => {
    const images = createImageFiles(base);
    await images.put(png);
    writeFileSync(images.pathOf(sha), 'pic');
    await expect(images.read(sha)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await images.put(png);
    expect((await images.read(sha)).toString()).toBe('picture');
  });

  test.each([
    ['ENOSPC', 'DISK_FULL'],
    ['EROFS', 'HOME_NOT_WRITABLE'],
  ])('%s is told as %s and leaves no temporary file', async (code, expected) => {
    const { files } = recorded({
      rename: async () => {
        throw Object.assign(new Error(code), { code });
      },
    });
    await expect(createImageFiles(base, files).put(png)).rejects.toMatchObject({ code: expected });
    expect(readdirSync(join(base, 'images', sha.slice(0, 2)))).toEqual([]);
  });

  test('replacing a file: the old content stays until the new one is whole', async () => {
    const file = join(base, 'mark.json');
    await writeDurably(file, 'old');
    const { files } = recorded({
      writeNew: async (path, bytes, mode) => {
        await nodeFiles.writeNew(path, bytes.subarray(0, 1), mode);
        throw Object.assign(new Error('power'), { code: 'EIO' });
      },
    });
    await expect(writeDurably(file, 'new', { files })).rejects.toThrow('power');
    expect(readFileSync(file, 'utf8')).toBe('old');
  });
});

describe('records', () => {
  let store: Store;
  beforeEach(async () => {
    store = await openStore({ home: join(base, 'home'), demo: false });
    store.stations.insert(newStation(), new Date());
  });
  afterEach(() => store.close());

  test('a transaction that fails stores nothing of it', () => {
    expect(() =>
      store.transaction(() => {
        store.parts.insert(newPart({ seq: 1 }));
        store.parts.insert(newPart({ seq: 1 }));
      }),
    ).toThrow(/UNIQUE/);
    expect(store.parts.recent('st-1', { limit: 100 })).toEqual([]);
  });

  test('the tile that decided is stored with the part', () => {
    const tile = { x: 10, y: 20, width: 30, height: 40, index: 2, count: 6 };
    const id = store.parts.insert(newPart({ judgement: { ...newPart().judgement, tile } }));
    expect(store.parts.get(id).judgement.tile).toEqual(tile);
  });

  test('pictures of a station, the newest first and each once, of the line and of imports', () => {
    const take = (seq: number, imageSha: string | null, origin: 'line' | 'import' = 'line') =>
      store.parts.insert(newPart({ seq: origin === 'line' ? seq : 0, imageSha, origin }));
    const [a, b, c] = [sha(1), sha(2), sha(3)];
    take(1, a);
    take(2, b);
    take(0, c, 'import');
    take(3, a);
    take(4, null);
    expect(store.parts.archived('st-1', 10)).toEqual([a, c, b]);
    expect(store.parts.archived('st-1', 2)).toEqual([a, c]);
    expect(store.parts.archived('st-2', 2)).toEqual([]);
  });

  test('pages of the archive are taken by index, forward of any row', () => {
    store.transaction(() => {
      for (let seq = 1; seq <= 2000; seq += 1) store.parts.insert(newPart({ seq }));
    });
    expect(store.parts.recent('st-1', { limit: 3, before: 1001 }).map((part) => part.seq)).toEqual([1000, 999, 998]);
    expect(store.parts.recent('st-1', { limit: 3, verdict: 'ng' })).toEqual([]);
    store.close();
    // The plan, not the time: a scan would be quick at this size and slow at a million.
    const db = new Sqlite(join(base, 'home', 'mekiki.sqlite'), { readonly: true });
    const planOf = (where: string) =>
      (
        db.prepare(`EXPLAIN QUERY PLAN SELECT * FROM parts WHERE ${where} ORDER BY id DESC LIMIT 12`).all() as {
          detail: string;
        }[]
      )
        .map((row) => row.detail)
        .join('; ');
    expect(planOf(`station_id = 'st-1' AND origin = 'line' AND id < 9`)).toMatch(
      /^SEARCH parts USING INDEX parts_recent[^;]*$/,
    );
    expect(planOf(`station_id = 'st-1' AND origin = 'line' AND verdict = 'ng' AND id < 9`)).toMatch(
      /^SEARCH parts USING INDEX parts_verdict[^;]*$/,
    );
    const detailsOf = (sql: string, ...bound: unknown[]) =>
      JSON.stringify(db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...bound));
    expect(detailsOf(PICTURES, { stationId: 'st-1' })).not.toMatch(/SCAN parts|TEMP B-TREE/);
    expect(detailsOf(LAST_OF, 'classes.merge', 'c-1')).not.toMatch(/SCAN|TEMP B-TREE/);
    db.close();
  });
});
