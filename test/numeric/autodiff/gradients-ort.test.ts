import { describe, expect, it } from 'vitest';
import { cases, nameOf } from './cases.ts';
import { evaluateBackward, prepare, relativeError, type GradientCase } from './gradient-case.ts';
import { runInOrt } from './ort.ts';

describe('ONNX Runtime computes the same outputs and gradients in float32 as the reference in float64', () => {
  it.each(cases.map((entry): [string, GradientCase] => [nameOf(entry), entry]))('%s', async (_name, entry) => {
    const prepared = prepare(entry);
    const expected = evaluateBackward(prepared);
    const seeds = Object.fromEntries([...prepared.seeds.values()].map((seed) => [seed.name, seed.tensor]));
    const found = await runInOrt(prepared.backward, { ...prepared.feeds, ...seeds });
    for (const { name } of prepared.backward.graph.outputs) {
      expect(found.get(name)!.dims, name).toEqual(expected.get(name)!.dims);
      expect(relativeError(found.get(name)!.data, expected.get(name)!.data), name).toBeLessThan(1e-4);
    }
  });
});
