import { createHash, type Hash } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract, pack, type Pack } from 'tar-stream';
import { z } from 'zod';
import { openSecret, sealSecret } from '../audit/keys.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import { picturesOf } from '../store/check.ts';
import { absent, diskError, nodeFiles, outError, removeLeft } from '../store/files.ts';
import { ROOT_KEY_NAME } from './home-keys.ts';
import { PLANT_PASSWORD } from './plant-events.ts';

/*
 * A backup is one tar file that any tool can open: `backup.json` (what it is), then the files of the home under their own names, and last `seal.json`. The seal holds the number of entries, the
 * sha256 over the lines `<name> <bytes> <sha256>\n` of all of them in order, and the home's secrets, sealed with the password of whoever made the backup. Each is bound to that sum and to its name:
 * a backup that somebody altered does not open with the right password. The seal itself is in no sum: it names no secret but those of a home.
 */

export const BACKUP_FORMAT = 'mekiki backup 2';
/** Its secrets are bound to the sum alone. */
const FIRST_FORMAT = 'mekiki backup 1';

const headSchema = z.object({
  format: z.enum([FIRST_FORMAT, BACKUP_FORMAT]),
  at: z.iso.datetime(),
  /** Whose password opens it. */
  by: z.string(),
  installation: z.string(),
  version: z.string(),
  demo: z.boolean(),
});
export type BackupHead = z.infer<typeof headSchema>;

const secretsSchema = z.strictObject({ [ROOT_KEY_NAME]: z.string(), [PLANT_PASSWORD]: z.string().optional() });

const sealSchema = z.object({
  entries: z.number().int().positive(),
  bytes: z.number().int().nonnegative(),
  sha256: z.string(),
  /** Pictures that rows name and that were no longer there (the ring of ok pictures), or no longer what they were; they are not in the backup. */
  missingPictures: z.number().int().nonnegative(),
  secrets: secretsSchema,
});
export type BackupSeal = z.infer<typeof sealSchema>;

const HEAD = 'backup.json';
export const AUDIT_HEAD = 'trust/audit-head.json';
export const ACTIVATIONS = 'trust/active/';
const SEAL = 'seal.json';
const SMALL = 1024 * 1024;
/** What a home is made of, beside its pictures. `work` (what jobs keep meanwhile) and the line's spool belong to the PC. */
const folders = ['trust', 'features', 'knowledge', 'bundles', 'backbones', 'costs'];
/** No end of a line in it, among other signs: the lines of the sum tell files apart. */
const segment = String.raw`(?!\.\.?(?:/|$))[^/\\:\p{Cc}]{1,200}`;
const allowed = new RegExp(
  `^(mekiki\\.(json|sqlite)|(${folders.join('|')})(/${segment}){1,8}|spool/${segment}\\.ok-images|` +
    String.raw`images/([0-9a-f]{2})/\5[0-9a-f]{62}\.(png|keep))$`,
  'u',
);

/** What a sealed secret opens beside. */
const boundTo = ({ format }: BackupHead, sha256: string, name: string): string =>
  format === FIRST_FORMAT ? sha256 : `${sha256} ${name}`;

/** The first format took the signed activations after the database, which may name other models. */
export const isOfLaterMoment = ({ format }: BackupHead, name: string): boolean =>
  format === FIRST_FORMAT && name.startsWith(ACTIVATIONS);

const shaOf = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

const sumLine = (sum: Hash, name: string, bytes: number, sha: string): void =>
  void sum.update(`${name} ${bytes} ${sha}\n`);

export interface PackOptions {
  home: string;
  /** The copy of the database to take (store.snapshot). */
  database: string;
  /**
   * Files that have to fit that copy, as they were with it, by their names in the home: trust/audit-head.json (a later one would name
   * entries that the copy lacks) and those of trust/active.
   */
  ofCopy: ReadonlyMap<string, Uint8Array>;
  /** Must not exist. */
  file: string;
  head: BackupHead;
  secrets: Record<string, Uint8Array>;
  password: string;
  progress?(done: number): void;
  /** Told of each picture that is left out since it is not what its name says. */
  leftOut?(name: string): void;
}

