import { floatAttribute, graph, model, node, value, type AttributeInput } from '../build.ts';
import { freshName } from '../edit.ts';
import type { ConstTensor, Dim, Model, Node } from '../model.ts';
import { elementCount, float32Tensor, int64Tensor, scalar } from '../tensor.ts';
import { verifyStructure } from '../verify.ts';
import { normalNumbers, randomSource, truncatedNormalNumbers, uniformNumbers } from './random.ts';

/** How a parameter starts; the formulas are those of torch.nn.init. */
export type Initialisation =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'normal'; readonly deviation: number }
  | { readonly kind: 'truncatedNormal'; readonly deviation: number; readonly bound: number }
  | { readonly kind: 'uniform'; readonly bound: number };

export interface ConvOptions {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernel?: number;
  readonly stride?: number;
  readonly groups?: number;
  readonly bias?: boolean;
  /** Default: half the kernel, so that stride 1 keeps the size. */
  readonly padding?: number;
  /** Default: He et al. 2015 by fan-out, N(0, 2 / (out k²)), which for groups does not divide by them (as torch counts). */
  readonly start?: Initialisation;
  /** Default: 0. */
  readonly biasStart?: Initialisation;
}

export interface NormOptions {
  readonly epsilon?: number;
  /** ONNX meaning: running = running * momentum + batch * (1 - momentum). */
  readonly momentum?: number;
}

/**
 * Writes a network layer by layer; every method adds nodes and returns the name of the value they make. A parameter's name is its key in the
 * state dictionary of the network's PyTorch form; a value is named after the module that makes it.
 */
export class NetworkWriter {
  readonly #seed: number;
  readonly #nodes: Node[] = [];
  readonly #initializers = new Map<string, ConstTensor>();
  readonly #taken = new Set<string>(['input', 'logits']);

  constructor(seed: number) {
    this.#seed = seed;
  }

