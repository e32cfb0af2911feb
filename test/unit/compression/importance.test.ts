import { describe, expect, it } from 'vitest';
import { analysePruning } from '../../../main/compression/prune/analyse.ts';
import { findGroups } from '../../../main/compression/prune/groups.ts';
import {
  combined,
  normalised,
  normScales,
  sensitivities,
  weightNorms,
  IMPORTANCES,
} from '../../../main/compression/prune/measures.ts';
import { pruneModel } from '../../../main/compression/prune/prune.ts';
import { float32Of, float32Tensor, setInitializer, unfoldBatchNorm, type Model } from '../../../main/onnx/index.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { randomImages, runModel, smallBackbone } from './networks.ts';

const SIZE = 32;
const source = randomImages(48);
const options = { images: Array.from({ length: 40 }, (_, i) => i), size: SIZE, threads: 1, seed: 3 };
const prunable = (model: Model) => findGroups(model).filter(({ outputs }) => outputs.length === 0);

/** The model with some columns of the weight that reads a group scaled. */
const scaled = (model: Model, weight: string, channels: ReadonlySet<number>, by: number): Model => {
  const tensor = model.graph.initializers.get(weight)!;
  const [, columns] = tensor.dims as [number, number];
  const inner = tensor.dims.slice(2).reduce((a, b) => a * b, 1);
  const data = float32Of(tensor).map((x, i) => (channels.has(Math.floor(i / inner) % columns) ? by * x : x));
  return { ...model, graph: setInitializer(model.graph, weight, float32Tensor(tensor.dims, data)) };
};

const correlation = (a: readonly number[], b: readonly number[]): number => {
  const mean = (x: readonly number[]) => x.reduce((sum, v) => sum + v, 0) / x.length;
  const [ma, mb] = [mean(a), mean(b)];
  const dot = (f: (i: number) => number) => a.reduce((sum, _, i) => sum + f(i), 0);
  return (
    dot((i) => (a[i]! - ma) * (b[i]! - mb)) / Math.sqrt(dot((i) => (a[i]! - ma) ** 2) * dot((i) => (b[i]! - mb) ** 2))
  );
};

