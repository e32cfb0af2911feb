import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../../main/contract/errors.ts';
import {
  decodeModel,
  encodeModel,
  foldConstants,
  graph,
  halfPrecisionIn,
  inferShapes,
  int64Tensor,
  model,
  node,
  requireStaticShapes,
  requireSupportedOps,
  setInitializer,
  sortNodes,
  value,
  verifyStructure,
  withGraph,
  type Attribute,
  type Model,
  type Node,
} from '../../../main/onnx/index.ts';
import { halfInside } from '../../helpers/half-precision.ts';
import { smallNet } from './example-models.ts';

describe('what is in the way is named', () => {
  it.each([11, 12, 22])('opset %i, with operator and node', (opset) => {
    expect(() => requireSupportedOps(model(smallNet().graph, { opset }))).toThrow(
      new RegExp(`Conv \\(opset ${opset}, node "c1"\\).*13 to 21`),
    );
  });

  it.each([13, 17, 21])('opset %i is fine', (opset) => {
    expect(() => requireSupportedOps(model(smallNet().graph, { opset }))).not.toThrow();
  });

  it('an operator of another domain, unless a row is brought', () => {
    const base = smallNet();
    const own = { ...node('Twice', ['logits'], ['y'], {}, { domain: 'test.own' }) };
    const odd = {
      ...withGraph(base, { ...base.graph, nodes: [...base.graph.nodes, own] }),
      opsets: new Map([
        ['', 17],
        ['test.own', 1],
      ]),
    };
    expect(() => requireSupportedOps(odd)).toThrow(/test.own.Twice/);
    expect(() => inferShapes(odd)).toThrow(/Twice/);
    const extraFacts = new Map([['test.own:Twice', { infer: () => [{ type: 'float32' as const, shape: [1, 2] }] }]]);
    expect(() => requireSupportedOps(odd, { extraFacts })).not.toThrow();
    expect(inferShapes(odd, { extraFacts }).get('y')!.shape).toEqual([1, 2]);
  });

  it('half precision, but not weights that are stored as halves and cast before use', () => {
    const halfOf = (of: Model) => halfPrecisionIn(of.graph, inferShapes(of));
    const base = smallNet();
    expect(halfOf(halfInside(base))).toMatch(/Cast "image\/cast" gives float16/);
    const initializers = new Map(base.graph.initializers);
    initializers.set('w2/half', { type: 'float16', dims: [8, 1, 3, 3], bytes: new Uint8Array(2 * 72) });
    initializers.delete('w2');
    const nodes = [node('Cast', ['w2/half'], ['w2'], { to: 1 }), ...base.graph.nodes];
    expect(halfOf(withGraph(base, { ...base.graph, nodes, initializers }))).toBeNull();
  });

  it('sizes left open', () => {
    expect(() => requireStaticShapes(smallNet())).toThrow(/image.*size 0 \(N\) is left open/);
    expect(() => requireStaticShapes(smallNet(), { picture: [1] })).toThrow(/no input "picture"/);
    expect(requireStaticShapes(smallNet(), { image: [2, 3, 32, 32] }).get('c1')!.shape).toEqual([2, 8, 16, 16]);
  });

  it('a cycle and a dangling name', () => {
    const base = smallNet();
    const cycle = withGraph(base, {
      ...base.graph,
      nodes: base.graph.nodes.map((item) => (item.op === 'Relu' ? { ...item, inputs: ['sum'] } : item)),
    });
    expect(() => verifyStructure(cycle)).toThrow(/before it is made/);
    expect(() => sortNodes(cycle.graph)).toThrow(/its own output/);
    expect(() => inferShapes(cycle)).toThrow(/its own output/);
    const dangling = withGraph(base, {
      ...base.graph,
      nodes: base.graph.nodes.map((item) => (item.op === 'Relu' ? { ...item, inputs: ['nowhere'] } : item)),
    });
    expect(() => verifyStructure(dangling)).toThrow(/"nowhere", which nothing makes/);
  });
});

