import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTrainingStep } from '../../../main/autodiff/index.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { scanDataset, type DatasetImage } from '../../../main/learning/dataset.ts';
import { createNetworkLearner, type ClassImage } from '../../../main/learning/learners/network/learner.ts';
import {
  fillShares,
  lossOf,
  networkMethods,
  type NetworkMethodName,
  type Objective,
} from '../../../main/learning/learners/network/methods.ts';
import { runNetworkProtocol } from '../../../main/learning/network-protocol.ts';
import { runLearnProtocol } from '../../../main/learning/protocol.ts';
import { float32Tensor, graph, int64Tensor, model, node, value } from '../../../main/onnx/index.ts';
import { trainableBackbone } from '../../../main/training/head.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { initialState } from '../../../main/training/state.ts';
import { writeDataset } from './pictures.ts';
import { writeTinyBackbone } from './tiny-backbone.ts';

let folder: string;
let backbone: Backbone;
let pictures: readonly DatasetImage[];
const engine = createOrtEngine();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mekiki-network-'));
  backbone = await writeTinyBackbone(path.join(folder, 'tiny.onnx'));
  const kinds = { 'a dots': 'dots', 'b plain': 'plain', 'c stripes': 'stripes', 'd scratch': 'scratch' } as const;
  await writeDataset(path.join(folder, 'set'), kinds, { train: 10, test: 5 });
  pictures = (await scanDataset(path.join(folder, 'set'))).train;
});
afterAll(() => rm(folder, { recursive: true }));

const of = (...letters: string[]): ClassImage[] =>
  pictures
    .filter(({ className }) => letters.includes(className[0]!))
    .map(({ file, name, className }) => ({ file, name, classId: className }));
const learnerOf = (method: NetworkMethodName, extra: object = {}) =>
  createNetworkLearner({
    method,
    backbone: trainableBackbone(backbone),
    engine,
    threads: 1,
    seed: 3,
    epochs: 8,
    exemplars: 7,
    ...extra,
  });

describe('LwF', () => {
  it('holds the old logits where naive fine-tuning lets them go', async () => {
    const moved = async (method: NetworkMethodName) => {
      const learner = learnerOf(method, { epochs: 30 });
      await learner.learn(of('a', 'b'));
      const before = await learner.predict(of('a', 'b'));
      await learner.learn(of('c', 'd'));
      const after = await learner.predict(of('a', 'b'));
      let sum = 0;
      // Up to a shift of both: a softmax cannot see it.
      for (let i = 0; i < before.rows; i += 1) {
        const gap = (m: typeof before) => m.data[i * m.columns]! - m.data[i * m.columns + 1]!;
        sum += Math.abs(gap(after) - gap(before));
      }
      return sum / before.rows;
    };
    expect(await moved('lwf')).toBeLessThan(0.5 * (await moved('finetune')));
  });
  it('distils all old logits from the network before the task', () => {
    expect(networkMethods.lwf.objectives([3, 2])).toEqual([
      { range: { name: 'new', from: 3, count: 2 }, target: 'labels', temperature: 1, weight: 1 },
      { range: { name: 'old', from: 0, count: 3 }, target: 'teacher', temperature: 2, weight: 3 },
    ]);
  });
});

describe('iCaRL', () => {
  it('never keeps more than its budget, and drops the last of each class first', async () => {
    const learner = learnerOf('icarl');
    await learner.learn(of('b', 'a'));
    expect(learner.classIds).toEqual(['a dots', 'b plain']);
    const first = new Map([...learner.kept].map(([name, list]) => [name, list.map((image) => image.name)]));
    expect([...first.values()].map(({ length }) => length)).toEqual([3, 3]);
    await learner.learn(of('c'));
    expect([...learner.kept.values()].flat()).toHaveLength(6);
    for (const [name, list] of first) {
      expect(learner.kept.get(name)!.map((image) => image.name)).toEqual(list.slice(0, 2));
    }
  });
  it('judges by the nearest mean of exemplars: scores are distances of unit vectors', async () => {
    const learner = learnerOf('icarl');
    await learner.learn(of('a', 'c'));
    const scores = await learner.predict(of('a'));
    for (const score of scores.data) {
      expect(score).toBeLessThanOrEqual(0);
      expect(score).toBeGreaterThanOrEqual(-4);
    }
    // With one exemplar a class, an exemplar is its own class's mean: no classifier on top would give exactly zero.
    const single = learnerOf('icarl', { exemplars: 2 });
    await single.learn(of('a', 'c'));
    for (const [row, classId] of single.classIds.entries()) {
      const own = await single.predict(single.kept.get(classId)!);
      expect(own.data[row]).toBeCloseTo(0, 5);
      expect(own.data[1 - row]).toBeLessThan(-1e-4);
    }
  });
});

