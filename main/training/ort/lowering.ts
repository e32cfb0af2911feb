import { expandTrainingOps, type TrainingStep } from '../../autodiff/index.ts';
import { lowerBlocked } from './blocked/lowering.ts';
import { blockSize } from './blocked/probe.ts';
import type { Model } from '../../onnx/index.ts';
import type { Tensor } from '../../runtime/session.ts';

/** A step graph in the form a session runs, and how its state is laid out there. */
export interface LoweredStep {
  /** Inputs and outputs have the names of the step graph. */
  model: Model;
  /** State entry `name` from the layout of `StateEntry.dims` into that of the model. May give the tensor itself. */
  pack(name: string, tensor: Tensor): Tensor;
  /** And back. */
  unpack(name: string, tensor: Tensor): Tensor;
}

export type Lowering = (step: TrainingStep) => LoweredStep | Promise<LoweredStep>;

/** Standard ONNX only: slow in places, right everywhere. */
export const portableLowering: Lowering = (step) => ({
  model: expandTrainingOps(step.model),
  pack: (_name, tensor) => tensor,
  unpack: (_name, tensor) => tensor,
});

/** Blocked tensors where this ORT and CPU have them (blocked/README.md), else standard ONNX. */
export const fastLowering: Lowering = async (step) => {
  const block = await blockSize();
  return block === null ? portableLowering(step) : lowerBlocked(step, block);
};
