import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildTrainingStep } from '../../../main/autodiff/index.ts';
import { imitate } from '../../../main/compression/distill/imitate.ts';
import { stagesOf, lossOf } from '../../../main/compression/distill/stages.ts';
import {
  buildStudent,
  poolBeforeProjecting,
  studentNames,
  type StudentFamily,
} from '../../../main/compression/distill/students.ts';
import { taskLessons } from '../../../main/compression/distill/task-lessons.ts';
import { macsOf, taughtOutputs, teachStudent, type Teaching } from '../../../main/compression/distill/teach-student.ts';
import { teachTasks } from '../../../main/compression/distill/teach-tasks.ts';
import type { ImageSource } from '../../../main/compression/image-source.ts';
import { prepareBase } from '../../../main/compression/plan/workshop.ts';
import type { Backbone } from '../../../main/contract/domain.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { withRanges } from '../../../main/learning/learners/network/learner.ts';
import { crossValidate } from '../../../main/learning/selection.ts';
import { embed } from '../../../main/learning/embedding.ts';
import { decodeModel, float32Of, foldBatchNorm, mapBehindPooling, type Model } from '../../../main/onnx/index.ts';
import { attachHead } from '../../../main/training/head.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { initialState, parametersOf } from '../../../main/training/state.ts';
import { noise, randomImages, relativeError, runModel, smallBackbone } from './networks.ts';
import { smallBackboneFile } from './small-data.ts';

let folder: string;
let backbone: Backbone;
let base: Model;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-distill-'));
  backbone = await smallBackboneFile(folder);
  base = prepareBase(await readFile(backbone.file), backbone);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Stripes of a period that the number of the picture tells, with its own phase and grain. */
const pictures = (count: number): ImageSource => ({
  ...randomImages(count),
  view: (image) => {
    const grain = noise(64 * 64, image + 1, 10);
    const period = [16, 7, 11][image % 3]!;
    const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => {
      const pixel = Math.floor(i / 3);
      const wave = 60 * Math.sin((2 * Math.PI * ((pixel % 64) + 0.4 * Math.floor(pixel / 64) + image)) / period);
      return Math.max(0, Math.min(255, 128 + wave + grain[pixel]!));
    });
    return Promise.resolve({ image: { width: 64, height: 64, channels: 3, data }, region: null });
  },
});
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const student = (family: StudentFamily, size = 64) =>
  buildStudent(family, { inputName: 'image', outputs: taughtOutputs(base, size), inputSize: size, seed: 3 });
const common = (source: ImageSource, images: number[], epochs: number) => ({
  backbone,
  teacher: base,
  source,
  images,
  inputSize: 64,
  engine: createOrtEngine(),
  epochs,
  threads: 1,
  seed: 0,
});