  emit(op: string, inputs: readonly string[], name: string, attributes: Record<string, AttributeInput> = {}): string {
    const output = freshName(this.#taken, name);
    this.#nodes.push(node(op, inputs, [output], attributes));
    return output;
  }

  constant(name: string, tensor: ConstTensor): string {
    const fresh = freshName(this.#taken, name);
    this.#initializers.set(fresh, tensor);
    return fresh;
  }

  parameter(name: string, dims: readonly number[], start: Initialisation): string {
    const count = elementCount(dims);
    const random = randomSource(this.#seed, name);
    const numbers = {
      constant: () => new Float32Array(count).fill(start.kind === 'constant' ? start.value : 0),
      normal: () => normalNumbers(random, count, start.kind === 'normal' ? start.deviation : 0),
      truncatedNormal: () =>
        start.kind === 'truncatedNormal'
          ? truncatedNormalNumbers(random, count, start.deviation, start.bound)
          : new Float32Array(count),
      uniform: () => uniformNumbers(random, count, start.kind === 'uniform' ? start.bound : 0),
    }[start.kind]();
    return this.constant(name, float32Tensor(dims, numbers));
  }

  /** torch.nn.Conv2d, square kernel. */
  conv(input: string, name: string, options: ConvOptions): string {
    const { inChannels, outChannels, kernel = 1, stride = 1, groups = 1, bias = false } = options;
    const padding = options.padding ?? Math.floor((kernel - 1) / 2);
    const start = options.start ?? { kind: 'normal', deviation: Math.sqrt(2 / (outChannels * kernel * kernel)) };
    const inputs = [input, this.parameter(`${name}.weight`, [outChannels, inChannels / groups, kernel, kernel], start)];
    if (bias) {
      inputs.push(this.parameter(`${name}.bias`, [outChannels], options.biasStart ?? { kind: 'constant', value: 0 }));
    }
    return this.emit('Conv', inputs, name, {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [padding, padding, padding, padding],
      dilations: [1, 1],
      group: groups,
    });
  }

  /** torch.nn.BatchNorm2d: scale 1, bias 0, running mean 0 and variance 1; its output in inference form. */
  batchNorm(input: string, name: string, channels: number, options: NormOptions = {}): string {
    const fill = (key: string, to: number) =>
      this.parameter(`${name}.${key}`, [channels], { kind: 'constant', value: to });
    const inputs = [input, fill('weight', 1), fill('bias', 0), fill('running_mean', 0), fill('running_var', 1)];
    return this.emit('BatchNormalization', inputs, name, {
      epsilon: options.epsilon ?? 1e-5,
      momentum: options.momentum ?? 0.9,
    });
  }

  /** torch.nn.LayerNorm over the last axis. */
  layerNorm(input: string, name: string, channels: number, epsilon: number): string {
    const weight = this.parameter(`${name}.weight`, [channels], { kind: 'constant', value: 1 });
    const bias = this.parameter(`${name}.bias`, [channels], { kind: 'constant', value: 0 });
    return this.emit('LayerNormalization', [input, weight, bias], name, { axis: -1, epsilon });
  }

  /** torch.nn.Linear on [N, in]. @param start of the weight; @param biasStart default 0. */
  linear(
    input: string,
    name: string,
    size: { inputs: number; outputs: number },
    start: Initialisation,
    biasStart: Initialisation = { kind: 'constant', value: 0 },
  ): string {
    const weight = this.parameter(`${name}.weight`, [size.outputs, size.inputs], start);
    const bias = this.parameter(`${name}.bias`, [size.outputs], biasStart);
    return this.emit('Gemm', [input, weight, bias], name, { transB: 1, alpha: 1, beta: 1 });
  }

  /** torch.nn.Linear on [..., in]: the weight keeps torch's [out, in], so it is transposed first (folded away when run). */
  tokenLinear(input: string, name: string, size: { inputs: number; outputs: number }, start: Initialisation): string {
    const weight = this.parameter(`${name}.weight`, [size.outputs, size.inputs], start);
    const bias = this.parameter(`${name}.bias`, [size.outputs], { kind: 'constant', value: 0 });
    const turned = this.emit('Transpose', [weight], `${name}.turned`, { perm: [1, 0] });
    return this.emit('Add', [this.emit('MatMul', [input, turned], `${name}.product`), bias], name);
  }

  relu(input: string, name: string): string {
    return this.emit('Relu', [input], name);
  }

  relu6(input: string, name: string): string {
    const low = this.#shared('relu6.low', () => scalar(0));
    const high = this.#shared('relu6.high', () => scalar(6));
    return this.emit('Clip', [input, low, high], name);
  }

  hardSwish(input: string, name: string): string {
    return this.emit('HardSwish', [input], name);
  }

  /** torch's form, min(max(x / 6 + 1/2, 0), 1). */
  hardSigmoid(input: string, name: string): string {
    return this.emit('HardSigmoid', [input], name, { alpha: floatAttribute(1 / 6), beta: 0.5 });
  }

  /** x/2 (1 + erf(x / sqrt 2)), as exporters write it below opset 20. */
  gelu(input: string, name: string): string {
    const root = this.#shared('gelu.root2', () => scalar(Math.SQRT2));
    const one = this.#shared('gelu.one', () => scalar(1));
    const half = this.#shared('gelu.half', () => scalar(0.5));
    const erf = this.emit('Erf', [this.emit('Div', [input, root], `${name}.scaled`)], `${name}.erf`);
    const gate = this.emit('Add', [erf, one], `${name}.gate`);
    return this.emit('Mul', [this.emit('Mul', [input, gate], `${name}.gated`), half], name);
  }

  reshape(input: string, name: string, dims: readonly number[]): string {
    return this.emit('Reshape', [input, this.constant(`${name}.shape`, int64Tensor([dims.length], dims))], name);
  }

  /** [N, C, h, w] -> [N, C]. */
  globalPool(input: string): string {
    return this.emit('Flatten', [this.emit('GlobalAveragePool', [input], 'avgpool')], 'flatten', { axis: 1 });
  }

  #shared(name: string, make: () => ConstTensor): string {
    if (!this.#initializers.has(name)) this.constant(name, make());
    return name;
  }

  /** The finished network: input `input` [batch, 3, size, size], output `logits` [batch, classes]. */
  finish(last: string, of: { name: string; batch: Dim; size: number; classes: number }): Model {
    // The last value is renamed, not copied: an Identity would be one more node to differentiate.
    const nodes = this.#nodes.map((made) =>
      made.outputs[0] === last ? { ...made, name: 'logits', outputs: ['logits'] } : made,
    );
    const made = model(
      graph({
        name: of.name,
        nodes,
        inputs: [value('input', 'float32', [of.batch, 3, of.size, of.size])],
        outputs: [value('logits', 'float32', [of.batch, of.classes])],
        initializers: this.#initializers,
      }),
    );
    verifyStructure(made);
    return made;
  }
}

/** The nearest multiple of 8, not less than 90 % of the wish (Howard et al. 2017, MobileNet reference code). */
export function divisibleBy8(channels: number): number {
  const rounded = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}
