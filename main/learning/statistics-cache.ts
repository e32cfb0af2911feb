import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import { writeDurably } from '../store/files.ts';
import { byCodeUnit } from './dataset.ts';
import type { Matrix, Products } from './dense.ts';
import { embed, embeddingSize, GRID, type Stages } from './embedding.ts';
import { packedLength, Statistics } from './statistics.ts';

/*
 * The sums of large classes, kept between updates: an update then reads the rows of what is new and of what is gone, not of all that
 * was ever learnt. A folder: index.json (which images are in which sums) and one file of float64 per class (s_c, then S_c packed).
 * Classes of up to d/2 images are summed from their rows each time, and not stored.
 *
 * Nothing here is the truth: the ledger is. What does not fit it (other backbone, damaged file, a row that was erased) is summed again.
 * Since sums are exact (embedding.ts) the outcome is the same to the last bit either way.
 */

/** An image (or region of one) of the ledger, and where its features are. */
export interface LedgerMember {
  classId: string;
  sha: string;
  key?: string;
  row: number;
}

export interface CacheOptions {
  /** Folder; made if missing. null: nothing is kept. */
  dir: string | null;
  backboneSha256: string;
  stages: Stages;
  /** For sums of many images at once; without it they are added one by one, to the same bits. */
  products?: Products;
  /** Raw features of rows of the feature file, row-major. */
  readRows(rows: readonly number[]): Promise<Float32Array>;
  signal?: AbortSignal | undefined;
}

/** What an update had to do, in images. */
export interface CacheWork {
  added: number;
  removed: number;
  /** Rows of the feature file that were read for sums. */
  rowsRead: number;
  /** Classes whose stored sums did not fit and were made again. */
  rebuilt: string[];
}

export interface CachedStatistics {
  statistics: Statistics;
  work: CacheWork;
  /** Stores what changed. An update that is cancelled before leaves the folder as it was. */
  save(): Promise<void>;
}

/** Image and row, and a check of the features that were added: only they can be taken out again. */
const memberSchema = z.tuple([z.string(), z.number().int(), z.string()]);
const indexSchema = z.object({
  format: z.literal(1),
  backboneSha256: z.string(),
  stages: z.array(z.number().int()),
  grid: z.number(),
  classes: z.array(
    z.object({ classId: z.string(), file: z.string(), sha256: z.string(), members: z.array(memberSchema) }),
  ),
});
type Index = z.infer<typeof indexSchema>;
type Member = z.infer<typeof memberSchema>;

