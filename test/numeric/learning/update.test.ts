import { mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { criteriaSchema, recipeSchema, type Backbone, type DefectClass } from '../../../main/contract/domain.ts';
import type { LabelledImage } from '../../../main/contract/trainer.ts';
import { readKnowledge } from '../../../main/learning/knowledge-files.ts';
import { featuresOf, updateKnowledge } from '../../../main/learning/update.ts';
import { decodeImage } from '../../../main/vision/decode.ts';
import { teachTemplate } from '../../../main/vision/find-part.ts';
import { picture, writePicture, type Surface } from './pictures.ts';
import { writeTinyBackbone } from './tiny-backbone.ts';

let folder: string;
let backbone: Backbone;
let images: LabelledImage[];
const classOf = (id: string): DefectClass => ({
  id,
  names: { en: id, ja: id },
  isOk: id === 'plain',
  color: 1,
  hotKey: null,
  retired: false,
});
const surfaces: Surface[] = ['stripes', 'dots', 'plain'];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mekiki-update-'));
  backbone = await writeTinyBackbone(path.join(folder, 'tiny.onnx'));
  images = [];
  for (const surface of surfaces) {
    for (let i = 0; i < 9; i += 1) {
      const { file, sha } = await writePicture(path.join(folder, 'images', `${surface}-${i}.png`), picture(surface, i));
      images.push({ file, sha, region: null, classId: surface, row: -1 });
    }
  }
});
afterAll(() => rm(folder, { recursive: true }));

let runs = 0;
async function input(list: LabelledImage[], featureFile: string) {
  const outDir = path.join(folder, `out-${(runs += 1)}`);
  await mkdir(outDir);
  return {
    backbone,
    recipe: recipeSchema.parse({}),
    criteria: criteriaSchema.parse({}),
    classes: surfaces.map(classOf),
    images: list,
    threads: 1,
    outDir,
    featureFile,
  };
}
const withRows = (list: LabelledImage[], rows: { sha: string; row: number }[]) =>
  list.map((image) => ({ ...image, row: rows.find(({ sha }) => sha === image.sha)?.row ?? image.row }));

