import { randomUUID } from 'node:crypto';
import { access, rename, unlink } from 'node:fs/promises';
import type { ImageFiles } from '../../store/images.ts';
import { openLinesMap, type LineCodec } from '../../store/lines-map.ts';

/**
 * The pictures of parts, of which the last N of ok parts stay: older ones are deleted, unless the core has put `<sha>.keep` beside them (labelled,
 * queued). A picture that any other part had first, or has since, is none of them and stays, also where it is a part of another station
 * in the same home.
 */
export interface OkImages {
  /** Gives its sha256, as `ImageFiles.put`. */
  store(png: Uint8Array, ok: boolean): Promise<string>;
}

/** Pictures that go for one that comes: when fewer are kept than before, the line is not held up by thousands at once. */
const DELETED_AT_ONCE = 4;
/** Lines beyond those in use before the file is written anew. */
const MAX_STALE = 1000;

/** A line for each picture that came on the list (its sha256) or went off it (`-` before it). One that is not ours: its picture stays, which is the safe side. */
const codec: LineCodec<true> = {
  write: (sha, on) => (on ? sha : `-${sha}`),
  read(line) {
    const [, off, sha] = /^(-?)([0-9a-f]{64})$/.exec(line) ?? [];
    return sha === undefined ? null : { key: sha, value: off ? null : true };
  },
};

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** One list at a time: what is being stored goes on the list that there was. @param keep how many stay now; null: all, none comes on the list */
export function createOkImages(
  file: string,
  keep: () => number | null,
  images: Pick<ImageFiles, 'pathOf' | 'putNew' | 'keep' | 'has'>,
): OkImages {
  // One that cannot be read: then those pictures stay.
  const list = openLinesMap(file, codec, 'empty');
  const isKept = (path: string) => isThere(path.replace(/\.png$/, '.keep'));

  /** Whoever marks it and finds it there afterwards has it: it is only put aside before the mark is looked for. */
  const deletePicture = async (sha: string) => {
    const path = images.pathOf(sha);
    if (await isKept(path)) return;
    const aside = `${path}.${randomUUID()}.tmp`;
    try {
      await rename(path, aside);
      await ((await isKept(path)) ? rename(aside, path) : unlink(aside));
    } catch {
      // It is gone already, or stays.
    }
  };
  const deleteOldest = async () => {
    const sha = list.entries.keys().next().value!;
    list.drop(sha);
    await deletePicture(sha);
    // After the picture: were the program killed between the two, it would stay for good. It may have come again meanwhile.
    list.bury(sha);
  };
  const add = async (sha: string) => {
    const most = keep();
    if (most === null) return;
    list.put(sha, true);
    for (let n = 0; n < DELETED_AT_ONCE && list.entries.size > most; n += 1) await deleteOldest();
    list.compact(list.entries.size + MAX_STALE);
  };
  /** Another station's list may have it, and delete it. */
  const keepShared = async (sha: string, png: Uint8Array) => {
    images.keep(sha);
    if (!(await images.has(sha))) await images.putNew(png);
  };
  return {
    async store(png, ok) {
      const { sha, isNew } = await images.putNew(png);
      const ours = list.entries.has(sha);
      if (!isNew && !ours) await keepShared(sha, png);
      else if (ok) await add(sha);
      else if (list.drop(sha)) list.bury(sha);
      return sha;
    },
  };
}
