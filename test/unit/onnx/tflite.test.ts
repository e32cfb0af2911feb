import { describe, expect, it } from 'vitest';
import { importTflite } from '../../../main/onnx/tflite/import-tflite.ts';

/* Files that no converter writes, built here: what they break must be named. */

/** A field of a FlatBuffer table, by its slot; a table is a list of them. */
type Field =
  | number
  | { byte: number }
  | string
  | Uint8Array
  | { ints: number[] }
  | { table: Field[] }
  | { tables: Field[][] }
  | null;

/** A FlatBuffer: tables first, what they point to behind them, as offsets only go forward. */
function flatBuffer(identifier: string, root: Field[]): Uint8Array {
  const bytes: number[] = [];
  const put = (value: number): number => {
    const at = bytes.length;
    for (let i = 0; i < 4; i++) bytes.push((value >>> (8 * i)) & 0xff);
    return at;
  };
  const point = (at: number, to = bytes.length): void => {
    for (let i = 0; i < 4; i++) bytes[at + i] = ((to - at) >>> (8 * i)) & 0xff;
  };
  const table = (fields: readonly Field[]): void => {
    const start = put(0);
    const slots = fields.map((field) => (field === null ? 0 : put(typeof field === 'number' ? field : 0) - start));
    // The vtable behind its table: how far back it lies is negative.
    const vtable = bytes.length;
    for (const entry of [4 + 2 * slots.length, vtable - start, ...slots]) bytes.push(entry & 0xff, entry >>> 8);
    while (bytes.length % 4 !== 0) bytes.push(0);
    for (let i = 0; i < 4; i++) bytes[start + i] = ((start - vtable) >>> (8 * i)) & 0xff;
    fields.forEach((field, i) => {
      const at = start + slots[i]!;
      if (field === null || typeof field === 'number') return;
      if (typeof field === 'object' && 'byte' in field) {
        bytes[at] = field.byte;
        return;
      }
      point(at);
      if (typeof field === 'string' || field instanceof Uint8Array) {
        const content = typeof field === 'string' ? new TextEncoder().encode(field) : field;
        put(content.length);
        bytes.push(...content);
        do bytes.push(0);
        while (bytes.length % 4 !== 0);
      } else if ('ints' in field) {
        put(field.ints.length);
        for (const item of field.ints) put(item);
      } else if ('table' in field) table(field.table);
      else {
        put(field.tables.length);
        const places = field.tables.map(() => put(0));
        field.tables.forEach((each, k) => {
          point(places[k]!);
          table(each);
        });
      }
    });
  };
  const first = put(0);
  bytes.push(...new TextEncoder().encode(identifier));
  point(first);
  table(root);
  return Uint8Array.from(bytes);
}

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

/** A convolution of one pixel over two channels, with `bias` for its bias; DEQUANTIZE operators as [input, output]. */
function network(bias: Uint8Array, dequantize: readonly (readonly [number, number])[] = [], weight = floats(1, 2)) {
  const tensor = (name: string, shape: number[], buffer: number): Field[] => [
    { ints: shape },
    { byte: 0 },
    buffer,
    name,
  ];
  // VALID, strides, no activation, dilations.
  const options: Field[] = [{ byte: 1 }, 1, 1, { byte: 0 }, 1, 1];
  return flatBuffer('TFL3', [
    3,
    {
      tables: [
        [{ byte: 3 }, null, null, 3],
        [{ byte: 6 }, null, null, 6],
      ],
    },
    {
      tables: [
        [
          {
            tables: [
              tensor('image', [1, 8, 8, 2], 0),
              tensor('weight', [1, 1, 1, 2], 1),
              tensor('bias', [1], 2),
              tensor('out', [1, 8, 8, 1], 0),
            ],
          },
          { ints: [0] },
          { ints: [3] },
          {
            tables: [
              ...dequantize.map(([from, to]): Field[] => [1, { ints: [from] }, { ints: [to] }]),
              [0, { ints: [0, 1, 2] }, { ints: [3] }, null, { table: options }],
            ],
          },
        ],
      ],
    },
    null,
    { tables: [[], [weight], [bias]] },
  ]);
}

const read = (bytes: Uint8Array) => importTflite(bytes, { input: 'image', outputs: { out: 'out' } });

describe('importing TensorFlow Lite', () => {
  it('takes a convolution with a stored bias', () => {
    const { nodes, initializers } = read(network(floats(3))).graph;
    expect(nodes.map(({ op, inputs }) => [op, inputs.length])).toEqual([['Conv', 3]]);
    expect(initializers.size).toBe(2);
  });

  it('refuses a bias that is computed at run time: it would be left out', () => {
    expect(() => read(network(floats()))).toThrow(/bias is not a constant/);
  });

  it('refuses weights behind a DEQUANTIZE that feeds itself, and two that feed each other', () => {
    expect(() => read(network(floats(3), [[1, 1]], floats()))).toThrow(/weight is not a constant/);
    const circle = [
      [1, 2],
      [2, 1],
    ] as const;
    expect(() => read(network(floats(), circle, floats()))).toThrow(/weight is not a constant/);
  });
});
