import { join } from 'node:path';
import type { Backbone } from '../../main/contract/domain.ts';
import { byCodeUnit, scanDataset, type DatasetImage } from '../../main/learning/dataset.ts';
import {
  cholesky,
  matrix,
  openProducts,
  solveCholesky,
  type Matrix,
  type Products,
} from '../../main/learning/dense.ts';
import { argmax } from '../../main/learning/evaluation.ts';
import { extractFeatures, featureRows, openExtractor } from '../../main/learning/extract.ts';
import { FOLDS, foldsOf } from '../../main/learning/folds.ts';
import { createAnalyticLearner } from '../../main/learning/learners/analytic.ts';
import { nearDuplicateGroups, nearDuplicateRadii } from '../../main/learning/near-duplicates.ts';
import { pick } from '../../main/learning/selection.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record } from './record.ts';

/*
 * The learner with its defaults against the plain recipe: ridge on two pooled stages of the same network, each scaled to length 1. Test folders are small (in
 * one of them a picture is 1.5 points of balanced accuracy), so training and test images are taken together and held out in five folds that keep look-alikes
 * together. The plain recipe gets the lambda and balancing that are best on these very folds; the learner chooses its own on the other four. The interval of
 * the difference is a bootstrap over groups of look-alikes within classes.
 * node main/host/build/launch.mjs test/bench/reference.ts [set ...]
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('reference: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const TWO_STAGES = 'mobilenet-v2-openimages';
const LAMBDAS = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3];
const REDRAWS = 2000;
const threads = 2;

interface Row extends DatasetImage {
  look: string;
}

const stagesOf = ({ featureOutputs }: Backbone) => featureOutputs.map(({ channels }) => channels);

async function featuresOf(backbone: Backbone, images: readonly DatasetImage[]) {
  await using extractor = await openExtractor(backbone, { threads });
  const sources = images.map(({ file, name }) => ({ file, name, region: null }));
  const { features, looks, failed } = await extractFeatures(extractor, sources, { onProgress: () => {} });
  if (failed.length > 0) throw failed[0]!.error;
  return { features, looks };
}

/** Each stage to length 1, and a constant. */
function plain(features: Float32Array, stages: readonly number[], rows: number): Matrix {
  const width = stages.reduce((sum, channels) => sum + channels, 0);
  const z = matrix(rows, width + 1);
  for (let row = 0; row < rows; row += 1) {
    let at = 0;
    for (const channels of stages) {
      const part = features.subarray(row * width + at, row * width + at + channels);
      const length = Math.hypot(...part) || 1;
      part.forEach((value, j) => (z.data[row * (width + 1) + at + j] = value / length));
      at += channels;
    }
    z.data[row * (width + 1) + width] = 1;
  }
  return z;
}

/** Class of each image of `asked` by a weighted ridge on the others, per lambda. */
async function ridge(
  z: Matrix,
  truth: Int32Array,
  classes: number,
  { asked, learnt, balanced }: { asked: readonly number[]; learnt: readonly number[]; balanced: boolean },
  products: Products,
): Promise<number[][]> {
  const counts = new Float64Array(classes);
  for (const row of learnt) counts[truth[row]!]! += 1;
  const weight = (row: number) => (balanced ? learnt.length / (classes * counts[truth[row]!]!) : 1);
  const x = pick(z, learnt);
  const y = matrix(learnt.length, classes);
  learnt.forEach((row, i) => {
    const root = Math.sqrt(weight(row));
    for (let j = 0; j < z.columns; j += 1) x.data[i * z.columns + j]! *= root;
    y.data[i * classes + truth[row]!] = root;
  });
  const scatter = await products.multiply(x, x, { transposeA: true });
  const sums = await products.multiply(x, y, { transposeA: true });
  const wanted = pick(z, asked);
  const out: number[][] = [];
  for (const lambda of LAMBDAS) {
    const a = matrix(z.columns, z.columns, scatter.data.slice());
    for (let i = 0; i < z.columns; i += 1) a.data[i * z.columns + i]! += lambda;
    const head = await solveCholesky(await cholesky(a, products), sums, products);
    const logits = await products.multiply(wanted, head);
    out.push(asked.map((_, i) => argmax(logits.data, i * classes, classes)));
  }
  return out;
}

/** Mean over classes of the share judged right. @param times how often each image counts; default: once */
function balanced(truth: Int32Array, told: Int32Array, classes: number, times?: Float64Array): number {
  const right = new Float64Array(classes);
  const seen = new Float64Array(classes);
  truth.forEach((c, i) => {
    const count = times ? times[i]! : 1;
    seen[c]! += count;
    if (told[i] === c) right[c]! += count;
  });
  return right.reduce((sum, value, c) => sum + value / seen[c]!, 0) / classes;
}

