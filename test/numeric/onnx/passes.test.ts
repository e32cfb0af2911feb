import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  addOutputs,
  buildNetwork,
  encodeModel,
  float32Tensor,
  foldBatchNorm,
  foldConstants,
  indexGraph,
  int64Tensor,
  readModelFile,
  removeOutputs,
  renameValue,
  replaceHead,
  runtimeInputs,
  scalar,
  unfoldBatchNorm,
  withGraph,
  graph,
  model,
  node,
  value,
  type Model,
} from '../../../main/onnx/index.ts';
import { concreteShape } from '../../../main/onnx/cost.ts';
import { openSession } from '../../../main/runtime/session.ts';
import { noise, smallNet } from '../../unit/onnx/example-models.ts';

const MODELS = process.env['MEKIKI_MODELS'];

/** All outputs on noise, in order. */
async function outputsOf(of: Model, dims?: number[]) {
  await using session = await openSession(encodeModel(of), { threads: 1 });
  const [input] = runtimeInputs(of.graph);
  const shape = dims ?? concreteShape(input!.shape!);
  const data = noise(
    shape.reduce((a, b) => a * b, 1),
    5,
  );
  const found = await session.run({ [input!.name]: { type: 'float32', dims: shape, data } });
  return of.graph.outputs.map(({ name }) => found[name]!.data as Float32Array);
}

const largest = (a: Float32Array, b: Float32Array) =>
  a.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0);

