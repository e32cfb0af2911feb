import * as tf from '@tensorflow/tfjs-core';
import { AppError, assert, isAppError, problemOf } from '../../contract/errors.ts';
import {
  constantOf,
  indexGraph,
  numbersOf,
  usedBy,
  type ConstTensor,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import type { OpContext, OpRow } from './ops/row.ts';
import { tables } from './ops/index.ts';
import { GraphValue, runtimeTensor, upload, type Arranged } from './tensor-value.ts';

interface PlannedNode {
  readonly node: Node;
  readonly row: OpRow;
  readonly opset: number;
  /** Values that nobody reads after this node. */
  readonly finished: readonly string[];
}

/** The graph with its rows looked up and the end of every value's life known. */
export interface Plan {
  readonly model: Model;
  readonly nodes: readonly PlannedNode[];
  readonly constant: (name: string) => ConstTensor | undefined;
  /** Static sizes where the graph states them. */
  readonly dims: ReadonlyMap<string, readonly number[]>;
}

/**
 * @param outputs values to keep until the end
 * @throws UNSUPPORTED_OP for a node without a row, before anything runs
 */
export function planGraph(model: Model, outputs: Iterable<string>): Plan {
  const { graph } = model;
  const index = indexGraph(graph);
  const kept = new Set(outputs);
  const lastUse = new Map<string, number>();
  graph.nodes.forEach((node, at) => {
    // A value that nobody reads ends where it is made.
    for (const name of [...node.outputs, ...usedBy(node)]) if (name !== '') lastUse.set(name, at);
  });
  const nodes = graph.nodes.map((node, at): PlannedNode => {
    const opset = model.opsets.get(node.domain) ?? 1;
    const row = tables.get(node.domain)?.get(node.op);
    if (!row) throw unsupported(node, opset, 'the tfjs training engine has no kernel for it');
    const finished = [...new Set([...node.inputs, ...node.outputs])].filter(
      (name) => name !== '' && lastUse.get(name) === at && !kept.has(name) && !graph.initializers.has(name),
    );
    return { node, row, opset, finished };
  });
  const dims = new Map<string, readonly number[]>();
  for (const { name, shape } of [...graph.valueInfo.values(), ...graph.outputs]) {
    if (shape?.every((dim): dim is number => typeof dim === 'number')) dims.set(name, shape);
  }
  return { model, nodes, constant: (name) => constantOf(graph, index, name), dims };
}

const unsupported = (node: Node, opset: number, problem: string): AppError =>
  new AppError('UNSUPPORTED_OP', {
    op: node.domain === '' ? node.op : `${node.domain}.${node.op}`,
    opset,
    node: node.name,
    problem,
  });

/** The constants of a graph on the backend; whoever uploads them disposes them. @throws GRAPH_INVALID for types without a tensor. */
export const uploadConstants = (model: Model): Map<string, GraphValue> =>
  new Map([...model.graph.initializers].map(([name, constant]) => [name, upload(runtimeTensor(constant, name), name)]));

class NodeContext implements OpContext {
  readonly node: Node;
  readonly opset: number;
  readonly count: number;
  readonly #plan: Plan;
  readonly #values: ReadonlyMap<string, GraphValue>;

  constructor({ node, opset }: PlannedNode, plan: Plan, values: ReadonlyMap<string, GraphValue>) {
    this.node = node;
    this.opset = opset;
    this.count = node.inputs.length;
    this.#plan = plan;
    this.#values = values;
  }

  has(index: number): boolean {
    return (this.node.inputs[index] ?? '') !== '';
  }

  value(index: number): GraphValue {
    const found = this.#values.get(this.node.inputs[index] ?? '');
    assert(found, `node ${this.node.name} reads input ${index}, which is made before it`);
    return found;
  }

  tensor(index: number): tf.Tensor {
    return this.value(index).tensor;
  }

  channelsLast(index: number): tf.Tensor4D {
    const value = this.value(index);
    if (value.dims.length !== 4) throw this.unsupported('other than two spatial dimensions');
    return value.channelsLast;
  }

  dims(index: number): readonly number[] {
    return this.value(index).dims;
  }

  numbers(index: number): number[] {
    const constant = this.#plan.constant(this.node.inputs[index] ?? '');
    return constant ? [...numbersOf(constant)] : [...this.tensor(index).dataSync()];
  }

  list(attribute: string, index: number): number[] | undefined {
    const found = this.node.attributes.get(attribute);
    if (found?.kind === 'ints') return found.value.map(Number);
    return this.has(index) ? this.numbers(index) : undefined;
  }

  axis(axis: number, rank: number): number {
    return axis < 0 ? axis + rank : axis;
  }

  hasKernel(name: string): boolean {
    return Boolean(tf.getKernel(name, tf.getBackend()));
  }

  unsupported(problem: string): AppError {
    return unsupported(this.node, this.opset, `${problem} (tfjs training engine)`);
  }
}

const arrangedOf = (output: tf.Tensor | Arranged): Arranged =>
  'layout' in output ? output : { tensor: output, layout: 'first' };

function runNode(planned: PlannedNode, plan: Plan, values: Map<string, GraphValue>): void {
  const { node, row } = planned;
  tf.tidy(() => {
    const result = row(new NodeContext(planned, plan, values));
    const outputs = (Array.isArray(result) ? result : [result]) as readonly (tf.Tensor | Arranged)[];
    node.outputs.forEach((name, at) => {
      if (name === '') return;
      const output = outputs[at];
      if (!output) throw unsupported(node, planned.opset, `its output ${at} (tfjs training engine)`);
      const { tensor, layout } = arrangedOf(output);
      // A row may give its input back as it is (nothing to do): every value owns its own tensor.
      const made = new GraphValue({ tensor: tf.keep(tf.clone(tensor)), layout });
      values.set(name, made);
      const stated = plan.dims.get(name);
      assert(
        !stated || stated.join() === made.dims.join(),
        `${node.op} "${node.name}" gives ${name} [${made.dims.join(', ')}] where the graph states [${stated?.join(', ')}]`,
      );
    });
  });
}

/**
 * Computes the graph; blocks until done. Values are freed as soon as nobody needs them any more.
 * @param given constants, state and batch; stay the caller's
 * @param wanted names that were given to planGraph; theirs become the caller's (a given value is cloned)
 * @throws TRAINER_FAILED naming node and op when a kernel fails
 */
export function runGraph(
  plan: Plan,
  given: ReadonlyMap<string, GraphValue>,
  wanted: Iterable<string>,
): Map<string, GraphValue> {
  const values = new Map(given);
  let node: Node | undefined;
  try {
    for (const planned of plan.nodes) {
      node = planned.node;
      runNode(planned, plan, values);
      for (const name of planned.finished) {
        if (!given.has(name)) values.get(name)?.dispose();
        values.delete(name);
      }
    }
    const results = new Map<string, GraphValue>();
    for (const name of new Set(wanted)) {
      const found = values.get(name);
      assert(found, `"${name}" is a value of the step graph`);
      results.set(name, given.has(name) ? copyOf(found) : found);
    }
    return results;
  } catch (cause) {
    for (const [name, value] of values) if (!given.has(name)) value.dispose();
    if (isAppError(cause)) throw cause;
    const problem = `${node?.op} "${node?.name}" on TensorFlow.js (${tf.getBackend()}): ${problemOf(cause)}`;
    throw new AppError('TRAINER_FAILED', { problem }, { cause });
  }
}

const copyOf = (value: GraphValue): GraphValue => {
  const { tensor, layout } = value.arranged;
  return new GraphValue({ tensor: tf.keep(tf.clone(tensor)), layout });
};
