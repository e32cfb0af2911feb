import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createImageSource, readableImages } from '../../main/compression/image-source.ts';
import { comparedOf, featuresOf, lossBetween, stagesOf, validate } from '../../main/compression/plan/evaluate.ts';
import { openWorkshop } from '../../main/compression/plan/workshop.ts';
import { linearHead } from '../../main/compression/prune/linear-head.ts';
import { IMPORTANCES, type ImportanceOptions } from '../../main/compression/prune/measures.ts';
import { encodeModel, modelCost } from '../../main/onnx/index.ts';
import { scanDataset } from '../../main/learning/dataset.ts';
import { openProducts } from '../../main/learning/dense.ts';
import { solveKnowledge } from '../../main/learning/knowledge.ts';
import { representativeRows } from '../../main/learning/selection.ts';
import { createOrtEngine } from '../../main/training/ort/engine.ts';
import { backboneNamed } from './backbone.ts';
import { record } from './record.ts';

/*
 * The measures of a channel's worth against each other: the backbone pruned by all classes at its own size, in floats, by each of them to the same shares of
 * multiply-accumulates, what is left fitted alike. Judged by held-out scores over folds of the training images; no test image is opened, nothing is timed.
 * node main/host/build/launch.mjs test/bench/importance.ts [shipped|<backbone of MEKIKI_MODELS>] [--rows n] [set ...]
 */
const { MEKIKI_DATA: data, MEKIKI_MODELS: models } = process.env;
if (!data || !models) {
  process.stderr.write('importance: skipped, MEKIKI_DATA or MEKIKI_MODELS is not set\n');
  process.exit(0);
}
const THREADS = 2;
const RATIOS = [0.45, 0.65];
const args = process.argv.slice(2);
const at = args.indexOf('--rows');
const rowsAsked = at < 0 ? 600 : Number(args.splice(at, 2)[1]);
const [name = 'shipped', ...named] = args;
const backbone = await backboneNamed(name, models, THREADS);
const bytes = await readFile(backbone.file);
const size = backbone.inputSize;
const variants: [string, ImportanceOptions][] = [
  ...IMPORTANCES.map((measure): [string, ImportanceOptions] => [measure, { measures: [measure] }]),
  // All but the first, which the others are compared with, added with equal weights.
  ['all others added', { measures: IMPORTANCES.slice(1) }],
];
const sets: Record<string, unknown> = {};
await using products = openProducts({ threads: THREADS });
for (const set of named.length > 0 ? named : ['magnetic_tile', 'deeppcb_crops']) {
  const { train } = await scanDataset(join(data, set));
  const source = createImageSource(
    train.map(({ file }) => ({ file, region: null })),
    backbone,
    { rotation: 0, maxPixels: 1e8 },
  );
  const { indices, looks } = await readableImages(source);
  const all = indices.map((index, i) => ({
    classId: train[index]!.className,
    sha: train[index]!.sha,
    look: looks[i]!,
  }));
  const rows = representativeRows(all, rowsAsked);
  const images = rows.map((row) => indices[row]!);
  const ledger = rows.map((row) => all[row]!);
  const workshopBy = (importance: ImportanceOptions | undefined) =>
    openWorkshop({
      backbone,
      bytes,
      source,
      images: indices,
      firstTask: indices,
      untaught: new Set(),
      threads: THREADS,
      importance,
      seed: 0,
      teaching: { engine: createOrtEngine(), epochs: async () => 0 },
    });
  const { base } = workshopBy(undefined);
  const judged = async (model: Uint8Array) => {
    const features = await featuresOf(backbone, model, size, source, images, { threads: THREADS });
    return { features, compared: comparedOf(await validate(features, backbone, ledger, products), ledger) };
  };
  const reference = await judged(encodeModel(base));
  const { knowledge } = await solveKnowledge(
    {
      features: reference.features,
      stages: stagesOf(backbone),
      ledger,
      okIds: new Set(),
      criteria: { maxEscape: 1, maxOverkill: 1 },
    },
    { products },
  );
  const head = linearHead(backbone, reference.features, knowledge.weights);
  const macs = modelCost(base, [1, 3, size, size]).macs;
  const results = [];
  for (const [measure, importance] of variants) {
    const workshop = workshopBy(importance);
    workshop.useHead(head);
    for (const ratio of RATIOS) {
      const made = await workshop.make({ strategy: 'post-prune', ratio, inputSize: size, precision: 'fp32' });
      const { compared } = await judged(made.bytes);
      const lost = lossBetween(reference.compared, compared);
      const result = {
        measure,
        ratio,
        macsLeft: modelCost(made.model, [1, 3, size, size]).macs / macs,
        balancedAccuracy: compared.balancedAccuracy,
        lostPp: lost.accuracyPp,
        lostUpperPp: lost.accuracyUpperPp,
        /** Of the balanced Brier score: it moves with every image. */
        certaintyLostPp: lost.certaintyPp,
      };
      results.push(result);
      process.stderr.write(`${set} ${JSON.stringify(result)}\n`);
    }
  }
  sets[set] = {
    images: images.length,
    reference: { balancedAccuracy: reference.compared.balancedAccuracy, loss: reference.compared.loss },
    results,
  };
}
record(
  'importance',
  `node main/host/build/launch.mjs test/bench/importance.ts ${process.argv.slice(2).join(' ')}`.trim(),
  {
    backbone: { id: backbone.id, sha256: backbone.sha256 },
    inputSize: size,
    ratios: RATIOS,
    sets,
  },
);
