import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { renderDataset } from '../../main/capture/simulated/render.ts';
import { modelCardSchema, recipeSchema } from '../../main/contract/domain.ts';
import { assembleInspector } from '../../main/learning/assemble.ts';
import { openProducts } from '../../main/learning/dense.ts';
import { openExtractor } from '../../main/learning/extract.ts';
import { heatMapOf, openClassMaps } from '../../main/learning/heat-map.ts';
import { solveKnowledge } from '../../main/learning/knowledge.ts';
import { openSession } from '../../main/runtime/session.ts';
import { encodePng } from '../../main/vision/decode.ts';
import { createPreprocessor } from '../../main/vision/preprocess.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record, spread } from './record.ts';

/*
 * What a heat map of a verdict costs: the line's run of one part, the run of the copy with maps, and the whole request as the trainer answers it
 * (card, picture, copy of the model and map made each time). Shipped backbone at its own size, simulated parts of 512 x 512.
 * node main/host/build/launch.mjs test/bench/heat-map.ts [runs]
 */
const runs = Number(process.argv[2] ?? 40);
const threads = 2;
const backbone = await ensureShippedBackbone();
const folder = await mkdtemp(join(tmpdir(), 'mekiki-heat-bench-'));
try {
  const parts = [...renderDataset({ surface: 'brushed-metal', seed: 7, perClass: 12, width: 512, height: 512 })];
  await using extractor = await openExtractor(backbone, { threads });
  await using products = openProducts({ threads });
  const { knowledge } = await solveKnowledge(
    {
      features: await extractor.run(parts.map(({ image }) => ({ image, region: null }))),
      stages: backbone.featureOutputs.map(({ channels }) => channels),
      ledger: parts.map(({ className }, i) => ({
        classId: className,
        sha: createHash('sha256').update(`${i}`).digest('hex'),
      })),
      okIds: new Set(['ok']),
      criteria: { maxEscape: 1, maxOverkill: 1 },
    },
    { products },
  );
  const model = assembleInspector({ model: new Uint8Array(await readFile(backbone.file)), backbone, knowledge });
  const card = modelCardSchema.parse({
    format: 1,
    id: 'bench',
    createdAt: new Date().toISOString(),
    demo: true,
    stationId: null,
    backboneId: backbone.id,
    backboneSha256: backbone.sha256,
    knowledgeId: null,
    modelSha256: createHash('sha256').update(model).digest('hex'),
    inputSize: backbone.inputSize,
    mean: backbone.mean,
    std: backbone.std,
    classes: knowledge.classes.map(({ classId }) => ({
      id: classId,
      names: { en: classId, ja: classId },
      isOk: classId === 'ok',
    })),
    temperature: knowledge.temperature,
    thresholds: knowledge.thresholds,
    strategy: 'none',
    precision: 'fp32',
    recipe: null,
  });
  const file = join(folder, 'part.png');
  await writeFile(join(folder, 'model.onnx'), model);
  await writeFile(join(folder, 'model.json'), JSON.stringify(card));
  await writeFile(file, await encodePng(parts[0]!.image));
  const preprocessor = createPreprocessor({ size: card.inputSize, mean: card.mean, std: card.std });
  const data = new Float32Array(preprocessor.length);
  preprocessor.into(parts[0]!.image, null, data, 0);
  const size = card.inputSize;
  await using line = await openSession(model, { threads, name: 'line' });
  await using maps = await openClassMaps(model, { threads, name: 'maps' });
  const recipe = recipeSchema.parse({});
  const steps: Record<string, () => Promise<unknown>> = {
    lineRunMs: () => line.run({ image: { type: 'float32', dims: [1, 3, size, size], data } }, ['logits', 'novelty']),
    mapRunMs: () => maps.run(data, size, 0),
    requestMs: () =>
      heatMapOf({ bundleDir: folder, file, region: null, recipe, classId: card.classes[0]!.id }, { threads }),
  };
  const times: Record<string, number[]> = { lineRunMs: [], mapRunMs: [], requestMs: [] };
  for (let round = -3; round < runs; round += 1) {
    for (const [name, step] of Object.entries(steps)) {
      const before = performance.now();
      await step();
      if (round >= 0) times[name]!.push(performance.now() - before);
    }
  }
  record('heat-map', `node main/host/build/launch.mjs test/bench/heat-map.ts ${runs}`, {
    backbone: backbone.id,
    inputSize: size,
    threads,
    runs,
    ...Object.fromEntries(Object.entries(times).map(([name, values]) => [name, spread(values)])),
    // The line's model has no map output: parts without a request pay nothing.
    addedToLineMs: 0,
  });
} finally {
  await rm(folder, { recursive: true, force: true });
}
