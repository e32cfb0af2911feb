import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { learnGoodParts } from '../../../main/learning/anomaly/learn.ts';
import { fitAnomaly, planTaps, worstOf, positionScores, type TapPlan } from '../../../main/learning/anomaly/padim.ts';
import { openProducts } from '../../../main/learning/dense.ts';
import { float32Tensor, graph, int64Tensor, model, node, scalar, value, type Node } from '../../../main/onnx/index.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { createPreprocessor } from '../../../main/vision/preprocess.ts';
import { picture } from './pictures.ts';
import { randomOf } from './synthetic.ts';
import { writeTinyBackbone } from './tiny-backbone.ts';

const products = openProducts({ threads: 1 });
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mekiki-padim-'));
});
afterAll(async () => {
  await products[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
const shaOf = (i: number) => ((i * 0x9e3779b1) >>> 0).toString(16).padStart(8, '0').repeat(8);

/** x of A x = b, by Gauss-Jordan with pivoting in float64: shares nothing with the Cholesky factors under test. */
function solve(a: number[][], b: number[]): number[] {
  const n = b.length;
  const m = a.map((row, i) => [...row, b[i]!]);
  for (let c = 0; c < n; c += 1) {
    let pivot = c;
    for (let r = c; r < n; r += 1) if (Math.abs(m[r]![c]!) > Math.abs(m[pivot]![c]!)) pivot = r;
    [m[c], m[pivot]] = [m[pivot]!, m[c]!];
    for (let r = 0; r < n; r += 1) {
      if (r === c) continue;
      const factor = m[r]![c]! / m[c]![c]!;
      for (let k = c; k <= n; k += 1) m[r]![k]! -= factor * m[c]![k]!;
    }
  }
  return m.map((row, i) => row[n]! / row[i]!);
}

/** Mahalanobis distance squared per channel at each position, from the definition. */
function reference(rows: Float32Array[], x: Float32Array, channels: number): number[] {
  const positions = x.length / channels;
  const all = Array.from({ length: channels }, (_, j) =>
    rows.flatMap((row) => Array.from({ length: positions }, (__, p) => row[p * channels + j]!)),
  );
  const variance = all.map((values) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  });
  return Array.from({ length: positions }, (_, p) => {
    const at = (row: Float32Array) => Array.from(row.subarray(p * channels, (p + 1) * channels));
    const mean = at(rows[0]!).map((__, j) => rows.reduce((sum, row) => sum + at(row)[j]!, 0) / rows.length);
    const covariance = mean.map((__, i) =>
      mean.map(
        (___, j) =>
          rows.reduce((sum, row) => sum + (at(row)[i]! - mean[i]!) * (at(row)[j]! - mean[j]!), 0) / (rows.length - 1) +
          (i === j ? 0.05 * variance[i]! : 0),
      ),
    );
    const d = at(x).map((v, j) => v - mean[j]!);
    return solve(covariance, d).reduce((sum, v, j) => sum + v * d[j]!, 0) / channels;
  });
}

describe('the model of good parts', () => {
  const random = randomOf(3);
  const plan: TapPlan = { taps: ['a'], ratios: [1], channels: 4, width: 2, height: 3 };
  const rowOf = () => Float32Array.from({ length: 24 }, (_, i) => (i % 4) + random() + (i % 3) * random());
  const rows = Array.from({ length: 40 }, rowOf);
  const shas = rows.map((_, i) => shaOf(i + 1));

  it('scores like the definition worked out in float64', async () => {
    const { anomaly, heldOut, kept, own } = await fitAnomaly(rows, shas, plan, 32, { products });
    expect(heldOut).toHaveLength(40);
    for (let k = 0; k < 5; k += 1) {
      const x = rowOf();
      const wanted = reference(rows, x, 4);
      positionScores(x, anomaly).forEach((score, p) => expect(score / wanted[p]!).toBeCloseTo(1, 4));
    }
    // Six positions: all of them are the worst ones, so the part's score is their mean; of seven the least is left out.
    expect(own[7]! / (reference(rows, rows[7]!, 4).reduce((a, b) => a + b, 0) / 6)).toBeCloseTo(1, 4);
    expect(worstOf(Float64Array.of(9, 1, 8, 2, 7, 3, 6))).toBeCloseTo(35 / 6, 12);
    expect(anomaly.limit).toBeGreaterThanOrEqual(Math.max(...heldOut));
    // One at the least is above what the other folds go to, five where those above it are all of its fold.
    expect(kept).toBeLessThan(40);
    expect(kept).toBeGreaterThan(30);
    // What is held out is farther away than what was learnt.
    expect(heldOut.reduce((a, b) => a + b, 0)).toBeGreaterThan(own.reduce((a, b) => a + b, 0));
  });

  it('holds copies of one shot out together: the limit does not fall because each part was saved twice', async () => {
    const few = rows.slice(0, 12);
    const looks = few.map((_, i) => shaOf(i + 1).slice(0, 16));
    const doubled = [...few, ...few.map((row) => row.map((v) => v + 1e-3 * random()))];
    const names = doubled.map((_, i) => shaOf(i + 1));
    const limitOf = async (options: { looks?: string[] }) =>
      (await fitAnomaly(doubled, names, plan, 32, { products, ...options })).anomaly.limit;
    const { anomaly } = await fitAnomaly(few, shas.slice(0, 12), plan, 32, { products });
    expect(await limitOf({ looks: [...looks, ...looks] })).toBeGreaterThanOrEqual(anomaly.limit);
    expect(await limitOf({})).toBeLessThan(0.9 * anomaly.limit);
  });

  it('takes channels that never move, and refuses numbers that are none and too few parts', async () => {
    const still = rows.map((row) => row.map((v, i) => (i % 4 === 2 ? 5 : v)));
    const { anomaly } = await fitAnomaly(still, shas, plan, 32, { products });
    const moved = still[0]!.map((v, i) => (i === 2 ? 5.5 : v));
    expect(worstOf(positionScores(moved, anomaly))).toBeGreaterThan(anomaly.limit);
    const broken = rows.with(
      3,
      rows[3]!.map((v, i) => (i === 1 ? Number.NaN : v)),
    );
    await expect(fitAnomaly(broken, shas, plan, 32, { products })).rejects.toMatchObject({
      code: 'FEATURES_NOT_FINITE',
    });
    await expect(fitAnomaly(rows.slice(0, 9), shas.slice(0, 9), plan, 32, { products })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });

  it('compares positions on maps, not on values with the channels last nor on attention', async () => {
    const constant = (...dims: number[]) =>
      float32Tensor(dims, new Float32Array(dims.reduce((a, b) => a * b)).fill(0.1));
    const network = (last: Node) =>
      model(
        graph({
          nodes: [
            node('Conv', ['x', 'stem_w'], ['stem'], { strides: [4, 4], kernel_shape: [4, 4] }),
            node('Transpose', ['stem'], ['last'], { perm: [0, 2, 3, 1] }),
            node('Add', ['last', 'bias'], ['moved']), // [1, 8, 8, 6]
            node('Reshape', ['moved', 'tokens'], ['query']),
            node('Transpose', ['query'], ['key'], { perm: [0, 1, 3, 2] }),
            node('MatMul', ['query', 'key'], ['product']),
            node('Mul', ['product', 'scale'], ['scaled']),
            node('Add', ['scaled', 'places'], ['attention']), // [1, 1, 64, 64]
            node('MatMul', ['attention', 'query'], ['mixed']),
            node('Reshape', ['mixed', 'grid'], ['grown']),
            node('Transpose', ['grown'], ['first'], { perm: [0, 3, 1, 2] }),
            last,
          ],
          inputs: [value('x', 'float32', [1, 3, 32, 32])],
          outputs: [value('y', 'float32', [1, 6, 8, 8])],
          initializers: {
            stem_w: constant(6, 3, 4, 4),
            bias: constant(6),
            places: constant(64, 64),
            scale: scalar(0.5),
            tokens: int64Tensor([4], [1, 1, 64, 6]),
            grid: int64Tensor([4], [1, 8, 8, 6]),
          },
        }),
      );
    const backbone = await writeTinyBackbone(path.join(folder, 'described.onnx'));
    const planned = (last: Node) =>
      planTaps(network(last), { ...backbone, featureOutputs: [{ name: 'y', channels: 6, kind: 'pooled' }] }, 32);
    const wanted = { taps: ['y'], ratios: [1], channels: 6, width: 8, height: 8 };
    expect(await planned(node('Add', ['stem', 'first'], ['y']))).toEqual(wanted);
    await expect(planned(node('Relu', ['first'], ['y']))).rejects.toMatchObject({ code: 'BACKBONE_UNSUITABLE' });
  });

  it.each([9, 10, 17])('is one graph that says the same as the fit, and finds a scratch (opset %i)', async (opset) => {
    const backbone = await writeTinyBackbone(path.join(folder, `tiny-${opset}.onnx`), { opset });
    const preprocessor = createPreprocessor({ size: 32, mean: backbone.mean, std: backbone.std });
    const inputOf = async (surface: 'dots' | 'scratch', seed: number) => {
      const data = new Float32Array(preprocessor.length);
      preprocessor.into(picture(surface, seed), null, data, 0);
      return data;
    };
    const { model, own, anomaly } = await learnGoodParts({
      backbone,
      shas: Array.from({ length: 30 }, (_, i) => shaOf(i)),
      partOf: async (i) => ({ input: await inputOf('dots', i), look: undefined }),
      threads: 1,
      products,
    });
    await using session = await openSession(model, { threads: 1 });
    const run = async (data: Float32Array) => {
      const outputs = await session.run({ image: { type: 'float32', dims: [1, 3, 32, 32], data } });
      expect(outputs['logits']!.dims).toEqual([1, 1]);
      return Number(outputs['novelty']!.data[0]);
    };
    for (const i of [0, 11, 29])
      expect(Math.abs((await run(await inputOf('dots', i))) / own[i]! - 1)).toBeLessThan(1e-3);
    expect(await run(await inputOf('scratch', 500))).toBeGreaterThan(anomaly.limit);
  });
});
