import { describe, expect, test } from 'vitest';
import type { StepSpec, TrainingStep } from '../../../main/autodiff/index.ts';
import type { State, TrainingEngine } from '../../../main/training/engine.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { createTfjsEngine } from '../../../main/training/tfjs/engine.ts';
import { liveTensors } from '../../../main/training/tfjs/run.ts';
import { difference } from './run-both.ts';
import { batchOf, nets, stepOf } from './small-nets.ts';

const STEPS = 20;

async function train(engine: TrainingEngine, step: TrainingStep, steps = STEPS) {
  await using run = await engine.open(step, { threads: 1 });
  const losses: number[] = [];
  const norms: number[] = [];
  for (let at = 0; at < steps; at++) {
    const { loss, gradientNorm } = await run.step(batchOf(step, at));
    losses.push(loss);
    if (gradientNorm !== undefined) norms.push(gradientNorm);
  }
  return { losses, norms, state: await run.readState() };
}

function largestDifference(a: State, b: State): [number, string] {
  let worst: [number, string] = [0, ''];
  for (const [name, { data, dims, type }] of a) {
    const other = b.get(name)!;
    expect([other.type, ...other.dims], name).toEqual([type, ...dims]);
    const apart = difference(data, other.data);
    if (apart > worst[0]) worst = [apart, name];
  }
  return worst;
}

const variants: Record<string, Partial<StepSpec>> = {
  'sgd with momentum': {},
  'adamw, frozen batch norm': {
    // Not 1e-8: AdamW would blow the rounding noise of a gradient that is zero (a key's bias) up to a full step.
    optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-3, weightDecay: 0.01 },
    schedule: { kind: 'constant', learningRate: 0.01 },
    batchNorm: 'frozen',
  },
};

describe.each(Object.keys(nets))('%s net', (name) => {
  const net = nets[name as keyof typeof nets]();

  test.each(Object.keys(variants))('20 steps on ort, wasm and cpu agree to 1e-3: %s', async (variant) => {
    const step = stepOf(net, variants[variant]);
    const ort = await train(createOrtEngine(), step);
    const wasm = await train(createTfjsEngine({ backend: 'wasm' }), step);
    const cpu = await train(createTfjsEngine({ backend: 'cpu' }), step);
    expect(ort.losses.at(-1)!, 'it really learns').toBeLessThan(ort.losses[0]! - 0.1);
    for (const other of [wasm, cpu]) {
      expect(difference(other.losses, ort.losses)).toBeLessThan(1e-3);
      expect(difference(other.norms, ort.norms)).toBeLessThan(1e-3);
      const [apart, entry] = largestDifference(other.state, ort.state);
      expect(apart, `state ${entry}`).toBeLessThan(1e-3);
    }
    expect(largestDifference(wasm.state, cpu.state)[0]).toBeLessThan(1e-3);
  });

  test('gradients of the whole network agree within 1e-4', async () => {
    const step = stepOf(net, {
      optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 0 },
      schedule: { kind: 'constant', learningRate: 1 },
      clipNorm: 1e9,
    });
    const [ort, wasm, cpu] = [
      await train(createOrtEngine(), step, 1),
      await train(createTfjsEngine({ backend: 'wasm' }), step, 1),
      await train(createTfjsEngine({ backend: 'cpu' }), step, 1),
    ];
    let seen = 0;
    for (const { name: entry, role } of step.state) {
      // The momentum after the first step is the gradient.
      if (role !== 'momentum') continue;
      const expected = ort.state.get(entry)!.data as Float32Array;
      const scale = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      // A gradient that is zero in exact arithmetic (a bias before batch norm) has no relative error.
      if (scale < 1e-5) continue;
      seen += 1;
      for (const other of [wasm, cpu]) {
        const found = other.state.get(entry)!.data as Float32Array;
        const apart = found.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i]!)), 0);
        expect(apart / scale, entry).toBeLessThan(1e-4);
      }
    }
    expect(seen).toBeGreaterThan(5);
  });

  test('no tensor stays behind from step to step, nor after the run', async () => {
    const step = stepOf(net);
    const before = liveTensors();
    const run = await createTfjsEngine({ backend: 'wasm' }).open(step, { threads: 1 });
    await run.step(batchOf(step, 0));
    // Constants keep a second layout from the first step on.
    const after = liveTensors();
    for (let at = 1; at < 4; at++) {
      await run.step(batchOf(step, at));
      expect(liveTensors()).toBe(after);
    }
    await run.readState();
    await run[Symbol.asyncDispose]();
    expect(liveTensors()).toBe(before);
  });
});