describe('student families', () => {
  it('are three networks of growing size with the outputs of the teacher, at any input size', async () => {
    // As of a teacher that is pooled at strides 16 and 32.
    const outputs = [
      { name: 'features_s16', channels: 100, rank: 2, side: 14 },
      { name: 'features_s32', channels: 200, rank: 2, side: 7 },
    ];
    const macs = studentNames.map((family) => {
      const made = buildStudent(family, { inputName: 'image', outputs, inputSize: 224, seed: 0 });
      expect(made.graph.outputs.map(({ name, shape }) => [name, shape?.[1]])).toEqual([
        ['features_s16', 100],
        ['features_s32', 200],
      ]);
      return macsOf(foldBatchNorm(poolBeforeProjecting(made)), 224);
    });
    expect(studentNames).toEqual(['small', 'medium', 'large']);
    // The last convolutions behind the map that is taken are not among them.
    const published = [57e6, 209e6, 385e6];
    macs.forEach((value, i) => {
      expect(value).toBeGreaterThan(0.6 * published[i]!);
      expect(value).toBeLessThan(1.05 * published[i]!);
    });
    expect(macs).toEqual(macs.toSorted((a, b) => a - b));
    for (const size of [64, 96]) {
      const features = await runModel(student('small'), randomImages(2), [0, 1], size);
      expect(features.length).toBe(2 * 24);
      expect(features.every(Number.isFinite)).toBe(true);
    }
    expect(student('small').graph.outputs.map(({ name }) => name)).toEqual(['features']);
  });

  it('are told apart by their seed and alike for the same', () => {
    const weightOf = (seed: number) => {
      const made = buildStudent('small', {
        inputName: 'image',
        outputs: taughtOutputs(base, 64),
        inputSize: 64,
        seed,
      });
      return [...float32Of(made.graph.initializers.get('project.0.weight')!)];
    };
    expect(weightOf(1)).toEqual(weightOf(1));
    expect(weightOf(1)).not.toEqual(weightOf(2));
  });

  it('read a map through a projector, which is the same and cheaper behind the pooling', async () => {
    const made = student('small');
    const { map } = mapBehindPooling(made, 'features')!;
    const weight = made.graph.initializers.get('project.0.weight')!;
    expect(map).toBe('project.0');
    expect(weight.dims[0]).toBe(24);
    expect(weight.dims[1]).toBeGreaterThan(24);
    const cheap = poolBeforeProjecting(made);
    expect(macsOf(cheap, 64)).toBeLessThan(macsOf(made, 64));
    const [a, b] = [
      await runModel(made, randomImages(3), [0, 1, 2], 64),
      await runModel(cheap, randomImages(3), [0, 1, 2], 64),
    ];
    expect(relativeError(a, b)).toBeLessThan(1e-9);
  });

  it('learn what the teacher gives: projector, weights and running statistics move, the error on other pictures falls', async () => {
    const source = pictures(48);
    const before = student('small');
    const after = await imitate(before, { ...common(source, range(0, 40), 40), fresh: true });
    const changed = [...before.graph.initializers].filter(([name, tensor]) => {
      const now = after.graph.initializers.get(name)!;
      return tensor.type === 'float32' && float32Of(tensor).some((x, i) => x !== float32Of(now)[i]);
    });
    const names = changed.map(([name]) => name);
    expect(names).toContain('project.0.weight');
    expect(names).toContain('features.0.1.running_mean');
    const seen = async (of: Model) => runModel(foldBatchNorm(of), await shown(source, range(40, 48)), range(0, 8), 64);
    const wanted = await seen(base);
    expect(relativeError(wanted, await seen(after))).toBeLessThan(0.6 * relativeError(wanted, await seen(before)));
  }, 240_000);
});

/** Pictures of a source as tensors, numbered from 0. */
async function shown(source: ImageSource, images: readonly number[]): Promise<ImageSource> {
  const { openViews } = await import('../../../main/compression/distill/views.ts');
  const views = openViews(source, backbone, { augmentation: {}, seed: 0 });
  return {
    ...source,
    async tensor(indices, size) {
      const out = new Float32Array(indices.length * 3 * size * size);
      for (const [i, index] of indices.entries()) await views.into(images[index]!, 0, size, out, i * 3 * size * size);
      return out;
    },
  };
}