describe('updateKnowledge', () => {
  it('in two steps gives what one step gives, to the bit, and extracts nothing twice', async () => {
    const one = await input(images, path.join(folder, 'one.f32'));
    const whole = await updateKnowledge(one);
    expect(whole.rows.map(({ row }) => row)).toEqual(images.map((_, i) => i));
    // Few parts of each: leave-one-out is told beside them.
    const leaveOneOut = { right: 9, of: 9 };
    expect(whole.summary.classes).toEqual(
      [...surfaces].sort().map((classId) => ({ classId, labelled: 9, leaveOneOut })),
    );

    const file = path.join(folder, 'two.f32');
    const early = images.filter((_, i) => i % 3 !== 1);
    const first = await updateKnowledge(await input(early, file));
    const second = await input(withRows(images, first.rows), file);
    const added = await updateKnowledge(second);
    expect(added.rows).toHaveLength(9);
    expect((await stat(file)).size).toBe(images.length * backbone.features * 4);
    const [a, b] = [await readKnowledge(one.outDir), await readKnowledge(second.outDir)];
    expect(b).toEqual(a);
    expect(a.knowledge.weights.columns).toBe(3);
  });

  it('learns tiles where the part lies; a picture without the part teaches nothing, and stops nobody', async () => {
    const [all, aside] = [
      images.filter(({ classId }) => classId !== 'dots'),
      images.filter(({ classId }) => classId === 'dots'),
    ];
    // The template is the stripes' own look: it is on the plain pictures nowhere.
    const { image } = await decodeImage(all[0]!.file, { name: 'taught', maxPixels: 1e6 });
    const region = { x: 4, y: 4, width: Math.min(32, image.width - 8), height: Math.min(32, image.height - 8) };
    const finder = { kind: 'template', template: teachTemplate(image, region), searchX: 4, searchY: 4, minScore: 0.5 };
    const recipe = recipeSchema.parse({ finder });
    const tile = (of: LabelledImage[]) => of.map((one) => ({ ...one, region }));
    const known = [...tile(images.filter(({ classId }) => classId === 'stripes')), ...aside];
    const file = path.join(folder, 'finder.f32');
    const made = await input(known, file);
    const { rows, summary } = await updateKnowledge({ ...made, recipe });
    const taught = rows.filter(({ sha }) => known.some((one) => one.sha === sha && one.region));
    expect(taught.length).toBeGreaterThan(0);
    expect((await stat(file)).size).toBe(rows.length * backbone.features * 4);
    expect(summary.classes.find(({ classId }) => classId === 'stripes')?.labelled).toBe(taught.length);
    const lost = await input(
      [...known, ...tile(images.filter(({ classId }) => classId === 'plain'))],
      path.join(folder, 'lost.f32'),
    );
    const again = await updateKnowledge({ ...lost, recipe });
    const plain = new Set(images.filter(({ classId }) => classId === 'plain').map(({ sha }) => sha));
    expect(again.rows.filter(({ sha }) => plain.has(sha))).toEqual([]);
    expect(again.rows).toHaveLength(rows.length);
    // Stripes alone are left: every part would be one of them from then on.
    const alone = await input(tile(images.filter(({ classId }) => classId !== 'dots')), path.join(folder, 'alone.f32'));
    await expect(updateKnowledge({ ...alone, recipe })).rejects.toMatchObject({ code: 'PART_NOT_FOUND' });
  });

  it('relabels: the knowledge is as if the image had been labelled so from the start', async () => {
    const file = path.join(folder, 'relabel.f32');
    const first = await updateKnowledge(await input(images, file));
    const relabelled = withRows(images, first.rows).map((image, i) =>
      i === 4 ? { ...image, classId: 'dots' } : image,
    );
    const again = await input(relabelled, file);
    await updateKnowledge(again);
    const fresh = await input(
      images.map((image, i) => (i === 4 ? { ...image, classId: 'dots' } : image)),
      path.join(folder, 'fresh.f32'),
    );
    await updateKnowledge(fresh);
    expect(await readKnowledge(again.outDir)).toEqual(await readKnowledge(fresh.outDir));
  });

  it('keeps rows in their places after a write that was cut short', async () => {
    const file = path.join(folder, 'torn.f32');
    const first = await updateKnowledge(await input(images.slice(0, 20), file));
    await truncate(file, 20 * backbone.features * 4 + 13).catch(() => undefined);
    await writeFile(file, Buffer.concat([await readFile(file), Buffer.alloc(0)]));
    const rows = withRows(images, first.rows);
    const second = await input(rows, file);
    const { rows: more } = await updateKnowledge(second);
    expect(more[0]!.row).toBe(21);
    const clean = await input(images, path.join(folder, 'clean.f32'));
    await updateKnowledge(clean);
    expect(await readKnowledge(second.outDir)).toEqual(await readKnowledge(clean.outDir));
  });

  it('names a picture that cannot be read, a missing row, too few classes; can be cancelled', async () => {
    const bad = path.join(folder, 'bad.png');
    await writeFile(bad, 'no picture');
    const broken = [...images, { ...images[0]!, file: bad, sha: '0'.repeat(64) }];
    await expect(updateKnowledge(await input(broken, path.join(folder, 'bad.f32')))).rejects.toMatchObject({
      code: 'IMAGE_UNREADABLE',
    });
    const beyond = images.map((image, i) => ({ ...image, row: 1000 + i }));
    await expect(updateKnowledge(await input(beyond, path.join(folder, 'one.f32')))).rejects.toMatchObject({
      code: 'BUNDLE_ALTERED',
    });
    const single = images.slice(0, 9);
    await expect(updateKnowledge(await input(single, path.join(folder, 'single.f32')))).rejects.toMatchObject({
      code: 'TOO_FEW_CLASSES',
    });
    const aborted = updateKnowledge(await input(images, path.join(folder, 'stop.f32')), {
      signal: AbortSignal.abort(),
    });
    await expect(aborted).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('tells its progress, never backwards', async () => {
    const seen: number[] = [];
    await updateKnowledge(await input(images, path.join(folder, 'progress.f32')), {
      onProgress: ({ progress }) => seen.push(progress),
    });
    expect(seen.at(-1)).toBe(1);
    expect(seen.every((value, i) => i === 0 || value >= seen[i - 1]!)).toBe(true);
  });

  it('does not take a head that was altered', async () => {
    const done = await input(images, path.join(folder, 'altered.f32'));
    await updateKnowledge(done);
    const head = await readFile(path.join(done.outDir, 'head.f64'));
    head[100]! ^= 1;
    await writeFile(path.join(done.outDir, 'head.f64'), head);
    await expect(readKnowledge(done.outDir)).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
  });
});

it('featuresOf gives a row of NaN for what cannot be read, and true rows for the rest', async () => {
  const missing = { sha: '1'.repeat(64), file: path.join(folder, 'none.png'), region: null };
  const { features } = await featuresOf({
    backbone,
    recipe: recipeSchema.parse({}),
    images: [images[0]!, missing, images[1]!],
    threads: 1,
  });
  const row = (i: number) => features.subarray(i * 32, (i + 1) * 32);
  expect(row(0).every(Number.isFinite) && row(2).every(Number.isFinite)).toBe(true);
  expect(row(1).every(Number.isNaN)).toBe(true);
});