describe('joint training', () => {
  it('is the same to the bit whatever the tasks, and asks no network before it', async () => {
    const scores = async (...tasks: string[][]) => {
      const learner = learnerOf('joint');
      for (const task of tasks) await learner.learn(of(...task));
      return { classIds: learner.classIds, scores: (await learner.predict(of('a', 'b', 'c', 'd'))).data };
    };
    expect(await scores(['c', 'd'], ['a', 'b'])).toEqual(await scores(['a', 'b', 'c', 'd']));
    expect(networkMethods.joint.objectives([2, 2]).some(({ target }) => target === 'teacher')).toBe(false);
  });
});

describe('SS-IL', () => {
  /** logits = x W, six classes: one step of gradient descent on rows of new classes alone. */
  const rowsMoved = async (objectives: readonly Objective[], label: number): Promise<boolean[]> => {
    const constants: Record<string, ReturnType<typeof int64Tensor>> = { axis: int64Tensor([1], [1]) };
    const nodes = [node('MatMul', ['x', 'w'], ['logits'])];
    const outputs = [value('logits', 'float32', [2, 6])];
    const seen = new Map<string, string>();
    for (const { range } of objectives) {
      const all = range.count === 6;
      seen.set(range.name, all ? 'logits' : range.name);
      if (all) continue;
      constants[`${range.name}/from`] = int64Tensor([1], [range.from]);
      constants[`${range.name}/to`] = int64Tensor([1], [range.from + range.count]);
      nodes.push(node('Slice', ['logits', `${range.name}/from`, `${range.name}/to`, 'axis'], [range.name]));
      outputs.push(value(range.name, 'float32', [2, range.count]));
    }
    const start = Float32Array.from({ length: 18 }, (_, i) => Math.sin(i));
    const step = buildTrainingStep({
      model: model(
        graph({
          nodes,
          inputs: [value('x', 'float32', [2, 3])],
          outputs,
          initializers: { ...constants, w: float32Tensor([3, 6], start) },
        }),
      ),
      inputShapes: { x: [2, 3] },
      trainable: ['w'],
      losses: objectives.map((objective) => lossOf(objective, seen.get(objective.range.name)!)),
      optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0 },
      schedule: { kind: 'constant', learningRate: 0.1 },
      batchNorm: 'frozen',
    });
    await using run = await engine.open(step, { threads: 1, state: initialState(step) });
    const shares = objectives.map(({ range }) => {
      const data = new Float32Array(2 * range.count);
      fillShares(Int32Array.of(label, label), range, data);
      return [`labels/${range.name}`, { type: 'float32' as const, dims: [2, range.count], data }] as const;
    });
    await run.step({
      x: { type: 'float32', dims: [2, 3], data: Float32Array.of(1, 2, 3, -1, 0.5, 2) },
      ...Object.fromEntries(shares),
    });
    const after = [...(await run.readState()).values()].find(({ dims }) => dims.join() === '3,6')!.data;
    return Array.from({ length: 6 }, (_, c) => [0, 1, 2].some((r) => Number(after[r * 6 + c]) !== start[r * 6 + c]!));
  };
  const labels = (objectives: readonly Objective[]) => objectives.filter(({ target }) => target === 'labels');

  it('separates the softmax: a new picture moves no old logit, an old one no new', async () => {
    const separated = labels(networkMethods['ss-il'].objectives([2, 2, 2]));
    expect(await rowsMoved(separated, 5)).toEqual([false, false, false, false, true, true]);
    expect(await rowsMoved(separated, 1)).toEqual([true, true, true, true, false, false]);
    // The usual softmax pushes the old ones down: the bias that SS-IL is made against.
    expect(await rowsMoved(labels(networkMethods.finetune.objectives([2, 2, 2])), 5)).toEqual(Array(6).fill(true));
  });
  it('distils every earlier task by itself', () => {
    const taught = networkMethods['ss-il'].objectives([2, 3, 1]).filter(({ target }) => target === 'teacher');
    expect(taught.map(({ range: { from, count } }) => [from, count])).toEqual([
      [0, 2],
      [2, 3],
    ]);
  });
  it('learns with a fixed share of exemplars in every batch', async () => {
    const learner = learnerOf('ss-il', { epochs: 2 });
    await learner.learn(of('a', 'b'));
    await learner.learn(of('c', 'd'));
    const { data } = await learner.predict(of('d'));
    expect(data.every(Number.isFinite)).toBe(true);
    expect([...learner.kept.values()].flat().length).toBeLessThanOrEqual(7);
  });
});

