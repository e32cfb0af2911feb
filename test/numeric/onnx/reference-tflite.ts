import type { TfliteGraph, TfliteOperator } from '../../../main/onnx/tflite/read-tflite.ts';

/*
 * A straight-line evaluator of float TFLite graphs, for tests: NHWC as in the file, float64, no fusing, half floats decoded by the engine.
 * Padding follows tensorflow/lite/kernels/padding.h. Shares nothing with the import but the FlatBuffer reader.
 */

interface Map4 {
  height: number;
  width: number;
  depth: number;
  data: Float64Array;
}

type WithHalf = DataView & { getFloat16(at: number, littleEndian: boolean): number };

function constant(graph: TfliteGraph, index: number): { shape: readonly number[]; data: Float64Array } {
  const tensor = graph.tensors[index]!;
  if (tensor.data.length === 0) {
    const maker = graph.operators.find((operator) => operator.outputs.includes(index))!;
    if (maker.op !== 'DEQUANTIZE') throw new Error(`${tensor.name} is no constant`);
    return constant(graph, maker.inputs[0]!);
  }
  const view = new DataView(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength) as WithHalf;
  const half = tensor.type === 'float16';
  const data = Float64Array.from({ length: tensor.data.length / (half ? 2 : 4) }, (_, i) =>
    half ? view.getFloat16(i * 2, true) : view.getFloat32(i * 4, true),
  );
  return { shape: tensor.shape, data };
}

const activate = (x: number, code: number): number => {
  if (code === 0) return x;
  if (code === 1) return Math.max(0, x);
  if (code === 3) return Math.min(6, Math.max(0, x));
  throw new Error(`activation ${code}`);
};

function convolve(graph: TfliteGraph, operator: TfliteOperator, input: Map4): Map4 {
  const depthwise = operator.op === 'DEPTHWISE_CONV_2D';
  const weight = constant(graph, operator.inputs[1]!);
  const bias = constant(graph, operator.inputs[2]!).data;
  const options = operator.options!;
  const same = options.int8(0) === 0;
  const [strideX, strideY] = [options.int32(1), options.int32(2)];
  const activation = options.int8(depthwise ? 4 : 3);
  const [, kh, kw] = weight.shape as [number, number, number, number];
  const out = depthwise ? weight.shape[3]! : weight.shape[0]!;
  const size = (length: number, kernel: number, stride: number) =>
    same ? Math.floor((length + stride - 1) / stride) : Math.floor((length + stride - kernel) / stride);
  const height = size(input.height, kh, strideY);
  const width = size(input.width, kw, strideX);
  const before = (length: number, kernel: number, stride: number, result: number) =>
    same ? Math.floor(Math.max(0, (result - 1) * stride + kernel - length) / 2) : 0;
  const top = before(input.height, kh, strideY, height);
  const left = before(input.width, kw, strideX, width);
  const data = new Float64Array(height * width * out);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let o = 0; o < out; o++) {
        let sum = bias[o]!;
        for (let i = 0; i < kh; i++) {
          const fromY = y * strideY + i - top;
          if (fromY < 0 || fromY >= input.height) continue;
          for (let j = 0; j < kw; j++) {
            const fromX = x * strideX + j - left;
            if (fromX < 0 || fromX >= input.width) continue;
            const at = (fromY * input.width + fromX) * input.depth;
            if (depthwise) sum += input.data[at + o]! * weight.data[(i * kw + j) * out + o]!;
            else {
              const from = ((o * kh + i) * kw + j) * input.depth;
              for (let c = 0; c < input.depth; c++) sum += input.data[at + c]! * weight.data[from + c]!;
            }
          }
        }
        data[(y * width + x) * out + o] = activate(sum, activation);
      }
    }
  }
  return { height, width, depth: out, data };
}

/** Values of the wanted tensors (by index) for an NHWC image. */
export function evaluateTflite(graph: TfliteGraph, image: Map4, wanted: readonly number[]): Map4[] {
  const values = new Map<number, Map4>([[graph.inputs[0]!, image]]);
  for (const operator of graph.operators) {
    if (wanted.every((index) => values.has(index))) break;
    if (operator.op === 'DEQUANTIZE') continue;
    const inputs = operator.inputs.map((index) => values.get(index));
    if (operator.op === 'ADD') {
      const [a, b] = inputs as [Map4, Map4];
      values.set(operator.outputs[0]!, {
        ...a,
        data: a.data.map((x, i) => activate(x + b.data[i]!, operator.options!.int8(0))),
      });
    } else if (operator.op.endsWith('CONV_2D')) values.set(operator.outputs[0]!, convolve(graph, operator, inputs[0]!));
    // Heads that only the box predictors need.
    else if (operator.op !== 'RESHAPE') throw new Error(`the reference does not know ${operator.op}`);
  }
  return wanted.map((index) => values.get(index)!);
}
