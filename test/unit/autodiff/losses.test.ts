import { describe, expect, it } from 'vitest';
import type { LossSpec } from '../../../main/autodiff/index.ts';
import type { Tensor } from '../../../main/runtime/session.ts';
import { identityInput, openStep, productNet, smallSpec } from './small-net.ts';

/* The weight is the value itself (input = identity), so one step of plain descent at rate 1 gives the gradient. */

const N = 3;
const C = 4;
const values = [0.5, -1.2, 2.1, 0.3, 1.7, 0.2, -0.4, -2.2, 0.05, 0.9, -0.7, 1.1];
const targetValues = [0.4, 0.1, 0.3, 0.2, 0.1, 0.6, 0.2, 0.1, 0.25, 0.25, 0.3, 0.2];
const labels = [2, 0, 3];

async function lossAndGradient(
  losses: readonly LossSpec[],
  batch: Record<string, Tensor>,
  start: readonly number[] = values,
) {
  const spec = smallSpec({
    model: productNet(N, start),
    inputShapes: {},
    losses,
    optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0 },
    schedule: { kind: 'constant', learningRate: 1 },
  });
  await using run = await openStep(spec);
  const results = await run.run({ input: identityInput(N), ...batch });
  const after = run.state['w']!.data as Float32Array;
  return { loss: Number(results[run.step.loss]!.data[0]), gradient: start.map((x, i) => x - after[i]!) };
}

const soft = (data: readonly number[]): Tensor => ({ type: 'float32', dims: [N, C], data: Float32Array.from(data) });
const hard: Tensor = { type: 'int64', dims: [N], data: BigInt64Array.from(labels, BigInt) };

const rowsOf = (flat: readonly number[]) => Array.from({ length: N }, (_, n) => flat.slice(n * C, (n + 1) * C));
const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
const logSoftmax = (row: readonly number[], t = 1) => {
  const total = Math.log(sum(row.map((x) => Math.exp(x / t))));
  return row.map((x) => x / t - total);
};

/** Central differences in float64. */
const differences = (f: (flat: readonly number[]) => number, at: readonly number[]): number[] =>
  at.map((_, i) => {
    const moved = (by: number) => f(at.map((x, k) => (k === i ? x + by : x)));
    return (moved(1e-5) - moved(-1e-5)) / 2e-5;
  });

async function agrees(
  loss: LossSpec | readonly LossSpec[],
  batch: Record<string, Tensor>,
  f: (flat: readonly number[]) => number,
  start: readonly number[] = values,
) {
  const found = await lossAndGradient([loss].flat(), batch, start);
  expect(found.loss).toBeCloseTo(f(start), 5);
  differences(f, start).forEach((expected, i) => expect(found.gradient[i]).toBeCloseTo(expected, 5));
}

describe('losses equal hand-written float64, and their gradients its differences', () => {
  const weights = [1, 2, 0.5, 3];

  it.each([
    [undefined, 0],
    [undefined, 0.1],
    [weights, 0],
    [weights, 0.1],
  ])(
    'cross-entropy of hard targets, class weights %j, smoothing %d (torch: divided by the weights of the targets)',
    async (classWeights, smoothing) => {
      const w = classWeights ?? [1, 1, 1, 1];
      const f = (flat: readonly number[]) => {
        const parts = rowsOf(flat).map((row, n) => {
          const logP = logSoftmax(row);
          const label = labels[n]!;
          const even = sum(logP.map((x, c) => w[c]! * x));
          return -(1 - smoothing) * w[label]! * logP[label]! - (smoothing / C) * even;
        });
        return sum(parts) / sum(labels.map((label) => w[label]!));
      };
      await agrees(
        { kind: 'crossEntropy', logits: 'y', ...(classWeights ? { classWeights } : {}), labelSmoothing: smoothing },
        { target: hard },
        f,
      );
    },
  );

  it.each([
    [undefined, 0],
    [weights, 0.2],
  ])(
    'cross-entropy of soft targets, class weights %j, smoothing %d (torch: divided by the batch)',
    async (classWeights, smoothing) => {
      const w = classWeights ?? [1, 1, 1, 1];
      const f = (flat: readonly number[]) =>
        -sum(
          rowsOf(flat).flatMap((row, n) =>
            logSoftmax(row).map((x, c) => w[c]! * (targetValues[n * C + c]! * (1 - smoothing) + smoothing / C) * x),
          ),
        ) / N;
      await agrees(
        {
          kind: 'crossEntropy',
          logits: 'y',
          targets: 'soft',
          target: 'mix',
          ...(classWeights ? { classWeights } : {}),
          labelSmoothing: smoothing,
        },
        { mix: soft(targetValues) },
        f,
      );
    },
  );

  it('KL with temperature, times its square', async () => {
    const t = 3;
    const teacher = values.map((x, i) => x * 0.3 + Math.cos(i));
    const f = (flat: readonly number[]) =>
      (t *
        t *
        sum(
          rowsOf(flat).flatMap((row, n) => {
            const [a, b] = [logSoftmax(row, t), logSoftmax(rowsOf(teacher)[n]!, t)];
            return a.map((x, c) => Math.exp(b[c]!) * (b[c]! - x));
          }),
        )) /
      N;
    await agrees({ kind: 'kl', student: 'y', teacher: 'teacher', temperature: t }, { teacher: soft(teacher) }, f);
  });

  it('mean squared error with a weight', async () => {
    const f = (flat: readonly number[]) => (0.7 * sum(flat.map((x, i) => (x - targetValues[i]!) ** 2))) / flat.length;
    await agrees({ kind: 'mse', value: 'y', target: 't', weight: 0.7 }, { t: soft(targetValues) }, f);
  });

  it('cosine', async () => {
    const f = (flat: readonly number[]) =>
      sum(
        rowsOf(flat).map((row, n) => {
          const other = rowsOf(targetValues)[n]!;
          const length = (list: readonly number[]) => Math.sqrt(sum(list.map((x) => x * x)));
          return 1 - sum(row.map((x, c) => x * other[c]!)) / (length(row) * length(other));
        }),
      ) / N;
    await agrees({ kind: 'cosine', value: 'y', target: 't' }, { t: soft(targetValues) }, f);
  });

  it('L1 on a parameter, beside another loss', async () => {
    const f = (flat: readonly number[]) =>
      0.03 * sum(flat.map(Math.abs)) + sum(flat.map((x, i) => (x - targetValues[i]!) ** 2)) / flat.length;
    const losses: LossSpec[] = [
      { kind: 'mse', value: 'y', target: 't' },
      { kind: 'l1', parameters: ['w'], weight: 0.03 },
    ];
    await agrees(losses, { t: soft(targetValues) }, f);
  });
});