async function* walk(root: string, name: string): AsyncGenerator<string> {
  const entries = await readdir(join(root, name), { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = `${name}/${entry.name}`;
    if (entry.isDirectory()) {
      // Half-made by whoever works there now: no row names it.
      if (!entry.name.startsWith('.')) yield* walk(root, path);
    } else if (entry.isFile() && !entry.name.endsWith('.tmp')) yield path;
  }
}

/** Writes the backup, on the disk for good when it returns. ALREADY_EXISTS, DISK_FULL, INVALID_INPUT for a place that does not take it. */
export const packBackup = async (options: PackOptions): Promise<BackupSeal> => {
  const { home, file } = options;
  const tar = pack();
  const sum = createHash('sha256');
  let entries = 0;
  let bytes = 0;
  let missingPictures = 0;
  const told = (name: string, size: number, sha: string) => {
    sumLine(sum, name, size, sha);
    entries += 1;
    bytes += size;
    options.progress?.(entries);
  };
  const add = async (name: string, content: Uint8Array | string) => {
    const data = Buffer.from(content);
    await put(tar, name, data);
    told(name, data.length, shaOf(data));
  };
  /** false: it is not there, or as good as that: nobody would be shown it either. Whole in memory, since it is known by all of its bytes. */
  const addPicture = async (name: string, sha: string): Promise<boolean> => {
    const content = await readFile(join(home, name)).catch(absent);
    if (content === null) return false;
    if (shaOf(content) !== sha) {
      options.leftOut?.(name);
      return false;
    }
    await put(tar, name, content);
    told(name, content.length, sha);
    return true;
  };
  /** false: it is not there. */
  const addFile = async (name: string, path = join(home, name)): Promise<boolean> => {
    const size = await nodeFiles.size(path);
    if (size === null) return false;
    if (size <= SMALL) {
      const content = await readFile(path).catch(absent);
      if (content === null) return false;
      await add(name, content);
      return true;
    }
    // Before the archive begins an entry, which it could not take back: cleaning may have removed the file by now.
    const handle = await open(path).catch(absent);
    if (handle === null) return false;
    const hash = createHash('sha256');
    const entry = tar.entry({ name, size, mode: 0o644 });
    // A file that is appended to meanwhile is taken as long as it was. The stream closes the handle.
    await pipeline(handle.createReadStream({ end: size - 1 }), tapped(hash), entry);
    told(name, size, hash.digest('hex'));
    return true;
  };
  const write = async () => {
    await add(HEAD, JSON.stringify(options.head));
    await addFile('mekiki.json');
    await addFile('mekiki.sqlite', options.database);
    for (const folder of folders) {
      for await (const name of walk(home, folder)) {
        if (name !== AUDIT_HEAD && !name.startsWith(ACTIVATIONS)) await addFile(name);
      }
    }
    for (const [name, content] of options.ofCopy) await add(name, content);
    for await (const name of walk(home, 'spool')) if (name.endsWith('.ok-images')) await addFile(name);
    for await (const { sha, files } of picturesOf(options.database, home)) {
      const name = `images/${sha.slice(0, 2)}/${sha}`;
      if (!files.has('png') || !(await addPicture(`${name}.png`, sha))) missingPictures += 1;
      if (files.has('keep')) await addFile(`${name}.keep`);
    }
    const sha256 = sum.digest('hex');
    const sealed: Record<string, string> = {};
    for (const [name, value] of Object.entries(options.secrets))
      sealed[name] = await sealSecret(value, options.password, { boundTo: boundTo(options.head, sha256, name) });
    const secrets = secretsSchema.parse(sealed);
    const seal: BackupSeal = { entries, bytes, sha256, missingPictures, secrets };
    await put(tar, SEAL, Buffer.from(JSON.stringify(seal)));
    tar.finalize();
    return seal;
  };
  const out = createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true });
  const writing = pipeline(tar, out);
  let failedAtHome = false;
  try {
    const [seal] = await Promise.all([
      write().catch((error: Error) => {
        failedAtHome = out.errored === null;
        tar.destroy(error);
        throw error;
      }),
      writing,
    ]);
    return seal;
  } catch (error) {
    await writing.catch(() => {});
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new AppError('ALREADY_EXISTS', { kind: 'file', id: file });
    await removeLeft(file);
    // A stick takes no file of more than 4 GB, say: not a fault of the data folder, nor of the program.
    throw failedAtHome ? diskError(error, file) : outError(error, file, 'file');
  }
};

const put = (tar: Pack, name: string, data: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    const entry = tar.entry({ name, size: data.length, mode: 0o644 }, data, (error) =>
      error ? reject(error) : resolve(),
    );
    // Unheard, it would end the thread before anything is told or cleared up.
    entry.on('error', reject);
  });

