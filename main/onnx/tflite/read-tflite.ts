import { AppError } from '../../contract/errors.ts';
import { FlatBufferError, Table } from './flatbuffer.ts';

/* The part of the TensorFlow Lite schema (tensorflow/lite/schema/schema.fbs, version 3) that float convolutional networks use. */

export type TfliteType = 'float32' | 'float16' | 'int32' | 'uint8' | 'int64' | 'bool' | 'int8';

export interface TfliteTensor {
  readonly name: string;
  readonly type: TfliteType | null;
  /** NHWC for maps; [out, kh, kw, in] for a convolution's weight, [1, kh, kw, out] for a depth-wise one. */
  readonly shape: readonly number[];
  /** Empty for what is computed. A view of the file. */
  readonly data: Uint8Array;
}

export interface TfliteOperator {
  /** BuiltinOperator as in the schema; "CUSTOM:name", or "#n" for one that is not listed here. */
  readonly op: string;
  /** Indices of tensors; -1: left out. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** builtin_options as it lies in the file. */
  readonly options: Table | null;
}

export interface TfliteGraph {
  readonly tensors: readonly TfliteTensor[];
  readonly operators: readonly TfliteOperator[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

const types = new Map<number, TfliteType>([
  [0, 'float32'],
  [1, 'float16'],
  [2, 'int32'],
  [3, 'uint8'],
  [4, 'int64'],
  [6, 'bool'],
  [9, 'int8'],
]);

const operators = new Map([
  [0, 'ADD'],
  [1, 'AVERAGE_POOL_2D'],
  [2, 'CONCATENATION'],
  [3, 'CONV_2D'],
  [4, 'DEPTHWISE_CONV_2D'],
  [6, 'DEQUANTIZE'],
  [9, 'FULLY_CONNECTED'],
  [14, 'LOGISTIC'],
  [17, 'MAX_POOL_2D'],
  [18, 'MUL'],
  [19, 'RELU'],
  [21, 'RELU6'],
  [22, 'RESHAPE'],
  [23, 'RESIZE_BILINEAR'],
  [25, 'SOFTMAX'],
  [34, 'PAD'],
  [40, 'MEAN'],
  [117, 'HARD_SWISH'],
]);

/** @throws MODEL_UNREADABLE for anything but a whole TFLite file with one graph. */
export function readTflite(bytes: Uint8Array, file = 'the model'): TfliteGraph {
  try {
    return readModel(bytes);
  } catch (cause) {
    if (!(cause instanceof FlatBufferError)) throw cause;
    throw new AppError('MODEL_UNREADABLE', { file, problem: `as TensorFlow Lite: ${cause.message}` }, { cause });
  }
}

function readModel(bytes: Uint8Array): TfliteGraph {
  const model = Table.root(bytes, 'TFL3');
  const graphs = model.tables(2);
  const [graph] = graphs;
  if (!graph || graphs.length !== 1) throw new FlatBufferError(`it has ${graphs.length} graphs, not one`);
  const buffers = model.tables(4);
  const codes = model.tables(1).map((code) => {
    // The older, one-byte field is filled by every writer; the newer one from 127 on.
    const number = Math.max(code.int8(0), code.int32(3));
    return number === 32 ? `CUSTOM:${code.text(1)}` : (operators.get(number) ?? `#${number}`);
  });
  const tensors = graph.tables(0).map((tensor): TfliteTensor => {
    const buffer = buffers[tensor.int32(2)];
    if (!buffer) throw new FlatBufferError(`tensor "${tensor.text(3)}" has no buffer`);
    const shape = tensor.int32s(0);
    if (shape.length > 8 || shape.some((dim) => dim < 0))
      throw new FlatBufferError(`tensor "${tensor.text(3)}" has a bad shape`);
    return { name: tensor.text(3), type: types.get(tensor.int8(1)) ?? null, shape, data: buffer.bytes(0) };
  });
  const known = (indices: readonly number[]) => {
    const bad = indices.find((index) => index < -1 || index >= tensors.length);
    if (bad !== undefined) throw new FlatBufferError(`there is no tensor ${bad}`);
    return indices;
  };
  return {
    tensors,
    inputs: known(graph.int32s(1)),
    outputs: known(graph.int32s(2)),
    operators: graph.tables(3).map((operator) => {
      const op = codes[operator.int32(0)];
      if (op === undefined) throw new FlatBufferError('an operator names a code that does not exist');
      return { op, inputs: known(operator.int32s(1)), outputs: known(operator.int32s(2)), options: operator.table(4) };
    }),
  };
}
