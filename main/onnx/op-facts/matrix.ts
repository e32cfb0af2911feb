import { intAttribute } from '../build.ts';
import type { Dim, Shape } from '../model.ts';
import { broadcast, knownSize, shapeOf, typeOf, type OpContext, type OpFacts } from './facts.ts';

const fits = (context: OpContext, a: Dim | undefined, b: Dim | undefined): void => {
  if (typeof a === 'number' && typeof b === 'number' && a !== b) throw context.fail(`inner sizes ${a} and ${b} differ`);
};

/** Both operands of a Gemm after its transpositions: [m, k] and [k, n]. */
function gemmSizes(context: OpContext): { m: Dim; k: Dim; n: Dim } | null {
  const a = shapeOf(context, 0);
  const b = shapeOf(context, 1);
  if (!a || !b) return null;
  if (a.length !== 2 || b.length !== 2) throw context.fail('its operands are not matrices');
  const [m, k] = intAttribute(context.node, 'transA', 0) ? [a[1]!, a[0]!] : [a[0]!, a[1]!];
  const [k2, n] = intAttribute(context.node, 'transB', 0) ? [b[1]!, b[0]!] : [b[0]!, b[1]!];
  fits(context, k, k2);
  return { m, k: typeof k === 'number' ? k : k2, n };
}

/** Numpy matmul with batch dims and vectors. */
function matmulShape(context: OpContext, aAt: number, bAt: number): Shape {
  const a = shapeOf(context, aAt);
  const b = shapeOf(context, bAt);
  if (!a || !b) return null;
  if (a.length === 0 || b.length === 0) throw context.fail('an operand is a scalar');
  fits(context, a.at(-1), b.length === 1 ? b[0] : b.at(-2));
  const batch = broadcast(context, [a.slice(0, -2), b.slice(0, -2)]);
  if (!batch) return null;
  return [...batch, ...(a.length > 1 ? [a.at(-2)!] : []), ...(b.length > 1 ? [b.at(-1)!] : [])];
}

const matmulFacts = (type: 'same' | 'int32', bAt: number, params: readonly number[]): OpFacts => ({
  infer: (context) => [{ type: type === 'same' ? typeOf(context, 0) : 'int32', shape: matmulShape(context, 0, bAt) }],
  macs: (context, [output]) => knownSize(context, output?.shape) * Number(shapeOf(context, 0)!.at(-1)),
  params,
});

export const matrixFacts: [string, OpFacts][] = [
  [
    'Gemm',
    {
      infer: (context) => {
        const sizes = gemmSizes(context);
        return [{ type: typeOf(context, 0), shape: sizes && [sizes.m, sizes.n] }];
      },
      macs: (context, [output]) => knownSize(context, output?.shape) * Number(gemmSizes(context)!.k),
      params: [1, 2],
    },
  ],
  ['MatMul', matmulFacts('same', 1, [0, 1])],
  ['MatMulInteger', matmulFacts('int32', 1, [1])],
  ['QLinearMatMul', matmulFacts('same', 3, [3])],
];
