import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError, isAppError } from '../../../main/contract/errors.ts';
import {
  analyseBackbone,
  decodeModel,
  encodeModel,
  float32Of,
  float64Of,
  float64Tensor,
  graphInfo,
  inferShapes,
  int64Tensor,
  node,
  numbersOf,
  opsetOf,
  setInitializer,
  verifyStructure,
  withGraph,
  type Model,
} from '../../../main/onnx/index.ts';
import { WireWriter } from '../../../main/onnx/wire.ts';
import { smallNet } from './example-models.ts';

/** ModelProto with the given GraphProto writer. */
const handMade = (write: (graph: WireWriter) => void): Uint8Array =>
  new WireWriter()
    .int(1, 8)
    .message(7, write)
    .message(8, (opset) => opset.int(2, 17))
    .finish();

describe('the codec', () => {
  it('gives back what was written, and the same bytes for the same model', () => {
    const bytes = encodeModel(smallNet());
    const read = decodeModel(bytes);
    expect(read.graph.nodes).toEqual(smallNet().graph.nodes);
    expect(read.graph.inputs).toEqual(smallNet().graph.inputs);
    expect(float32Of(read.graph.initializers.get('w1')!)).toEqual(float32Of(smallNet().graph.initializers.get('w1')!));
    expect(opsetOf(read)).toBe(17);
    expect(Buffer.compare(encodeModel(read), bytes)).toBe(0);
  });

  it('keeps weights as views of the file', () => {
    const bytes = encodeModel(smallNet());
    const weight = decodeModel(bytes).graph.initializers.get('w1')!;
    expect(weight.bytes.buffer).toBe(bytes.buffer);
  });

  it('keeps int64 attributes and constants exact beyond 2^53', () => {
    const exact = 2n ** 62n + 1n;
    const base = smallNet();
    const odd = node('Slice', ['image'], ['x'], { starts: [0n, exact], ends: [-(2n ** 63n), 7n] });
    const changed: Model = withGraph(base, {
      ...setInitializer(base.graph, 'wide', int64Tensor([2], BigInt64Array.of(exact, -1n))),
      nodes: [odd, ...base.graph.nodes],
    });
    const read = decodeModel(encodeModel(changed)).graph;
    expect(read.nodes[0]!.attributes.get('starts')).toEqual({ kind: 'ints', value: [0, exact] });
    expect(read.nodes[0]!.attributes.get('ends')).toEqual({ kind: 'ints', value: [-(2n ** 63n), 7] });
    const view = read.initializers.get('wide')!.bytes;
    expect(new DataView(view.buffer, view.byteOffset).getBigInt64(0, true)).toBe(exact);
  });

  it('keeps double constants and unknown fields', () => {
    const base = smallNet();
    const changed = withGraph(base, setInitializer(base.graph, 'd', float64Tensor([2], [Math.PI, -1e300])));
    const extra = new WireWriter().text(200, 'from the future').int(201, 7).finish();
    const read = decodeModel(Buffer.concat([encodeModel(changed), extra]));
    expect(float64Of(read.graph.initializers.get('d')!)).toEqual(Float64Array.of(Math.PI, -1e300));
    expect(Buffer.from(encodeModel(read)).subarray(-extra.length)).toEqual(Buffer.from(extra));
  });

  it('reads numbers that are not raw: float_data, int32_data (half floats), int64_data', () => {
    const bytes = handMade((graph) => {
      graph.message(1, (n) => n.text(1, 'f').text(2, 'y').text(4, 'Relu'));
      graph.message(12, (output) => output.text(1, 'y'));
      graph.message(5, (tensor) =>
        tensor
          .packedInts(1, [2])
          .int(2, 1)
          .text(8, 'f')
          .message(4, (floats) => floats.raw(new Uint8Array(Float32Array.of(1.5, -2).buffer))),
      );
      // 0x3e00 is 1.5, 0xc000 is -2.
      graph.message(5, (tensor) => tensor.packedInts(1, [2]).int(2, 10).text(8, 'h').packedInts(5, [0x3e00, 0xc000]));
      graph.message(5, (tensor) =>
        tensor
          .packedInts(1, [2])
          .int(2, 7)
          .text(8, 'i')
          .packedInts(7, [-5, 2 ** 40]),
      );
    });
    const { initializers } = decodeModel(bytes).graph;
    expect(['f', 'h', 'i'].map((name) => numbersOf(initializers.get(name)!))).toEqual([
      [1.5, -2],
      [1.5, -2],
      [-5, 2 ** 40],
    ]);
  });

  it('reads float_data in one piece as a view of the file, and in several without writing to it', () => {
    const piece = (from: number) => new Uint8Array(Float32Array.from({ length: 3 }, (_, i) => from + i).buffer);
    const bytes = handMade((graph) => {
      for (const [name, starts] of [
        ['one', [1]],
        ['more', [1, 4, 7]],
      ] as const)
        graph.message(5, (tensor) => {
          tensor
            .packedInts(1, [3 * starts.length])
            .int(2, 1)
            .text(8, name);
          for (const start of starts) tensor.bytes(4, piece(start));
          return tensor;
        });
    });
    const before = Uint8Array.from(bytes);
    const { initializers } = decodeModel(bytes).graph;
    expect(initializers.get('one')!.bytes.buffer).toBe(bytes.buffer);
    expect(numbersOf(initializers.get('more')!)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(bytes).toEqual(before);
  });
});

const refused = (bytes: Uint8Array): AppError => {
  try {
    decodeModel(bytes, 'bad.onnx');
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('it was accepted');
};

describe('files that are not whole models are refused', () => {
  it.each<[string, Uint8Array, RegExp]>([
    ['empty', new Uint8Array(0), /no graph/],
    ['text', new TextEncoder().encode('<!doctype html><html></html>'), /./],
    [
      'a length of 2^60',
      Uint8Array.of(0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10),
      /out of range|needs/,
    ],
    ['a length of 4 GB', Uint8Array.of(0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f), /are left/],
    ['a number without an end', new Uint8Array(64).fill(0xff), /longer than ten bytes/],
    [
      'dims of 10^15 elements',
      handMade((graph) => graph.message(5, (t) => t.packedInts(1, [1e5, 1e10]).int(2, 1).text(8, 'w'))),
      /holds 0 numbers/,
    ],
    [
      'a negative dim',
      handMade((graph) => graph.message(5, (t) => t.packedInts(1, [-1]).int(2, 1).text(8, 'w'))),
      /negative/,
    ],
    [
      'weights in another file',
      handMade((graph) =>
        graph.message(5, (t) =>
          t
            .packedInts(1, [4])
            .int(2, 1)
            .text(8, 'w')
            .message(13, (entry) => entry.text(1, 'location').text(2, '../../etc/passwd'))
            .int(14, 1),
        ),
      ),
      /lies outside the file/,
    ],
  ])('%s', (_name, bytes, problem) => {
    const error = refused(bytes);
    expect(error.code).toBe('MODEL_UNREADABLE');
    expect(error.message).toContain('bad.onnx');
    expect(error.message).toMatch(problem);
  });

  it('graphs nested a thousand deep do not overflow the stack', () => {
    let inner = new WireWriter().text(2, 'g').finish();
    for (let i = 0; i < 1000; i++) {
      const attribute = new WireWriter().text(1, 'body').bytes(6, inner).int(20, 5).finish();
      inner = new WireWriter().bytes(1, new WireWriter().text(4, 'If').bytes(5, attribute).finish()).finish();
    }
    expect(refused(new WireWriter().int(1, 8).bytes(7, inner).finish()).message).toMatch(/nested/);
  });

  it('every truncation of a model', () => {
    const whole = encodeModel(smallNet());
    for (let length = 0; length < whole.length; length += 1) {
      try {
        verifyStructure(decodeModel(whole.subarray(0, length)));
        // The last message is the opset: cutting exactly before it leaves a model that states none, which verifyStructure refuses.
        throw new Error(`accepted ${length} of ${whole.length} bytes`);
      } catch (error) {
        expect(isAppError(error), String(error)).toBe(true);
      }
    }
  });
});

/** All that looks at a file before it is run. */
const examine = (bytes: Uint8Array): void => {
  try {
    const read = decodeModel(bytes);
    encodeModel(read);
    graphInfo(read);
    inferShapes(read, { unknownOps: 'unknown' });
    analyseBackbone(read);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (!['MODEL_UNREADABLE', 'GRAPH_INVALID', 'UNSUPPORTED_OP'].includes(error.code)) throw error;
  }
};

describe('hostile bytes end in an AppError or a model, soon', () => {
  it('random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 4096 }), examine), { numRuns: 400 });
  });

  it('a real model with bytes changed, removed and inserted', () => {
    const whole = encodeModel(smallNet());
    const mutation = fc.record({
      at: fc.nat(whole.length - 1),
      remove: fc.nat(8),
      insert: fc.uint8Array({ maxLength: 8 }),
    });
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 6 }), (mutations) => {
        let bytes = Buffer.from(whole);
        for (const { at, remove, insert } of mutations) {
          bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
        }
        examine(bytes);
      }),
      { numRuns: 3000 },
    );
  }, 30_000);

  it('a model whose attributes, dims and constants are any numbers', () => {
    const anyInt = fc.oneof(fc.integer({ min: -4, max: 9 }), fc.constantFrom(2 ** 31, 2 ** 52, -(2 ** 52)));
    const ints = fc.array(anyInt, { maxLength: 6 });
    const ops = [
      'Conv',
      'MaxPool',
      'Slice',
      'Pad',
      'Reshape',
      'Transpose',
      'Gather',
      'Split',
      'Unsqueeze',
      'Tile',
      'Resize',
      'Expand',
      'ConvTranspose',
      'ReduceMean',
      'Concat',
      'Squeeze',
      'TopK',
      'ConstantOfShape',
      'Range',
    ];
    fc.assert(
      fc.property(
        fc.array(fc.record({ op: fc.constantFrom(...ops), a: ints, b: ints, axis: anyInt }), {
          minLength: 1,
          maxLength: 5,
        }),
        (steps) => {
          const base = smallNet();
          let graph = base.graph;
          let last = 'image';
          const nodes = steps.map(({ op, a, b, axis }, i) => {
            graph = setInitializer(graph, `k${i}`, int64Tensor([a.length], a));
            const made = node(op, [last, `k${i}`, `k${i}`], [`v${i}`], {
              axis,
              axes: b,
              perm: b,
              strides: a,
              pads: b,
              dilations: b,
              kernel_shape: a,
              group: axis,
            });
            last = `v${i}`;
            return made;
          });
          const changed = withGraph(base, { ...graph, nodes: [...nodes, ...graph.nodes] });
          examine(encodeModel(changed));
        },
      ),
      { numRuns: 1500 },
    );
  }, 30_000);
});