const tapped = (hash: Hash) =>
  async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };

export interface ReadBackup {
  head: BackupHead;
  seal: BackupSeal;
}

/**
 * Reads a backup to its end and checks every sum. `take` gets each file of the home, and must read it to its end.
 * BACKUP_UNREADABLE: cut off, damaged, not a backup, or with a name in it that a home does not have.
 */
export const readBackup = async (
  file: string,
  take: (name: string, content: AsyncIterable<Buffer>) => Promise<void> = drain,
): Promise<ReadBackup> => {
  const unreadable = (problem: string, cause?: unknown) =>
    new AppError('BACKUP_UNREADABLE', { file, problem }, { cause });
  const sum = createHash('sha256');
  let head: BackupHead | null = null;
  let seal: BackupSeal | null = null;
  let entries = 0;
  let bytes = 0;
  // A pipe would wait for whoever writes into it.
  const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') throw new AppError('NOT_FOUND', { kind: 'backup', id: file });
      throw unreadable(problemOf(error), error);
    },
  );
  if (!(await handle.stat()).isFile()) {
    await handle.close();
    throw unreadable('it is no file');
  }
  const source = handle.createReadStream();
  const tar = extract();
  const reading = pipeline(source, tar);
  reading.catch(() => {
    // Told by the loop below.
  });
  try {
    for await (const entry of tar) {
      const { name, type, size = 0 } = entry.header;
      if (seal !== null) throw unreadable('something follows its end');
      if (type !== 'file') throw unreadable(`${name} is not a file`);
      const content = entry as AsyncIterable<Buffer>;
      if (name === SEAL || name === HEAD) {
        if (size > SMALL) throw unreadable(`${name} is too long`);
        const data: Buffer[] = [];
        for await (const chunk of content) data.push(chunk);
        const text = Buffer.concat(data).toString('utf8');
        if (name === SEAL) {
          seal = sealSchema.parse(JSON.parse(text));
          continue;
        }
        if (entries > 0) throw unreadable('it has two beginnings');
        head = headSchema.parse(JSON.parse(text));
        sumLine(sum, name, size, shaOf(text));
      } else {
        if (head === null) throw unreadable('it does not begin as one');
        if (!allowed.test(name)) throw unreadable(`it holds ${name.slice(0, 100)}`);
        const hash = createHash('sha256');
        await take(name, tapped(hash)(content));
        const sha = hash.digest('hex');
        if (name.endsWith('.png') && name.startsWith('images/') && !name.endsWith(`/${sha}.png`))
          throw unreadable(`the picture ${name} is not what its name says`);
        sumLine(sum, name, size, sha);
      }
      entries += 1;
      bytes += size;
    }
    await reading;
  } catch (error) {
    if (isAppError(error)) throw error;
    const known = diskError(error, file);
    throw isAppError(known) ? known : unreadable(problemOf(error), error);
  } finally {
    source.destroy();
    await handle.close().catch(() => {});
  }
  if (head === null || seal === null) throw unreadable('its end is missing');
  if (seal.entries !== entries || seal.bytes !== bytes || seal.sha256 !== sum.digest('hex'))
    throw unreadable('its contents are not those it was made with');
  return { head, seal };
};

const drain = async (_name: string, content: AsyncIterable<Buffer>): Promise<void> => {
  for await (const _ of content);
};

/** The secrets of a backup that was read whole. BACKUP_LOCKED; BACKUP_UNREADABLE where one stands under two names. */
export const openSecrets = async (
  file: string,
  { head, seal }: ReadBackup,
  password: string,
): Promise<Map<string, Buffer>> => {
  const secrets = new Map<string, Buffer>();
  for (const [name, sealed] of Object.entries(seal.secrets)) {
    if (sealed === undefined) continue;
    const secret = await openSecret(sealed, password, boundTo(head, seal.sha256, name)).catch((cause: unknown) => {
      throw new AppError('BACKUP_LOCKED', { file, user: head.by }, { cause });
    });
    // The first format binds no name: the root key, say, would be told to a broker as its password.
    if ([...secrets.values()].some((other) => other.equals(secret)))
      throw new AppError('BACKUP_UNREADABLE', { file, problem: `${name} is the same as another secret` });
    secrets.set(name, secret);
  }
  return secrets;
};

export const backupBytes = async (file: string): Promise<number> => (await stat(file)).size;
