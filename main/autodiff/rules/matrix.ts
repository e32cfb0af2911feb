import { elementCount, floatValue, intAttribute, textAttribute } from '../../onnx/index.ts';
import type { Attributes, GradientRule, RuleContext, RuleRows } from '../rule.ts';
import { constant, expandTo, inputOf, reduceTo, reshape, swapLast } from './emit.ts';

/** alpha A' B' with 0/1 for "transposed"; attributes at their defaults are left out. */
function gemm(context: RuleContext, a: string, b: string, transA: number, transB: number, alpha = 1): string {
  const attributes: Attributes = {
    ...(transA ? { transA: 1 } : {}),
    ...(transB ? { transB: 1 } : {}),
    ...(alpha === 1 ? {} : { alpha }),
  };
  return context.emit1('Gemm', [a, b], attributes);
}

const gemmRule: GradientRule = (context, [gradient]) => {
  const { node } = context;
  if (gradient === undefined) return node.inputs.map(() => undefined);
  const [a, b] = node.inputs as [string, string];
  const [transA, transB] = [intAttribute(node, 'transA', 0), intAttribute(node, 'transB', 0)];
  const [alpha, beta] = [floatValue(node, 'alpha', 1), floatValue(node, 'beta', 1)];
  const ofA = () =>
    transA ? gemm(context, b, gradient, transB, 1, alpha) : gemm(context, gradient, b, 0, 1 - transB, alpha);
  const ofB = () =>
    transB ? gemm(context, gradient, a, 1, transA, alpha) : gemm(context, a, gradient, 1 - transA, 0, alpha);
  const ofC = (c: string) => {
    const sum = reduceTo(context, gradient, context.shape(node.outputs[0]!), context.shape(c));
    return beta === 1 ? sum : context.emit1('Mul', [sum, constant(context, beta)]);
  };
  const c = inputOf(context, 2);
  return [
    context.wants(0) ? ofA() : undefined,
    context.wants(1) ? ofB() : undefined,
    ...(node.inputs.length > 2 ? [c !== undefined && context.wants(2) ? ofC(c) : undefined] : []),
  ];
};

/** An operand of MatMul as matrices: a vector becomes one row (first operand) or one column (second). */
interface Matrices {
  readonly name: string;
  readonly shape: readonly number[];
}

/** [..., r, c] as one matrix [R, c]. */
const flat = (context: RuleContext, { name, shape }: Matrices): string =>
  reshape(context, name, shape, [elementCount(shape.slice(0, -1)), shape.at(-1)!]);

const matmulRule: GradientRule = (context, [gradient]) => {
  if (gradient === undefined) return [undefined, undefined];
  const [aName, bName] = context.node.inputs as [string, string];
  const [aShape, bShape] = [context.shape(aName), context.shape(bName)];
  const promote = (name: string, shape: readonly number[], to: readonly number[]): Matrices => ({
    name: reshape(context, name, shape, to),
    shape: to,
  });
  const a = promote(aName, aShape, aShape.length === 1 ? [1, ...aShape] : aShape);
  const b = promote(bName, bShape, bShape.length === 1 ? [...bShape, 1] : bShape);
  const yShape = context.shape(context.node.outputs[0]!);
  const batch = yShape.slice(0, Math.max(aShape.length, bShape.length, 2) - 2);
  const dY = promote(gradient, yShape, [...batch, a.shape.at(-2)!, b.shape.at(-1)!]);

  /** dY B^T summed over the axes along which A was broadcast. */
  const ofA = (): string => {
    // One matrix B for all: one big product instead of a batch.
    if (b.shape.length === 2) {
      const rows = elementCount(dY.shape.slice(0, -1));
      return reshape(context, gemm(context, flat(context, dY), b.name, 0, 1), [rows, b.shape[0]!], aShape);
    }
    const full = context.emit1('MatMul', [dY.name, swapLast(context, b.name, b.shape.length)]);
    const shape = [...batch, ...a.shape.slice(-2)];
    return reshape(context, reduceTo(context, full, shape, a.shape), a.shape, aShape);
  };
  /** A^T dY summed over the axes along which B was broadcast. */
  const ofB = (): string => {
    // The sum over the batch is part of the product.
    if (b.shape.length === 2) {
      return reshape(context, gemm(context, flat(context, a), flat(context, dY), 1, 0), b.shape, bShape);
    }
    const full = context.emit1('MatMul', [swapLast(context, a.name, a.shape.length), dY.name]);
    const shape = [...batch, ...b.shape.slice(-2)];
    return reshape(context, reduceTo(context, full, shape, b.shape), b.shape, bShape);
  };
  return [context.wants(0) ? ofA() : undefined, context.wants(1) ? ofB() : undefined];
};

// ---------------------------------------------------------------- Einsum
const EQUATION = /^[A-Za-z]*(,[A-Za-z]*)*->[A-Za-z]*$/;

/** Operand labels and result labels; an implicit result is the labels that occur once, in alphabetical order. */
function labelsOf(context: RuleContext): { operands: string[]; result: string } {
  const stated = textAttribute(context.node, 'equation', '').replaceAll(' ', '');
  const left = stated.split('->')[0]!;
  const once = [...new Set(left.replaceAll(',', ''))]
    .filter((label) => left.indexOf(label) === left.lastIndexOf(label))
    .toSorted()
    .join('');
  const equation = stated.includes('->') ? stated : `${left}->${once}`;
  const operands = left.split(',');
  const repeats = (labels: string) => new Set(labels).size !== labels.length;
  if (!EQUATION.test(equation) || operands.some(repeats)) {
    throw context.unsupported(`a gradient of the equation "${stated}" (an ellipsis or a repeated label)`);
  }
  return { operands, result: equation.split('->')[1]! };
}

/** dL/d(operand) is the einsum of dY with the other operands; labels that only this operand has were summed: repeated. */
const einsumRule: GradientRule = (context, [gradient]) => {
  const { inputs } = context.node;
  if (gradient === undefined) return inputs.map(() => undefined);
  const { operands, result } = labelsOf(context);
  return inputs.map((name, index) => {
    if (!context.wants(index)) return undefined;
    const own = [...operands[index]!];
    const shape = context.shape(name);
    const others = operands.filter((_, at) => at !== index);
    const known = (label: string) => result.includes(label) || others.some((labels) => labels.includes(label));
    const equation = `${[result, ...others].join(',')}->${own.filter(known).join('')}`;
    const product = context.emit1('Einsum', [gradient, ...inputs.filter((_, at) => at !== index)], { equation });
    const kept = shape.map((dim, axis) => (known(own[axis]!) ? dim : 1));
    const bare = shape.filter((_, axis) => known(own[axis]!));
    return expandTo(context, reshape(context, product, bare, kept), kept, shape);
  });
};

export const matrixRules: RuleRows = [
  ['Gemm', gemmRule],
  ['MatMul', matmulRule],
  ['Einsum', einsumRule],
];
