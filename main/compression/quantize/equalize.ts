import {
  float32Of,
  float32Tensor,
  indexGraph,
  intAttribute,
  setInitializers,
  withGraph,
  type ConstTensor,
  type GraphIndex,
  type Model,
  type Node,
} from '../../onnx/index.ts';

/*
 * Cross-layer equalisation (Nagel et al. 2019, section 4.1): between two convolutions with a function f in between that scales
 * (f(s x) = s f(x) for s > 0), channel i may be divided by s_i before and multiplied after without changing what the network
 * computes. With s_i = sqrt(r1_i / r2_i), r the largest weight of the channel on either side, both sides use their 8 bits alike.
 */

/** Functions that scale; Clip at 6 does not. */
const HOMOGENEOUS = new Set(['Relu', 'Identity']);
/** Passes over the chain: each pair moves its neighbours' ranges. */
const PASSES = 8;
/** Scales stay within this factor, so that a nearly dead channel does not blow up the other side. */
const MOST = 64;

interface Pair {
  first: Node;
  second: Node;
}

const isDepthwise = (conv: Node): boolean => intAttribute(conv, 'group', 1) > 1;

const pairOf = (model: Model, index: GraphIndex, first: Node): Pair | null => {
  let at = first.outputs[0]!;
  for (;;) {
    const readers = index.consumers.get(at) ?? [];
    if (readers.length !== 1 || index.outputs.has(at)) return null;
    const [next] = readers as readonly [Node];
    if (HOMOGENEOUS.has(next.op)) {
      at = next.outputs[0]!;
      continue;
    }
    if (next.op !== 'Conv' || !model.graph.initializers.has(next.inputs[1]!)) return null;
    // Grouped convolutions other than depthwise ones read several channels per group, or one in several rows: left alone.
    const { dims } = model.graph.initializers.get(next.inputs[1]!)!;
    const oneToOne = dims[1] === 1 && dims[0] === intAttribute(next, 'group', 1);
    return isDepthwise(next) && !oneToOne ? null : { first, second: next };
  }
};

/** The model with equalised weights; the same function of its input up to rounding. @returns also how many pairs were treated */
export function equalizeWeights(model: Model): { model: Model; pairs: number } {
  const index = indexGraph(model.graph);
  const uses = new Map<string, number>();
  for (const node of model.graph.nodes) for (const name of node.inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  const own = (name: string | undefined) =>
    name === undefined || name === '' || (model.graph.initializers.has(name) && uses.get(name) === 1);
  const pairs = model.graph.nodes
    .filter((node) => node.op === 'Conv' && own(node.inputs[1]) && own(node.inputs[2]))
    .flatMap((node) => pairOf(model, index, node) ?? [])
    .filter(({ second }) => own(second.inputs[1]));
  if (pairs.length === 0) return { model, pairs: 0 };
  const data = new Map<string, Float32Array>();
  const editable = (name: string): Float32Array => {
    const known = data.get(name) ?? Float32Array.from(float32Of(model.graph.initializers.get(name)!));
    data.set(name, known);
    return known;
  };
  const dimsOf = (name: string) => model.graph.initializers.get(name)!.dims;
  for (let pass = 0; pass < PASSES; pass++) {
    for (const { first, second } of pairs) {
      const a = editable(first.inputs[1]!);
      const bias = first.inputs[2] ? editable(first.inputs[2]) : null;
      const b = editable(second.inputs[1]!);
      const channels = dimsOf(first.inputs[1]!)[0]!;
      const perRow = a.length / channels;
      const [rows, columns] = dimsOf(second.inputs[1]!) as [number, number];
      const kernel = b.length / (rows * columns);
      const depthwise = isDepthwise(second);
      for (let c = 0; c < channels; c++) {
        let before = 0;
        for (let i = c * perRow; i < (c + 1) * perRow; i++) before = Math.max(before, Math.abs(a[i]!));
        const places = depthwise ? [c * kernel] : Array.from({ length: rows }, (_, o) => (o * columns + c) * kernel);
        let after = 0;
        for (const place of places) for (let k = 0; k < kernel; k++) after = Math.max(after, Math.abs(b[place + k]!));
        if (before === 0 || after === 0) continue;
        const scale = Math.max(1 / MOST, Math.min(MOST, Math.sqrt(before / after)));
        for (let i = c * perRow; i < (c + 1) * perRow; i++) a[i]! /= scale;
        if (bias) bias[c]! /= scale;
        for (const place of places) for (let k = 0; k < kernel; k++) b[place + k]! *= scale;
      }
    }
  }
  const tensors = new Map<string, ConstTensor>(
    [...data].map(([name, values]) => [name, float32Tensor(dimsOf(name), values)]),
  );
  return { model: withGraph(model, setInitializers(model.graph, tensors)), pairs: pairs.length };
}
