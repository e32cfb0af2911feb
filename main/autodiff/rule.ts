import type { AttributeInput, ConstTensor, ElementType, Node } from '../onnx/index.ts';

export type DataType = ElementType;
export type Attributes = Readonly<Record<string, AttributeInput>>;
export interface EmitOptions {
  /** Default '' (ai.onnx). */
  domain?: string;
  /** Number of outputs, default 1. */
  outputs?: number;
}

/** What a gradient rule sees of its node, and how it adds nodes to the step graph. */
export interface RuleContext {
  readonly node: Node;
  /** Of the step graph (at least 17): what emitted nodes are read by. */
  readonly opset: number;
  /** Static shape of a value of the forward graph, or of a value that was emitted with a known shape. */
  shape(name: string): readonly number[];
  type(name: string): DataType;
  /** A constant that is not trained: an initializer, the tensor of a Constant node, or a small computation over shapes. */
  constant(name: string): ConstTensor | undefined;
  /** Whether a gradient for this input is needed. */
  wants(inputIndex: number): boolean;
  /** Adds a node; returns its fresh output names. */
  emit(op: string, inputs: readonly string[], attributes?: Attributes, options?: EmitOptions): string[];
  /** `emit` of a node with one output (or of which the first alone matters). */
  emit1(op: string, inputs: readonly string[], attributes?: Attributes, options?: EmitOptions): string;
  /** Adds a constant (equal ones are shared) and returns its name. */
  tensor(value: ConstTensor, hint?: string): string;
  /** @throws UNSUPPORTED_OP with op, opset and node of this rule. */
  unsupported(problem: string): Error;
}

/**
 * One row of the table of gradients: dL/d(output) per output of the node (undefined: none reached it) -> name of dL/d(input) per input
 * (undefined: none, or not wanted). The gradient of a value has the value's shape. A rule is called only if some output has a gradient and
 * some input wants one; it emits nothing for inputs that are not wanted.
 */
export type GradientRule = (
  context: RuleContext,
  outputGradients: readonly (string | undefined)[],
) => readonly (string | undefined)[];

export type RuleRows = readonly (readonly [op: string, rule: GradientRule])[];