describe('passes, run by ONNX Runtime', () => {
  it('unfoldBatchNorm changes nothing but rounding, and foldBatchNorm takes it back', async () => {
    const base = foldBatchNorm(smallNet());
    const convs = base.graph.nodes.filter((item) => item.op === 'Conv').map((item) => item.outputs[0]!);
    const statistics = new Map(
      convs.map((name, i) => [name, { mean: noise(8, i + 1), variance: noise(8, i + 9).map((x) => x * x * 4) }]),
    );
    const unfolded = unfoldBatchNorm(base, statistics);
    expect(unfolded.graph.nodes.filter((item) => item.op === 'BatchNormalization')).toHaveLength(2);
    const shape = [2, 3, 32, 32];
    const [before] = await outputsOf(base, shape);
    const [after] = await outputsOf(unfolded, shape);
    expect(largest(before!, after!)).toBeLessThan(1e-5);
    const [again] = await outputsOf(foldBatchNorm(unfolded), shape);
    expect(largest(before!, again!)).toBeLessThan(1e-5);
    const bad = new Map([[convs[0]!, { mean: noise(7), variance: new Float32Array(7) }]]);
    expect(() => unfoldBatchNorm(base, bad)).toThrow(/8 channels, statistics of 7/);
    expect(() => unfoldBatchNorm(base, new Map([['logits', bad.get(convs[0]!)!]]))).toThrow(/does not exist/);
  });

  it('foldConstants gives the same bits with fewer nodes', async () => {
    const net = buildNetwork('vit_tiny', {
      classes: 5,
      size: 32,
      batch: 2,
      seed: 4,
      transformer: { depth: 1, dim: 24 },
    });
    const folded = foldConstants(net);
    expect(folded.graph.nodes.length).toBeLessThan(net.graph.nodes.length);
    expect(folded.graph.nodes.filter((item) => item.op === 'Transpose')).toHaveLength(4);
    expect(await outputsOf(folded)).toEqual(await outputsOf(net));
  });

  it('every evaluator gives what the runtime gives', async () => {
    const f = (...dims: number[]) =>
      float32Tensor(
        dims,
        noise(
          dims.reduce((a, b) => a * b, 1),
          dims.length,
        ),
      );
    const ints = (...items: number[]) => int64Tensor([items.length], items);
    const constants = {
      a: f(2, 3, 4),
      b: f(3, 1),
      m: ints(7, -7, 5),
      n: ints(2, 2, -3),
      picks: ints(2, -1),
      shape: ints(0, -1),
      to: ints(2, 3, 4),
      start: ints(2 ** 40),
      end: ints(-9),
      axis: ints(2),
      step: ints(-2),
      s: ints(3, 2),
      zero: scalar(0, 'int64'),
      ten: scalar(10, 'int64'),
      three: scalar(3, 'int64'),
      one: ints(1),
      odd: float32Tensor([4], [NaN, 0, -0, Infinity]),
    };
    const rows: [string, string[], Parameters<typeof node>[3]?][] = [
      ...['Add', 'Sub', 'Mul', 'Div', 'Greater', 'Less', 'GreaterOrEqual', 'LessOrEqual', 'Equal'].flatMap(
        (op): [string, string[]][] => [
          [op, ['a', 'b']],
          [op, ['m', 'n']],
        ],
      ),
      ...['Min', 'Max', 'Mod'].map((op): [string, string[]] => [op, ['m', 'n']]),
      ...['Abs', 'Neg', 'Sqrt', 'Reciprocal', 'Floor', 'Ceil', 'Identity'].map((op): [string, string[]] => [op, ['a']]),
      ['Gather', ['a', 'picks'], { axis: 1 }],
      ['Gather', ['a', 'zero'], { axis: 2 }],
      ['Concat', ['a', 'a'], { axis: 1 }],
      ['Transpose', ['a'], { perm: [2, 0, 1] }],
      ['Transpose', ['a']],
      ['Slice', ['a', 'start', 'end', 'axis', 'step']],
      ['Reshape', ['a', 'shape']],
      ['Flatten', ['a'], { axis: 2 }],
      ['Unsqueeze', ['b', 'zero']],
      ['Squeeze', ['b', 'one']],
      ['Squeeze', ['b']],
      ['Expand', ['b', 'to']],
      ['Cast', ['a'], { to: 7 }],
      ['Cast', ['m'], { to: 1 }],
      ['Cast', ['a'], { to: 9 }],
      ['Cast', ['odd'], { to: 9 }],
      ['ConstantOfShape', ['s'], { value: int64Tensor([1], [7]) }],
      ['Range', ['zero', 'ten', 'three']],
    ];
    const nodes = rows.map(([op, inputs, attributes], i) => node(op, inputs, [`v${i}`], attributes));
    nodes.push(node('And', ['v8', 'v9'], ['and']), node('Or', ['v8', 'v9'], ['or']));
    nodes.splice(-2, 2);
    nodes.push(
      node('Greater', ['m', 'n'], ['c']),
      node('Where', ['c', 'm', 'n'], ['w']),
      node('Not', ['c'], ['k']),
      node('And', ['c', 'k'], ['and']),
      node('Or', ['c', 'k'], ['or']),
    );
    const names = nodes.map((item) => item.outputs[0]!);
    // Outputs stay nodes: each result passes an Identity that is one, so that what is folded is what is read.
    const outs = names.map((name) => node('Identity', [name], [`out/${name}`]));
    const types = (i: number) => {
      const op = nodes[i]!.op;
      if (/Greater|Less|Equal|Not|And|Or$/.test(op)) return 'bool' as const;
      if (op === 'Cast')
        return (['int64', 'float32', 'bool', 'bool'] as const)[
          rows.filter((r) => r[0] === 'Cast').findIndex((r) => rows.indexOf(r) === i)
        ]!;
      return ['m', 'zero', 's', 'c'].includes(nodes[i]!.inputs[0]!) ? ('int64' as const) : ('float32' as const);
    };
    const whole = model(
      graph({
        nodes: [...nodes, ...outs],
        inputs: [],
        outputs: names.map((name, i) => value(`out/${name}`, types(i))),
        initializers: constants,
      }),
    );
    const folded = foldConstants(whole);
    expect(folded.graph.nodes.map((item) => item.op)).toEqual(names.map(() => 'Identity'));
    await using plain = await openSession(encodeModel(whole), { threads: 1, optimization: 'disabled' });
    await using short = await openSession(encodeModel(folded), { threads: 1 });
    const [expected, found] = [await plain.run({}), await short.run({})];
    for (const [i, name] of names.entries()) {
      const at = `${nodes[i]!.op}(${nodes[i]!.inputs.join()})`;
      expect(found[`out/${name}`]!.dims, at).toEqual(expected[`out/${name}`]!.dims);
      expect(found[`out/${name}`]!.data, at).toEqual(expected[`out/${name}`]!.data);
    }
  });

  it('replaceHead puts the given weights behind a map', async () => {
    const weight = noise(24, 3);
    const bias = noise(3, 4);
    const next = replaceHead(smallNet(), { from: 'sum', classes: 3, weights: { weight, bias } });
    const shape = [1, 3, 32, 32];
    const [pooled] = await outputsOf(removeOutputs(addOutputs(smallNet(), ['pool']), ['logits']), shape);
    const expected = Float32Array.from({ length: 3 }, (_, c) =>
      pooled!.reduce((sum, x, k) => sum + x * weight[c * 8 + k]!, bias[c]!),
    );
    const [logits] = await outputsOf(next, shape);
    expect(largest(logits!, expected)).toBeLessThan(1e-5);
  });
});

describe.skipIf(!MODELS)('each model of MEKIKI_MODELS', () => {
  const files = MODELS ? readdirSync(MODELS).filter((name) => name.endsWith('.onnx')) : ['(none given)'];
  it.each(files)('%s, read, edited and written, gives the same bits', async (name) => {
    const base = readModelFile(join(MODELS!, name));
    const inner = base.graph.nodes[3]!.outputs[0]!;
    const widened = addOutputs(base, [inner]);
    const back = removeOutputs(widened, indexGraph(base.graph).outputs.has(inner) ? [] : [inner]);
    const edited = withGraph(back, renameValue(back.graph, inner, 'a new name'));
    expect(await outputsOf(edited)).toEqual(await outputsOf(base));
  });
});
