import { AppError, assert } from '../../contract/errors.ts';
import { graph, model, node, value } from '../build.ts';
import { eliminateDead, freshName, withGraph } from '../edit.ts';
import type { ConstTensor, Dim, Model, Node } from '../model.ts';
import { elementCount, float32Tensor, halfToNumber, scalar } from '../tensor.ts';
import { verifyStructure } from '../verify.ts';
import type { Table } from './flatbuffer.ts';
import { readTflite, type TfliteGraph, type TfliteOperator, type TfliteTensor } from './read-tflite.ts';

/** Arrays of an import under way; the result is built from them at the end. */
interface Import {
  readonly source: TfliteGraph;
  readonly file: string;
  readonly nodes: Node[];
  readonly initializers: Map<string, ConstTensor>;
  readonly taken: Set<string>;
  /** Tensor index -> name of its NCHW value. */
  readonly names: Map<number, string>;
}

interface OpImport {
  readonly job: Import;
  readonly operator: TfliteOperator;
  /** Null only for operators whose rule has no `fusedAt`. */
  readonly options: Table | null;
  /** Name of the operator's result before its fused activation. */
  readonly result: string;
}

const unsupported = (job: Import, operator: TfliteOperator, problem: string) =>
  new AppError('UNSUPPORTED_OP', {
    op: operator.op,
    opset: 'TensorFlow Lite',
    node: job.source.tensors[operator.outputs[0] ?? -1]?.name ?? '',
    problem,
  });

/** What is stored for a tensor: its own, or that behind the one DEQUANTIZE that float16 files put before each use. */
function storedAt({ source }: Import, index: number): TfliteTensor | undefined {
  const tensor = source.tensors[index];
  if (tensor?.data.length !== 0) return tensor;
  const maker = source.operators.find((operator) => operator.outputs[0] === index);
  return maker?.op === 'DEQUANTIZE' ? source.tensors[maker.inputs[0] ?? -1] : tensor;
}

/** A constant as float32. Null: computed at run time, or of other numbers than floats. */
function floatsOf(job: Import, index: number): { shape: readonly number[]; values: Float32Array } | null {
  const tensor = storedAt(job, index);
  if (!tensor || tensor.data.length === 0) return null;
  const count = elementCount(tensor.shape);
  const size = tensor.type === 'float32' ? 4 : tensor.type === 'float16' ? 2 : 0;
  if (size === 0) return null;
  if (tensor.data.length !== count * size) {
    throw new AppError('MODEL_UNREADABLE', {
      file: job.file,
      problem: `tensor "${tensor.name}" [${tensor.shape.join(', ')}] holds ${tensor.data.length} bytes`,
    });
  }
  const view = new DataView(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
  const read =
    size === 4 ? (i: number) => view.getFloat32(i * 4, true) : (i: number) => halfToNumber(view.getUint16(i * 2, true));
  return { shape: tensor.shape, values: Float32Array.from({ length: count }, (_, i) => read(i)) };
}

/** [a, kh, kw, b] -> [outer, inner, kh, kw]; `at(outer, inner)` gives the place in a and b. */
function toOihw(
  from: { shape: readonly number[]; values: Float32Array },
  outer: number,
  inner: number,
  at: (outer: number, inner: number) => [a: number, b: number],
): ConstTensor {
  const [, height, width, depth] = from.shape as [number, number, number, number];
  const out = new Float32Array(from.values.length);
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const [a, b] = at(o, i);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) out[to++] = from.values[((a * height + y) * width + x) * depth + b]!;
      }
    }
  }
  return float32Tensor([outer, inner, height, width], out);
}

/**
 * TFLite pads SAME by what the input's size asks for, the odd pixel at the end: ONNX calls this SAME_UPPER. At stride 1 that is symmetric
 * for odd kernels and written out, so that symbolic sizes survive shape inference.
 */
function padding(same: boolean, kernel: readonly number[], strides: readonly number[], dilations: readonly number[]) {
  if (!same) return {};
  const reach = kernel.map((size, axis) => (size - 1) * dilations[axis]!);
  if (strides.some((stride) => stride !== 1) || reach.some((size) => size % 2 !== 0)) return { auto_pad: 'SAME_UPPER' };
  const half = reach.map((size) => size / 2);
  return half.every((size) => size === 0) ? {} : { pads: [...half, ...half] };
}

