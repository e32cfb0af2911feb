import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importBackbone } from '../../main/learning/backbone-file.ts';
import { networkMethods, type NetworkMethodName } from '../../main/learning/learners/network/methods.ts';
import { runNetworkProtocol } from '../../main/learning/network-protocol.ts';
import { runLearnProtocol, type ProtocolResult } from '../../main/learning/protocol.ts';
import { createOrtEngine } from '../../main/training/ort/engine.ts';
import { record, spread } from './record.ts';

/*
 * The hosts of the paper beside the closed form, under one condition: the same backbone, pictures, tasks and order of classes. Needs MEKIKI_DATA
 * and MEKIKI_MODELS.
 * node test/bench/baselines.ts [set] [shots] [epochs] [exemplars]
 */
const [set = 'neu_steel', shots = '40', epochs = '8', exemplars = '24'] = process.argv.slice(2);
const data = process.env['MEKIKI_DATA'];
const models = process.env['MEKIKI_MODELS'];
if (!data || !models) {
  process.stderr.write('baselines: skipped, MEKIKI_DATA or MEKIKI_MODELS is not set\n');
  process.exit(0);
}

const backbone = await importBackbone(join(models, 'mobilenet_v2_0.35_224.onnx'), {
  folder: join(tmpdir(), 'mekiki-backbones'),
  threads: 2,
});
const engine = createOrtEngine();
const SIZE = 96;
const TASKS = 3;
/** Three seeds, each with its own order of the classes. */
const runs = [{ seed: 0 }, { seed: 1, classOrder: 1 }, { seed: 2, classOrder: 2 }];
const common = (run: (typeof runs)[number]) => ({
  dir: join(data, set),
  backbone: { ...backbone, inputSize: SIZE },
  tasks: TASKS,
  shots: Number(shots),
  threads: 2,
  ...run,
});

const results: Record<string, unknown> = {};
for (const method of ['analytic', 'ncm', ...Object.keys(networkMethods)] as const) {
  const measured: Pick<ProtocolResult, 'accuracy' | 'averageAccuracy' | 'bwt' | 'joint' | 'updateSeconds'>[] = [];
  for (const run of runs) {
    const result =
      method === 'analytic' || method === 'ncm'
        ? await runLearnProtocol({ ...common(run), method })
        : await runNetworkProtocol({
            ...common(run),
            method: method as NetworkMethodName,
            engine,
            epochs: Number(epochs),
            exemplars: Number(exemplars),
          });
    process.stderr.write(`${method} seed ${run.seed}: ${result.accuracy.toFixed(4)} bwt ${result.bwt.toFixed(4)}\n`);
    measured.push(result);
  }
  const of = (pick: (r: (typeof measured)[number]) => number) => spread(measured.map(pick));
  results[method] = {
    accuracy: of((r) => r.accuracy),
    averageAccuracy: of((r) => r.averageAccuracy),
    bwt: of((r) => r.bwt),
    joint: of((r) => r.joint.accuracy),
    secondsPerTask: of((r) => r.updateSeconds.reduce((a, b) => a + b, 0) / r.updateSeconds.length),
  };
}
record('baselines', `node test/bench/baselines.ts ${set} ${shots} ${epochs} ${exemplars}`, {
  set,
  backbone: { id: backbone.id, sha256: backbone.sha256, inputSize: SIZE },
  tasks: TASKS,
  shots: Number(shots),
  epochs: Number(epochs),
  exemplars: Number(exemplars),
  runs,
  methods: results,
});
