import { appendFileSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { syncFolder } from './files.ts';

/** How an entry stands in the file: one line without its end. */
export interface LineCodec<V> {
  /** @param value null: the entry is gone */
  write(key: string, value: V | null): string;
  /** null, or throws: not a line of ours, and let be. */
  read(line: string): { key: string; value: V | null } | null;
}

/**
 * A map that outlives the process, in a file that only grows: a line for each entry that came or went, of which the last one of a key counts.
 * Written by one process. No line is on the disk for good before the system writes it: a power cut may take the last ones.
 */
export interface LinesMap<V> {
  /** In the order in which they were put last. */
  readonly entries: ReadonlyMap<string, V>;
  put(key: string, value: V): void;
  /** From the map alone, the file says so when it is written anew. False: it was not there. */
  drop(key: string): boolean;
  /** Writes that an entry is gone, unless it has come again. */
  bury(key: string): void;
  /** Writes the file anew where it has so many lines that say nothing any more. */
  compact(stale: number): void;
}

/**
 * @param file need not be there. A torn last line (the process was killed) is cut off.
 * @param unreadable what a file that is there and cannot be read is taken for
 * @throws with `throws`: what the system says of it
 */
export function openLinesMap<V>(file: string, codec: LineCodec<V>, unreadable: 'throws' | 'empty'): LinesMap<V> {
  const entries = new Map<string, V>();
  const set = (key: string, value: V | null) => {
    entries.delete(key);
    if (value !== null) entries.set(key, value);
  };
  let lines = 0;
  for (const line of readLines(file, unreadable)) {
    lines += 1;
    const read = parse(line, codec);
    if (read) set(read.key, read.value);
  }
  const append = (key: string, value: V | null) => {
    appendFileSync(file, `${codec.write(key, value)}\n`);
    lines += 1;
  };
  return {
    entries,
    put(key, value) {
      set(key, value);
      append(key, value);
    },
    drop: (key) => entries.delete(key),
    bury(key) {
      if (!entries.has(key)) append(key, null);
    },
    compact(stale) {
      if (lines - entries.size < stale) return;
      const temporary = `${file}.tmp`;
      const text = [...entries].map(([key, value]) => `${codec.write(key, value)}\n`).join('');
      // On the disk before the name: else a power cut could leave the name with nothing behind it.
      writeFileSync(temporary, text, { flush: true });
      renameSync(temporary, file);
      syncFolder(dirname(file));
      lines = entries.size;
    },
  };
}

function parse<V>(line: string, codec: LineCodec<V>): ReturnType<LineCodec<V>['read']> {
  try {
    return codec.read(line);
  } catch {
    return null;
  }
}

/** Whole lines; what is behind the last of them goes, or the next one would become part of it. */
function readLines(file: string, unreadable: 'throws' | 'empty'): string[] {
  let raw: Buffer;
  try {
    raw = readFileSync(file);
  } catch (error) {
    if (unreadable === 'empty' || (error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const whole = raw.lastIndexOf(0x0a) + 1;
  if (whole < raw.length) truncateSync(file, whole);
  return raw.toString('utf8', 0, whole).split('\n').slice(0, -1);
}
