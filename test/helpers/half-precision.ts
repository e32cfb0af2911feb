import { elementCount, node, withGraph, type Model } from '../../main/onnx/index.ts';

const [FLOAT32, FLOAT16] = [1, 10];

/** The network as converters to half precision leave it that keep the types of inputs and outputs: float16 between two Casts. Weights become zero. */
export function halfInside(of: Model): Model {
  const { graph } = of;
  const ends = new Set([...graph.inputs, ...graph.outputs].map(({ name }) => name));
  const inner = (name: string) => (ends.has(name) ? `${name}/half` : name);
  const initializers = new Map(
    [...graph.initializers].map(([name, tensor]) => [
      name,
      tensor.type === 'float32'
        ? { type: 'float16' as const, dims: tensor.dims, bytes: new Uint8Array(2 * elementCount(tensor.dims)) }
        : tensor,
    ]),
  );
  const nodes = [
    ...graph.inputs.map(({ name }) => node('Cast', [name], [inner(name)], { to: FLOAT16 }, { name: `${name}/cast` })),
    ...graph.nodes.map((each) => ({ ...each, inputs: each.inputs.map(inner), outputs: each.outputs.map(inner) })),
    ...graph.outputs.map(({ name }) => node('Cast', [inner(name)], [name], { to: FLOAT32 }, { name: `${name}/cast` })),
  ];
  return withGraph(of, { ...graph, nodes, initializers });
}