function convolution({ job, operator, options, result }: OpImport, depthwise: boolean): void {
  assert(options, 'an operator with a fused activation was found to have options');
  const weight = floatsOf(job, operator.inputs[1] ?? -1);
  const biasAt = operator.inputs[2] ?? -1;
  const bias = floatsOf(job, biasAt);
  const input = job.source.tensors[operator.inputs[0] ?? -1];
  if (weight?.shape.length !== 4 || input?.shape.length !== 4)
    throw unsupported(job, operator, 'its weight is not a constant of rank 4');
  const [first, height, width, last] = weight.shape as [number, number, number, number];
  const channels = input.shape[3]!;
  const out = depthwise ? last : first;
  if (depthwise ? first !== 1 || channels === 0 || last % channels !== 0 : last !== channels) {
    throw unsupported(job, operator, `a weight [${weight.shape.join(', ')}] over ${channels} channels`);
  }
  if (biasAt >= 0 && !bias) throw unsupported(job, operator, 'its bias is not a constant of floats');
  if (bias && bias.values.length !== out)
    throw unsupported(job, operator, 'its bias has another length than its outputs');
  const dilationAt = depthwise ? 5 : 4;
  const strides = [options.int32(2, 1), options.int32(1, 1)];
  const dilations = [options.int32(dilationAt + 1, 1), options.int32(dilationAt, 1)];
  const names = [`${result}/weight`, `${result}/bias`].map((name) => freshName(job.taken, name));
  job.initializers.set(
    names[0]!,
    depthwise ? toOihw(weight, out, 1, (o) => [0, o]) : toOihw(weight, out, channels, (o, i) => [o, i]),
  );
  if (bias) job.initializers.set(names[1]!, float32Tensor([out], bias.values));
  job.nodes.push(
    node('Conv', [inputName(job, operator, 0), names[0]!, ...(bias ? [names[1]!] : [])], [result], {
      kernel_shape: [height, width],
      strides,
      dilations,
      group: depthwise ? channels : 1,
      ...padding(options.int8(0) === 0, [height, width], strides, dilations),
    }),
  );
}

function inputName(job: Import, operator: TfliteOperator, at: number): string {
  const name = job.names.get(operator.inputs[at] ?? -1);
  if (name === undefined) throw unsupported(job, operator, `its input ${at} is not a computed value`);
  return name;
}

const activation =
  (op: 'Relu' | 'Clip') =>
  ({ job, operator, result }: OpImport): void => {
    job.nodes.push(activationNode(job, op, inputName(job, operator, 0), result));
  };

function activationNode(job: Import, op: 'Relu' | 'Clip', from: string, to: string): Node {
  if (op === 'Relu') return node('Relu', [from], [to]);
  job.initializers.set('relu6/min', scalar(0)).set('relu6/max', scalar(6));
  return node('Clip', [from, 'relu6/min', 'relu6/max'], [to]);
}

/** ActivationFunctionType: NONE, RELU, RELU6; others are not supported. */
const fused = new Map<number, 'none' | 'Relu' | 'Clip'>([
  [0, 'none'],
  [1, 'Relu'],
  [3, 'Clip'],
]);

/** Operator -> how it is written in ONNX, and the index of its fused activation among the options (null: it has none). */
const rules = new Map<string, { fusedAt: number | null; write: (op: OpImport) => void }>([
  ['CONV_2D', { fusedAt: 3, write: (op) => convolution(op, false) }],
  ['DEPTHWISE_CONV_2D', { fusedAt: 4, write: (op) => convolution(op, true) }],
  [
    'ADD',
    {
      fusedAt: 0,
      write: ({ job, operator, result }) => {
        const shapes = operator.inputs.map((index) => job.source.tensors[index]?.shape.join());
        if (shapes[0] !== shapes[1]) throw unsupported(job, operator, 'operands of different shapes');
        job.nodes.push(node('Add', [inputName(job, operator, 0), inputName(job, operator, 1)], [result]));
      },
    },
  ],
  ['RELU', { fusedAt: null, write: activation('Relu') }],
  ['RELU6', { fusedAt: null, write: activation('Clip') }],
]);

