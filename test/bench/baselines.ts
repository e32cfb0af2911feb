import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { networkMethods, type NetworkMethodName } from '../../main/learning/learners/network/methods.ts';
import { runNetworkProtocol } from '../../main/learning/network-protocol.ts';
import { isLearnMethod, learnMethods, runLearnProtocol } from '../../main/learning/protocol.ts';
import { createOrtEngine } from '../../main/training/ort/engine.ts';
import { backboneNamed } from './backbone.ts';
import { record, spread } from './record.ts';

/*
 * The hosts of the paper beside the closed form, under one condition: the same backbone, pictures, tasks and order of classes; every method with every
 * seed (which pictures, which weights of the head) and every order of the classes. Each run is recorded when it is done; --resume goes on after the last one.
 * Needs MEKIKI_DATA and MEKIKI_MODELS.
 * node main/host/build/launch.mjs test/bench/baselines.ts [--resume] [set] [shots] [epochs] [exemplars]
 */
const args = process.argv.slice(2);
const resume = args.includes('--resume');
const [set = 'neu_steel', shots = '40', epochs = '8', exemplars = '24'] = args.filter((arg) => arg !== '--resume');
const data = process.env['MEKIKI_DATA'];
const models = process.env['MEKIKI_MODELS'];
if (!data || !models) {
  process.stderr.write('baselines: skipped, MEKIKI_DATA or MEKIKI_MODELS is not set\n');
  process.exit(0);
}

const backbone = await backboneNamed('mobilenet_v2_0.35_224', models, 2);
const engine = createOrtEngine();
const SIZE = 96;
const TASKS = 3;
const SEEDS = [0, 1, 2];
const ORDERS = [0, 1, 2];
const METHODS = [...learnMethods, ...Object.keys(networkMethods)];
const NAME = set === 'neu_steel' ? 'baselines' : `baselines-${set}`;
const conditions = {
  set,
  backbone: { id: backbone.id, sha256: backbone.sha256, inputSize: SIZE },
  tasks: TASKS,
  shots: Number(shots),
  epochs: Number(epochs),
  exemplars: Number(exemplars),
};

interface Run {
  method: string;
  seed: number;
  classOrder: number;
  commit: string;
  accuracy: number;
  averageAccuracy: number;
  bwt: number;
  joint: number;
  secondsPerTask: number;
}

const file = fileURLToPath(new URL(`./results/${NAME}.json`, import.meta.url));
const earlier = resume && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).result : null;
const runs: Run[] =
  earlier && JSON.stringify(earlier.conditions) === JSON.stringify(conditions) ? [...earlier.runs] : [];
const commit = execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' }).trim();

const write = () => {
  const methods = Object.fromEntries(
    METHODS.flatMap((method) => {
      const of = runs.filter((run) => run.method === method);
      if (of.length === 0) return [];
      const told = (key: 'accuracy' | 'averageAccuracy' | 'bwt' | 'joint' | 'secondsPerTask') =>
        spread(of.map((run) => run[key]));
      const keys = ['accuracy', 'averageAccuracy', 'bwt', 'joint', 'secondsPerTask'] as const;
      return [[method, { runs: of.length, ...Object.fromEntries(keys.map((key) => [key, told(key)])) }]];
    }),
  );
  record(NAME, `node main/host/build/launch.mjs test/bench/baselines.ts ${set} ${shots} ${epochs} ${exemplars}`, {
    conditions,
    methods,
    runs,
  });
};

// The diagonal first: a run that is stopped early has every seed and every order once.
const pairs = SEEDS.flatMap((seed) => ORDERS.map((classOrder) => ({ seed, classOrder }))).sort(
  (a, b) => Math.abs(a.seed - a.classOrder) - Math.abs(b.seed - b.classOrder),
);
for (const { seed, classOrder } of pairs) {
  for (const method of METHODS) {
    if (runs.some((run) => run.method === method && run.seed === seed && run.classOrder === classOrder)) continue;
    const common = {
      dir: join(data, set),
      backbone: { ...backbone, inputSize: SIZE },
      tasks: TASKS,
      shots: Number(shots),
      threads: 2,
      seed,
      ...(classOrder > 0 ? { classOrder } : {}),
    };
    const { accuracy, averageAccuracy, bwt, joint, updateSeconds } = isLearnMethod(method)
      ? await runLearnProtocol({ ...common, method })
      : await runNetworkProtocol({
          ...common,
          method: method as NetworkMethodName,
          engine,
          epochs: Number(epochs),
          exemplars: Number(exemplars),
        });
    const secondsPerTask = updateSeconds.reduce((a, b) => a + b, 0) / updateSeconds.length;
    runs.push({
      method,
      seed,
      classOrder,
      commit,
      accuracy,
      averageAccuracy,
      bwt,
      joint: joint.accuracy,
      secondsPerTask,
    });
    process.stderr.write(`${method} seed ${seed} order ${classOrder}: ${accuracy.toFixed(4)} bwt ${bwt.toFixed(4)}\n`);
    write();
  }
}