describe('the protocol with a network', () => {
  const options = () => ({ dir: path.join(folder, 'set'), backbone, threads: 1, seed: 1, engine, epochs: 2 });
  it('has the keys of the closed form, and joint training beside it', async () => {
    const lines: string[] = [];
    const result = await runNetworkProtocol({
      ...options(),
      method: 'finetune',
      tasks: 2,
      exemplars: 10,
      onProgress: (line) => lines.push(line),
    });
    expect(result.tasks).toEqual([
      ['a dots', 'b plain'],
      ['c stripes', 'd scratch'],
    ]);
    expect(result.matrix).toHaveLength(2);
    expect(result.maxWeightDifferenceToJoint).toBeNull();
    expect(result.joint.accuracy).toBeGreaterThan(0);
    expect(lines.some((line) => line.startsWith('task 2 of 2: epoch 2 of 2'))).toBe(true);
    expect(lines.some((line) => line.startsWith('joint training'))).toBe(true);
  });
  it('leaves out what cannot be read, by name and before it trains; so does adaptation to the first task', async () => {
    const dir = path.join(folder, 'broken');
    await cp(path.join(folder, 'set'), dir, { recursive: true });
    const broken = ['test/d scratch/broken.png', 'train/a dots/broken.png'];
    for (const name of broken) await writeFile(path.join(dir, name), 'no picture');
    const result = await runNetworkProtocol({
      ...options(),
      dir,
      method: 'finetune',
      tasks: 2,
      exemplars: 10,
      epochs: 1,
    });
    expect(result.skipped.map(({ name }) => name)).toEqual(broken);
    expect(result.images).toEqual({ train: 40, test: 20 });
    const adaptFirstTask = { mode: 'on', engine, epochs: 1 } as const;
    const adapted = await runLearnProtocol({ ...options(), dir, method: 'analytic', tasks: 2, adaptFirstTask });
    expect(adapted.skipped.map(({ name }) => name)).toEqual(broken);
    expect(adapted.images).toEqual({ train: 40, test: 20 });

    for (const name of await readdir(path.join(dir, 'test', 'd scratch')))
      await writeFile(path.join(dir, 'test', 'd scratch', name), 'no picture');
    const lines: string[] = [];
    const lost = runNetworkProtocol({
      ...options(),
      dir,
      method: 'finetune',
      exemplars: 10,
      onProgress: (line) => lines.push(line),
    });
    await expect(lost).rejects.toMatchObject({ code: 'DATASET_CLASSES_DIFFER' });
    expect(lines.filter((line) => line.startsWith('task'))).toEqual([]);
  });
  it('refuses a budget that leaves classes without an exemplar', async () => {
    const run = runNetworkProtocol({ ...options(), method: 'icarl', exemplars: 3 });
    await expect(run).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });
  it('stops when it is cancelled', async () => {
    const stop = new AbortController();
    const run = runNetworkProtocol({
      ...options(),
      method: 'finetune',
      exemplars: 10,
      epochs: 1000,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: 'CANCELLED' });
  });
  it('draws another order of the classes by a seed', async () => {
    const { classes } = await runLearnProtocol({ ...options(), method: 'ncm', classOrder: 4 });
    expect(classes).not.toEqual(classes.toSorted());
    expect(classes.toSorted()).toHaveLength(4);
  });
});

describe('adaptation to the first task', () => {
  const run = (mode: 'auto' | 'on', tasks: number) =>
    runLearnProtocol({
      dir: path.join(folder, 'set'),
      backbone,
      method: 'analytic',
      threads: 1,
      seed: 1,
      tasks,
      adaptFirstTask: { mode, engine, epochs: 3 },
    });
  it('is refused where it does not pay, and says why', async () => {
    const result = await run('auto', 2);
    expect(result.adapted).toBe(false);
    expect(result.adaptation!.reason).toMatch(/^refused: \d+ held-out pictures won and \d+ lost of/);
    expect((await run('auto', 4)).adaptation!.reason).toMatch(/one class only/);
  });
  it('changes the backbone where it is asked for, and the joint fit is made on the same one', async () => {
    const result = await run('on', 2);
    expect(result.adapted).toBe(true);
    expect(result.maxWeightDifferenceToJoint).toBeLessThan(1e-6);
    expect(result.adaptation!.reason).toMatch(/^(asked for|it pays)/);
  });
  it('cannot be forced on a first task of one class', async () => {
    await expect(run('on', 4)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });
});
