import { expandTrainingOps } from '../../../main/autodiff/index.ts';
import { encodeModel, type Model } from '../../../main/onnx/index.ts';
import { openSession, type Tensor } from '../../../main/runtime/session.ts';
import type { RefTensor } from './reference-tensor.ts';

const arrayOf = (type: Tensor['type'], data: Float64Array): Tensor['data'] => {
  switch (type) {
    case 'float32':
      return Float32Array.from(data);
    case 'float64':
      return data;
    case 'int64':
      return BigInt64Array.from(data, (item) => BigInt(item));
    case 'int32':
      return Int32Array.from(data);
    default:
      return Uint8Array.from(data);
  }
};

/** Runs a model in ONNX Runtime, with every training op as standard ONNX. Returns the graph's outputs as float64. */
export async function runInOrt(
  model: Model,
  feeds: Readonly<Record<string, RefTensor>>,
): Promise<ReadonlyMap<string, { dims: readonly number[]; data: Float64Array }>> {
  const plain = expandTrainingOps(model);
  await using session = await openSession(encodeModel(plain), { threads: 1 });
  const tensors: Record<string, Tensor> = {};
  for (const { name, type } of plain.graph.inputs) {
    const { dims, data } = feeds[name]!;
    const kind = type as Tensor['type'];
    tensors[name] = { type: kind, dims, data: arrayOf(kind, data) };
  }
  const results = await session.run(tensors);
  return new Map(
    Object.entries(results).map(([name, { dims, data }]) => [
      name,
      { dims: [...dims], data: Float64Array.from(data as ArrayLike<number | bigint>, Number) },
    ]),
  );
}