/** Indices of operators that the wanted tensors need, in file order (which is execution order). */
function needed(source: TfliteGraph, wanted: readonly number[]): TfliteOperator[] {
  const live = new Set(wanted);
  return source.operators
    .toReversed()
    .filter((operator) => {
      const used = operator.outputs.some((index) => live.has(index));
      if (used) for (const index of operator.inputs) live.add(index);
      return used;
    })
    .reverse();
}

export interface TfliteImportOptions {
  /** ONNX output name -> name of a TFLite tensor; of the parts that XLA joins by ";" the first is enough. */
  outputs: Readonly<Record<string, string>>;
  /** Name of the ONNX input. */
  input: string;
  /** Named in errors. */
  file?: string;
}

/**
 * Turns (a part of) a float TFLite image network into ONNX, opset 17: NHWC becomes NCHW, float16 weights float32, a fused activation a node
 * of its own; batch, height and width stay open ("N", "H", "W").
 * @throws MODEL_UNREADABLE, UNSUPPORTED_OP for what the wanted outputs need and this import does not know, NOT_FOUND for a missing tensor.
 */
export function importTflite(bytes: Uint8Array, options: TfliteImportOptions): Model {
  const file = options.file ?? 'the model';
  const source = readTflite(bytes, file);
  const input = source.tensors[source.inputs[0] ?? -1];
  if (source.inputs.length !== 1 || input?.type !== 'float32' || input.shape.length !== 4) {
    throw new AppError('MODEL_UNREADABLE', { file, problem: 'it has not one float input [N, H, W, C]' });
  }
  const outputs = Object.entries(options.outputs).map(([name, tensorName]): [number, string] => {
    const index = source.tensors.findIndex(
      (tensor) => tensor.name === tensorName || tensor.name.split(';')[0] === tensorName,
    );
    if (index < 0) throw new AppError('NOT_FOUND', { kind: 'Tensor', id: tensorName });
    return [index, name];
  });
  const names = new Map<number, string>([...outputs, [source.inputs[0]!, options.input]]);
  const job: Import = {
    source,
    file,
    nodes: [],
    initializers: new Map(),
    taken: new Set([...names.values(), 'relu6/min', 'relu6/max']),
    names,
  };
  for (const operator of needed(
    source,
    outputs.map(([index]) => index),
  )) {
    // Constants are read where they are used.
    if (operator.op !== 'DEQUANTIZE') importOperator(job, operator);
  }
  const channels = input.shape[3]!;
  const made = graph({
    name: 'imported from TensorFlow Lite',
    nodes: job.nodes,
    inputs: [value(options.input, 'float32', ['N', channels, 'H', 'W'])],
    outputs: outputs.map(([index, name]) => {
      const shape = source.tensors[index]!.shape;
      const dims: Dim[] = ['N', shape[3] ?? null, `h_${name}`, `w_${name}`];
      return value(name, 'float32', dims);
    }),
    initializers: job.initializers,
  });
  const result = model(made, { opset: 17 });
  const live = withGraph(result, eliminateDead(result.graph));
  verifyStructure(live);
  return live;
}

function importOperator(job: Import, operator: TfliteOperator): void {
  const rule = rules.get(operator.op);
  if (!rule) throw unsupported(job, operator, 'the import does not know it');
  const index = operator.outputs[0] ?? -1;
  const output = job.source.tensors[index];
  if (!output || operator.outputs.length !== 1 || output.type !== 'float32') {
    throw unsupported(job, operator, 'its result is not one float tensor');
  }
  const options = operator.options;
  if (!options && rule.fusedAt !== null) throw unsupported(job, operator, 'it has no options');
  const act = rule.fusedAt === null ? 'none' : fused.get(options!.int8(rule.fusedAt));
  if (act === undefined) throw unsupported(job, operator, 'its fused activation is neither RELU nor RELU6');
  const name = job.names.get(index) ?? freshName(job.taken, output.name.split(';')[0] || `tensor_${index}`);
  const result = act === 'none' ? name : freshName(job.taken, `${name}/linear`);
  rule.write({ job, operator, options, result });
  if (act !== 'none') job.nodes.push(activationNode(job, act, result, name));
  job.names.set(index, name);
}
