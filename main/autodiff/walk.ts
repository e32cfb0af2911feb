import { AppError } from '../contract/errors.ts';
import type { Node } from '../onnx/index.ts';
import type { GraphWriter } from './graph-writer.ts';
import type { RuleContext } from './rule.ts';
import { gradientRules } from './rules/index.ts';
import { TRAINING_DOMAIN } from './training-facts.ts';

const FLOAT = new Set(['float32', 'float64', 'float16', 'bfloat16']);

export interface WalkOptions {
  writer: GraphWriter;
  /** The forward graph's nodes, in topological order; the writer knows the shapes of all their values. */
  nodes: readonly Node[];
  /** Values to find gradients for. */
  wanted: ReadonlySet<string>;
  /** Gradients of the losses: value -> contributions, each of the value's shape. */
  seeds: ReadonlyMap<string, readonly string[]>;
  /** Called once per wanted value that a loss depends on, as soon as its gradient is complete. */
  onGradient: (name: string, gradient: string) => void;
}

/** Values (floating point) that depend on one of `wanted`, those included. */
function dependents(
  nodes: readonly Node[],
  wanted: ReadonlySet<string>,
  isFloat: (name: string) => boolean,
): ReadonlySet<string> {
  const active = new Set(wanted);
  for (const node of nodes) {
    if (!node.inputs.some((name) => active.has(name))) continue;
    for (const name of node.outputs) if (name !== '' && isFloat(name)) active.add(name);
  }
  return active;
}

/**
 * Reverse-mode differentiation: nodes from last to first, each by its row of the table; contributions to one value are added when the node that
 * makes it is reached. Only values that depend on a wanted one get a gradient.
 * @throws UNSUPPORTED_OP naming op, opset and node where the table has no row.
 */
export function walkBack({ writer, nodes, wanted, seeds, onGradient }: WalkOptions): void {
  const active = dependents(nodes, wanted, (name) => FLOAT.has(writer.info(name).type ?? ''));
  const contributions = new Map<string, string[]>();
  for (const [name, names] of seeds) if (active.has(name)) contributions.set(name, [...names]);
  // How many nodes may still add to a wanted value: at 0 its gradient is complete, long before the walk ends.
  const waiting = new Map<string, number>();
  for (const node of nodes) {
    for (const name of new Set(node.inputs)) {
      if (wanted.has(name)) waiting.set(name, (waiting.get(name) ?? 0) + 1);
    }
  }
  const complete = (name: string): void => {
    const gradient = total(writer, contributions.get(name) ?? []);
    if (gradient !== undefined) onGradient(name, gradient);
  };
  // Read by no node, yet part of a loss.
  for (const name of wanted) if (!waiting.has(name)) complete(name);
  for (const node of [...nodes].reverse()) {
    differentiate(writer, node, active, contributions);
    for (const name of new Set(node.inputs)) {
      const left = waiting.get(name);
      if (left === undefined) continue;
      waiting.set(name, left - 1);
      if (left === 1) complete(name);
    }
  }
}

/** The sum of contributions as one value. */
function total(writer: GraphWriter, names: readonly string[]): string | undefined {
  if (names.length <= 1) return names[0];
  return writer.emit1(names.length === 2 ? 'Add' : 'Sum', names);
}

function differentiate(
  writer: GraphWriter,
  node: Node,
  active: ReadonlySet<string>,
  contributions: Map<string, string[]>,
): void {
  if (!node.inputs.some((name) => active.has(name))) return;
  if (!node.outputs.some((name) => contributions.has(name))) return;
  const where = node.name || node.outputs[0] || node.op;
  const unsupported = (problem: string) =>
    new AppError('UNSUPPORTED_OP', { op: node.op, opset: writer.opset, node: where, problem });
  const known = node.domain === '' || node.domain === TRAINING_DOMAIN;
  const rule = known ? gradientRules.get(node.op) : undefined;
  if (!rule) throw unsupported('it has no gradient rule');
  writer.scope = `grad/${where}`;
  const outputGradients = node.outputs.map((name) => {
    const names = contributions.get(name);
    contributions.delete(name);
    return names && total(writer, names);
  });
  const context: RuleContext = {
    node,
    opset: writer.opset,
    shape: (name) => writer.shape(name),
    type: (name) => writer.type(name),
    constant: (name) => (active.has(name) ? undefined : writer.constant(name)),
    wants: (index) => active.has(node.inputs[index] ?? ''),
    emit: (...args) => writer.emit(...args),
    emit1: (...args) => writer.emit1(...args),
    tensor: (value, hint) => writer.tensor(value, hint),
    unsupported,
  };
  rule(context, outputGradients).forEach((gradient, i) => {
    const name = node.inputs[i];
    if (gradient === undefined || !name || !active.has(name)) return;
    const list = contributions.get(name);
    if (list) list.push(gradient);
    else contributions.set(name, [gradient]);
  });
  writer.scope = '';
}
