import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openProducts } from '../../../main/learning/dense.ts';
import { embed, embeddingSize } from '../../../main/learning/embedding.ts';
import { readExport, writeExport } from '../../../main/learning/knowledge-export.ts';
import { gather, solveKnowledge, solveStatistics } from '../../../main/learning/knowledge.ts';
import { pick, sampleOf } from '../../../main/learning/selection.ts';
import { openStatistics, recomputeCheck, type LedgerMember } from '../../../main/learning/statistics-cache.ts';
import { Statistics } from '../../../main/learning/statistics.ts';
import { randomOf, rowsOf, worldOf, type World } from './synthetic.ts';

/* What may not matter to the knowledge: order, split, station, form of storage, and what was there once and is gone. To the last bit. */

const products = openProducts({ threads: 1 });
afterAll(() => products[Symbol.asyncDispose]());
const options = { okIds: new Set(['2']), criteria: { maxEscape: 0.05, maxOverkill: 0.1 } };
const IDS = ['7', '2', '40'];
// d = 21: classes of more than 10 images are packed.
const world = worldOf({ '7': 31, '2': 9, '40': 14 }, [8, 12]);
const size = embeddingSize(world.stages);
const z = embed(world.features, world.stages);
const rowOf = (i: number) => z.data.subarray(i * size, (i + 1) * size);

/** All that statistics say: counts, s_c and S_c, whatever they are kept as. */
const contentOf = (statistics: Statistics) =>
  statistics.classIds.map((id) => [
    id,
    statistics.count(id),
    // + 0: minus zero is zero.
    [...statistics.of(id)!.sum].map((v) => v + 0),
    [...statistics.packedOf(id)].map((v) => v + 0),
  ]);
const all = world.ledger.map((_, i) => i);
const orders = fc.integer({ min: 0, max: 2 ** 30 }).map((seed) => {
  const draw = randomOf(seed);
  return all
    .map((i) => [draw(), i] as const)
    .sort(([a], [b]) => a - b)
    .map(([, i]) => i);
});