describe('hostile bytes', () => {
  const attempt = (bytes: Uint8Array): void => {
    try {
      const read = decodeModel(bytes);
      verifyStructure(read);
      requireSupportedOps(read);
      halfPrecisionIn(read.graph, inferShapes(read));
      foldConstants(read);
      requireStaticShapes(read, {});
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    }
  };

  it('single flipped bits, everywhere', () => {
    const whole = encodeModel(smallNet());
    for (let at = 0; at < whole.length; at++) {
      // Weights make most of the file; their bits are only numbers. A sample of them is enough.
      if (at % 3 !== 0 && at > 1200 && at < whole.length - 300) continue;
      const bytes = new Uint8Array(whole);
      bytes[at]! ^= 1 << (at % 8);
      attempt(bytes);
    }
  });

  it('sizes below zero, one of them or two whose product is above it', () => {
    const ofSize = (wished: readonly number[]) => {
      const base = smallNet();
      const graph = setInitializer(base.graph, 'sizes', int64Tensor([wished.length], wished));
      return withGraph(base, {
        ...setInitializer(graph, 'one', int64Tensor([1], [1])),
        // Shapes are not followed through a Flatten of sizes, so that only the evaluator can tell.
        nodes: [
          ...graph.nodes,
          node('Flatten', ['one'], ['flat sizes'], { axis: 0 }),
          node('ConstantOfShape', ['flat sizes'], ['nought']),
          node('Expand', ['nought', 'sizes'], ['large']),
          node('Identity', ['large'], ['end']),
        ],
        outputs: [...graph.outputs, { ...graph.outputs[0]!, name: 'end' }],
      });
    };
    const kept = (wished: readonly number[]) =>
      foldConstants(ofSize(wished)).graph.nodes.some((item) => item.op === 'Expand');
    expect(kept([2, 3])).toBe(false);
    for (const wished of [[-(2 ** 52)], [-4], [-2, -3]]) expect(kept(wished)).toBe(true);
  });

  it('small files that ask for much are read in good time: bodies, outputs of unknown operators, a name a million times', () => {
    const base = smallNet();
    const grown = (nodes: readonly Node[], outputs: readonly string[] = []) =>
      withGraph(base, {
        ...setInitializer(base.graph, 'many', int64Tensor([256], new BigInt64Array(256))),
        nodes: [...base.graph.nodes, ...nodes],
        outputs: [...base.graph.outputs, ...outputs.map((name) => value(name))],
      });
    const body: Attribute = { kind: 'graph', value: graph({ nodes: [], inputs: [], outputs: [value('vector')] }) };
    const names = Array.from({ length: 60_000 }, (_, i) => `made ${i}`);
    const of = (op: string, attributes = {}) => names.map((name) => node(op, ['vector'], [name], attributes));
    const before = performance.now();
    verifyStructure(grown(of('If', { then_branch: body, else_branch: body })));
    inferShapes(grown(of('Unheard'), names.toReversed()), { unknownOps: 'unknown' });
    const joined = grown([node('Concat', Array<string>(1_000_000).fill('many'), ['joined'], { axis: 0 })]);
    expect(inferShapes(joined).get('joined')!.shape).toEqual([256_000_000]);
    // A second or two; where each looked through all before it, minutes and all memory.
    expect(performance.now() - before).toBeLessThan(20_000);
  });

  it('constants of any numbers before every operator that is folded', () => {
    const ops = [
      'Gather',
      'Concat',
      'Transpose',
      'Slice',
      'Reshape',
      'Squeeze',
      'Unsqueeze',
      'ConstantOfShape',
      'Range',
      'Where',
      'Flatten',
      'Expand',
      'Add',
      'Div',
      'Mod',
      'Cast',
      'Equal',
    ];
    const any = fc.oneof(fc.integer({ min: -4, max: 6 }), fc.constantFrom(2 ** 31, 2 ** 52, -(2 ** 52)));
    const list = fc.array(any, { maxLength: 5 });
    fc.assert(
      fc.property(
        fc.array(fc.record({ op: fc.constantFrom(...ops), a: list, b: list, axis: any }), {
          minLength: 1,
          maxLength: 6,
        }),
        (steps) => {
          const base = smallNet();
          let { graph } = base;
          let last = 'flat';
          const nodes = steps.map(({ op, a, b, axis }, i) => {
            const tensor = {
              type: 'int64' as const,
              dims: [a.length],
              bytes: new Uint8Array(BigInt64Array.from(a, BigInt).buffer),
            };
            graph = setInitializer(graph, `k${i}`, tensor);
            const made = node(op, [last, `k${i}`, `k${i}`], [`v${i}`], { axis, axes: b, perm: b, to: axis });
            last = `v${i}`;
            return made;
          });
          attempt(
            encodeModel(
              withGraph(base, {
                ...graph,
                nodes: [...nodes, ...graph.nodes, node('Identity', [last], ['end'])],
                outputs: [...graph.outputs, { ...graph.outputs[0]!, name: 'end' }],
              }),
            ),
          );
        },
      ),
      { numRuns: 1000 },
    );
  }, 30_000);
});
