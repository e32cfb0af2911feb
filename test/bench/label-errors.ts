import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { scanDataset } from '../../main/learning/dataset.ts';
import { openProducts } from '../../main/learning/dense.ts';
import { embed } from '../../main/learning/embedding.ts';
import { extractFeatures, openExtractor } from '../../main/learning/extract.ts';
import { solveKnowledge } from '../../main/learning/knowledge.ts';
import { pick, sampleOf } from '../../main/learning/selection.ts';
import { contradictions, findSuspects, heldOutProbabilities } from '../../main/learning/suspects.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record } from './record.ts';

/*
 * Suspect labels: of the training images of each set some get a wrong label by seed (another class, all equally likely). Told: share of them that is found, share of what
 * is shown that is one of them, and the same among the first 20 shown; for comparison what a random choice of as many would hold.
 * And how many labels of the unchanged set are doubted: these are true errors, hard parts, or false alarms.
 * node main/host/build/launch.mjs test/bench/label-errors.ts [set ...]
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('label-errors: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const WRONG = [0.02, 0.05, 0.1];
const SEEDS = [0, 1, 2];
const FIRST = 20;
const named = process.argv.slice(2);
const backbone = await ensureShippedBackbone();
const stages = backbone.featureOutputs.map(({ channels }) => channels);
await using products = openProducts({ threads: 2 });
await using extractor = await openExtractor(backbone, { threads: 2 });
const sets: Record<string, unknown> = {};
for (const set of named.length > 0 ? named : ['deeppcb_crops', 'ir_solar', 'magnetic_tile', 'neu_steel']) {
  const { train, classes } = await scanDataset(join(data, set));
  const { features, looks } = await extractFeatures(
    extractor,
    train.map(({ file, name }) => ({ file, name, region: null })),
  );
  const z = embed(features, stages);
  const truth = train.map(({ className, sha }, i) => ({ classId: className, sha, look: looks[i]! }));
  const suspectsOf = async (ledger: typeof truth) => {
    const { knowledge, crossValidation: validation } = await solveKnowledge(
      { features, stages, ledger, okIds: new Set(), criteria: { maxEscape: 0.01, maxOverkill: 0.1 } },
      { products },
    );
    const inSample = new Set(validation.rows);
    const others = ledger.flatMap((_, i) => (inSample.has(i) ? [] : [i]));
    const picked = pick(z, sampleOf(ledger).rows);
    const readRows = async (rows: readonly number[]) => pick(z, rows);
    const { temperature } = knowledge;
    return findSuspects(
      ledger,
      await heldOutProbabilities({ ledger, validation, temperature, picked, others, readRows }, { products }),
    );
  };
  const clean = await suspectsOf(truth);
  const rows = [];
  for (const share of WRONG) {
    for (const seed of SEEDS) {
      const number = (i: number, salt: string) =>
        createHash('sha256').update(`${seed} ${salt} ${truth[i]!.sha}`).digest().readUInt32BE() / 2 ** 32;
      const order = truth.map((_, i) => i).sort((a, b) => number(a, 'which') - number(b, 'which'));
      const wrong = new Set(order.slice(0, Math.round(share * truth.length)));
      const ledger = truth.map((row, i) => {
        if (!wrong.has(i)) return row;
        const others = classes.filter((name) => name !== row.classId);
        return { ...row, classId: others[Math.floor(number(i, 'what') * others.length)]! };
      });
      const found = await suspectsOf(ledger);
      const right = found.filter(({ index }) => wrong.has(index));
      const first = found.slice(0, FIRST);
      rows.push({
        wrongShare: share,
        seed,
        wrong: wrong.size,
        shown: found.length,
        recall: right.length / wrong.size,
        precision: found.length === 0 ? null : right.length / found.length,
        precisionOfFirst:
          first.length === 0 ? null : first.filter(({ index }) => wrong.has(index)).length / first.length,
        suggestionRight:
          right.filter(({ index, suggestedClassId }) => truth[index]!.classId === suggestedClassId).length /
          Math.max(1, right.length),
      });
    }
  }
  sets[set] = {
    images: truth.length,
    cleanDoubted: clean.length,
    cleanContradictions: contradictions(truth).length,
    rows,
  };
  process.stderr.write(`${set} ${JSON.stringify(sets[set])}\n`);
}
record('label-errors', 'node main/host/build/launch.mjs test/bench/label-errors.ts', { backbone: backbone.id, sets });
