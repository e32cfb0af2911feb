import type * as tf from '@tensorflow/tfjs-core';
import type { AppError } from '../../../contract/errors.ts';
import type { Node } from '../../../onnx/index.ts';
import type { Arranged, GraphValue } from '../tensor-value.ts';

/** What a row sees of its node while it runs. Tensors it makes are disposed for it; inputs are not its own. */
export interface OpContext {
  readonly node: Node;
  /** Version of the node's domain. */
  readonly opset: number;
  /** Number of inputs the node lists, trailing empty ones included. */
  readonly count: number;
  has(index: number): boolean;
  value(index: number): GraphValue;
  /** In ONNX order. */
  tensor(index: number): tf.Tensor;
  /** [N, H, W, C]. @throws UNSUPPORTED_OP unless of rank 4. */
  channelsLast(index: number): tf.Tensor4D;
  dims(index: number): readonly number[];
  /** Elements as plain numbers: shapes, axes, pads. Read back from the backend unless the input is a constant. */
  numbers(index: number): number[];
  /** A list that older opsets give as attribute and newer ones as input. */
  list(attribute: string, index: number): number[] | undefined;
  axis(axis: number, rank: number): number;
  /** Whether a backend kernel of this name exists (WASM lacks some). */
  hasKernel(name: string): boolean;
  unsupported(problem: string): AppError;
}

/** A tensor in ONNX order, or one that says its layout. */
export type Output = tf.Tensor | Arranged;

/** Computes a node; one entry per output, a missing one is left out. */
export type OpRow = (context: OpContext) => Output | readonly Output[];
export type OpRows = readonly (readonly [op: string, row: OpRow])[];

export const last = (tensor: tf.Tensor): Arranged => ({ tensor, layout: 'last' });
