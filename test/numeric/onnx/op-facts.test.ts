import { describe, expect, it } from 'vitest';
import { encodeModel, graph, inferShapes, model, node, value, type Dim } from '../../../main/onnx/index.ts';
import { opFacts } from '../../../main/onnx/op-facts/table.ts';
import { openSession, type Tensor } from '../../../main/runtime/session.ts';
import { noise } from '../../unit/onnx/example-models.ts';
import { cases, type Case } from './op-cases.ts';

const build = (entry: Case, shape: readonly Dim[]) => {
  const { op, x, type = 'float32', constants = [], attributes = {}, outputs = 1, opset = 17 } = entry;
  // An empty constant stands for an optional input left out (Resize).
  const names = constants.map((tensor, i) => (tensor.dims[0] === 0 && op === 'Resize' ? '' : `k${i}`));
  const results = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const made = graph({
    nodes: [node(op, x.length > 0 ? ['x', ...names] : names, results, attributes)],
    inputs: x.length > 0 ? [value('x', type, shape)] : [],
    outputs: results.map((name) => value(name, 'float32')),
    initializers: Object.fromEntries(constants.flatMap((tensor, i) => (names[i] ? [[names[i], tensor]] : []))),
  });
  const bare = model(made, { opset });
  // The type of an output must be stated; it follows from inference.
  const infos = inferShapes(bare);
  const typed = results.map((name) => value(name, infos.get(name)!.type ?? 'float32'));
  return { infos, results, bytes: encodeModel({ ...bare, graph: { ...made, outputs: typed } }), x };
};

describe('inferred shapes and types are those that ONNX Runtime gives', () => {
  it.each(cases.map((entry): [string, Case] => [`${entry.op}${entry.note ? `: ${entry.note}` : ''}`, entry]))(
    '%s',
    async (_name, entry) => {
      const { infos, results, bytes, x } = build(entry, entry.x);
      await using session = await openSession(bytes, { threads: 1 });
      const count = x.reduce((a, b) => a * b, 1);
      const data = entry.type ? new Uint8Array(count) : noise(count);
      const feeds: Record<string, Tensor> = x.length > 0 ? { x: { type: entry.type ?? 'float32', dims: x, data } } : {};
      const found = await session.run(feeds);
      for (const name of results) {
        expect(infos.get(name)!.shape, name).toEqual([...found[name]!.dims]);
        expect(infos.get(name)!.type, name).toBe(found[name]!.type);
        const { values } = infos.get(name)!;
        if (values) expect(values).toEqual([...found[name]!.data].map(Number));
      }
      if (x.length === 0) return;
      // With an open first size nothing that is told may be wrong.
      const open = build(entry, ['N', ...entry.x.slice(1)]).infos;
      for (const name of results) {
        open.get(name)!.shape?.forEach((dim, axis) => {
          if (typeof dim === 'number') expect(dim).toBe(found[name]!.dims[axis]);
          if (dim === 'N') expect(found[name]!.dims[axis]).toBe(x[0]);
        });
      }
    },
  );

  it('every row of the table is tried', () => {
    const tried = new Set(cases.map((entry) => entry.op));
    expect([...opFacts.keys()].filter((op) => !tried.has(op))).toEqual([]);
  });
});
