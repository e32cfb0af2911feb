import * as tf from '@tensorflow/tfjs-core';
import { intAttribute, intsAttribute, padsOn } from '../../../onnx/index.ts';
import type { OpContext } from './row.ts';

/** A sliding window over [H, W]; everything is padded by hand and slid with no padding, which every backend does alike. */
export interface Window {
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Before H, before W. */
  readonly begin: readonly [number, number];
  /** After H, after W. */
  readonly end: readonly [number, number];
  readonly ceil: boolean;
}

type Pair = [number, number];

/** @param input [N, C, H, W], needed to resolve auto_pad. */
export function windowOf(context: OpContext, kernel: readonly number[], input: readonly number[]): Window {
  const { node } = context;
  if (input.length !== 4 || kernel.length !== 2) throw context.unsupported('other than two spatial dimensions');
  const strides = intsAttribute(node, 'strides', [1, 1]) as Pair;
  const dilations = intsAttribute(node, 'dilations', [1, 1]) as Pair;
  const pads = padsOn(node, input.slice(2), kernel);
  return {
    kernel: [kernel[0]!, kernel[1]!],
    strides,
    dilations,
    begin: [pads[0]!, pads[1]!],
    end: [pads[2]!, pads[3]!],
    ceil: intAttribute(node, 'ceil_mode', 0) === 1,
  };
}

/** Side of a window with its gaps. */
export const reachOf = ({ kernel, dilations }: Window, i: 0 | 1): number => (kernel[i] - 1) * dilations[i] + 1;

/** Output size along H (0) or W (1), as ONNX defines it (a last window that would start in the trailing padding is not counted). */
export function slidOver(window: Window, size: number, i: 0 | 1): number {
  const padded = size + window.begin[i] + window.end[i];
  const steps = (padded - reachOf(window, i)) / window.strides[i];
  const out = (window.ceil ? Math.ceil(steps) : Math.floor(steps)) + 1;
  return window.ceil && (out - 1) * window.strides[i] >= size + window.begin[i] ? out - 1 : out;
}

/** Rows (or columns) that the windows together need: what the input is padded or cut to. */
export const extentOf = (window: Window, out: number, i: 0 | 1): number =>
  (out - 1) * window.strides[i] + reachOf(window, i);

/** [N, H, W, C] placed in [N, height, width, C] from `begin` on, filled by `fill`; what does not fit is cut off. */
export function place(
  x: tf.Tensor4D,
  begin: readonly [number, number],
  [height, width]: readonly [number, number],
  fill = 0,
): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  const kept: [number, number] = [Math.min(h, height - begin[0]), Math.min(w, width - begin[1])];
  const cut = kept[0] < h || kept[1] < w ? tf.slice4d(x, [0, 0, 0, 0], [n, kept[0], kept[1], c]) : x;
  const after = [height - begin[0] - kept[0], width - begin[1] - kept[1]];
  if (begin[0] === 0 && begin[1] === 0 && after[0] === 0 && after[1] === 0) return cut;
  return tf.pad4d(
    cut,
    [
      [0, 0],
      [begin[0], after[0]!],
      [begin[1], after[1]!],
      [0, 0],
    ],
    fill,
  );
}

/** The inverse of `place` for gradients: the part that came from x [N, h, w, C]; rows that were cut off get zeros. */
export function unplace(
  placed: tf.Tensor4D,
  begin: readonly [number, number],
  [h, w]: readonly [number, number],
): tf.Tensor4D {
  const [n, height, width, c] = placed.shape;
  const kept: [number, number] = [Math.min(h, height - begin[0]), Math.min(w, width - begin[1])];
  const cut = tf.slice4d(placed, [0, begin[0], begin[1], 0], [n, kept[0], kept[1], c]);
  return kept[0] < h || kept[1] < w
    ? tf.pad4d(cut, [
        [0, 0],
        [0, h - kept[0]],
        [0, w - kept[1]],
        [0, 0],
      ])
    : cut;
}

/** Every stride-th row and column from `at` on, `out` of each: what kernel position `at` sees. */
export const strided = (
  x: tf.Tensor4D,
  at: readonly [number, number],
  out: readonly [number, number],
  strides: readonly [number, number],
): tf.Tensor4D => {
  const [n, , , c] = x.shape;
  if (strides[0] === 1 && strides[1] === 1) return tf.slice4d(x, [0, at[0], at[1], 0], [n, out[0], out[1], c]);
  const end = [n, at[0] + (out[0] - 1) * strides[0] + 1, at[1] + (out[1] - 1) * strides[1] + 1, c];
  return tf.stridedSlice(x, [0, at[0], at[1], 0], end, [1, strides[0], strides[1], 1]) as tf.Tensor4D;
};

/** Puts stride-1 zeros between rows and columns: [N, h, w, C] -> [N, (h-1) sh + 1, (w-1) sw + 1, C]. */
export function spreadOut(x: tf.Tensor4D, strides: readonly [number, number]): tf.Tensor4D {
  const [n, h, w, c] = x.shape;
  const [sh, sw] = strides;
  if (sh === 1 && sw === 1) return x;
  const rows = tf.pad3d(tf.reshape(x, [n * h, 1, w * c]), [
    [0, 0],
    [0, sh - 1],
    [0, 0],
  ]);
  const both = tf.pad3d(tf.reshape(rows, [n * h * sh * w, 1, c]), [
    [0, 0],
    [0, sw - 1],
    [0, 0],
  ]);
  const full = tf.reshape(both, [n, h * sh, w * sw, c]) as tf.Tensor4D;
  return tf.slice4d(full, [0, 0, 0, 0], [n, (h - 1) * sh + 1, (w - 1) * sw + 1, c]);
}
