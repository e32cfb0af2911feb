import { describe, expect, test } from 'vitest';
import { TRAINING_DOMAIN, expandTrainingOps } from '../../../main/autodiff/index.ts';
import { encodeModel } from '../../../main/onnx/index.ts';
import { openSession, type Tensor } from '../../../main/runtime/session.ts';
import { tables } from '../../../main/training/tfjs/ops/index.ts';
import { difference, floats, given, modelOf, positive, runOnTfjs, type Attributes, type OneOp } from './run-both.ts';

type Case = Omit<OneOp, 'op'>;

interface Geometry {
  x: readonly number[];
  w: readonly number[];
  y: readonly number[];
  attributes: Attributes;
}

const conv = (over: Attributes, x: number[], w: number[], y: number[]): Geometry => ({
  x,
  w,
  y,
  attributes: { kernel_shape: w.slice(2), strides: [1, 1], dilations: [1, 1], pads: [0, 0, 0, 0], group: 1, ...over },
});

const geometries = [
  conv({ pads: [1, 1, 1, 1] }, [2, 3, 7, 8], [4, 3, 3, 3], [2, 4, 7, 8]),
  conv({ strides: [2, 2], pads: [0, 1, 1, 0] }, [2, 3, 7, 8], [4, 3, 3, 3], [2, 4, 3, 4]),
  conv({ strides: [2, 2], pads: [1, 1, 1, 1], group: 4 }, [2, 4, 7, 8], [4, 1, 3, 3], [2, 4, 4, 4]),
  conv({ dilations: [2, 2], pads: [2, 2, 2, 2], group: 4 }, [2, 4, 7, 8], [8, 1, 3, 3], [2, 8, 7, 8]),
  conv({ group: 2, strides: [1, 2] }, [2, 4, 7, 8], [6, 2, 3, 3], [2, 6, 5, 3]),
  conv({ dilations: [2, 1] }, [1, 3, 9, 8], [4, 3, 3, 3], [1, 4, 5, 6]),
  // Strides that leave rows and columns of X unseen.
  conv({ strides: [3, 3] }, [1, 2, 8, 9], [3, 2, 1, 1], [1, 3, 3, 3]),
];

const x4 = floats([3, 4, 5, 6]);
const pool: Attributes = { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] };
const vectors = (count: number): Tensor[] => Array.from({ length: count }, (_, i) => floats([4], 20 + i));

const cases: Record<string, Case[]> = {
  ConvInputGrad: geometries.map(({ x, w, y, attributes }) => ({
    inputs: [floats(y, 1), floats(w, 2)],
    attributes: { ...attributes, input_shape: x },
  })),
  ConvWeightGrad: geometries.map(({ x, w, y, attributes }) => ({
    inputs: [floats(x, 1), floats(y, 2)],
    attributes: { ...attributes, weight_shape: w },
  })),
  BatchNormTrain: [
    {
      inputs: [x4, ...vectors(3), positive([4], 9)],
      attributes: { epsilon: 1e-5, momentum: 0.9 },
      outputs: 5,
    },
    {
      inputs: [floats([6, 4]), ...vectors(3), positive([4], 9)],
      attributes: { epsilon: 1e-3, momentum: 0.5 },
      outputs: 5,
    },
  ],
  BatchNormGrad: [{ inputs: [floats([3, 4, 5, 6], 3), x4, ...vectors(2), positive([4], 9)], outputs: 3 }],
  ReluGrad: [{ inputs: [floats([6], 3), given([6], [0, 1, 2, 0, 0.5, 0])] }],
  ClipGrad: [{ inputs: [floats([6], 3), given([6], [0, 1, 6, 0, 5.5, 3])], attributes: { min: 0, max: 6 } }],
  // Small whole numbers: plenty of ties.
  MaxPoolGrad: [],
  AveragePoolGrad: [
    { inputs: [floats([3, 4, 3, 3])], attributes: { ...pool, input_shape: [3, 4, 5, 6] } },
    { inputs: [floats([3, 4, 3, 3])], attributes: { ...pool, count_include_pad: 1, input_shape: [3, 4, 5, 6] } },
  ],
  BiasGrad: [{ inputs: [x4] }],
};

async function expanded(of: OneOp): Promise<Tensor[]> {
  const made = modelOf(of, []);
  await using session = await openSession(encodeModel(expandTrainingOps(made)), { threads: 1 });
  const feeds = Object.fromEntries(of.inputs.flatMap((input, i) => (input ? [[`x${i}`, input]] : [])));
  const results = await session.run(feeds);
  return made.graph.outputs.map(({ name }) => results[name]!);
}

describe('every training op against its expansion on onnxruntime', () => {
  for (const op of tables.get(TRAINING_DOMAIN)!.keys()) {
    test(op, async () => {
      let rows = cases[op];
      expect(rows, `a case for ${op}`).toBeDefined();
      if (op === 'MaxPoolGrad') {
        const x: Tensor = { ...x4, data: (x4.data as Float32Array).map((item) => Math.round(item * 2)) };
        const [y] = await runOnTfjs({ op: 'MaxPool', inputs: [x], attributes: pool }, 'cpu', []);
        rows = [{ inputs: [floats(y!.dims, 5), x, y!], attributes: pool }];
      }
      for (const [i, row] of rows!.entries()) {
        const of: OneOp = { op, domain: TRAINING_DOMAIN, ...row };
        const expected = await expanded(of);
        for (const backend of ['cpu', 'wasm'] as const) {
          const results = await runOnTfjs(of, backend, []);
          results.forEach((result, at) => {
            expect(result.dims).toEqual([...expected[at]!.dims]);
            const apart = difference(result.data, expected[at]!.data);
            expect(apart, `${op} ${i} output ${at} on ${backend}`).toBeLessThan(1e-5);
          });
        }
      }
    });
  }
});