const nameOf = ({ sha, key = '' }: LedgerMember): string => (key === '' ? sha : `${sha} ${key}`);
const bytesOf = (values: Float32Array | Float64Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const checkOf = (row: Float32Array): string => createHash('sha256').update(bytesOf(row)).digest('hex').slice(0, 12);

/** What was stored for this backbone; null: nothing that fits. */
async function readIndex({ dir, backboneSha256, stages }: CacheOptions): Promise<Index | null> {
  if (dir === null) return null;
  try {
    const index = indexSchema.parse(JSON.parse(await readFile(path.join(dir, 'index.json'), 'utf8')));
    const fits =
      index.backboneSha256 === backboneSha256 && index.grid === GRID && index.stages.join() === [...stages].join();
    return fits ? index : null;
  } catch {
    // Not there, or not readable: it is made again from the rows.
    return null;
  }
}

/** s_c and S_c of a stored class; null when the file is not what the index says. */
async function readSums(dir: string, { file, sha256, members }: Index['classes'][number], size: number) {
  const bytes = await readFile(path.join(dir, file)).catch(() => null);
  if (bytes?.byteLength !== 8 * (size + packedLength(size))) return null;
  if (createHash('sha256').update(bytes).digest('hex') !== sha256) return null;
  // Copied: what was read need not be aligned to eight bytes.
  const numbers = new Float64Array(new Uint8Array(bytes).buffer);
  const sums = { count: members.length, sum: numbers.slice(0, size), packed: numbers.slice(size) };
  return sumsAgree(sums) ? sums : null;
}

/** The constant of the bias says it twice: the last row of S_c is s_c, and its corner is n_c. */
export function sumsAgree({ count, sum, packed }: { count: number; sum: Float64Array; packed: Float64Array }): boolean {
  const size = sum.length;
  const last = packedLength(size - 1);
  if (packed[last + size - 1] !== count) return false;
  for (let i = 0; i < size; i += 1) if (packed[last + i] !== sum[i]) return false;
  return true;
}

/**
 * Statistics of a ledger, from the stored sums and the rows that differ.
 * @throws CANCELLED, what readRows throws
 */
export async function openStatistics(
  ledger: readonly LedgerMember[],
  options: CacheOptions,
): Promise<CachedStatistics> {
  const { dir, stages, backboneSha256 } = options;
  const size = embeddingSize(stages);
  const width = size - 1;
  const stored = new Map((await readIndex(options))?.classes.map((entry) => [entry.classId, entry]));
  const statistics = new Statistics(size);
  const work: CacheWork = { added: 0, removed: 0, rowsRead: 0, rebuilt: [] };
  const kept = new Map<string, { members: Member[]; changed: boolean }>();
  const byClass = Map.groupBy(ledger, ({ classId }) => classId);

  /** In pieces: the rows of a large class are never in memory together. */
  const each = async (
    rows: readonly number[],
    use: (z: Float64Array, check: string, at: number) => void,
    useAll?: (z: Matrix) => Promise<void>,
  ) => {
    const PIECE = 512;
    for (let from = 0; from < rows.length; from += PIECE) {
      if (options.signal?.aborted) throw new AppError('CANCELLED');
      const raw = await options.readRows(rows.slice(from, from + PIECE));
      const embedded = embed(raw, stages);
      await useAll?.(embedded);
      for (let i = 0; i < embedded.rows; i += 1) {
        const check = checkOf(raw.subarray(i * width, (i + 1) * width));
        use(embedded.data.slice(i * size, (i + 1) * size), check, from + i);
      }
    }
    work.rowsRead += rows.length;
  };
  const sumAgain = async (classId: string, members: readonly LedgerMember[]) => {
    if (statistics.of(classId)) statistics.forget(classId);
    const list: Member[] = [];
    const { products } = options;
    const many = products && members.length > size / 2;
    await each(
      members.map(({ row }) => row),
      (row, check, i) => {
        if (!many) statistics.add(classId, row);
        list.push([nameOf(members[i]!), members[i]!.row, check]);
      },
      many ? (block) => statistics.addMany(classId, block, products) : undefined,
    );
    work.added += members.length;
    if (statistics.of(classId)!.packed) kept.set(classId, { members: list, changed: true });
  };

  for (const classId of [...byClass.keys()].sort(byCodeUnit)) {
    const members = byClass.get(classId)!;
    const entry = members.length > size / 2 ? stored.get(classId) : undefined;
    if (!entry) {
      await sumAgain(classId, members);
      continue;
    }
    const known = new Map(entry.members.map((member) => [`${member[0]} ${member[1]}`, member]));
    const fresh = members.filter((member) => !known.delete(`${nameOf(member)} ${member.row}`));
    const gone = [...known.values()];
    const sums = fresh.length + gone.length < members.length ? await readSums(dir!, entry, size) : null;
    if (!sums) {
      work.rebuilt.push(classId);
      await sumAgain(classId, members);
      continue;
    }
    statistics.restore(classId, sums);
    let erased = false;
    await each(
      gone.map(([, row]) => row),
      (row, check, i) => {
        if (check === gone[i]![2]) statistics.remove(classId, row);
        else erased = true;
      },
    ).catch(() => {
      erased = true;
    });
    if (erased) {
      // The row was overwritten before it was taken out of the sums.
      work.rebuilt.push(classId);
      await sumAgain(classId, members);
      continue;
    }
    const taken = new Set(gone);
    const left = entry.members.filter((member) => !taken.has(member));
    await each(
      fresh.map(({ row }) => row),
      (row, check, i) => {
        statistics.add(classId, row);
        left.push([nameOf(fresh[i]!), fresh[i]!.row, check]);
      },
    );
    work.added += fresh.length;
    work.removed += gone.length;
    kept.set(classId, { members: left, changed: fresh.length + gone.length > 0 });
  }

  const save = async () => {
    if (dir === null) return;
    const classes: Index['classes'] = [];
    for (const [classId, { members, changed }] of kept) {
      const before = stored.get(classId);
      if (!changed && before) {
        classes.push(before);
        continue;
      }
      const { sum, packed } = statistics.of(classId)!;
      const bytes = new Uint8Array(8 * (sum.length + packed!.length));
      bytes.set(bytesOf(sum));
      bytes.set(bytesOf(packed!), sum.byteLength);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      // Named by content: the index that stands goes on to find its files until the new one is in place.
      const file = `${sha256.slice(0, 32)}.f64`;
      await writeDurably(path.join(dir, file), bytes);
      classes.push({ classId, file, sha256, members });
    }
    const index: Index = { format: 1, backboneSha256, stages: [...stages], grid: GRID, classes };
    await writeDurably(path.join(dir, 'index.json'), JSON.stringify(index));
    const wanted = new Set(classes.map(({ file }) => file));
    for (const name of await readdir(dir)) {
      // Temporary ones are of an update that was killed.
      if ((name.endsWith('.f64') && !wanted.has(name)) || name.endsWith('.tmp'))
        await rm(path.join(dir, name), { force: true });
    }
  };
  return { statistics, work, save };
}

/**
 * The recompute check: sums all rows anew and names the classes whose statistics differ in any bit. None can, short of a fault; it costs
 * the whole history, so it is for tests and for somebody who doubts.
 */
export async function recomputeCheck(
  statistics: Statistics,
  ledger: readonly LedgerMember[],
  options: Omit<CacheOptions, 'dir'>,
): Promise<string[]> {
  const again = (await openStatistics(ledger, { ...options, dir: null })).statistics;
  const ids = new Set([...statistics.classIds, ...again.classIds]);
  return [...ids].sort(byCodeUnit).filter((classId) => {
    if (statistics.count(classId) !== again.count(classId) || again.count(classId) === 0) return true;
    const [a, b] = [statistics.packedOf(classId), again.packedOf(classId)];
    return !a.every((value, i) => value === b[i]);
  });
}
