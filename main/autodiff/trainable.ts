import { AppError } from '../contract/errors.ts';
import { elementCount, type ElementType, type Graph, type Node } from '../onnx/index.ts';

/** Element-wise ops whose operand may be a weight (position embedding, layer scale) or a plain number of a formula. */
const ELEMENTWISE = new Set(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Min', 'Max', 'Where', 'Sum']);
/** Inputs that are settings even where a gradient could reach them. */
const SETTINGS: Readonly<Record<string, readonly number[]>> = {
  Clip: [1, 2],
  Resize: [1, 2, 3],
  Pad: [1, 2],
  Dropout: [1, 2],
  OneHot: [1, 2],
  BatchNormalization: [3, 4],
};
const OTHER_WEIGHTS: ReadonlySet<ElementType> = new Set(['float16', 'bfloat16', 'float64', 'int8', 'uint8']);

const weightError = (node: Node, opset: number, name: string, type: ElementType) =>
  new AppError('UNSUPPORTED_OP', {
    op: node.op,
    opset,
    node: node.name || node.outputs[0] || node.op,
    problem: `its weight "${name}" is ${type}; only float32 can be trained`,
  });

/**
 * Initializers to train. 'all': every float32 one that is a weight: not a running statistic, not a setting, and as operand of element-wise
 * arithmetic only with more than one element and beside a value that depends on another weight (so neither the 0.5 of a GELU nor the mean
 * that is taken off the input is trained).
 * @throws INVALID_INPUT for an unknown name, UNSUPPORTED_OP (op, opset, node) for a weight of another type.
 */
export function trainableNames(graph: Graph, wanted: 'all' | readonly string[], opset: number): ReadonlySet<string> {
  return wanted === 'all' ? allWeights(graph, opset) : namedWeights(graph, wanted, opset);
}

function namedWeights(graph: Graph, wanted: readonly string[], opset: number): ReadonlySet<string> {
  for (const name of wanted) {
    const reader = graph.nodes.find((node) => node.inputs.includes(name));
    const tensor = graph.initializers.get(name);
    if (!tensor) {
      const problem = `no loss depends on an initializer "${name}"`;
      throw new AppError('INVALID_INPUT', { what: 'the list of trainable parameters', problem });
    }
    if (tensor.type !== 'float32' && reader) throw weightError(reader, opset, name, tensor.type);
  }
  return new Set(wanted);
}

function allWeights(graph: Graph, opset: number): ReadonlySet<string> {
  const found = new Set<string>();
  const dependent = new Set<string>();
  for (const node of graph.nodes) {
    node.inputs.forEach((name, index) => {
      const tensor = graph.initializers.get(name);
      if (!tensor) return;
      if (OTHER_WEIGHTS.has(tensor.type)) throw weightError(node, opset, name, tensor.type);
      if (tensor.type !== 'float32' || SETTINGS[node.op]?.includes(index)) return;
      if (ELEMENTWISE.has(node.op)) {
        const others = node.inputs.some((other) => other !== name && dependent.has(other));
        if (!others || elementCount(tensor.dims) <= 1) return;
      }
      found.add(name);
    });
    if (node.inputs.some((name) => found.has(name) || dependent.has(name))) {
      for (const name of node.outputs) dependent.add(name);
    }
  }
  return found;
}
