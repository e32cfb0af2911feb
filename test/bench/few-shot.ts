import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { scanDataset, type DatasetImage } from '../../main/learning/dataset.ts';
import { openProducts } from '../../main/learning/dense.ts';
import { embed } from '../../main/learning/embedding.ts';
import { extractFeatures, openExtractor } from '../../main/learning/extract.ts';
import { gather, logitsOf } from '../../main/learning/knowledge.ts';
import { crossValidate, pick } from '../../main/learning/selection.ts';
import { solveHead } from '../../main/learning/solve.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record } from './record.ts';

/*
 * A new class with few labelled parts: all other classes in full, one class (each in turn) with 1, 5, 10, 20 or all of its training images, drawn by seed. Told: recall of
 * the new class, and mean recall of the old ones, on the test folder; and the old ones without the new class in the knowledge.
 * node main/host/build/launch.mjs test/bench/few-shot.ts [--seeds n] [set ...]
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('few-shot: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const SHOTS = [1, 5, 10, 20];
const args = process.argv.slice(2);
const at = args.indexOf('--seeds');
const SEEDS = Array.from({ length: at < 0 ? 3 : Number(args.splice(at, 2)[1]) }, (_, seed) => seed);
const sets = args.length > 0 ? args : ['neu_steel'];
const backbone = await ensureShippedBackbone();
const stages = backbone.featureOutputs.map(({ channels }) => channels);
await using products = openProducts({ threads: 2 });
await using extractor = await openExtractor(backbone, { threads: 2 });
const featured = async (images: readonly DatasetImage[]) => {
  const { features, looks } = await extractFeatures(
    extractor,
    images.map(({ file, name }) => ({ file, name, region: null })),
  );
  return {
    z: embed(features, stages),
    rows: images.map(({ className, sha }, i) => ({ classId: className, sha, look: looks[i]! })),
  };
};
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const result: Record<string, unknown> = {};
for (const set of sets) {
  const { train: trainImages, test: testImages, classes } = await scanDataset(join(data, set));
  const train = await featured(trainImages);
  const test = await featured(testImages);
  /** Recall per class after learning the rows; absent classes are not tested. */
  const recallOf = async (rows: number[]) => {
    const z = pick(train.z, rows);
    const ledger = rows.map((i) => train.rows[i]!);
    const choice = await crossValidate(z, ledger, products);
    const head = await solveHead(gather(z, ledger), choice, products);
    const { data: logits } = await logitsOf(head, test.z, products);
    const k = head.classIds.length;
    const recall = new Map<string, { right: number; all: number }>();
    test.rows.forEach(({ classId }, i) => {
      if (!head.classIds.includes(classId)) return;
      let best = 0;
      for (let c = 1; c < k; c += 1) if (logits[i * k + c]! > logits[i * k + best]!) best = c;
      const entry = recall.get(classId) ?? { right: 0, all: 0 };
      entry.all += 1;
      if (head.classIds[best] === classId) entry.right += 1;
      recall.set(classId, entry);
    });
    return (id: string) => recall.get(id)!.right / recall.get(id)!.all;
  };
  const all = train.rows.map((_, i) => i);
  const full = await recallOf(all);
  const rows: {
    newClass: string;
    seed: number;
    shots: number;
    recall: number;
    shareOfFull: number;
    oldLossPp: number;
  }[] = [];
  for (const newClass of classes) {
    const others = classes.filter((id) => id !== newClass);
    const old = all.filter((i) => train.rows[i]!.classId !== newClass);
    const before = await recallOf(old);
    for (const seed of SEEDS) {
      const rank = (i: number) => createHash('sha256').update(`${seed} ${train.rows[i]!.sha}`).digest('hex');
      const drawn = all.filter((i) => train.rows[i]!.classId === newClass).sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
      for (const shots of SHOTS) {
        const recall = await recallOf([...old, ...drawn.slice(0, shots)]);
        rows.push({
          newClass,
          seed,
          shots,
          recall: recall(newClass),
          shareOfFull: recall(newClass) / full(newClass),
          oldLossPp: 100 * (mean(others.map(before)) - mean(others.map(recall))),
        });
      }
    }
  }
  const summary = SHOTS.map((shots) => {
    const some = rows.filter((row) => row.shots === shots);
    return {
      shots,
      shareOfFull: { mean: mean(some.map((r) => r.shareOfFull)), least: Math.min(...some.map((r) => r.shareOfFull)) },
      oldLossPp: { mean: mean(some.map((r) => r.oldLossPp)), most: Math.max(...some.map((r) => r.oldLossPp)) },
    };
  });
  process.stderr.write(`${set}: ${JSON.stringify(summary)}\n`);
  result[set] = { full: Object.fromEntries(classes.map((id) => [id, full(id)])), summary, rows };
}
record('few-shot', `node main/host/build/launch.mjs test/bench/few-shot.ts --seeds ${SEEDS.length} ${sets.join(' ')}`, {
  backbone: { id: backbone.id, sha256: backbone.sha256 },
  seeds: SEEDS,
  sets: result,
});
