import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** Identity of a file that was taken: a new picture under an old name has another time, size or content. */
export interface FileIdentity {
  /** Relative to the watched folder. */
  name: string;
  size: number;
  mtimeMs: number;
}

/**
 * Which files have been taken, one line each: {n, s, m, h}. It is what makes a file that stays in the folder be inspected once,
 * also after a restart. Only needed while the file is there: lines of files that are gone are left out when it is written anew.
 */
export interface Journal extends Disposable {
  /** True when this very file (name, size, time) was taken. */
  knows(file: FileIdentity): boolean;
  /** sha256 of the content taken last under this name; null: none. */
  hashOf(name: string): string | null;
  add(file: FileIdentity, sha256: string): void;
  /** The file was moved away: what comes under its name is another one, even with the same content. */
  forget(name: string): void;
  /**
   * Forgets files that are no longer there, once there are many of them (none where nothing is there at all), and writes the journal anew once many of
   * its lines are dead.
   */
  retain(present: ReadonlySet<string>): void;
  dispose(): void;
}

interface Entry {
  s: number;
  m: number;
  h: string;
}

/** Lines for files that are gone, were moved away or taken again, before the journal is written anew. */
const MAX_STALE = 1000;

/** @param file made if it is not there; a torn last line (the process was killed) is dropped. */
export function openJournal(file: string): Journal {
  const entries = new Map<string, Entry>();
  mkdirSync(dirname(file), { recursive: true });
  let raw = Buffer.alloc(0);
  try {
    raw = readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const whole = raw.lastIndexOf(0x0a) + 1;
  const lines = raw.toString('utf8', 0, whole).split('\n').slice(0, -1);
  for (const line of lines) {
    try {
      const { n, s, m, h } = JSON.parse(line) as Entry & { n: string };
      if (s < 0) entries.delete(n);
      else entries.set(n, { s, m, h });
    } catch {
      // Not a line of ours: the file it stood for is taken again, which is the safe side.
    }
  }
  // By its path: a handle that appends may not cut off on Windows.
  if (whole < raw.length) truncateSync(file, whole);
  let handle = openSync(file, 'a');
  const line = (name: string, { s, m, h }: Entry) => `${JSON.stringify({ n: name, s, m, h })}\n`;
  /** Lines in the file; more than there are entries, where files were moved away or taken again. */
  let written = lines.length;

  const append = (name: string, entry: Entry) => {
    writeSync(handle, line(name, entry));
    written += 1;
  };
  const rewrite = () => {
    const temporary = `${file}.tmp`;
    writeFileSync(temporary, [...entries].map(([name, entry]) => line(name, entry)).join(''));
    closeSync(handle);
    try {
      renameSync(temporary, file);
      written = entries.size;
    } finally {
      // Also where somebody else holds the file (Windows): the next part is written to the old one.
      handle = openSync(file, 'a');
    }
  };
  const dispose = () => closeSync(handle);
  return {
    knows({ name, size, mtimeMs }) {
      const entry = entries.get(name);
      return entry !== undefined && entry.s === size && entry.m === mtimeMs;
    },
    hashOf: (name) => entries.get(name)?.h ?? null,
    add({ name, size, mtimeMs }, sha256) {
      const entry = { s: size, m: mtimeMs, h: sha256 };
      entries.set(name, entry);
      append(name, entry);
    },
    forget(name) {
      if (!entries.delete(name)) return;
      append(name, { s: -1, m: 0, h: '' });
    },
    retain(present) {
      // The mount point of a share that is away is an empty folder: that says nothing about its files.
      const gone = present.size === 0 ? [] : [...entries.keys()].filter((name) => !present.has(name));
      if (gone.length >= MAX_STALE) for (const name of gone) entries.delete(name);
      // Here and not at each line: it is called at every poll, and a part that was taken shall not fail by it.
      if (written - entries.size >= MAX_STALE) rewrite();
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}