describe('stages of a student that learns task after task', () => {
  it('first all at once, then the old logits before the new classes', () => {
    const [first, old, fresh, ...rest] = stagesOf([2, 3, 1]);
    expect(first).toMatchObject({
      task: 0,
      teacherAfter: 0,
      objectives: [
        { target: 'labels', range: { from: 0, count: 2 } },
        { target: 'teacher', range: { from: 0, count: 2 }, temperature: 2 },
      ],
    });
    expect(old).toMatchObject({
      task: 1,
      teacherAfter: 0,
      objectives: [{ target: 'teacher', range: { from: 0, count: 2 } }],
    });
    expect(fresh).toMatchObject({
      task: 1,
      teacherAfter: null,
      objectives: [{ target: 'labels', range: { from: 2, count: 3 } }],
    });
    // A single new class is told from all, and the teacher before it knew five.
    expect(rest).toMatchObject([
      { task: 2, teacherAfter: 1, objectives: [{ target: 'teacher', range: { from: 0, count: 5 } }] },
      { task: 2, objectives: [{ target: 'labels', range: { from: 0, count: 6 } }] },
    ]);
    expect(stagesOf([1, 1])).toMatchObject([
      { task: 0, objectives: [] },
      { task: 1, objectives: [{ target: 'labels' }] },
    ]);
  });

  it('a step of the first stage looks at old logits alone: the rows of new classes do not move, and the loss is theirs', async () => {
    const [, stage] = stagesOf([3, 2]);
    const head = attachHead(
      {
        ...backbone,
        name: 'student',
        model: smallBackbone(),
        features: [{ name: 'features', channels: 24, kind: 'pooled' }],
      },
      { classes: 5, size: 64, gain: 1, batch: 4 },
    );
    const { model, values } = withRanges(head.model, [stage!.objectives[0]!.range]);
    const step = buildTrainingStep({
      model,
      inputShapes: { image: [4, 3, 64, 64] },
      trainable: 'all',
      losses: [lossOf(stage!.objectives[0]!, values.get('old')!)],
      optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0 },
      schedule: { kind: 'constant', learningRate: 0.1 },
      batchNorm: 'frozen',
    });
    const teacher = noise(4 * 3, 8);
    await using run = await createOrtEngine().open(step, { threads: 1, state: initialState(step) });
    const input = step.batch.find(({ name }) => name !== 'teacher/old')!;
    const { loss } = await run.step({
      [input.name]: { type: 'float32', dims: [4, 3, 64, 64], data: noise(4 * 3 * 64 * 64, 9) },
      'teacher/old': { type: 'float32', dims: [4, 3], data: teacher },
    });
    // The student's classifier starts at zero: even shares of three, not of five.
    const T = 2;
    let wanted = 0;
    for (let r = 0; r < 4; r++) {
      const row = [...teacher.subarray(3 * r, 3 * r + 3)].map((x) => Math.exp(x / T));
      const sum = row.reduce((a, b) => a + b, 0);
      for (const x of row) wanted += (((T * T) / 4) * x * Math.log((3 * x) / sum)) / sum;
    }
    expect(loss).toBeCloseTo(wanted, 5);
    const weights = parametersOf(step, await run.readState()).get('head.weight')!;
    expect(weights.subarray(0, 3 * 24).some((x) => x !== 0)).toBe(true);
    expect(weights.subarray(3 * 24).every((x) => x === 0)).toBe(true);
  });

  it("the teacher's classifier after a task knows the classes seen by then, and nothing of held-out images", async () => {
    await using products = openProducts({ threads: 1 });
    const ledger = range(0, 60).map((i) => ({ classId: 'abc'[i % 3]!, sha: `${i}`.padStart(8, '0') }));
    const features = noise(60 * 24, 4).map((x, i) => Math.abs(x) + (i % 24 === Math.floor(i / 24) % 3 ? 6 : 0));
    const validation = await crossValidate(embed(features, [24]), ledger, products);
    const taught = range(0, 40);
    const open = (of: Float32Array) =>
      taskLessons({
        tasks: [['c', 'a'], ['b']],
        features: of,
        stages: [24],
        ledger,
        taught,
        classOf: (image) => ledger[image]!.classId,
        validation,
        products,
      });
    const lessons = await open(features);
    const rows = features.slice(0, 3 * 24);
    const first = await lessons.teacherLogits(0, rows, 3);
    expect(first.length).toBe(3 * 2);
    // Picture 0 is an `a`, the second in the order of the tasks; picture 2 a `c`.
    expect(first[1]).toBeGreaterThan(first[0]!);
    expect(first[4]).toBeGreaterThan(first[5]!);
    const second = await lessons.teacherLogits(1, rows, 3);
    expect(second.length).toBe(3 * 3);
    expect(second[3 + 2]).toBeGreaterThan(Math.max(second[3]!, second[4]!));
    const spoilt = features.map((x, i) => (i >= 40 * 24 ? 1 - x : x));
    expect(await (await open(spoilt)).teacherLogits(1, rows, 3)).toEqual(second);
  });

  it('trains the student through all of them', async () => {
    const source = pictures(36);
    const asked: number[] = [];
    const taught = await teachTasks(
      base,
      {
        tasks: [['x', 'y'], ['z']],
        classOf: (image) => 'xyz'[image % 3]!,
        teacherLogits: (after, features, rows) => {
          asked.push(after);
          expect(features.length).toBe(rows * 24);
          return Promise.resolve(new Float32Array(rows * (after === 0 ? 2 : 3)));
        },
      },
      common(source, range(0, 36), 2),
    );
    // One batch of the first task, one of the first stage of the second, with the teacher of before.
    expect(asked).toEqual([0, 0]);
    expect(taught.graph.outputs.map(({ name }) => name)).toEqual(['features']);
    const [a, b] = [
      await runModel(base, randomImages(2), [0, 1], 64),
      await runModel(taught, randomImages(2), [0, 1], 64),
    ];
    expect(relativeError(a, b)).toBeGreaterThan(0);
    expect(b.every(Number.isFinite)).toBe(true);
  }, 120_000);
});

