import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildTrainingStep, type StepSpec } from '../../../main/autodiff/index.ts';
import { buildNetwork, type Architecture } from '../../../main/onnx/index.ts';
import type { Tensor } from '../../../main/runtime/session.ts';
import type { TrainingEngine } from '../../../main/training/engine.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { fastLowering, portableLowering } from '../../../main/training/ort/lowering.ts';
import { hashedArray } from './hashed-data.ts';

/* Whole networks against PyTorch, whose values make-torch-fixtures.py has frozen. */

interface Network {
  architecture: Architecture;
  size: number;
  batch: number;
  classes: number;
  width: number;
  seed: number;
}

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8')) as T;

const buildStep = (network: Network, more: Pick<StepSpec, 'optimizer' | 'schedule'> & Partial<StepSpec>) =>
  buildTrainingStep({
    model: buildNetwork(network.architecture, network),
    inputShapes: { input: [network.batch, 3, network.size, network.size] },
    trainable: 'all',
    losses: [{ kind: 'crossEntropy', logits: 'logits' }],
    batchNorm: 'train',
    ...more,
  });

function batchOf({ size, batch, classes }: Network, stream: number): Record<string, Tensor> {
  const labels = BigInt64Array.from({ length: batch }, (_, i) => BigInt(i % classes));
  return {
    input: { type: 'float32', dims: [batch, 3, size, size], data: hashedArray(batch * 3 * size * size, stream) },
    target: { type: 'int64', dims: [batch], data: labels },
  };
}

/** Both forms in which ORT runs a step: plain ONNX, and its own blocked tensors. */
const engines: readonly (readonly [string, TrainingEngine])[] = [
  ['standard form', createOrtEngine({ lower: portableLowering })],
  ['fast form', createOrtEngine({ lower: fastLowering })],
];
/** How much is computed again, and for how many steps that is followed: what is computed again is the same in each. */
const recomputes = [
  ['none', 20],
  ['activations', 4],
] as const;

describe('a ResNet-18 from random initialisation', () => {
  const ways = engines.flatMap(([name, engine]) =>
    recomputes.map(([recompute, steps]) => [name, recompute, steps, engine] as const),
  );
  it.each(ways)('loses as in PyTorch (%s, recompute %s, %i steps)', async (_name, recompute, steps, engine) => {
    const fixture = read<{
      network: Network;
      optimizer: { learningRate: number; momentum: number; weightDecay: number };
      losses: number[];
    }>('resnet18-losses.json');
    const { learningRate, momentum, weightDecay } = fixture.optimizer;
    const step = buildStep(fixture.network, {
      optimizer: { kind: 'sgd', momentum, weightDecay },
      schedule: { kind: 'constant', learningRate },
      recompute,
    });
    await using run = await engine.open(step, { threads: 2 });
    expect(fixture.losses).toHaveLength(20);
    for (const [at, expected] of fixture.losses.slice(0, steps).entries()) {
      const { loss } = await run.step(batchOf(fixture.network, at % 2));
      expect(Math.abs(loss - expected), `step ${at}`).toBeLessThan(1e-3);
    }
    expect(fixture.losses.at(-1)).toBeLessThan(fixture.losses[0]! / 2);
  });
});

interface GradientFixture {
  network: Network;
  loss: number;
  /** Parameter -> its gradient's L2 norm and its inner product with hashed numbers. */
  gradients: Record<string, [norm: number, projection: number]>;
  running: Record<string, number>;
}

const norm = (values: ArrayLike<number>): number => Math.sqrt(Array.from(values, (x) => x * x).reduce((a, b) => a + b));

describe('gradients of whole networks equal those of PyTorch', () => {
  const fixtures = read<GradientFixture[]>('network-gradients.json');
  const ways = fixtures.flatMap((fixture) =>
    engines.map(([name, engine]) => [fixture.network.architecture, name, fixture, engine] as const),
  );
  it.each(ways)('%s, %s', async (_architecture, _name, fixture, engine) => {
    // With momentum 0.5 and no past the momentum after one step is the gradient.
    const step = buildStep(fixture.network, {
      optimizer: { kind: 'sgd', momentum: 0.5, weightDecay: 0 },
      schedule: { kind: 'constant', learningRate: 0.1 },
    });
    await using run = await engine.open(step, { threads: 2 });
    const { loss } = await run.step(batchOf(fixture.network, 1));
    const state = await run.readState();
    expect(Math.abs(loss - fixture.loss)).toBeLessThan(1e-4 * fixture.loss);
    const moments = step.state.filter(({ role }) => role === 'momentum');
    expect(moments.map(({ parameter }) => parameter).sort()).toEqual(Object.keys(fixture.gradients).sort());
    // A gradient that is (nearly) zero in exact arithmetic, as of a bias before batch normalisation, is the rest of large terms that cancel:
    // its rounding is measured by the largest.
    const floor = 1e-2 * Math.max(...Object.values(fixture.gradients).map(([length]) => length));
    let worst = 0;
    for (const { parameter, name } of moments) {
      const [length, projection] = fixture.gradients[parameter!]!;
      const gradient = state.get(name)!.data as Float32Array;
      const probe = hashedArray(gradient.length, 7);
      const found = gradient.reduce((sum, item, i) => sum + item * probe[i]!, 0);
      const scale = Math.max(length, floor);
      worst = Math.max(worst, Math.abs(norm(gradient) - length) / scale, Math.abs(found - projection) / scale);
    }
    expect(worst).toBeLessThan(1e-4);
    for (const { role, parameter, name } of step.state) {
      if (role !== 'running') continue;
      const expected = fixture.running[parameter!]!;
      // A mean may be zero but for rounding.
      expect(Math.abs(norm(state.get(name)!.data as Float32Array) - expected)).toBeLessThan(1e-4 * expected + 1e-7);
    }
  });
});