describe('measures of importance', () => {
  it('l1 and l2: norms of the rows that make a channel, mean 1 in each group', () => {
    const model = smallBackbone();
    const weight = float32Of(model.graph.initializers.get('wide_w')!);
    const depthwise = float32Of(model.graph.initializers.get('dw_w')!);
    expect(depthwise.length).toBe(48 * 9);
    for (const [power, norm] of [
      [1, (row: Float32Array) => row.reduce((sum, x) => sum + Math.abs(x), 0)],
      [2, (row: Float32Array) => Math.hypot(...row)],
    ] as const) {
      const byHand = Array.from({ length: 48 }, (_, c) => norm(weight.subarray(c * 16, c * 16 + 16)));
      const mean = byHand.reduce((a, b) => a + b, 0) / 48;
      const scores = weightNorms(model, prunable(model), power).get('wide')!;
      scores.forEach((score, c) => expect(score).toBeCloseTo(byHand[c]! / mean, 5));
    }
  });

  it('bn-scale: |gamma| where there is a BatchNorm; folded, the deviation that gamma would be', async () => {
    const folded = smallBackbone();
    const scales = await normScales(folded, prunable(folded), source, options);
    // Twice the weights and bias of one channel: twice its deviation, whatever the others do.
    const data = float32Of(folded.graph.initializers.get('wide_w')!).map((x, i) =>
      Math.floor(i / 16) === 5 ? 2 * x : x,
    );
    const bias = float32Of(folded.graph.initializers.get('wide_b')!).map((x, c) => (c === 5 ? 2 * x : x));
    let graph = setInitializer(folded.graph, 'wide_w', float32Tensor([48, 16, 1, 1], data));
    graph = setInitializer(graph, 'wide_b', float32Tensor([48], bias));
    const louder = { ...folded, graph };
    const after = await normScales(louder, prunable(louder), source, options);
    const ratio = (list: Float64Array) => list[5]! / list[6]!;
    expect(ratio(after.get('wide')!)).toBeCloseTo(2 * ratio(scales.get('wide')!), 4);

    const channels = 48;
    const statistics = new Map([
      [
        'wide',
        { mean: new Float32Array(channels), variance: Float32Array.from({ length: channels }, (_, c) => (c + 1) ** 2) },
      ],
    ]);
    const unfolded = unfoldBatchNorm(folded, statistics);
    expect(unfolded.graph.nodes.some(({ op }) => op === 'BatchNormalization')).toBe(true);
    const group = prunable(unfolded).find(({ tensors }) => tensors.includes('wide'))!;
    const gammas = (await normScales(unfolded, [group], source, options)).get(group.id)!;
    gammas.forEach((gamma, c) => expect(gamma / gammas[0]!).toBeCloseTo(c + 1, 3));
  });

  it('taylor: the derivative of the outputs by a gate on each channel, as differences show it', async () => {
    const model = smallBackbone();
    const groups = prunable(model);
    const scores = (await sensitivities(model, groups, source, createOrtEngine(), options)).get('fused')!;
    const all = options.images.slice(0, 40);
    const base = await runModel(model, source, all, SIZE);
    const measured: number[] = [];
    for (let c = 0; c < 40; c++) {
      const moved = await runModel(scaled(model, 'fused_out_w', new Set([c]), 1.01), source, all, SIZE);
      measured.push(moved.reduce((sum, x, i) => sum + ((x - base[i]!) / 0.01) ** 2, 0));
    }
    expect(correlation([...scores].map(Math.log), measured.map(Math.log))).toBeGreaterThan(0.95);
    // A channel that nobody reads is worth nothing.
    const dead = scaled(model, 'fused_out_w', new Set([7]), 0);
    const without = await sensitivities(dead, prunable(dead), source, createOrtEngine(), options);
    expect(without.get('fused')![7]).toBe(0);
  });

  it('head: what no logit sees is worth nothing', async () => {
    const model = smallBackbone();
    // Channels 40 to 47 reach the first twelve features alone, and the head reads the last twelve.
    const tensor = model.graph.initializers.get('out_w')!;
    const data = float32Of(tensor).map((x, i) => (i % 48 >= 40 && Math.floor(i / 48) >= 12 ? 0 : x));
    const cut = { ...model, graph: setInitializer(model.graph, 'out_w', float32Tensor(tensor.dims, data)) };
    const head = Float32Array.from({ length: 2 * 24 }, (_, i) => (i % 24 >= 12 ? Math.sin(i) : 0));
    const args = [cut, prunable(cut), source, createOrtEngine(), options] as const;
    const [seen, plain] = [await sensitivities(...args, new Map([['features', head]])), await sensitivities(...args)];
    const last = (list: Float64Array) => Math.max(...list.subarray(40));
    expect(last(seen.get('wide')!)).toBeLessThan(1e-9);
    expect(last(plain.get('wide')!)).toBeGreaterThan(1e-3);
    await expect(
      analysePruning(model, source, { ...options, importance: { measures: ['head'] } }),
    ).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });

  it('activation: a channel that never moves goes first', async () => {
    const model = smallBackbone();
    // The rows of channel 3 are zero: only its bias is left, a constant.
    const data = float32Of(model.graph.initializers.get('fused_w')!).map((x, i) => (Math.floor(i / 144) === 3 ? 0 : x));
    const still = { ...model, graph: setInitializer(model.graph, 'fused_w', float32Tensor([40, 16, 3, 3], data)) };
    const { curves } = await analysePruning(still, source, { ...options, importance: { measures: ['activation'] } });
    const curve = curves.find(({ group }) => group.id === 'fused')!;
    expect(curve.error[1]).toBeLessThan(1e-6);
    expect([...curve.order.subarray(0, 12)]).toContain(3);
  });

  it('are added at mean 1 each; a hedge mixes in what knows no pictures', () => {
    const a = new Map([['g', Float64Array.of(1, 3)]]);
    const b = new Map([['g', Float64Array.of(4, 0)]]);
    expect(normalised(a, true).get('g')).toEqual(Float64Array.of(0.5, 1.5));
    expect(combined([a, b], 0, b).get('g')).toEqual(Float64Array.of(2.5, 1.5));
    expect(combined([a], 0.25, b).get('g')).toEqual(Float64Array.of(0.75 + 1, 2.25));
  });

  it('each prunes what was asked, and a hedge changes what goes', async () => {
    const model = smallBackbone();
    const kept = async (importance: Parameters<typeof analysePruning>[2]['importance']) => {
      const analysis = await analysePruning(model, source, { ...options, importance });
      const { ratio, widths } = await pruneModel(analysis, source, 0.3, options);
      expect(ratio).toBeGreaterThanOrEqual(0.3);
      return JSON.stringify([widths, analysis.curves.map(({ order }) => [...order])]);
    };
    const results = new Map<string, string>();
    for (const measure of IMPORTANCES)
      if (measure !== 'head') results.set(measure, await kept({ measures: [measure] }));
    expect(new Set(results.values()).size).toBe(results.size);
    expect(await kept({ measures: ['taylor'], hedge: 1 })).toBe(results.get('l2'));
    expect(await kept({ measures: ['taylor', 'reconstruction'], hedge: 0.3 })).not.toBe(results.get('taylor'));
  });
});
