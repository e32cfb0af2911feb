import { elementCount, int64Tensor, intsAttribute } from '../../onnx/index.ts';
import { range, slideBack, windowOf, type ExpandContext, type Expansion, type Window } from './context.ts';

/** The input gradient is the transposed convolution with the same weight. */
export const convInputGrad: Expansion = (context, node) => {
  const [dY, w] = node.inputs as [string, string];
  const window = windowOf(node);
  const sizes = intsAttribute(node, 'input_shape', []).slice(2);
  const steps = context.shape(dY).slice(2);
  const { kernel, strides, dilations, pads } = window;
  const rank = kernel.length;
  const missing = kernel.map(
    (k, axis) =>
      sizes[axis]! +
      pads[axis]! +
      pads[axis + rank]! -
      (strides[axis]! * (steps[axis]! - 1) + (k - 1) * dilations[axis]! + 1),
  );
  // output_padding must stay below the stride; where a wider rest was never read, it is filled with zeros instead.
  const over = missing.map((rest, axis) => (rest < strides[axis]! ? 0 : rest));
  if (over.every((rest) => rest === 0)) return [slideBack(context, dY, w, window, sizes)];
  const inner = slideBack(
    context,
    dY,
    w,
    window,
    sizes.map((size, axis) => size - over[axis]!),
  );
  return [context.padSpatial(inner, [...kernel.map(() => 0), ...over])];
};

/** dW[o, i, k] = sum over n and p of X[n, i, s p + d k - pad] dY[n, o, p]. */
export const convWeightGrad: Expansion = (context, node) => {
  const [x, dY] = node.inputs as [string, string];
  const window = windowOf(node);
  const shape = intsAttribute(node, 'weight_shape', []);
  const isPlain = (list: readonly number[], item: number) => list.every((entry) => entry === item);
  if (window.group === 1 && isPlain(window.kernel, 1) && isPlain(window.strides, 1) && isPlain(window.pads, 0)) {
    return [pointwise(context, x, dY, shape)];
  }
  const depthwise = window.group > 1 && shape[1] === 1 && shape[0] === window.group;
  if (depthwise && window.kernel.length === 2) return [depthwiseRows(context, x, dY, window, shape)];
  return [overTransposed(context, x, dY, window, shape)];
};

/** [N, C, P…] -> [C, N P]. */
function channelRows(context: ExpandContext, name: string): string {
  const [n, c, ...sizes] = context.shape(name) as [number, number, ...number[]];
  const flat = context.reshape(name, [n, c, elementCount(sizes)]);
  return context.reshape(context.transpose(flat, [1, 0, 2]), [c, n * elementCount(sizes)]);
}

/** 1 x 1: one matrix product, dY X^T over all places of all images. */
function pointwise(context: ExpandContext, x: string, dY: string, shape: readonly number[]): string {
  const matrix = context.emit1('Gemm', [channelRows(context, dY), channelRows(context, x)], { transA: 0, transB: 1 });
  return context.reshape(matrix, shape);
}

/** A convolution of the input with the output gradient, images as channels: strides and dilations change places. */
function overTransposed(
  context: ExpandContext,
  x: string,
  dY: string,
  window: Window,
  shape: readonly number[],
): string {
  const { kernel, strides, dilations, pads, group } = window;
  const rank = kernel.length;
  const [n, channels, ...sizes] = context.shape(x) as [number, number, ...number[]];
  const perGroup = channels / group;
  const spatial = range(rank, 2);
  const grouped = context.reshape(x, [n, group, perGroup, ...sizes]);
  const images = context.reshape(context.transpose(grouped, [2, 1, 0, ...range(rank, 3)]), [
    perGroup,
    group * n,
    ...sizes,
  ]);
  const kernels = context.transpose(dY, [1, 0, ...spatial]);
  const full = context.emit1('Conv', [images, kernels], {
    kernel_shape: context.shape(dY).slice(2),
    strides: dilations,
    dilations: strides,
    pads,
    group,
  });
  // Where the last window did not reach the end, places beyond the kernel come out as well.
  const fits = context
    .shape(full)
    .slice(2)
    .every((size, axis) => size === kernel[axis]);
  const cut = fits
    ? full
    : context.slice(
        full,
        spatial,
        kernel.map(() => 0),
        kernel,
      );
  return context.reshape(context.transpose(cut, [1, 0, ...spatial]), shape);
}

/**
 * Depthwise in 2 dims as row products: for each kernel row i, P_i = (rows of X that i reads)^T dY per channel, [Wp, N H] x [N H, W] in one batched
 * MatMul; dW[c, i, j] is the sum along the diagonal of P_i that starts at j.
 */
function depthwiseRows(
  context: ExpandContext,
  x: string,
  dY: string,
  window: Window,
  shape: readonly number[],
): string {
  const [kh, kw] = window.kernel as [number, number];
  const [sh, sw] = window.strides as [number, number];
  const [dh, dw] = window.dilations as [number, number];
  const padded = context.padSpatial(x, window.pads);
  const [n, c, , wide] = context.shape(padded) as [number, number, number, number];
  const [, , oh, ow] = context.shape(dY) as [number, number, number, number];
  const columns = context.transpose(padded, [1, 3, 0, 2]); // [C, Wp, N, Hp]
  const rows = range(kh).map((i) => {
    const part = context.slice(columns, [3], [i * dh], [i * dh + sh * (oh - 1) + 1], [sh]);
    return context.reshape(part, [c, wide, n * oh]);
  });
  const left = rows.length === 1 ? rows[0]! : context.emit1('Concat', rows, { axis: 1 });
  const right = context.reshape(context.transpose(dY, [1, 0, 2, 3]), [c, n * oh, ow]);
  const products = context.reshape(context.emit1('MatMul', [left, right]), [c, kh * wide * ow]);
  const diagonals = range(kh).flatMap((i) =>
    range(kw).flatMap((j) => range(ow).map((q) => (i * wide + q * sw + j * dw) * ow + q)),
  );
  const picked = context.emit1('Gather', [products, context.tensor(int64Tensor([kh * kw, ow], diagonals))], {
    axis: 1,
  });
  return context.reshape(context.sum(picked, [2]), shape);
}
