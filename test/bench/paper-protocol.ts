import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { importBackbone } from '../../main/learning/backbone-file.ts';
import { runLearnProtocol } from '../../main/learning/protocol.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { writeCifarLayout } from '../helpers/cifar-layout.ts';
import { pythonWithSklearn, sklearnRidge } from '../helpers/sklearn-ridge.ts';
import { record } from './record.ts';

/*
 * The protocol of the paper (arXiv 2505.08327, section 4): CIFAR-100 in ten tasks, as folders {train,test}/<class>/*. Without --data a set of the same layout is
 * rendered. scikit-learn's ridge learns all classes at once on the same features, as an independent peer.
 *   node main/host/build/launch.mjs test/bench/paper-protocol.ts [--data DIR] [--tasks 10] [--backbone FILE]
 */
const { values: asked } = parseArgs({
  options: { data: { type: 'string' }, tasks: { type: 'string', default: '10' }, backbone: { type: 'string' } },
});
/** Of the rendered set; CIFAR-100 has 500 and 100. */
const PER_CLASS = { train: 50, test: 10 };
const threads = 2;

const rendered = asked.data === undefined ? await mkdtemp(join(tmpdir(), 'mekiki-cifar-layout-')) : null;
const dir = rendered ?? asked.data!;
if (rendered) await writeCifarLayout(rendered, PER_CLASS);
try {
  const backbone = asked.backbone
    ? await importBackbone(asked.backbone, { folder: join(tmpdir(), 'mekiki-backbones'), threads })
    : await ensureShippedBackbone();
  const r = await runLearnProtocol({ dir, backbone, method: 'analytic', tasks: Number(asked.tasks), threads, seed: 0 });
  if (!pythonWithSklearn) process.stderr.write('no python3 with scikit-learn: the comparison is skipped\n');
  const peer = pythonWithSklearn ? await sklearnRidge(dir, backbone, threads) : undefined;
  const name = rendered ? 'rendered' : basename(dir);
  const options = [
    ...(rendered ? [] : ['--data', name]),
    '--tasks',
    asked.tasks,
    ...(asked.backbone ? ['--backbone', basename(asked.backbone)] : []),
  ];
  record(
    `paper-protocol-${name}`,
    `node main/host/build/launch.mjs test/bench/paper-protocol.ts ${options.join(' ')}`,
    {
      set: rendered
        ? `rendered in the layout of CIFAR-100: ${PER_CLASS.train} and ${PER_CLASS.test} pictures per class`
        : name,
      backbone: { id: backbone.id, sha256: backbone.sha256 },
      classes: r.classes.length,
      tasks: r.tasks.length,
      images: r.images,
      accuracy: r.accuracy,
      averageAccuracy: r.averageAccuracy,
      bwt: r.bwt,
      joint: r.joint,
      maxWeightDifferenceToJoint: r.maxWeightDifferenceToJoint,
      accuracyAfterTask: r.matrix.map((row, t) => meanOver(r.tasks.slice(0, t + 1), row)),
      updateSeconds: r.updateSeconds,
      ...(peer && {
        peer: { name: `scikit-learn ${peer.version}, RidgeClassifierCV`, accuracy: peer.accuracy, alpha: peer.alpha },
      }),
    },
  );
} finally {
  if (rendered) await rm(rendered, { recursive: true, force: true });
}

/** Of tasks with the same number of test images per class: weighted by their classes. */
function meanOver(tasks: readonly string[][], row: readonly (number | null)[]): number {
  const classes = tasks.reduce((sum, task) => sum + task.length, 0);
  return tasks.reduce((sum, task, j) => sum + row[j]! * task.length, 0) / classes;
}
