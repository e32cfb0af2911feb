import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { criteriaSchema, recipeSchema, type Backbone } from '../../../main/contract/domain.ts';
import type { LabelledImage } from '../../../main/contract/trainer.ts';
import { readKnowledge } from '../../../main/learning/knowledge-files.ts';
import { checkSums, exportKnowledge } from '../../../main/learning/sums.ts';
import { updateKnowledge } from '../../../main/learning/update.ts';
import { picture, writePicture, type Surface } from './pictures.ts';
import { writeTinyBackbone } from './tiny-backbone.ts';

/* What an update refuses, and that a refused update leaves the stored knowledge and sums as they were. */

let folder: string;
let backbone: Backbone;
let images: LabelledImage[];
let known: LabelledImage[];
const ids: Surface[] = ['stripes', 'dots', 'plain'];
const fileOf = () => path.join(folder, 'features.f32');

const input = async (list: LabelledImage[], exports: string[] = []) => {
  const outDir = await mkdtemp(path.join(folder, 'out-'));
  return {
    backbone,
    recipe: recipeSchema.parse({}),
    criteria: criteriaSchema.parse({}),
    classes: ids.map((id) => ({
      id,
      names: { en: id, ja: id },
      isOk: id === 'plain',
      color: 1,
      hotKey: null,
      retired: false,
    })),
    images: list,
    threads: 1,
    outDir,
    featureFile: fileOf(),
    statisticsDir: path.join(folder, 'sums'),
    exports,
  };
};

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mekiki-bad-'));
  backbone = await writeTinyBackbone(path.join(folder, 'tiny.onnx'));
  images = [];
  for (const classId of ids) {
    for (let i = 0; i < 7; i += 1) {
      const place = path.join(folder, 'images', `${classId}-${i}.png`);
      const { file, sha } = await writePicture(place, picture(classId, i));
      images.push({ file, sha, region: null, classId, row: -1 });
    }
  }
  await mkdir(path.join(folder, 'sums'), { recursive: true });
  const { rows } = await updateKnowledge(await input(images));
  known = images.map((image) => ({ ...image, row: rows.find(({ sha }) => sha === image.sha)!.row }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Refused with the code, nothing written, and the next good update gives what it gave before. */
async function refused(list: LabelledImage[], code: string, exports: string[] = []): Promise<string> {
  const before = await input(known);
  await updateKnowledge(before);
  const bad = await input(list, exports);
  const error = await updateKnowledge(bad).then(
    () => null,
    (thrown: unknown) => thrown as { code: string; message: string },
  );
  expect(error?.code).toBe(code);
  expect(await readdir(bad.outDir)).toEqual([]);
  const after = await input(known);
  await updateKnowledge(after);
  expect(await readKnowledge(after.outDir)).toEqual(await readKnowledge(before.outDir));
  return error!.message;
}

describe('an update refuses, and changes nothing', () => {
  it('two classes for one image, naming both', async () => {
    const message = await refused([...known, { ...known[0]!, classId: 'dots' }], 'CONTRADICTING_LABELS');
    expect(message).toMatch(/stripes/);
    expect(message).toMatch(/dots/);
  });

  it('one class of defects only', async () => {
    await refused(
      known.filter(({ classId }) => classId === 'stripes'),
      'TOO_FEW_CLASSES',
    );
  });

  it('no images at all', () => refused([], 'TOO_FEW_CLASSES'));

  it('features that are no numbers', async () => {
    const handle = await open(fileOf(), 'r+');
    const at = known[3]!.row * backbone.features * 4;
    const kept = Buffer.alloc(4);
    await handle.read(kept, 0, 4, at);
    try {
      const bad = await input(known);
      // Read before the damage: what is known must come from a whole file.
      const nan = Buffer.alloc(4);
      nan.writeFloatLE(Number.NaN);
      await handle.write(nan, 0, 4, at);
      // Names the picture, not the file of all features.
      await expect(updateKnowledge(bad)).rejects.toMatchObject({
        code: 'FEATURES_NOT_FINITE',
        details: { file: known[3]!.file },
      });
      expect(await readdir(bad.outDir)).toEqual([]);
    } finally {
      await handle.write(kept, 0, 4, at);
      await handle.close();
    }
    await updateKnowledge(await input(known));
  });

  it('a picture that is no picture, cut short or empty, by name', async () => {
    const { file, region } = known[0]!;
    const damaged = path.join(folder, 'damaged.png');
    const whole = await readFile(file);
    for (const bytes of [whole.subarray(0, whole.length / 2), Buffer.from('no picture'), Buffer.alloc(0)]) {
      await writeFile(damaged, bytes);
      const image = { file: damaged, sha: '9'.repeat(64), region, classId: 'dots', row: -1 };
      expect(await refused([...known, image], 'IMAGE_UNREADABLE')).toContain('damaged.png');
    }
  });

  it('sums made with another backbone', async () => {
    const file = path.join(folder, 'other.knowledge');
    const { classes, statisticsDir, threads, featureFile } = await input(known);
    const wanted = {
      backbone: { ...backbone, sha256: 'e'.repeat(64) },
      recipe: recipeSchema.parse({}),
      criteria: criteriaSchema.parse({}),
      outDir: folder,
      classes,
      images: known,
      labelledBy: null,
      threads,
      featureFile,
      statisticsDir: path.join(statisticsDir, 'other'),
      exports: [],
      lambda: 0.01,
      balancing: 1,
      file,
      source: { home: '0'.repeat(32), station: 'st-1' },
      demo: false,
    };
    const signal = AbortSignal.abort();
    // One after the other: a rejection that nobody waits for yet would end the run.
    await expect(exportKnowledge(wanted, { signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(checkSums(wanted, { signal })).rejects.toMatchObject({ code: 'CANCELLED' });
    await exportKnowledge(wanted);
    await refused(known, 'KNOWLEDGE_OF_OTHER_BACKBONE', [file]);
  });
});

describe('stored knowledge that is damaged is named', () => {
  it('empty, cut short, or of two updates', async () => {
    const stored = await input(known);
    await updateKnowledge(stored);
    const [json, head] = ['knowledge.json', 'head.f64'].map((name) => path.join(stored.outDir, name));
    const whole = await readFile(head!);
    await writeFile(head!, Buffer.alloc(0));
    await expect(readKnowledge(stored.outDir)).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
    await writeFile(head!, whole);
    for (const text of ['', '{', '{"format": 2}']) {
      await writeFile(json!, text);
      await expect(readKnowledge(stored.outDir)).rejects.toMatchObject({ code: 'KNOWLEDGE_UNREADABLE' });
    }
    await rm(json!);
    await expect(readKnowledge(stored.outDir)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('an update takes', () => {
  it('a class that was emptied by un-learning: it is gone, as if it had never been there', async () => {
    const without = known.filter(({ classId }) => classId !== 'dots');
    const first = await input(without);
    const { summary } = await updateKnowledge(first);
    expect(summary.classes.map(({ classId }) => classId)).toEqual(['plain', 'stripes']);
    const fresh = { ...(await input(without)), statisticsDir: path.join(folder, 'fresh-sums') };
    await updateKnowledge(fresh);
    expect(await readKnowledge(first.outDir)).toEqual(await readKnowledge(fresh.outDir));
  });

  it('singular statistics: two images in all, far fewer than features', async () => {
    const pair = [known[0]!, known[8]!];
    const done = await input(pair);
    const { summary } = await updateKnowledge(done);
    expect(summary.balancedAccuracy).toBeNull();
    const { knowledge } = await readKnowledge(done.outDir);
    expect(knowledge.weights.data.every(Number.isFinite)).toBe(true);
  });
});