describe('statistics, by property', () => {
  it('any order, any split over stations, any merge order: the same bits', () => {
    const whole = contentOf(gather(z, world.ledger));
    fc.assert(
      fc.property(
        orders,
        fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 54, maxLength: 54 }),
        (order, owner) => {
          const stations = [0, 1, 2].map((s) =>
            gather(
              z,
              world.ledger,
              order.filter((i) => owner[i] === s),
            ),
          );
          const [a, b, c] = stations as [Statistics, Statistics, Statistics];
          c.merge(a);
          c.merge(b);
          expect(contentOf(c)).toEqual(whole);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('taken out: as if it had never been there, also where the class was packed', () => {
    fc.assert(
      fc.property(orders, fc.subarray(all, { maxLength: 53 }), (order, gone) => {
        const out = new Set(gone);
        const statistics = gather(z, world.ledger, order);
        for (const i of gone) statistics.remove(world.ledger[i]!.classId, rowOf(i));
        expect(contentOf(statistics)).toEqual(
          contentOf(
            gather(
              z,
              world.ledger,
              all.filter((i) => !out.has(i)),
            ),
          ),
        );
      }),
      { numRuns: 40 },
    );
  });

  it('relabelled, split, renamed, merged: as if labelled so from the start', () => {
    fc.assert(
      fc.property(fc.subarray(all), fc.constantFrom(...IDS, 'new'), fc.constantFrom(...IDS), (moved, to, from) => {
        const set = new Set(moved);
        const statistics = gather(z, world.ledger);
        for (const i of moved) {
          statistics.remove(world.ledger[i]!.classId, rowOf(i));
          statistics.add(to, rowOf(i));
        }
        if (statistics.of(from)) statistics.rename(from, 'joined');
        if (statistics.of(to)) statistics.rename(to, 'joined');
        const labelled = world.ledger.map((row, i) => {
          const classId = set.has(i) ? to : row.classId;
          return { ...row, classId: classId === from || classId === to ? 'joined' : classId };
        });
        expect(contentOf(statistics)).toEqual(contentOf(gather(z, labelled)));
      }),
      { numRuns: 40 },
    );
  });

  it('added many at once: the same bits as one by one', async () => {
    const rows = all.filter((i) => world.ledger[i]!.classId === '7');
    const one = gather(z, world.ledger, rows);
    const many = new Statistics(size);
    for (const part of [rows.slice(0, 4), rows.slice(4, 25), rows.slice(25)])
      await many.addMany('7', pick(z, part), products);
    expect(contentOf(many)).toEqual(contentOf(one));
  });

  it('sums classes that count alike without rounding, whatever they are kept as, and weights the sum', async () => {
    const statistics = gather(z, world.ledger);
    expect(['7', '2'].map((id) => statistics.of(id)!.packed === null)).toEqual([false, true]);
    const { data } = await statistics.weightedScatter(new Map(IDS.map((id) => [id, 1 / 3])), products);
    const expected = Float64Array.from(data, (_, at) => {
      const [i, j] = [Math.floor(at / size), at % size];
      return (1 / 3) * all.reduce((sum, n) => sum + rowOf(n)[i]! * rowOf(n)[j]!, 0);
    });
    expect(data).toEqual(expected);
  });

  it('sees one altered number', () => {
    const statistics = gather(z, world.ledger);
    statistics.of('7')!.packed![40]! += 2 ** -36;
    expect(contentOf(statistics)).not.toEqual(contentOf(gather(z, world.ledger)));
  });
});

describe('the whole knowledge', () => {
  it('is the same bits from statistics that were merged, packed and cleaned as from the ledger at once', async () => {
    const direct = await solveKnowledge({ ...world, ...options }, { products });
    const statistics = new Statistics(size);
    for (let i = 53; i >= 0; i -= 1) statistics.add(world.ledger[i]!.classId, rowOf(i));
    // A visitor in class 2 packs it; gone again, its form differs from that of the ledger's, and nothing else.
    const visitors = worldOf({ '2': 6 }, [8, 12], 0.5, 99);
    const zv = embed(visitors.features, visitors.stages);
    for (let i = 0; i < 6; i += 1) statistics.add('2', zv.data.subarray(i * size, (i + 1) * size));
    for (let i = 0; i < 6; i += 1) statistics.remove('2', zv.data.subarray(i * size, (i + 1) * size));
    expect(statistics.of('2')!.packed).not.toBeNull();
    expect(direct.statistics.of('2')!.packed).toBeNull();
    const reversed = rowsOf(world, all.toReversed());
    const sample = sampleOf(reversed.ledger);
    const picked = pick(embed(reversed.features, reversed.stages), sample.rows);
    const other = await solveStatistics({ ...reversed, ...options, statistics, sample, picked }, { products });
    expect(other.knowledge).toEqual(direct.knowledge);
  });
});

describe('stored sums and exports', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'mekiki-sums-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  const backboneSha256 = 'b'.repeat(64);
  const memberOf = (i: number, classId = world.ledger[i]!.classId): LedgerMember => ({
    classId,
    sha: world.ledger[i]!.sha,
    row: i,
  });
  const readFrom =
    ({ features }: World, read: number[] = []) =>
    async (rows: readonly number[]) => {
      read.push(...rows);
      return Float32Array.from(rows.flatMap((row) => [...features.subarray(row * 20, (row + 1) * 20)]));
    };
  const open = (members: LedgerMember[], read?: number[], from = world, sha = backboneSha256) =>
    openStatistics(members, { dir, backboneSha256: sha, stages: world.stages, readRows: readFrom(from, read) });
  const members = all.map((i) => memberOf(i));
  const save = async (list: LedgerMember[]) => (await open(list)).save();

  it('an update reads new rows, gone rows and small classes, and nothing else of the history', async () => {
    const before = members.filter(({ row }) => row !== 12);
    await save(before);
    const read: number[] = [];
    const now = members.filter(({ row }) => row !== 45);
    const { statistics, work } = await open(now, read);
    // Class 2 (rows 0..8) is small and always summed from its rows; of the others 12 is new and 45 is gone.
    expect(read.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 45]);
    expect(work).toMatchObject({ removed: 1, rowsRead: 11, rebuilt: [] });
    expect(contentOf(statistics)).toEqual(
      contentOf(
        gather(
          z,
          world.ledger,
          all.filter((i) => i !== 45),
        ),
      ),
    );
  });

  it('any chain of labels, relabels and removals ends where a first update would', async () => {
    const classes = fc.constantFrom('7', '40', null);
    const steps = fc.array(fc.array(classes, { minLength: 54, maxLength: 54 }), { minLength: 2, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(steps, async (ledgers) => {
        let last: LedgerMember[] = [];
        let statistics = new Statistics(size);
        for (const labels of ledgers) {
          last = all.flatMap((i) => (labels[i] ? [memberOf(i, labels[i]!)] : []));
          const opened = await open(last);
          await opened.save();
          statistics = opened.statistics;
        }
        const check = { backboneSha256, stages: world.stages, readRows: readFrom(world) };
        expect(await recomputeCheck(statistics, last, check)).toEqual([]);
      }),
      { numRuns: 20 },
    );
  });

  it('recomputes what is damaged, of another backbone, or was erased before it was taken out', async () => {
    const whole = contentOf(gather(z, world.ledger));
    await save(members);
    expect(contentOf((await open(members, [], world, 'c'.repeat(64))).statistics)).toEqual(whole);
    const erased: World = { ...world, features: world.features.slice() };
    erased.features.fill(0, 9 * 20, 10 * 20);
    const without = await open(
      members.filter(({ row }) => row !== 9),
      [],
      erased,
    );
    expect(without.work.rebuilt).toEqual(['7']);
    expect(contentOf(without.statistics)).toEqual(
      contentOf(
        gather(
          z,
          world.ledger,
          all.filter((i) => i !== 9),
        ),
      ),
    );
    const file = (await readdir(dir)).find((name) => name.endsWith('.f64'))!;
    const bytes = await readFile(path.join(dir, file));
    bytes[100]! ^= 1;
    await writeFile(path.join(dir, file), bytes);
    const mended = await open(members);
    expect(mended.work.rebuilt).toHaveLength(1);
    expect(contentOf(mended.statistics)).toEqual(whole);
  });

  it('the recompute check names a class that differs in one bit', async () => {
    const { statistics } = await open(members);
    statistics.of('40')!.packed![7]! += 2 ** -36;
    const check = { backboneSha256, stages: world.stages, readRows: readFrom(world) };
    expect(await recomputeCheck(statistics, members, check)).toEqual(['40']);
  });

  const exported = async (rows: number[]) => {
    const file = path.join(dir, `${rows.length}.knowledge`);
    const statistics = gather(z, world.ledger, rows);
    const rest = { backboneId: 'bb', backboneSha256, stages: world.stages, lambda: 0.01, balancing: 1 };
    await writeExport(file, { statistics, ...rest });
    return file;
  };

  it('exports of two stations add up to the union, without a row of any image', async () => {
    const [left, right] = [all.filter((i) => i % 3 === 0), all.filter((i) => i % 3 > 0)];
    const beside = path.join(dir, `${left.length}.knowledge.tmp`);
    await writeFile(beside, 'of somebody else');
    const a = await readExport(await exported(left), { backboneSha256, stages: world.stages });
    const b = await readExport(await exported(right), { backboneSha256, stages: world.stages });
    for (const { statistics } of [a, b])
      for (const id of statistics.classIds) expect(statistics.of(id)!.rows).toBeNull();
    b.statistics.merge(a.statistics);
    expect(contentOf(b.statistics)).toEqual(contentOf(gather(z, world.ledger)));
    expect(a.choice).toEqual({ lambda: 0.01, balancing: 1 });
    expect(await readFile(beside, 'utf8')).toBe('of somebody else');
    expect((await readdir(dir)).filter((name) => name.endsWith('.tmp'))).toEqual([path.basename(beside)]);
  });

  it('refuses the knowledge of another backbone, and a file that was changed or cut', async () => {
    const file = await exported(all);
    const other = { backboneSha256: 'd'.repeat(64), stages: world.stages };
    await expect(readExport(file, other)).rejects.toMatchObject({ code: 'KNOWLEDGE_OF_OTHER_BACKBONE' });
    const bytes = await readFile(file);
    for (const [spoilt, code] of [
      [bytes.subarray(0, bytes.length - 8), 'KNOWLEDGE_UNREADABLE'],
      [bytes.subarray(0, 20), 'KNOWLEDGE_UNREADABLE'],
      [Buffer.from('something else altogether'), 'KNOWLEDGE_UNREADABLE'],
      [Buffer.concat([bytes.subarray(0, bytes.length - 1), Buffer.from([bytes.at(-1)! ^ 1])]), 'BUNDLE_ALTERED'],
    ] as const) {
      await writeFile(file, spoilt);
      await expect(readExport(file, { backboneSha256, stages: world.stages })).rejects.toMatchObject({ code });
    }
    await expect(readExport(`${file}.none`, other)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('two backbones stand side by side, each with its own sums', async () => {
    const bigger = worldOf({ '7': 31, '2': 9, '40': 14 }, [30], 0.5, 11);
    const list = bigger.ledger.map(({ classId, sha }, row) => ({ classId, sha, row }));
    const second = (where: string) =>
      openStatistics(list, {
        dir: path.join(dir, where),
        backboneSha256: 'e'.repeat(64),
        stages: [30],
        readRows: async (rows) =>
          Float32Array.from(rows.flatMap((row) => [...bigger.features.subarray(row * 30, (row + 1) * 30)])),
      });
    await save(members);
    await (await second('new')).save();
    expect((await open(members)).work.added).toBe(9);
    expect((await second('new')).work.rebuilt).toEqual([]);
  });
});

describe('bad input', () => {
  it('features that are no numbers: named, before anything is solved', async () => {
    const spoilt = { ...world, features: world.features.slice() };
    spoilt.features[25] = Number.NaN;
    await expect(solveKnowledge({ ...spoilt, ...options }, { products })).rejects.toMatchObject({
      code: 'FEATURES_NOT_FINITE',
    });
  });
});
