import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { openLinesMap, type LineCodec } from '../../store/lines-map.ts';

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
export interface Journal {
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
}

interface Entry {
  s: number;
  m: number;
  h: string;
}

/** A size below 0: moved away. A line that is not ours: the file it stood for is taken again, which is the safe side. */
const codec: LineCodec<Entry> = {
  write: (n, entry) => JSON.stringify({ n, ...(entry ?? { s: -1, m: 0, h: '' }) }),
  read(line) {
    const { n, s, m, h } = JSON.parse(line) as Entry & { n: string };
    return { key: n, value: s < 0 ? null : { s, m, h } };
  },
};

/** Lines for files that are gone, were moved away or taken again, before the journal is written anew. */
const MAX_STALE = 1000;

/** @param file made if it is not there */
export function openJournal(file: string): Journal {
  mkdirSync(dirname(file), { recursive: true });
  const taken = openLinesMap(file, codec, 'throws');
  // Whether it can be written shows now, and not with the first part.
  appendFileSync(file, '');
  return {
    knows({ name, size, mtimeMs }) {
      const entry = taken.entries.get(name);
      return entry !== undefined && entry.s === size && entry.m === mtimeMs;
    },
    hashOf: (name) => taken.entries.get(name)?.h ?? null,
    add: ({ name, size, mtimeMs }, sha256) => taken.put(name, { s: size, m: mtimeMs, h: sha256 }),
    forget(name) {
      if (taken.drop(name)) taken.bury(name);
    },
    retain(present) {
      // The mount point of a share that is away is an empty folder: that says nothing about its files.
      const gone = present.size === 0 ? [] : [...taken.entries.keys()].filter((name) => !present.has(name));
      if (gone.length >= MAX_STALE) for (const name of gone) taken.drop(name);
      // Here and not at each line: it is called at every poll, and a part that was taken shall not fail by it.
      taken.compact(MAX_STALE);
    },
  };
}
