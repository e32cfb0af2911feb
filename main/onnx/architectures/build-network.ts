import { assert } from '../../contract/errors.ts';
import type { Model } from '../model.ts';
import { writeEfficientnetLite0 } from './efficientnet-lite.ts';
import { NetworkWriter } from './layers.ts';
import { writeMobilenetV2, writeMobilenetV3Small } from './mobilenet.ts';
import { writeResnet18 } from './resnet.ts';
import { TINY, writeVisionTransformer, type TransformerSize } from './vision-transformer.ts';

export interface NetworkOptions {
  readonly classes: number;
  /** Side of the square input in pixels. */
  readonly size: number;
  /** Multiplies the channels of convolutional networks; default 1. */
  readonly width?: number;
  /** Images at once, or a symbol (default 'N'). */
  readonly batch?: number | string;
  /** The same seed gives the same weights on every machine. */
  readonly seed: number;
  /** Of transformers; default: the tiny size. */
  readonly transformer?: Partial<TransformerSize>;
}

type Parts = Required<Omit<NetworkOptions, 'transformer'>> & { transformer: TransformerSize };

const writers = {
  mobilenet_v2: writeMobilenetV2,
  mobilenet_v3_small: writeMobilenetV3Small,
  efficientnet_lite0: writeEfficientnetLite0,
  resnet18: writeResnet18,
  vit_tiny: (net, parts) => writeVisionTransformer(net, { ...parts, ...parts.transformer }),
  deit_tiny: (net, parts) => writeVisionTransformer(net, { ...parts, ...parts.transformer }),
} satisfies Record<string, (net: NetworkWriter, parts: Parts) => string>;

export type Architecture = keyof typeof writers;
export const architectures = Object.keys(writers) as readonly Architecture[];

/**
 * A network with random weights: input `input` [batch, 3, size, size], output `logits` [batch, classes]; opset 17. Parameters are named and
 * start as in the network's PyTorch code (`layer1.0.conv1.weight`, `features.1.conv.0.1.running_mean`); BatchNormalization stays a node.
 */
export function buildNetwork(architecture: Architecture, options: NetworkOptions): Model {
  const { classes, size, width = 1, batch = 'N', seed } = options;
  assert(Number.isInteger(classes) && classes >= 1, `${classes} classes`);
  assert(Number.isInteger(size) && size >= 1, `an input of ${size} pixels`);
  assert(width > 0, `a width of ${width}`);
  assert(Number.isSafeInteger(seed) && seed >= 0, `the seed ${seed}`);
  const net = new NetworkWriter(seed);
  const write: (net: NetworkWriter, parts: Parts) => string = writers[architecture];
  const last = write(net, { classes, size, width, batch, seed, transformer: { ...TINY, ...options.transformer } });
  return net.finish(last, { name: architecture, batch, size, classes });
}
