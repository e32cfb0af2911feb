import { AppError, assert } from '../contract/errors.ts';
import {
  int64Tensor,
  node as makeNode,
  opsetOf,
  value as makeValue,
  valueNames,
  type ConstTensor,
  type ElementType,
  type Model,
  type Node,
  type Value,
} from '../onnx/index.ts';
import { UNKNOWN, type OpContext, type TensorInfo } from '../onnx/op-facts/facts.ts';
import { constantInfo } from '../onnx/op-facts/shape-values.ts';
import { opFacts } from '../onnx/op-facts/table.ts';
import type { Attributes, EmitOptions } from './rule.ts';
import { trainingFacts } from './training-facts.ts';

/** Constants up to this many bytes are shared when equal. */
const SHARED_BYTES = 1024;

/**
 * A graph under construction whose shapes are all static: each node's output shapes are told when it is added, so that a rule may ask for
 * the shape of what it has just emitted.
 */
export class GraphWriter {
  readonly opset: number;
  readonly nodes: Node[] = [];
  readonly initializers = new Map<string, ConstTensor>();
  readonly #infos = new Map<string, TensorInfo>();
  readonly #taken: Set<string>;
  readonly #counts = new Map<string, number>();
  readonly #shared = new Map<string, string>();
  readonly #constantNodes = new Map<string, ConstTensor>();
  /** Prefix of fresh names, for a reader of the graph. */
  scope = '';

  /** @param of names and opset are taken from it; its nodes are not added. */
  constructor(of: Model, opset: number = opsetOf(of)) {
    this.opset = opset;
    this.#taken = valueNames(of.graph);
  }

  fresh(base: string): string {
    const stem = this.scope ? `${this.scope}/${base}` : base;
    let count = this.#counts.get(stem) ?? 0;
    let name = stem;
    while (this.#taken.has(name)) name = `${stem}_${++count + 1}`;
    this.#counts.set(stem, count);
    this.#taken.add(name);
    return name;
  }

  declareInput(name: string, type: ElementType, shape: readonly number[]): void {
    this.#taken.add(name);
    this.#infos.set(name, { type, shape });
  }

  initializer(name: string, tensor: ConstTensor): void {
    this.#taken.add(name);
    this.initializers.set(name, tensor);
    this.#infos.set(name, constantInfo(tensor));
  }

  /** A constant; equal small ones are shared. */
  tensor(tensor: ConstTensor, hint = 'constant'): string {
    const small = tensor.bytes.byteLength <= SHARED_BYTES && tensor.type !== 'string';
    const key = small ? `${tensor.type}[${tensor.dims.join()}]${Buffer.from(tensor.bytes).toString('base64')}` : '';
    const known = small ? this.#shared.get(key) : undefined;
    if (known) return known;
    const scope = this.scope;
    this.scope = 'const';
    const name = this.fresh(hint);
    this.scope = scope;
    this.initializer(name, tensor);
    if (small) this.#shared.set(key, name);
    return name;
  }

  /** Adds a node and tells its output shapes. @throws UNSUPPORTED_OP for an op without facts, GRAPH_INVALID for shapes that do not fit. */
  add(node: Node): void {
    const context = this.#contextOf(node);
    const facts = node.domain === '' ? opFacts.get(node.op) : trainingFacts.get(`${node.domain}:${node.op}`);
    if (!facts) throw context.unsupported('nothing is known about it');
    const outputs = facts.infer(context);
    this.nodes.push(node);
    const constant = node.op === 'Constant' ? node.attributes.get('value') : undefined;
    if (constant?.kind === 'tensor') this.#constantNodes.set(node.outputs[0]!, constant.value);
    node.outputs.forEach((name, i) => {
      if (name === '') return;
      this.#taken.add(name);
      this.#infos.set(name, outputs[i] ?? UNKNOWN);
    });
  }

  emit(op: string, inputs: readonly string[], attributes: Attributes = {}, options: EmitOptions = {}): string[] {
    const outputs = Array.from({ length: options.outputs ?? 1 }, () => this.fresh(op));
    this.add(makeNode(op, inputs, outputs, attributes, { domain: options.domain ?? '' }));
    return outputs;
  }

  emit1(op: string, inputs: readonly string[], attributes: Attributes = {}, options: EmitOptions = {}): string {
    return this.emit(op, inputs, attributes, options)[0]!;
  }

  /** `emit1` under a given name. */
  emitAs(op: string, inputs: readonly string[], output: string, attributes: Attributes = {}): void {
    this.add(makeNode(op, inputs, [output], attributes));
  }

  has(name: string): boolean {
    return this.#infos.has(name);
  }

  info(name: string): TensorInfo {
    return this.#infos.get(name) ?? UNKNOWN;
  }

  shape(name: string): readonly number[] {
    const { shape } = this.info(name);
    assert(
      shape?.every((dim) => typeof dim === 'number'),
      `the shape of "${name}" is static`,
    );
    return shape as readonly number[];
  }

  type(name: string): ElementType {
    const { type } = this.info(name);
    assert(type, `the type of "${name}" is known`);
    return type;
  }

  /** An initializer, the tensor of a Constant node, or whole numbers that follow from static shapes. */
  constant(name: string): ConstTensor | undefined {
    const stored = this.initializers.get(name) ?? this.#constantNodes.get(name);
    if (stored) return stored;
    const { type, shape, values } = this.info(name);
    if (type !== 'int64' || !shape || !values?.every((item) => Number.isSafeInteger(item))) return undefined;
    return int64Tensor(shape as number[], values as number[]);
  }

  /** Every value that a node makes, with its static shape. */
  valueInfo(): ReadonlyMap<string, Value> {
    const made = this.nodes.flatMap((node) => node.outputs).filter((name) => name !== '');
    return new Map(
      made.map((name) => [name, makeValue(name, this.info(name).type ?? 'float32', this.info(name).shape)]),
    );
  }

  #contextOf(node: Node): OpContext {
    const where = node.name || node.outputs[0] || node.op;
    const { opset } = this;
    return {
      node,
      opset,
      inputs: node.inputs.map((name) => (name === '' ? null : this.info(name))),
      constant: (index) => this.constant(node.inputs[index] ?? ''),
      fail: (problem) => new AppError('GRAPH_INVALID', { where, problem: `${node.op}: ${problem}` }),
      unsupported: (problem) => new AppError('UNSUPPORTED_OP', { op: node.op, opset, node: where, problem }),
    };
  }
}
