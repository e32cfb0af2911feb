import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adaptForPruning, adaptModeOf } from '../../../main/compression/adapt.ts';
import { groupedFolds, untaughtImages } from '../../../main/compression/plan/held-apart.ts';
import { compressDataset } from '../../../main/compression/dataset.ts';
import { evidenceSchema, type Backbone } from '../../../main/contract/domain.ts';
import { adaptToFirstTask } from '../../../main/learning/adaptation.ts';
import { scanDataset } from '../../../main/learning/dataset.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { fakeMeasure, smallBackboneFile, texture, writeDataset } from './small-data.ts';

let folder: string;
let backbone: Backbone;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-adapt-'));
  backbone = await smallBackboneFile(folder);
  await writeDataset(join(folder, 'set'), { train: 12, test: 6 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const compress = (adaptFirstTask: 'auto' | 'on' | 'off' | undefined, tasks: number, out?: string) =>
  compressDataset(
    {
      dir: join(folder, 'set'),
      backbone,
      strategy: 'pre-prune',
      precision: 'fp32',
      ratio: 0.3,
      tasks,
      timeBudgetS: 400,
      maxDropPp: 5,
      seed: 1,
      threads: 1,
      adaptFirstTask,
      ...(out === undefined ? {} : { out }),
    },
    fakeMeasure,
  );

describe('adaptation to the first task before pruning', () => {
  it('is tried by default where pre-pruning is asked for by name, and refused where it would change nothing', () => {
    expect(adaptModeOf({ strategy: 'pre-prune' })).toBe('auto');
    expect(adaptModeOf({ strategy: 'auto' })).toBe('off');
    expect(adaptModeOf({ strategy: 'auto', adaptFirstTask: 'on' })).toBe('on');
    expect(() => adaptModeOf({ strategy: 'post-prune', adaptFirstTask: 'on' })).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT' }) as Error,
    );
  });

  it('prunes the adapted backbone, which is judged by images that it did not learn from', async () => {
    const out = join(folder, 'out');
    const [on, off] = [await compress('on', 1, out), await compress('off', 1)];
    expect(on.adapted).toBe(true);
    expect(on.adaptation!.reason).toMatch(/asked for|it pays/);
    expect(on.adaptation!.validation!.images).toBeGreaterThan(0);
    const [candidate] = on.candidates;
    expect(candidate).toMatchObject({ id: 'pre-prune-30-96-fp32', adapted: true, grouped: null });
    expect(off.candidates[0]).toMatchObject({ id: 'pre-prune-30-96-fp32', adapted: false });
    expect(off.adaptation).toBeUndefined();
    expect(candidate!.macs).toBeLessThan(on.reference.macs);
    const evidence = evidenceSchema.parse(
      JSON.parse(await readFile(join(out, candidate!.id, 'evidence.json'), 'utf8')),
    );
    // What pruning left alone is named, in the report and in the evidence alike.
    expect(candidate!.untouched).toContainEqual({ group: 'out', why: 'it is the output features' });
    expect(evidence.untouched).toEqual(candidate!.untouched);
    expect(evidence.unknownOperators).toEqual({});
  }, 300_000);

  it('is refused where held-out images show no gain, and the model is then that of no adaptation', async () => {
    const [auto, off] = [await compress(undefined, 1), await compress('off', 1)];
    expect(auto.adapted).toBe(false);
    expect(auto.adaptation!.reason).toMatch(/^refused/);
    const figures = ({ candidates: [item] }: typeof auto) => ({
      macs: item!.macs,
      validation: item!.validation,
      grouped: item!.grouped,
      untouched: item!.untouched,
    });
    expect(figures(auto)).toEqual(figures(off));
    const single = await compress('auto', 3);
    expect(single.adaptation).toMatchObject({ reason: expect.stringContaining('one class'), validation: null });
    await expect(compress('on', 3)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  }, 300_000);

  it('keeps a fold of the first task from the backbone', async () => {
    const { train } = await scanDataset(join(folder, 'set'), {});
    const images = train.map((_, i) => i);
    const ledger = train.map(({ className, sha }) => ({ classId: className, sha }));
    const firstTask = images.filter((i) => train[i]!.className !== 'plain');
    const apart = untaughtImages(images, groupedFolds(ledger));
    const seen: number[] = [];
    await using products = openProducts({ threads: 1 });
    const { backbone: adapted } = await adaptForPruning({
      backbone,
      mode: 'on',
      ledger,
      images,
      firstTask,
      describe: (image) => {
        seen.push(image);
        return train[image]!;
      },
      engine: createOrtEngine(),
      products,
      seconds: 1,
      forwardMs: 10,
      threads: 1,
      seed: 0,
    });
    const taught = firstTask.filter((image) => !apart.has(image));
    expect(seen).toEqual(taught);
    expect(taught.length).toBeLessThan(firstTask.length);
    expect([...adapted!.untaught]).toEqual(images.filter((image) => !taught.includes(image)));
    expect(Buffer.compare(adapted!.bytes, await readFile(backbone.file))).not.toBe(0);
  }, 60_000);

  it('asks for more of a first task of which too few pictures are left, and prunes without where it need not be', async () => {
    const { train } = await scanDataset(join(folder, 'set'), {});
    const images = train.map((_, i) => i);
    const ledger = train.map(({ className, sha }) => ({ classId: className, sha }));
    const apart = untaughtImages(images, groupedFolds(ledger));
    // Of two classes, and one of them lies apart with all it has.
    const firstTask = images.filter((i) => train[i]!.className === (apart.has(i) ? 'plain' : 'fine'));
    await using products = openProducts({ threads: 1 });
    const asked = {
      backbone,
      ledger,
      images,
      firstTask,
      describe: (image: number) => train[image]!,
      engine: createOrtEngine(),
      products,
      seconds: 1,
      forwardMs: 10,
      threads: 1,
      seed: 0,
    };
    const told = await adaptForPruning({ ...asked, mode: 'auto' });
    expect(told).toMatchObject({ backbone: null, validation: null });
    expect(told.reason).toMatch(
      /^\d+ of \d+ pictures are left of the first task .*: 8 and some of each class are needed$/,
    );
    const refused = { code: 'INVALID_INPUT', details: { what: 'adapt-first-task', problem: told.reason } };
    await expect(adaptForPruning({ ...asked, mode: 'on' })).rejects.toMatchObject(refused);
    // Both classes, but two pictures.
    const one = (name: string) => images.find((i) => train[i]!.className === name && !apart.has(i))!;
    const few = await adaptForPruning({ ...asked, firstTask: [one('plain'), one('fine')], mode: 'auto' });
    expect(few.reason).toMatch(/^2 of 2 pictures/);
  });

  it('judges by no copy of a picture that it was trained on', async () => {
    const copies = join(folder, 'copies');
    await mkdir(copies);
    // One shot of the stripes saved four times, in files that differ; five of the rest. Hashes are given, so that the folds are known.
    const shots = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((shot, i) => ({ shot, kind: i < 9 ? 0 : 2 }));
    const images = await Promise.all(
      shots.map(async ({ shot, kind }, i) => {
        const name = `${i}.png`;
        await writeFile(join(copies, name), await texture(kind, 100 + shot));
        const sha = i.toString(16).padStart(8, '0').padEnd(64, '0');
        return { file: join(copies, name), name, className: kind === 0 ? 'striped' : 'plain', sha };
      }),
    );
    await using products = openProducts({ threads: 1 });
    const { validation } = await adaptToFirstTask({
      backbone,
      images,
      mode: 'on',
      engine: createOrtEngine(),
      products,
      epochs: 1,
      threads: 1,
      seed: 0,
    });
    // The four copies judge together, with one of the plain parts.
    expect(validation!.images).toBe(5);
  }, 60_000);
});
