import { describe, expect, it } from 'vitest';
import { encodeModel, graph, model, node, value } from '../../../main/onnx/index.ts';
import { openSession, type Tensor } from '../../../main/runtime/session.ts';

const bytes = encodeModel(
  model(
    graph({
      inputs: [value('a', 'float32', [2]), value('b', 'float32', [2])],
      outputs: [value('sum', 'float32', [2]), value('product', 'float32', [2])],
      nodes: [node('Add', ['a', 'b'], ['sum']), node('Mul', ['a', 'b'], ['product'])],
    }),
  ),
);
const tensor = (...values: number[]): Tensor => ({
  type: 'float32',
  dims: [values.length],
  data: Float32Array.from(values),
});
const feeds = { a: tensor(2, 3), b: tensor(5, 7) };

describe('outputs given beforehand', () => {
  it('are written in place and returned', async () => {
    await using session = await openSession(bytes, { threads: 1 });
    const sum = tensor(0, 0);
    const { data } = sum;
    const result = await session.run(feeds, { sum });
    expect(Object.keys(result)).toEqual(['sum']);
    expect(result.sum).toBe(sum);
    expect(sum.data).toBe(data);
    expect([...(data as Float32Array)]).toEqual([7, 10]);
  });
  it('by name are still new tensors', async () => {
    await using session = await openSession(bytes, { threads: 1 });
    const result = await session.run(feeds, ['product']);
    expect(Object.keys(result)).toEqual(['product']);
    expect([...(result.product!.data as Float32Array)]).toEqual([10, 21]);
  });
  it('of another shape or an unknown name are refused', async () => {
    await using session = await openSession(bytes, { threads: 1 });
    await expect(session.run(feeds, { sum: tensor(0, 0, 0) })).rejects.toThrow(/dimensions/);
    await expect(session.run(feeds, { difference: tensor(0, 0) })).rejects.toThrow('difference');
  });
});
