import { intAttribute, tensorAttribute } from '../build.ts';
import type { ConstTensor } from '../model.ts';
import { elementCount, numbersOf } from '../tensor.ts';
import { MAX_TRACKED_VALUES, numbersIn, shapeOf, sizeOf, typeOf, type OpFacts, type TensorInfo } from './facts.ts';

/* Constants, and operators whose result is numbers about shapes. */

/** Type and shape of a constant, and its numbers where they are few enough to be followed. */
export function constantInfo(tensor: ConstTensor): TensorInfo {
  const info: TensorInfo = { type: tensor.type, shape: tensor.dims };
  if (tensor.type === 'string' || elementCount(tensor.dims) > MAX_TRACKED_VALUES) return info;
  return { ...info, values: numbersOf(tensor) };
}

export const shapeValueFacts: [string, OpFacts][] = [
  [
    'Shape',
    {
      infer: (context) => {
        const input = shapeOf(context, 0);
        if (!input) return [{ type: 'int64', shape: [null] }];
        const values = input.slice(
          intAttribute(context.node, 'start', 0),
          intAttribute(context.node, 'end', input.length),
        );
        return [{ type: 'int64', shape: [values.length], values }];
      },
    },
  ],
  [
    'Size',
    {
      infer: (context) => {
        const input = shapeOf(context, 0);
        return [{ type: 'int64', shape: [], values: [input && sizeOf(input)] }];
      },
    },
  ],
  [
    'Constant',
    {
      infer: (context) => {
        const tensor = tensorAttribute(context.node, 'value');
        if (tensor) return [constantInfo(tensor)];
        for (const [name, type] of [
          ['value_int', 'int64'],
          ['value_ints', 'int64'],
          ['value_float', 'float32'],
          ['value_floats', 'float32'],
        ] as const) {
          const found = context.node.attributes.get(name);
          if (found?.kind === 'int' || found?.kind === 'float')
            return [{ type, shape: [], values: [Number(found.value)] }];
          if (found?.kind === 'ints' || found?.kind === 'floats') {
            return [{ type, shape: [found.value.length], values: found.value.map(Number) }];
          }
        }
        throw context.unsupported('a constant that is neither a tensor nor numbers');
      },
    },
  ],
  [
    'ConstantOfShape',
    {
      infer: (context) => {
        const value = tensorAttribute(context.node, 'value');
        const shape = context.inputs[0]?.values ?? null;
        const type = value?.type ?? 'float32';
        const count = shape && sizeOf(shape);
        if (count === null || count > MAX_TRACKED_VALUES || value?.type === 'string') return [{ type, shape }];
        const fill = value ? numbersOf(value)[0]! : 0;
        return [{ type, shape, values: Array.from({ length: count }, () => fill) }];
      },
    },
  ],
  [
    'Range',
    {
      infer: (context) => {
        const [start, limit, delta] = [0, 1, 2].map((index) => numbersIn(context, index)?.[0]);
        const known = start !== undefined && limit !== undefined && delta !== undefined && delta !== 0;
        const count = known ? Math.max(0, Math.ceil((limit - start) / delta)) : null;
        return [{ type: typeOf(context, 0), shape: [count] }];
      },
    },
  ],
];
