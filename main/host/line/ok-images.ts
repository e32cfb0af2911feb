import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { access, unlink } from 'node:fs/promises';

/**
 * The last N pictures of ok parts: older ones are deleted, unless the core has put `<sha>.keep` beside them (labelled, queued).
 * A picture that any other part had first, or has since, is none of them and stays.
 */
export interface OkImages {
  /** @param isNew this part's picture was not there before; one that was, and is not on the list, is not this list's to delete */
  add(sha: string, isNew: boolean): Promise<void>;
  /** The same picture is now one of a part that is not ok; also after a restart. */
  forget(sha: string): void;
}

/** Lines beyond those in use before the file is written anew. */
const MAX_STALE = 1000;

/**
 * @param file a line for each picture that came on the list (its sha256) or went off it (`-` before it)
 * @param keep null: all, none comes on the list
 */
export function createOkImages(file: string, keep: number | null, pathOf: (sha: string) => string): OkImages {
  const order = new Set<string>();
  let lines = 0;
  const put = (sha: string) => {
    order.delete(sha);
    order.add(sha);
  };
  for (const line of read(file)) {
    lines += 1;
    const [, off, sha] = /^(-?)([0-9a-f]{64})$/.exec(line) ?? [];
    // What is not a line of ours stands for a picture that stays, which is the safe side.
    if (sha === undefined) continue;
    if (off) order.delete(sha);
    else put(sha);
  }

  const write = (line: string) => {
    lines += 1;
    if (lines <= 2 * order.size + MAX_STALE) return appendFileSync(file, `${line}\n`);
    writeFileSync(`${file}.tmp`, [...order].map((sha) => `${sha}\n`).join(''));
    renameSync(`${file}.tmp`, file);
    lines = order.size;
  };
  const deleteOldest = async () => {
    const sha = order.values().next().value!;
    order.delete(sha);
    const path = pathOf(sha);
    const kept = await access(path.replace(/\.png$/, '.keep')).then(
      () => true,
      () => false,
    );
    if (!kept) await unlink(path).catch(() => {});
    // After the picture: were the program killed between the two, it would stay for good. It may have come again meanwhile.
    if (!order.has(sha)) write(`-${sha}`);
  };
  return {
    async add(sha, isNew) {
      if (keep === null || !(isNew || order.has(sha))) return;
      put(sha);
      write(sha);
      while (order.size > keep) await deleteOldest();
    },
    forget(sha) {
      if (order.delete(sha)) write(`-${sha}`);
    },
  };
}

function read(file: string): string[] {
  try {
    const text = readFileSync(file, 'utf8');
    // A torn last line (the process was killed): the next one must not become part of it.
    if (text !== '' && !text.endsWith('\n')) appendFileSync(file, '\n');
    return text.split('\n').filter((line) => line !== '');
  } catch {
    // The first start, or a file that cannot be read: then those pictures stay.
    return [];
  }
}
