import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { escapesOf, overkillsOf } from '../../../main/compression/evidence/verdicts.ts';
import { finishVariant, type Finished, type FinishOptions } from '../../../main/compression/finish.ts';
import { createImageSource } from '../../../main/compression/image-source.ts';
import { crowdedClasses, deployedVerdicts, heldOutVerdicts } from '../../../main/compression/part-verdicts.ts';
import { classCounts } from '../../../main/compression/plan/evaluate.ts';
import { prepareBase } from '../../../main/compression/plan/workshop.ts';
import { criteriaSchema, recipeSchema, type Region } from '../../../main/contract/domain.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { keyOf, type LedgerRow } from '../../../main/learning/folds.ts';
import { encodeModel } from '../../../main/onnx/index.ts';
import { CLASSES, smallBackboneFile, texture } from './small-data.ts';

/* A good part teaches all its tiles, and a defect the one that holds it: far more tiles than are looked at to choose lambda. */

const GOOD = 90;
const DEFECTIVE = 12;
const TILES: readonly Region[] = Array.from({ length: 16 }, (_, i) => ({
  x: 16 * (i % 4),
  y: 16 * Math.floor(i / 4),
  width: 16,
  height: 16,
}));

const products = openProducts({ threads: 1 });
let folder: string;
let options: FinishOptions;
let finished: Finished;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-tiled-'));
  const rows: { file: string; sha: string; classId: string; region: Region }[] = [];
  for (const [kind, classId] of CLASSES.entries()) {
    const isOk = classId === 'plain';
    for (let part = 0; part < (isOk ? GOOD : DEFECTIVE); part += 1) {
      const bytes = await texture(kind, 900 + part);
      const sha = createHash('sha256').update(bytes).digest('hex');
      const file = join(folder, `${sha}.png`);
      await writeFile(file, bytes);
      const tiles = isOk ? TILES : [TILES[part % TILES.length]!];
      rows.push(...tiles.map((region) => ({ file, sha, classId, region })));
    }
  }
  const backbone = await smallBackboneFile(folder);
  const ledger = rows.map(({ sha, classId, region }): LedgerRow => ({ sha, classId, ...keyOf(region) }));
  options = {
    backbone,
    source: createImageSource(rows, backbone, { rotation: 0, maxPixels: 1e6 }),
    images: rows.map((_, i) => i),
    ledger,
    classes: CLASSES.map((id) => ({ id, names: { en: id, ja: id }, isOk: id === 'plain' })),
    criteria: criteriaSchema.parse({}),
    recipe: null,
    identity: { demo: true, stationId: 's', knowledgeId: 'k' },
    products,
    threads: 1,
    now: () => new Date(0),
  };
  const base = prepareBase(await readFile(backbone.file), backbone);
  const native = { strategy: 'none', ratio: 0, inputSize: 96, precision: 'fp32' } as const;
  finished = await finishVariant('whole', native, base, encodeModel(base), options);
});
afterAll(async () => {
  await products[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

describe('a station with tiles', () => {
  it('is judged by all its parts, each by the worst of all its tiles', () => {
    const { ledger } = options;
    const verdicts = heldOutVerdicts(finished, ledger);
    expect(overkillsOf(verdicts, new Set(['plain'])).ok).toBe(GOOD);
    expect(escapesOf(verdicts, new Set(['plain'])).ng).toBe(2 * DEFECTIVE);
    expect(finished.validation.rows).toHaveLength(ledger.length);
    // Further parts would be judged too.
    expect([...crowdedClasses(finished.validation.rows, ledger)]).toEqual([]);
    expect(finished.knowledge.noveltyRate).toBe(0.01);
  });

  it('is compared by a tile of each part at least', () => {
    const counts = classCounts(finished.compared.judged).map(({ n }) => n);
    expect(counts).toEqual([DEFECTIVE, DEFECTIVE, GOOD]);
  });

  it('is inspected on the same parts', async () => {
    const model = { model: finished.inspector, card: finished.card, threads: 1 };
    const verdicts = await deployedVerdicts(model, { ...options, recipe: recipeSchema.parse({}) });
    expect(overkillsOf(verdicts, new Set(['plain']))).toEqual({ ok: GOOD, overkilled: 0 });
    expect([...verdicts.keys()].toSorted()).toEqual([...heldOutVerdicts(finished, options.ledger).keys()].toSorted());
  });
});
