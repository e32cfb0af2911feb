import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { costModelOf, measureLayers } from '../../../main/compression/cost/cost-model.ts';
import { keptLayerTable, type LayerTable, type LayerTableKey } from '../../../main/compression/cost/layer-table.ts';
import { compressDataset } from '../../../main/compression/dataset.ts';
import { smallBackbone } from './networks.ts';
import { smallBackboneFile, writeDataset } from './small-data.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-layers-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const key: LayerTableKey = {
  cpu: 'a processor',
  onnxruntime: '1.2.3',
  threads: 2,
  weightBits: 7,
  graph: 'ab'.repeat(32),
  sizes: [96, 64],
};

describe('times of layers, kept', () => {
  it('are measured once, and again for another PC, runtime, thread count or graph, or from a damaged file', async () => {
    const place = join(folder, 'kept');
    const first = await measureLayers([{ model: smallBackbone(), size: 64 }], { threads: 1 });
    let measured = 0;
    const ask = (asked: LayerTableKey, table: LayerTable = first) =>
      keptLayerTable(place, asked, async () => {
        measured += 1;
        return table;
      });
    expect(await ask(key)).toEqual(first);
    const again = await ask(key, { layers: [], between: [] });
    expect(measured).toBe(1);
    // What is read back tells the same times.
    const model = smallBackbone(2);
    expect(costModelOf(again!).network(model, 96)).toBe(costModelOf(first).network(model, 96));
    const others: Partial<LayerTableKey>[] = [
      { cpu: 'another' },
      { onnxruntime: '1.2.4' },
      { threads: 1 },
      { weightBits: 8 },
      { graph: 'cd'.repeat(32) },
      { sizes: [96] },
    ];
    for (const [i, other] of others.entries()) {
      await ask({ ...key, ...other });
      expect(measured).toBe(2 + i);
    }
    const damage: ((file: string) => Promise<void>)[] = [
      (file) => truncate(file, 40),
      (file) => writeFile(file, ''),
      (file) => writeFile(file, '\0\x01not text'),
      async (file) => writeFile(file, (await readFile(file, 'utf8')).replace(/"ms":[\d.e-]+/, '"ms":-1')),
      // Of another key, copied here by hand.
      async (file) => writeFile(file, (await readFile(file, 'utf8')).replace('a processor', 'b processor')),
    ];
    await rm(place, { recursive: true });
    await ask(key);
    const [name] = await readdir(place);
    for (const harm of damage) {
      await harm(join(place, name!));
      const before = measured;
      expect(await ask(key)).toEqual(first);
      expect(measured).toBe(before + 1);
      await ask(key);
      expect(measured).toBe(before + 1);
    }
    expect(await readdir(place)).toEqual([name]);
  });

  it('are not kept where nothing can be written, nor where nothing was measured', async () => {
    const place = join(folder, 'file');
    await writeFile(place, 'in the way');
    const table = { layers: [], between: [] };
    expect(await keptLayerTable(place, key, async () => table)).toBe(table);
    expect(await readFile(place, 'utf8')).toBe('in the way');
    expect(await keptLayerTable(join(folder, 'none'), key, async () => null)).toBeNull();
    await expect(readdir(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('serve the next search over the same backbone', async () => {
    await writeDataset(join(folder, 'set'), { train: 6, test: 2 });
    const work = join(folder, 'work');
    const run = (maxDropPp: number) =>
      smallBackboneFile(folder).then((backbone) =>
        compressDataset({
          dir: join(folder, 'set'),
          backbone,
          strategy: 'none',
          precision: 'fp32',
          timeBudgetS: 100,
          maxDropPp,
          costs: work,
          seed: 1,
          threads: 1,
        }),
      );
    const first = await run(5);
    expect(first.costModel?.layers).toBeGreaterThan(0);
    const [name, ...others] = await readdir(work);
    expect([name, others]).toEqual([expect.stringMatching(/^layers-/), []]);
    const file = join(work, name!);
    // Told apart from a new measurement: a layer is missing.
    const kept = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...kept, table: { ...kept.table, layers: kept.table.layers.slice(1) } }));
    expect((await run(6)).costModel?.layers).toBe(first.costModel!.layers - 1);
  }, 120_000);
});
