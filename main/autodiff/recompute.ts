import { elementCount, float32Tensor, type Node } from '../onnx/index.ts';
import type { GraphWriter } from './graph-writer.ts';

/** Element-wise, one big input: computing them again costs a pass over memory, no more. */
const CHEAP = new Set([
  'Clip',
  'Elu',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'LeakyRelu',
  'Relu',
  'Selu',
  'Sigmoid',
  'Softplus',
  'Tanh',
]);
/** A root this much smaller than the value is kept gladly (a gate per channel, statistics). */
const SMALL = 8;

interface Producer {
  node: Node;
  output: number;
}

/**
 * Computes cheap activations anew where the backward part first needs them (Chen et al. 2016, restricted to element-wise nodes), if what they are
 * computed from is kept for the backward part anyway: of convolution, batch normalisation and activation only the convolution's output stays.
 */
export function recomputeActivations(writer: GraphWriter, forwardLength: number, outputs: ReadonlySet<string>): void {
  const all = writer.nodes.splice(0);
  const forward = all.slice(0, forwardLength);
  const backward = all.slice(forwardLength);
  const producers = new Map<string, Producer>();
  for (const node of forward) node.outputs.forEach((name, output) => name && producers.set(name, { node, output }));
  const needed = new Set(backward.flatMap((node) => node.inputs).filter((name) => producers.has(name)));
  // Computed again a value may differ in its last bit: then it would equal no maximum that was taken from it.
  const compared = new Set(backward.filter((node) => node.op === 'Equal').flatMap((node) => node.inputs));

  const isCheap = (name: string): boolean => {
    const producer = producers.get(name);
    if (!producer || outputs.has(name)) return false;
    const { node, output } = producer;
    return output === 0 && (CHEAP.has(node.op) || node.op === 'BatchNormTrain' || node.op === 'Mul');
  };
  const size = (name: string) => elementCount(writer.shape(name));
  /** What a value is computed from, through cheap nodes only. */
  const roots = (name: string, into = new Set<string>()): Set<string> => {
    for (const input of readBy(producers.get(name)!)) {
      if (isCheap(input)) roots(input, into);
      else if (producers.has(input)) into.add(input);
    }
    return into;
  };
  const again = new Set(
    [...needed].filter(
      (name) =>
        isCheap(name) &&
        !compared.has(name) &&
        [...roots(name)].every((root) => needed.has(root) || size(root) * SMALL <= size(name)),
    ),
  );

  for (const node of forward) writer.add(node);
  const made = new Map<string, string>();
  const remake = (name: string): string => {
    const known = made.get(name);
    if (known) return known;
    const producer = producers.get(name)!;
    const inputs = new Map(readBy(producer).map((input) => [input, isCheap(input) ? remake(input) : input]));
    writer.scope = 'again';
    const fresh = emitAgain(writer, producer.node, (input) => inputs.get(input) ?? input);
    made.set(name, fresh);
    return fresh;
  };
  for (const node of backward) {
    if (!node.inputs.some((name) => again.has(name))) writer.add(node);
    else {
      const inputs = node.inputs.map((name) => (again.has(name) ? remake(name) : name));
      writer.add({ ...node, inputs });
    }
  }
  writer.scope = '';
}

/** What computing the value again reads: of batch normalisation its input, scale, bias and the batch's statistics. */
const readBy = ({ node }: Producer): readonly string[] =>
  (node.op === 'BatchNormTrain' ? [...node.inputs.slice(0, 3), ...node.outputs.slice(1, 3)] : node.inputs).filter(
    (name) => name !== '',
  );

function emitAgain(writer: GraphWriter, node: Node, input: (name: string) => string): string {
  if (node.op !== 'BatchNormTrain') {
    const [name] = [writer.fresh(node.op)];
    writer.add({ ...node, name, inputs: node.inputs.map((item) => (item === '' ? '' : input(item))), outputs: [name] });
    return name;
  }
  // Normalising by mean 0 and variance 1 leaves the affine map a x + b, a = scale invStd, b = B - mean a.
  const [x, scale, bias] = node.inputs as [string, string, string];
  const [, mean, invStd] = node.outputs as [string, string, string];
  const channels = writer.shape(scale);
  const filled = (value: number) =>
    writer.tensor(float32Tensor(channels, new Float32Array(channels[0]!).fill(value)), 'filled');
  const a = writer.emit1('Mul', [scale, invStd]);
  const b = writer.emit1('Sub', [bias, writer.emit1('Mul', [mean, a])]);
  return writer.emit1('BatchNormalization', [input(x), a, b, filled(0), filled(1)], { epsilon: 0 });
}