describe('choice of a student', () => {
  const teach = (teaching: Partial<Teaching>, ratio = 0.3) =>
    teachStudent({
      backbone,
      base,
      source: pictures(36),
      images: range(0, 36),
      ratio,
      inputSize: 64,
      teaching: { engine: createOrtEngine(), epochs: () => Promise.resolve(2), ...teaching },
      threads: 1,
      seed: 0,
      pruned: () => Promise.resolve({ model: base, ratio, widths: [], dropped: [], untouched: [] }),
    });

  it('is by what was lost on held-out images, not by belief', async () => {
    for (const better of ['pruned', 'small'] as const) {
      const taught = await teach({
        starts: ['pruned', 'small'],
        judge: (bytes) => {
          const isPruned = !decodeModel(bytes, 'student').graph.initializers.has('project.0.weight');
          return Promise.resolve(isPruned === (better === 'pruned') ? 1 : 2);
        },
      });
      expect(taught.choice.start).toBe(better);
      expect(taught.choice.compared).toMatchObject([
        { start: 'pruned', heldOutLossPp: better === 'pruned' ? 1 : 2 },
        { start: 'small', heldOutLossPp: better === 'small' ? 1 : 2 },
      ]);
      if (better === 'small') {
        expect(taught.ratio).toBeCloseTo(1 - macsOf(taught.model, 64) / macsOf(base, 64), 1);
        expect(taught.model.graph.nodes.some(({ op }) => op === 'BatchNormalization')).toBe(false);
      }
    }
  }, 240_000);

  it('takes the largest family with no more arithmetic than was asked for', async () => {
    const judge = () => Promise.resolve(0);
    const { choice } = await teach({ starts: ['pruned', 'fitting'], judge }, 0.99);
    // One way is left, and nothing is compared.
    expect(choice).toEqual({ start: 'pruned', curriculum: 'features', compared: [] });
    const costs = studentNames.map((family) => macsOf(foldBatchNorm(poolBeforeProjecting(student(family))), 64));
    const whole = macsOf(base, 64);
    const allowed = costs.reduce((most, cost) => (cost < whole && cost > most ? cost : most), 0);
    expect(allowed).toBeGreaterThan(0);
    const fits = await teach({ starts: ['fitting'] }, 1 - allowed / whole - 1e-6);
    expect(fits.choice.start).toBe(studentNames[costs.lastIndexOf(allowed)]);
  }, 120_000);
});
