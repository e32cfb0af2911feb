import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { extract, pack } from 'tar-stream';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { signActive, type ActiveModels } from '../../../main/audit/activation.ts';
import { openRootKey, sealSecret } from '../../../main/audit/keys.ts';
import type { Candidate } from '../../../main/contract/domain.ts';
import { AppError, isAppError } from '../../../main/contract/errors.ts';
import { silentLog } from '../../../main/contract/log.ts';
import { packBackup, readBackup, type BackupSeal } from '../../../main/core/backup-file.ts';
import { createFileSecretStore } from '../../../main/core/home-keys.ts';
import { restoreBackup } from '../../../main/core/restore.ts';
import { nodeFiles } from '../../../main/store/files.ts';
import { markRestore } from '../../../main/store/home.ts';
import { lockRestore } from '../../../main/store/restore-lock.ts';
import { SMALL_COST } from '../../helpers/password-cost.ts';
import { backupHead } from './backup-head.ts';
import { lineRecord, PASSWORD, setUp, startWorld, writeDataset, writePicture, type World } from './world.ts';

let world: World;
let folder: string;
let stationId: string;
/** Between the copy of the database and the packing, when a backup asks for the secrets of the home. */
let whenCopied = async (): Promise<void> => {};
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-backup-'));
  const home = join(folder, 'world');
  const secrets = createFileSecretStore(home, silentLog);
  const get = async (name: string) => {
    if (name === 'mqtt-password') await whenCopied();
    return secrets.get(name);
  };
  world = await startWorld({ home, secrets: { ...secrets, get } });
  ({ stationId } = await setUp(world));
  const labelled = await writeDataset(join(folder, 'labelled'), { ok: 4, scratch: 3 });
  await world.done(await world.call('import.start', { stationId, path: labelled, asLabels: true }));
  await world.done(await world.call('knowledge.update', { stationId }));
  await world.call('models.activate', { candidateId: (await approved()).id });
});
afterEach(() => {
  whenCopied = async () => {};
});
afterAll(async () => {
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

const approved = async (): Promise<Candidate> => {
  await world.done(await world.call('candidates.create', { stationId }));
  const candidates = await world.call('candidates.list', { stationId });
  const { id: candidateId } = candidates.find(({ offered, state }) => offered && state === 'candidate')!;
  return world.call('candidates.approve', { candidateId, password: PASSWORD, meaning: 'reviewed' });
};

/** Every table with all its rows, but for the jobs: a backup is itself one that runs. */
const rowsOf = (file: string): Record<string, unknown[]> => {
  const db = new Sqlite(file, { readonly: true });
  const tables = db
    .prepare(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'jobs'`)
    .pluck()
    .all() as string[];
  const rows = Object.fromEntries(tables.map((name) => [name, db.prepare(`SELECT * FROM ${name}`).raw().all()]));
  db.close();
  return rows;
};
const filesOf = (home: string, folders: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    folders.flatMap((name) =>
      readdirSync(join(home, name), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => {
          const path = join(entry.parentPath, entry.name);
          return [path.slice(home.length), createHash('sha256').update(readFileSync(path)).digest('hex')] as const;
        }),
    ),
  );
const folders = ['images', 'knowledge', 'features', 'bundles', 'backbones', 'secrets', 'trust'];
const backUp = async (file: string) => world.done(await world.call('home.backup', { file, password: PASSWORD }));
const restore = (file: string, home: string, password = PASSWORD) =>
  restoreBackup({ file, home, password: async () => password });
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (error: unknown) => (isAppError(error) ? error.code : String(error)),
  );

const writeTar = async (file: string, entries: Iterable<[string, Buffer | string]>): Promise<void> => {
  const tar = pack();
  for (const [name, content] of entries) tar.entry({ name }, content);
  tar.finalize();
  writeFileSync(file, await buffer(tar));
};
const entriesOf = async (file: string): Promise<Map<string, Buffer>> => {
  const entries = new Map<string, Buffer>();
  for await (const entry of createReadStream(file).pipe(extract()))
    entries.set(entry.header.name, await buffer(entry as AsyncIterable<Buffer>));
  return entries;
};
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
/** The same as the first format had it: the root key bound to the sum alone. */
const inFirstFormat = async (entries: ReadonlyMap<string, Buffer>): Promise<Map<string, Buffer>> => {
  const head = JSON.parse(String(entries.get('backup.json'))) as object;
  const first = new Map(entries).set('backup.json', bytesOf({ ...head, format: 'mekiki backup 1' }));
  first.delete('seal.json');
  const sum = createHash('sha256');
  let bytes = 0;
  for (const [name, content] of first) {
    sum.update(`${name} ${content.length} ${createHash('sha256').update(content).digest('hex')}\n`);
    bytes += content.length;
  }
  const sha256 = sum.digest('hex');
  const key = await sealSecret(rootKey(), PASSWORD, { boundTo: sha256, cost: SMALL_COST });
  const seal = { entries: first.size, bytes, sha256, missingPictures: 0, secrets: { 'root.key': key } };
  return first.set('seal.json', bytesOf(seal));
};
const packWith = (database: string, file: string): Promise<BackupSeal> =>
  packBackup({
    home: world.home,
    database,
    ofCopy: new Map(),
    file,
    head: backupHead(),
    secrets: { 'root.key': rootKey() },
    password: PASSWORD,
  });
const rootKey = (): Buffer => readFileSync(join(world.home, 'secrets', 'root.key'));

describe('backup and restore', () => {
  test('where the note of the trail cannot be read there is no backup: a restore would find a long trail broken', async () => {
    const file = join(folder, 'no-note.mekiki-backup');
    const note = join(world.home, 'trust', 'audit-head.json');
    renameSync(note, `${note}.kept`);
    mkdirSync(note);
    try {
      expect(await codeOf(backUp(file))).toBe('INTERNAL');
      expect(existsSync(file)).toBe(false);
    } finally {
      rmSync(note, { recursive: true });
      renameSync(`${note}.kept`, note);
    }
  });

  test('a large file that is removed while it is looked at is one that is not there', async () => {
    const gone = join(world.home, 'features', 'removed.f32');
    writeFileSync(gone, Buffer.alloc(2 * 1024 * 1024));
    const database = join(folder, 'copy.sqlite');
    const whole = join(folder, 'whole.mekiki-backup');
    await backUp(whole);
    writeFileSync(database, (await entriesOf(whole)).get('mekiki.sqlite')!);
    const { size } = nodeFiles;
    vi.spyOn(nodeFiles, 'size').mockImplementation(async (path) => {
      const found = await size(path);
      if (path === gone) rmSync(gone);
      return found;
    });
    const file = join(folder, 'removed.mekiki-backup');
    await packWith(database, file);
    vi.restoreAllMocks();
    const names = [...(await entriesOf(file)).keys()];
    expect(names).toContain('seal.json');
    expect(names).not.toContain('features/removed.f32');
  });

  test('a place that does not take the backup is told as that, and what cannot be read at home is not', async () => {
    const database = join(folder, 'copy-2.sqlite');
    writeFileSync(database, '');
    const away = join(folder, 'no such folder', 'x');
    await expect(packWith(database, away)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      details: { what: 'file', problem: expect.stringContaining('ENOENT') as unknown },
    });
    const file = join(folder, 'unread.mekiki-backup');
    await expect(packWith(folder, file)).rejects.toMatchObject({ code: 'EISDIR' });
    expect(existsSync(file)).toBe(false);
  });

  test.skipIf(process.platform === 'win32')(
    'a file system that takes no file so large is told by the packing itself, which leaves no part of it',
    async () => {
      const home = join(folder, 'of small files');
      mkdirSync(join(home, 'trust'), { recursive: true });
      for (let n = 0; n < 20; n += 1) writeFileSync(join(home, 'trust', String(n)), Buffer.alloc(20_000));
      const file = join(folder, 'too-large.mekiki-backup');
      const child = fileURLToPath(new URL('pack-child.ts', import.meta.url));
      const limited = ['-c', 'ulimit -f 64; exec "$@"', 'sh', process.execPath, child, home, file];
      const { stdout } = await promisify(execFile)('sh', limited);
      expect(JSON.parse(stdout)).toMatchObject({
        code: 'INVALID_INPUT',
        details: { what: 'file', problem: expect.stringContaining('EFBIG') as unknown },
      });
      expect(existsSync(file)).toBe(false);
    },
  );

  test('two that were asked for one name: the first keeps it, the second says so', async () => {
    const file = join(folder, 'same.mekiki-backup');
    const asked = { file, password: PASSWORD };
    const [first, second] = [await world.call('home.backup', asked), await world.call('home.backup', asked)];
    await world.done(first);
    const kept = readFileSync(file);
    expect(await codeOf(world.done(second))).toBe('ALREADY_EXISTS');
    expect(readFileSync(file)).toEqual(kept);
    const late = join(folder, 'late.mekiki-backup');
    whenCopied = async () => writeFileSync(late, 'of somebody');
    expect(await codeOf(backUp(late))).toBe('ALREADY_EXISTS');
    expect(readFileSync(late, 'utf8')).toBe('of somebody');
  });

  test('a home restored from a backup taken while parts came in is that home, and inspects on', async () => {
    const file = join(folder, 'first.mekiki-backup');
    await world.call('line.start', { stationId });
    const line = world.lines.get(stationId)!;
    const job = await world.call('home.backup', { file, password: PASSWORD });
    // Half of them before the copy of the database, half after it: whichever, nothing may be torn.
    for (let seq = 1; seq <= 200; seq += 1) {
      line.emit([lineRecord(seq)]);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await world.done(job);
    await world.call('line.stop', { stationId });
    expect(readdirSync(folder).filter((name) => name.includes('.part'))).toEqual([]);
    expect(await world.call('home.state', {})).toMatchObject({ lastBackup: { file, bytes: statSync(file).size } });
    expect(statSync(file).mode & 0o077).toBe(0);

    const home = join(folder, 'again');
    const { head, entries } = await restore(file, home);
    expect(head.by).toBe('sato');
    expect(entries).toBeGreaterThan(10);
    const files = filesOf(home, folders);
    for (const [name, sha] of Object.entries(filesOf(world.home, folders)))
      if (!name.endsWith('audit-head.json')) expect(files[name], name).toBe(sha);
    const restored = await startWorld({ home });
    try {
      await restored.call('session.signIn', { name: 'sato', password: PASSWORD });
      expect(await restored.call('audit.verify', {})).toMatchObject({ valid: true });
      // Before anybody could sign in.
      const { entries: trail } = await restored.call('audit.list', { limit: 2 });
      expect(trail.map(({ action, subject }) => [action, subject])).toEqual([
        ['session.signIn', 'sato'],
        ['home.restore', file],
      ]);
      const { entries: made } = await world.call('audit.list', {});
      expect(made.filter(({ subject }) => subject === file).map(({ action }) => action)).toEqual([
        'home.backup',
        'home.backupBegun',
      ]);
      expect(await restored.call('candidates.list', { stationId })).toEqual(
        await world.call('candidates.list', { stationId }),
      );
      await restored.call('line.start', { stationId });
      expect(restored.lines.get(stationId)!.configured.at(-1)?.bundleDir).toContain(home);
      // Numbered on where the copy ended, without a gap.
      const stored = restored.lines.get(stationId)!.configured.at(-1)!.acknowledged;
      expect(await restored.call('line.status', { stationId })).toMatchObject({ lostRecords: 0 });
      expect(stored).toBeLessThanOrEqual(200);
    } finally {
      await restored.close();
    }
  });

  test('with nothing going on, every row is the same', async () => {
    const file = join(folder, 'quiet.mekiki-backup');
    await backUp(file);
    const home = join(folder, 'quiet');
    await restore(file, home);
    const restored = rowsOf(join(home, 'mekiki.sqlite'));
    await world.core.close();
    const kept = rowsOf(join(world.home, 'mekiki.sqlite'));
    await world.reopen();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    // What was written because of the backup, and at the end of the program, is newer than it.
    for (const name of ['audit', 'audit_heads', 'settings']) {
      for (const row of restored[name]!) if (name !== 'settings') expect(kept[name]).toContainEqual(row);
      delete kept[name];
      delete restored[name];
    }
    expect(restored).toEqual(kept);
  });

  test('refuses what is not whole, and says so before it writes anything', async () => {
    const file = join(folder, 'damaged.mekiki-backup');
    await backUp(file);
    const bytes = readFileSync(file);
    const home = join(folder, 'never');
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.record({ kind: fc.constant('cut' as const), at: fc.nat(bytes.length - 1025) }),
          fc.record({ kind: fc.constant('flip' as const), at: fc.nat(bytes.length - 1025) }),
          fc.record({ kind: fc.constant('noise' as const), at: fc.nat(5_000) }),
        ),
        async ({ kind, at }) => {
          const damaged = Buffer.from(bytes);
          if (kind === 'flip') damaged[at]! ^= 1;
          const content =
            kind === 'cut' ? damaged.subarray(0, at) : kind === 'flip' ? damaged : Buffer.from(randomBytes(at));
          writeFileSync(`${file}.bad`, content);
          const outcome = await restore(`${file}.bad`, home).then(
            ({ entries, bytes: size }) => ({ entries, size }),
            (error: unknown) => (isAppError(error) ? error.code : String(error)),
          );
          // Padding and the fields of a header that nobody reads (owner, time) carry nothing: then all the rest is as it was.
          if (typeof outcome === 'object') {
            expect(kind).toBe('flip');
            rmSync(home, { recursive: true });
          } else {
            expect(['BACKUP_UNREADABLE', 'BACKUP_LOCKED']).toContain(outcome);
            expect(existsSync(home)).toBe(false);
          }
        },
      ),
      { numRuns: 60 },
    );
    expect(await codeOf(restore(file, home, 'not the password'))).toBe('BACKUP_LOCKED');
    expect(await codeOf(restore(join(folder, 'nowhere'), home))).toBe('NOT_FOUND');
    expect(existsSync(home)).toBe(false);
  });

  test('never writes into a home that holds something, nor over a file, nor with a wrong password', async () => {
    const file = join(folder, 'third.mekiki-backup');
    await backUp(file);
    expect(await codeOf(restore(file, world.home))).toBe('HOME_NOT_EMPTY');
    expect(await codeOf(restore(file, file))).toBe('HOME_NOT_WRITABLE');
    expect(await codeOf(backUp(file))).toBe('ALREADY_EXISTS');
    expect(await codeOf(world.call('home.backup', { file: `${file}2`, password: 'wrong one here' }))).toBe(
      'WRONG_PASSWORD',
    );
    // Typed in the window: nobody knows in which folder the program was started.
    for (const target of ['mine.mekiki-backup', '~/mine.mekiki-backup', './mine'])
      await expect(backUp(target)).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        details: { what: target, problem: expect.stringContaining('whole path') as unknown },
      });
    // Not of the data folder, and in the system's words for the file that was named.
    for (const [target, code] of [
      [join(folder, 'no such folder', 'x'), 'ENOENT'],
      [join(file, 'x'), 'ENOTDIR'],
      ['/proc/x', 'ENOENT'],
    ] as const)
      await expect(backUp(target)).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        details: { what: 'file', problem: expect.stringMatching(`^${code}: .*'${target}'$`) as unknown },
      });
  });

  test('a restore that was killed is no home, and can be done again', async () => {
    const list = join('spool', 'line.ok-images');
    writeFileSync(join(world.home, list), '');
    const file = join(folder, 'fourth.mekiki-backup');
    await backUp(file);
    const home = join(folder, 'killed');
    const stop = new AbortController();
    const half = restoreBackup({
      file,
      home,
      password: async () => PASSWORD,
      signal: stop.signal,
      // Among the pictures, which come last and are most of it.
      progress: (done, of) => done === of - 3 && stop.abort(),
    });
    await expect(half).rejects.toThrow();
    expect(existsSync(join(home, list))).toBe(true);
    expect(await codeOf(startWorld({ home }))).toBe('RESTORE_UNFINISHED');
    // What lies there is replaced; a backup that somebody has put there for the next try may be the only one.
    const inside = join(home, 'copy.mekiki-backup');
    copyFileSync(file, inside);
    expect(await codeOf(restore(inside, home))).toBe('INVALID_INPUT');
    // Nor is anything else removed that no restore makes.
    expect(await codeOf(restore(file, home))).toBe('HOME_NOT_EMPTY');
    expect(existsSync(inside)).toBe(true);
    rmSync(inside);
    await restore(file, home);
    const again = await startWorld({ home });
    await again.close();
  });

  test('a folder that somebody restores into just now is left alone', async () => {
    const file = join(folder, 'twice.mekiki-backup');
    await backUp(file);
    const home = join(folder, 'twice');
    await markRestore(home);
    const written = join(home, 'mekiki.json');
    writeFileSync(written, 'by the first');
    const first = lockRestore(home);
    expect(await codeOf(restore(file, home))).toBe('HOME_IN_USE');
    expect(readFileSync(written, 'utf8')).toBe('by the first');
    first[Symbol.dispose]();
    await restore(file, home);
    const restored = await startWorld({ home });
    await restored.close();
  });

  test('a restore that is cancelled while it reads what it has asks nobody for a password', async () => {
    const file = join(folder, 'half-read.mekiki-backup');
    await backUp(file);
    const home = join(folder, 'half-read');
    const password = vi.fn(async () => PASSWORD);
    const signal = AbortSignal.abort(new AppError('CANCELLED'));
    await expect(restoreBackup({ file, home, password, signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(password).not.toHaveBeenCalled();
    expect(existsSync(home)).toBe(false);
  });

  test('the files of a restore wait for the disk together', async () => {
    const file = join(folder, 'together.mekiki-backup');
    await backUp(file);
    const handle = await open(file);
    const kind = Object.getPrototypeOf(handle) as typeof handle;
    await handle.close();
    let [waiting, most, synced] = [0, 0, 0];
    const { sync } = kind;
    vi.spyOn(kind, 'sync').mockImplementation(async function (this: typeof handle) {
      most = Math.max(most, (waiting += 1));
      await sync.call(this);
      waiting -= 1;
      synced += 1;
    });
    try {
      const { entries } = await restore(file, join(folder, 'together'));
      expect(synced).toBeGreaterThanOrEqual(entries);
      expect(most).toBeGreaterThan(8);
    } finally {
      vi.restoreAllMocks();
    }
  });

  test.each([
    ['ENOSPC', 'DISK_FULL', 'path'],
    ['EFBIG', 'HOME_NOT_WRITABLE', 'home'],
  ])(
    'a disk that says %s to a restore is that of the folder, and nothing is wrong with the backup',
    async (said, code, of) => {
      const file = join(folder, `${said}.mekiki-backup`);
      await backUp(file);
      const handle = await open(file);
      const kind = Object.getPrototypeOf(handle) as typeof handle;
      await handle.close();
      const { writeFile } = kind;
      vi.spyOn(kind, 'writeFile').mockImplementation(async function (this: typeof handle, data, ...rest) {
        if ((data as Uint8Array).length > 0) throw Object.assign(new Error(`${said}: write`), { code: said });
        await writeFile.call(this, data, ...rest);
      });
      const home = join(folder, said);
      try {
        await expect(restore(file, home)).rejects.toMatchObject({ code, details: { [of]: home } });
      } finally {
        vi.restoreAllMocks();
      }
    },
  );

  test.skipIf(process.platform === 'win32')('what is no file is not waited for, nor read without an end', async () => {
    const pipe = join(folder, 'pipe');
    await promisify(execFile)('mkfifo', [pipe]);
    for (const file of [folder, pipe, '/dev/zero'])
      await expect(readBackup(file)).rejects.toMatchObject({
        code: 'BACKUP_UNREADABLE',
        details: { file, problem: 'it is no file' },
      });
  });

  test('names that lead out of the home are refused', async () => {
    const file = join(folder, 'traversal.tar');
    const head = { format: 'mekiki backup 1', at: new Date().toISOString(), by: 'x', installation: 'x', version: '1' };
    await writeTar(file, [
      ['backup.json', JSON.stringify({ ...head, demo: false })],
      ['bundles/../../../evil', 'x'],
    ]);
    await expect(readBackup(file)).rejects.toMatchObject({ code: 'BACKUP_UNREADABLE' });
  });

  test('two files that are made one, whose name reads as both, are refused: the other would be gone from what its password opens', async () => {
    const whole = join(folder, 'both.mekiki-backup');
    await backUp(whole);
    const entries = [...(await entriesOf(whole))];
    const at = entries.findIndex(([name]) => name === 'trust/founder.json');
    const [[name, content], [next, kept]] = entries.slice(at, at + 2) as [[string, Buffer], [string, Buffer]];
    const sha = createHash('sha256').update(content).digest('hex');
    const seal = JSON.parse(String(entries.at(-1)![1])) as BackupSeal;
    const altered = entries
      .toSpliced(at, 2, [`${name} ${content.length} ${sha}\n${next}`, kept])
      .toSpliced(-1, 1, [
        'seal.json',
        bytesOf({ ...seal, entries: seal.entries - 1, bytes: seal.bytes - content.length }),
      ]);
    const file = join(folder, 'one-less.mekiki-backup');
    await writeTar(file, altered);
    const home = join(folder, 'one-less');
    expect(await codeOf(restore(file, home))).toBe('BACKUP_UNREADABLE');
    expect(existsSync(home)).toBe(false);
  });

  test('a seal whose secrets are not those of a home, each once, is refused', async () => {
    const whole = join(folder, 'sealed.mekiki-backup');
    await backUp(whole);
    const entries = await entriesOf(whole);
    const first = await inFirstFormat(entries);
    const file = join(folder, 'altered.mekiki-backup');
    const home = join(folder, 'sealed');
    for (const [of, twice] of [
      [entries, 'BACKUP_LOCKED'],
      [first, 'BACKUP_UNREADABLE'],
    ] as const) {
      const seal = JSON.parse(String(of.get('seal.json'))) as BackupSeal;
      const key = seal.secrets['root.key'];
      const refusal = async (secrets: Record<string, string>): Promise<string> => {
        await writeTar(file, new Map(of).set('seal.json', bytesOf({ ...seal, secrets })));
        return codeOf(restore(file, home));
      };
      expect(await refusal({})).toBe('BACKUP_UNREADABLE');
      expect(await refusal({ 'root.key': key, '../../key': key })).toBe('BACKUP_UNREADABLE');
      // Another text, and the same secret.
      expect(await refusal({ 'root.key': key, 'mqtt-password': ` ${key}` })).toBe(twice);
    }
    expect(existsSync(join(folder, 'key'))).toBe(false);
    expect(existsSync(home)).toBe(false);
  });

  test('one that was cancelled before its end is in the trail, and so is who cancelled it', async () => {
    const file = join(folder, 'cancelled.mekiki-backup');
    const job = await world.call('home.backup', { file, password: PASSWORD });
    whenCopied = async () => void (await world.call('jobs.cancel', { jobId: job.id }));
    expect((await world.done(job)).state).toBe('cancelled');
    const { entries } = await world.call('audit.list', { limit: 2 });
    expect(entries.map(({ user, action, subject }) => [user, action, subject])).toEqual([
      ['sato', 'jobs.cancel', job.id],
      ['sato', 'home.backupBegun', file],
    ]);
    expect(readdirSync(folder).filter((name) => name.startsWith('cancelled'))).toEqual([]);
  });

  test('models activated meanwhile: the restored line inspects with the one that its database names', async () => {
    const file = join(folder, 'activated.mekiki-backup');
    const name = `trust/active/${stationId}.json`;
    const now = () => readFileSync(join(world.home, name), 'utf8');
    const { models, by } = JSON.parse(now()) as ActiveModels;
    const second = await approved();
    // While the database is copied (told once before that), signed anew; when it was copied, another.
    let signed = '';
    let told = 0;
    const unsubscribe = world.core.subscribe((event) => {
      if (event.name !== 'jobs.progressed' || event.payload.step.key !== 'backup.snapshot' || (told += 1) !== 2) return;
      const { privateKey } = openRootKey(rootKey());
      signed = signActive({ stationId, models, by, at: new Date().toISOString() }, privateKey);
      writeFileSync(join(world.home, name), signed);
    });
    whenCopied = async () => void (await world.call('models.activate', { candidateId: second.id }));
    await backUp(file);
    unsubscribe();
    const entries = await entriesOf(file);
    expect(String(entries.get(name))).toBe(signed);
    expect(now()).toContain(second.id);
    // The first format has what was active later.
    const first = join(folder, 'first-format.mekiki-backup');
    await writeTar(first, await inFirstFormat(entries.set(name, Buffer.from(now()))));

    for (const [backup, signings] of [
      [file, []],
      [first, ['models.signActive']],
    ] as const) {
      const home = `${backup}-restored`;
      await restore(backup, home);
      const restored = await startWorld({ home });
      try {
        await restored.call('session.signIn', { name: 'sato', password: PASSWORD });
        await restored.call('line.start', { stationId });
        expect(restored.lines.get(stationId)!.configured.at(-1)?.bundleDir).toContain(models[0]!.candidateId);
        const { entries: trail } = await restored.call('audit.list', {});
        expect(trail.map(({ action }) => action).filter((action) => action === 'models.signActive')).toEqual(signings);
        expect(await restored.call('audit.verify', {})).toMatchObject({ valid: true });
      } finally {
        await restored.close();
      }
    }
  });

  test('a picture that the disk has changed is left out and told, and takes no backup from anybody', async () => {
    const [shown] = readdirSync(join(world.home, 'images')).flatMap((folder) =>
      readdirSync(join(world.home, 'images', folder))
        .filter((name) => name.endsWith('.png'))
        .map((name) => `images/${folder}/${name}`),
    );
    const path = join(world.home, shown!);
    const whole = readFileSync(path);
    writeFileSync(path, Buffer.concat([whole.subarray(0, -1), Buffer.of(whole.at(-1)! ^ 1)]));
    try {
      const file = join(folder, 'changed.mekiki-backup');
      const job = await backUp(file);
      expect(job).toMatchObject({ state: 'done', skipped: [{ file: shown, code: 'IMAGE_UNREADABLE' }] });
      expect((await entriesOf(file)).has(shown!)).toBe(false);
      expect((await restore(file, join(folder, 'changed'))).missingPictures).toBeGreaterThan(0);
    } finally {
      writeFileSync(path, whole);
    }
  });

  test('a picture that is gone from the ring of ok pictures is counted, not missed in silence', async () => {
    const lone = join(folder, 'lone');
    const { mkdirSync } = await import('node:fs');
    mkdirSync(lone);
    await writePicture(join(lone, '1.png'));
    await world.done(await world.call('import.start', { stationId, path: lone, asLabels: false }));
    const [part] = (await world.call('queue.list', { stationId })).items;
    const sha = part!.part.imageSha!;
    rmSync(join(world.home, 'images', sha.slice(0, 2), `${sha}.png`));
    const file = join(folder, 'fifth.mekiki-backup');
    await backUp(file);
    // The line records of the first test name pictures that nobody stored.
    expect((await readBackup(file)).seal.missingPictures).toBeGreaterThan(0);
    const home = join(folder, 'fifth');
    expect((await restore(file, home)).missingPictures).toBeGreaterThan(0);
  });
});
