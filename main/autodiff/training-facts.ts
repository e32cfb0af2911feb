import { intsAttribute } from '../onnx/index.ts';
import { shapeOf, typeOf, type OpContext, type OpFacts, type TensorInfo } from '../onnx/op-facts/facts.ts';

/** Domain of the training ops. */
export const TRAINING_DOMAIN = 'ai.mekiki.training';
export const TRAINING_VERSION = 1;

const stated =
  (attribute: string): OpFacts['infer'] =>
  (context) => {
    const shape = intsAttribute(context.node, attribute);
    if (!shape) throw context.fail(`it states no ${attribute}`);
    return [{ type: typeOf(context, 0), shape }];
  };

const like =
  (index: number): OpFacts['infer'] =>
  (context) => [{ type: typeOf(context, 0), shape: shapeOf(context, index) }];

const perChannel = (context: OpContext, index: number): TensorInfo => {
  const channels = shapeOf(context, index)?.[1];
  return { type: typeOf(context, 0), shape: channels === undefined ? null : [channels] };
};

const inferences: Readonly<Record<string, OpFacts['infer']>> = {
  ConvInputGrad: stated('input_shape'),
  ConvWeightGrad: stated('weight_shape'),
  BatchNormTrain: (context) => {
    const each = perChannel(context, 0);
    return [{ type: typeOf(context, 0), shape: shapeOf(context, 0) }, each, each, each, each];
  },
  BatchNormGrad: (context) => {
    const each = perChannel(context, 1);
    return [{ type: typeOf(context, 0), shape: shapeOf(context, 1) }, each, each];
  },
  ReluGrad: like(0),
  ClipGrad: like(0),
  MaxPoolGrad: like(1),
  AveragePoolGrad: stated('input_shape'),
  BiasGrad: (context) => [perChannel(context, 0)],
};

/** `domain:op` -> shapes of the training ops; for `inferShapes` and for the graph writer. */
export const trainingFacts: ReadonlyMap<string, OpFacts> = new Map(
  Object.entries(inferences).map(([op, infer]) => [`${TRAINING_DOMAIN}:${op}`, { infer }]),
);
