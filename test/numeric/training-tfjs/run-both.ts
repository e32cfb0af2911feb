import {
  encodeModel,
  float32Tensor,
  graph,
  model,
  node,
  value,
  type AttributeInput,
} from '../../../main/onnx/index.ts';
import { openSession, type Tensor } from '../../../main/runtime/session.ts';
import { chooseBackend, use, type BackendName } from '../../../main/training/tfjs/backend.ts';
import { planGraph, runGraph, uploadConstants } from '../../../main/training/tfjs/graph-run.ts';
import { download, upload } from '../../../main/training/tfjs/tensor-value.ts';

export type Attributes = Readonly<Record<string, AttributeInput>>;

/** Numbers without a pattern, the same in every run, in (-scale, scale). */
export function numbers(count: number, seed = 1, scale = 1): Float32Array {
  let state = seed * 2654435761;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) | 0;
    return ((state >>> 8) / 2 ** 23 - 1) * scale;
  });
}

const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

export const floats = (dims: readonly number[], seed = 1, scale = 1): Tensor => ({
  type: 'float32',
  dims,
  data: numbers(size(dims), seed, scale),
});
export const positive = (dims: readonly number[], seed = 1): Tensor => ({
  type: 'float32',
  dims,
  data: numbers(size(dims), seed).map((x) => Math.abs(x) + 0.1),
});
export const given = (dims: readonly number[], items: readonly number[]): Tensor => ({
  type: 'float32',
  dims,
  data: Float32Array.from(items),
});
export const ints = (items: readonly number[], dims: readonly number[] = [items.length]): Tensor => ({
  type: 'int64',
  dims,
  data: BigInt64Array.from(items, BigInt),
});
export const bools = (items: readonly number[], dims: readonly number[] = [items.length]): Tensor => ({
  type: 'bool',
  dims,
  data: Uint8Array.from(items),
});

export interface OneOp {
  op: string;
  domain?: string;
  inputs: readonly (Tensor | null)[];
  attributes?: Attributes;
  opset?: number;
  outputs?: number;
}

/** A graph of one node; the inputs are given from outside, except whole numbers, which are constants as in every real graph. */
export function modelOf({ op, domain = '', inputs, attributes, opset, outputs = 1 }: OneOp, types: readonly string[]) {
  const names = inputs.map((input, i) => (input ? `x${i}` : ''));
  const out = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const constants = inputs.flatMap((input, i) =>
    input && input.type === 'int64'
      ? [[`x${i}`, { type: 'int64' as const, dims: input.dims, bytes: new Uint8Array(input.data.buffer) }] as const]
      : [],
  );
  const made = model(
    graph({
      nodes: [node(op, names, out, attributes, { domain, name: `the ${op}` })],
      inputs: inputs.flatMap((input, i) =>
        input && input.type !== 'int64' ? [value(`x${i}`, input.type, input.dims)] : [],
      ),
      outputs: out.map((name, i) => value(name, (types[i] ?? 'float32') as 'float32')),
      initializers: new Map([...constants, ['unused', float32Tensor([1], [0])]]),
    }),
    { opset: opset ?? 18 },
  );
  return domain === '' ? made : { ...made, opsets: new Map([...made.opsets, [domain, 1]]) };
}

export async function runOnTfjs(of: OneOp, backend: BackendName, types: readonly string[]): Promise<Tensor[]> {
  use(await chooseBackend({ backend }));
  const made = modelOf(of, types);
  const names = made.graph.outputs.map(({ name }) => name);
  const plan = planGraph(made, names);
  const constants = uploadConstants(made);
  const fed = new Map(constants);
  of.inputs.forEach((input, i) => {
    if (input && input.type !== 'int64') fed.set(`x${i}`, upload(input, `x${i}`));
  });
  const results = runGraph(plan, fed, names);
  const tensors = names.map((name, i) => download(results.get(name)!, (types[i] ?? 'float32') as 'float32'));
  for (const held of [...fed.values(), ...results.values()]) held.dispose();
  return tensors;
}

export async function runOnOrt(of: OneOp, types: readonly string[]): Promise<Tensor[]> {
  const made = modelOf(of, types);
  await using session = await openSession(encodeModel(made), { threads: 1 });
  const feeds: Record<string, Tensor> = {};
  of.inputs.forEach((input, i) => {
    if (input && input.type !== 'int64') feeds[`x${i}`] = input;
  });
  const results = await session.run(feeds);
  return made.graph.outputs.map(({ name }) => results[name]!);
}

/** Largest difference over the largest magnitude (at least 1). */
export function difference(a: ArrayLike<number | bigint>, b: ArrayLike<number | bigint>): number {
  if (a.length !== b.length) return Infinity;
  let largest = 0;
  let scale = 1;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [Number(a[i]), Number(b[i])];
    if (Object.is(x, y)) continue;
    const apart = Math.abs(x - y);
    if (!(apart <= largest)) largest = Number.isNaN(apart) ? Infinity : apart;
    scale = Math.max(scale, Math.abs(y));
  }
  return largest / scale;
}
