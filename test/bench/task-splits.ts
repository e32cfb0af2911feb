import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { scanDataset, type DatasetImage } from '../../main/learning/dataset.ts';
import { openProducts, type Matrix } from '../../main/learning/dense.ts';
import { extractFeatures, openExtractor } from '../../main/learning/extract.ts';
import { createAnalyticLearner } from '../../main/learning/learners/analytic.ts';
import { splitTasks } from '../../main/learning/protocol.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record } from './record.ts';

/*
 * What the split into tasks leaves behind: nothing. The same training images in 1, 2, 3 tasks and one class per task; told: the largest difference of a weight
 * (over the largest weight) and the test predictions that differ. Per class, recall on the test folder when it was just learnt, at the end, and of a fit that learnt
 * all classes at once: what is lost between the first two is competition of new classes if the last two are equal, and forgetting if not.
 * node main/host/build/launch.mjs test/bench/task-splits.ts [set ...]
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('task-splits: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const sets = process.argv.length > 2 ? process.argv.slice(2) : readdirSync(data).sort();
const backbone = await ensureShippedBackbone();
const stages = backbone.featureOutputs.map(({ channels }) => channels);
const width = backbone.features;
await using products = openProducts({ threads: 2 });
await using extractor = await openExtractor(backbone, { threads: 2 });
const featured = async (images: readonly DatasetImage[]) => {
  const sources = images.map(({ file, name }) => ({ file, name, region: null }));
  const { features, looks } = await extractFeatures(extractor, sources);
  return {
    features,
    rows: images.map(({ className, sha }, i) => ({ classId: className, sha, look: looks[i]! })),
  };
};
const result: Record<string, unknown> = {};
for (const set of sets) {
  const { train: trainImages, test: testImages, classes } = await scanDataset(join(data, set));
  const train = await featured(trainImages);
  const test = await featured(testImages);
  const learnInTasks = async (tasks: number) => {
    const learner = createAnalyticLearner({ products, stages });
    const justLearnt = new Map<string, number>();
    let predicted: string[] = [];
    for (const task of splitTasks(classes, tasks)) {
      const picked = train.rows.flatMap(({ classId }, i) => (task.includes(classId) ? [i] : []));
      const features = new Float32Array(picked.length * width);
      picked.forEach((from, to) => features.set(train.features.subarray(from * width, (from + 1) * width), to * width));
      await learner.learn(
        features,
        picked.map((i) => train.rows[i]!),
      );
      const { data: logits } = await learner.predict(test.features);
      const { classIds } = learner;
      predicted = test.rows.map((_, i) => {
        const row = logits.subarray(i * classIds.length, (i + 1) * classIds.length);
        return classIds[row.indexOf(Math.max(...row))]!;
      });
      for (const name of task) justLearnt.set(name, recallOf(name, predicted));
    }
    return { weights: learner.weights, predicted, justLearnt };
  };
  const recallOf = (name: string, predicted: readonly string[]): number => {
    const own = test.rows.flatMap(({ classId }, i) => (classId === name ? [i] : []));
    return own.filter((i) => predicted[i] === name).length / own.length;
  };
  const difference = (a: Matrix, b: Matrix): number => {
    let worst = 0;
    let largest = 0;
    for (let i = 0; i < a.data.length; i += 1) {
      worst = Math.max(worst, Math.abs(a.data[i]! - b.data[i]!));
      largest = Math.max(largest, Math.abs(a.data[i]!));
    }
    return worst / largest;
  };
  const atOnce = await learnInTasks(1);
  const splits = [];
  let last = atOnce;
  for (const tasks of [2, 3, classes.length]) {
    last = await learnInTasks(tasks);
    splits.push({
      tasks,
      weightDifference: difference(atOnce.weights, last.weights),
      predictionsThatDiffer: last.predicted.filter((name, i) => name !== atOnce.predicted[i]).length,
    });
  }
  const perClass = classes.map((name) => {
    const [first, final, joint] = [
      last.justLearnt.get(name)!,
      recallOf(name, last.predicted),
      recallOf(name, atOnce.predicted),
    ];
    return {
      name,
      recallWhenLearnt: first,
      finalRecall: final,
      recallLearntAtOnce: joint,
      lostToCompetition: first - joint,
      forgotten: joint - final,
    };
  });
  result[set] = { splits, perClass, testImages: test.rows.length };
  process.stderr.write(`${set}: ${JSON.stringify(splits)}\n`);
  record('task-splits', `node main/host/build/launch.mjs test/bench/task-splits.ts ${sets.join(' ')}`, {
    backbone: { id: backbone.id, sha256: backbone.sha256 },
    sets: result,
  });
}