/** Difference of balanced accuracy over redraws of the groups of each class: its 2.5 and 97.5 per cent. */
function intervalOf(truth: Int32Array, groups: readonly string[], a: Int32Array, b: Int32Array, classes: number) {
  const byClass = Array.from({ length: classes }, () => new Map<string, number[]>());
  truth.forEach((c, i) => byClass[c]!.set(groups[i]!, [...(byClass[c]!.get(groups[i]!) ?? []), i]));
  const lists = byClass.map((map) => [...map.values()]);
  let state = 1;
  const random = () => (state = Math.imul(state, 48271) % 0x7fffffff) / 0x7fffffff;
  const differences = Array.from({ length: REDRAWS }, () => {
    const times = new Float64Array(truth.length);
    for (const list of lists) {
      for (let i = 0; i < list.length; i += 1) {
        for (const row of list[Math.floor(Math.abs(random()) * list.length)]!) times[row]! += 1;
      }
    }
    return balanced(truth, a, classes, times) - balanced(truth, b, classes, times);
  }).sort((x, y) => x - y);
  return [differences[Math.floor(REDRAWS * 0.025)]!, differences[Math.floor(REDRAWS * 0.975)]!];
}

const shipped = await ensureShippedBackbone();
const earlier = await ensureShippedBackbone(undefined, TWO_STAGES);
const sets: Record<string, unknown> = {};
const named = process.argv.slice(2);
await using products = openProducts({ threads });
for (const set of named.length > 0 ? named : ['neu_steel', 'magnetic_tile', 'deeppcb_crops', 'ir_solar']) {
  const dataset = await scanDataset(join(data, set));
  const images = [...dataset.train, ...dataset.test];
  const classes = [...dataset.classes].sort(byCodeUnit);
  const own = await featuresOf(shipped, images);
  const z = plain((await featuresOf(earlier, images)).features, stagesOf(earlier), images.length);
  const rows: Row[] = images.map((image, i) => ({ ...image, look: own.looks[i]! }));
  const ledger = rows.map(({ className, sha, look }) => ({ classId: className, sha, look }));
  const folds = foldsOf(ledger, nearDuplicateRadii);
  const truth = Int32Array.from(rows, ({ className }) => classes.indexOf(className));
  const learner = new Int32Array(images.length);
  const ridges = [true, false].flatMap((even) =>
    LAMBDAS.map((lambda) => ({ even, lambda, told: new Int32Array(images.length) })),
  );
  for (let fold = 0; fold < FOLDS; fold += 1) {
    const asked = [...folds.keys()].filter((i) => folds[i] === fold);
    const learnt = [...folds.keys()].filter((i) => folds[i] !== fold);
    const take = (wanted: readonly number[]) => featureRows(own.features, shipped.features, wanted);
    const analytic = createAnalyticLearner({ products, stages: stagesOf(shipped) });
    await analytic.learn(
      take(learnt),
      learnt.map((i) => ledger[i]!),
    );
    const logits = await analytic.predict(take(asked));
    const ids = analytic.classIds;
    asked.forEach((row, i) => (learner[row] = classes.indexOf(ids[argmax(logits.data, i * ids.length, ids.length)]!)));
    for (const even of [true, false]) {
      const told = await ridge(z, truth, classes.length, { asked, learnt, balanced: even }, products);
      told.forEach((each, l) => {
        const into = ridges.find((one) => one.even === even && one.lambda === LAMBDAS[l])!.told;
        asked.forEach((row, i) => (into[row] = each[i]!));
      });
    }
    process.stderr.write(`${set}: fold ${fold + 1} of ${FOLDS}\n`);
  }
  const scored = ridges.map((one) => ({ ...one, score: balanced(truth, one.told, classes.length) }));
  const best = scored.reduce((a, b) => (b.score > a.score ? b : a));
  const groups = nearDuplicateGroups(ledger, nearDuplicateRadii);
  const score = balanced(truth, learner, classes.length);
  const accuracy = (told: Int32Array) => told.filter((c, i) => c === truth[i]).length / told.length;
  sets[set] = {
    images: images.length,
    groups: new Set(groups).size,
    learner: { balancedAccuracy: score, accuracy: accuracy(learner) },
    plainRidge: {
      balancedAccuracy: best.score,
      accuracy: accuracy(best.told),
      lambda: best.lambda,
      balancing: best.even ? 1 : 0,
    },
    difference: score - best.score,
    interval95: intervalOf(truth, groups, learner, best.told, classes.length),
  };
  process.stderr.write(`${set}: ${JSON.stringify(sets[set])}\n`);
}
record('reference', 'node main/host/build/launch.mjs test/bench/reference.ts', {
  backbone: shipped.id,
  plainBackbone: earlier.id,
  sets,
});
