import { describe, expect, it } from 'vitest';
import type { ScheduleSpec, StepSpec } from '../../../main/autodiff/index.ts';
import type { Tensor } from '../../../main/runtime/session.ts';
import { identityInput, openStep, productNet, smallSpec } from './small-net.ts';

/* loss = mean (w - t)², so the gradient is (w - t) / 2 for four elements. */

const start = [0.5, -1.2, 2.1, 0.3];
const targets = [1, 0.5, -0.3, 0.25];
const gradientAt = (w: readonly number[]) => w.map((x, i) => (x - targets[i]!) / 2);
const batch = (): Record<string, Tensor> => ({
  input: identityInput(2),
  t: { type: 'float32', dims: [2, 2], data: Float32Array.from(targets) },
});

const specOf = (more: Partial<StepSpec>): StepSpec =>
  smallSpec({
    model: productNet(2, start),
    inputShapes: {},
    losses: [{ kind: 'mse', value: 'y', target: 't' }],
    schedule: { kind: 'constant', learningRate: 0.1 },
    ...more,
  });

/** What the graph computes, in plain numbers. */
function learningRateAt(spec: ScheduleSpec, step: number): number {
  const { learningRate, warmupSteps = 0 } = spec;
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  const since = step - warmupSteps;
  if (spec.kind === 'constant') return learningRate;
  if (spec.kind === 'step') return learningRate * spec.factor ** Math.floor(since / spec.every);
  const final = spec.final ?? 0;
  const progress = Math.min(1, since / Math.max(1, spec.totalSteps - warmupSteps));
  const left = spec.kind === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  return final + (learningRate - final) * left;
}

async function follow(more: Partial<StepSpec>, update: (w: number[], g: number[], t: number) => number[], steps = 12) {
  await using run = await openStep(specOf(more));
  let w = [...start];
  for (let t = 1; t <= steps; t++) {
    await run.run(batch());
    w = update(w, gradientAt(w), t);
    w.forEach((x, i) => expect(Number(run.state['w']!.data[i]), `step ${t}`).toBeCloseTo(x, 5));
  }
}

describe('updates equal hand-written float64', () => {
  it.each([
    [0, 0, false],
    [0.9, 0, false],
    [0.9, 0.05, false],
    [0.9, 0.05, true],
    [0, 0.05, false],
  ])('SGD with momentum %d, weight decay %d, nesterov %s', async (momentum, weightDecay, nesterov) => {
    let v = start.map(() => 0);
    await follow({ optimizer: { kind: 'sgd', momentum, weightDecay, nesterov } }, (w, g) => {
      const d = g.map((x, i) => x + weightDecay * w[i]!);
      v = v.map((x, i) => momentum * x + d[i]!);
      return w.map((x, i) => x - 0.1 * (nesterov ? d[i]! + momentum * v[i]! : v[i]!));
    });
  });

  it.each([0, 0.1])('AdamW with weight decay %d', async (weightDecay) => {
    const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8];
    let m = start.map(() => 0);
    let v = start.map(() => 0);
    await follow({ optimizer: { kind: 'adamw', beta1, beta2, epsilon, weightDecay } }, (w, g, t) => {
      m = m.map((x, i) => beta1 * x + (1 - beta1) * g[i]!);
      v = v.map((x, i) => beta2 * x + (1 - beta2) * g[i]! ** 2);
      return w.map((x, i) => {
        const way = m[i]! / (1 - beta1 ** t) / (Math.sqrt(v[i]! / (1 - beta2 ** t)) + epsilon);
        return x * (1 - 0.1 * weightDecay) - 0.1 * way;
      });
    });
  });

  it('no decay where noDecay says so', async () => {
    const more: Partial<StepSpec> = {
      optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0.5 },
      noDecay: (name) => name === 'w',
    };
    await follow(more, (w, g) => w.map((x, i) => x - 0.1 * g[i]!));
  });

  it('clips to the global norm, and tells the norm before', async () => {
    const clipNorm = 0.2;
    const norm = (g: readonly number[]) => Math.sqrt(g.reduce((sum, x) => sum + x * x, 0));
    const more: Partial<StepSpec> = { optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0 }, clipNorm };
    // The first steps are clipped, the last are not.
    await follow(
      { ...more, schedule: { kind: 'constant', learningRate: 1 } },
      (w, g) => {
        const factor = Math.min(1, clipNorm / (norm(g) + 1e-6));
        return w.map((x, i) => x - factor * g[i]!);
      },
      20,
    );
    await using run = await openStep(specOf(more));
    const results = await run.run(batch());
    expect(Number(results[run.step.gradientNorm!]!.data[0])).toBeCloseTo(norm(gradientAt(start)), 5);
  });
});

describe('learning-rate schedules', () => {
  const schedules: ScheduleSpec[] = [
    { kind: 'constant', learningRate: 0.3 },
    { kind: 'constant', learningRate: 0.3, warmupSteps: 4 },
    { kind: 'step', learningRate: 0.3, every: 3, factor: 0.1 },
    { kind: 'step', learningRate: 0.3, every: 3, factor: 0.5, warmupSteps: 2 },
    { kind: 'linear', learningRate: 0.3, totalSteps: 8 },
    { kind: 'linear', learningRate: 0.3, totalSteps: 8, warmupSteps: 3, final: 0.01 },
    { kind: 'cosine', learningRate: 0.3, totalSteps: 8 },
    { kind: 'cosine', learningRate: 0.3, totalSteps: 8, warmupSteps: 3, final: 0.01 },
  ];

  it.each(schedules)('%j is in the graph as in plain numbers', async (schedule) => {
    await using run = await openStep(specOf({ schedule }));
    for (let step = 0; step < 11; step++) {
      const rate = Number((await run.run(batch()))[run.step.learningRate]!.data[0]);
      expect(rate, `step ${step}`).toBeCloseTo(learningRateAt(schedule, step), 6);
    }
  });

  it('are what their names say', () => {
    const at = (schedule: ScheduleSpec, steps: number[]) =>
      steps.map((step) => Number(learningRateAt(schedule, step).toFixed(6)));
    expect(at({ kind: 'constant', learningRate: 1, warmupSteps: 4 }, [0, 1, 3, 4, 9])).toEqual([0.25, 0.5, 1, 1, 1]);
    expect(at({ kind: 'step', learningRate: 1, every: 2, factor: 0.1 }, [0, 1, 2, 3, 4])).toEqual([
      1, 1, 0.1, 0.1, 0.01,
    ]);
    expect(at({ kind: 'linear', learningRate: 1, totalSteps: 4 }, [0, 1, 2, 4, 6])).toEqual([1, 0.75, 0.5, 0, 0]);
    expect(at({ kind: 'cosine', learningRate: 1, totalSteps: 4 }, [0, 2, 4, 6])).toEqual([1, 0.5, 0, 0]);
  });
});
