import { assert } from '../../contract/errors.ts';
import type { Dim } from '../model.ts';
import { float32Tensor, int64Tensor } from '../tensor.ts';
import type { Initialisation, NetworkWriter } from './layers.ts';

export interface TransformerSize {
  /** Side of a patch in pixels; divides the input size. */
  patch: number;
  /** Length of a token. */
  dim: number;
  /** Number of blocks. */
  depth: number;
  /** Attention heads; divides dim. */
  heads: number;
}

/** ViT-Ti (Steiner et al. 2022) = DeiT-Ti without distillation token (Touvron et al. 2021, table 1). */
export const TINY: TransformerSize = { patch: 16, dim: 192, depth: 12, heads: 3 };

/** Weights of all matrices, position and class tokens, as DeiT's code starts them. */
const START: Initialisation = { kind: 'truncatedNormal', deviation: 0.02, bound: 2 };
const EPSILON = 1e-6;

/** Vision transformer with class token (Dosovitskiy et al. 2021), pre-norm; layers and names as timm's and DeiT's deit_tiny_patch16. */
export function writeVisionTransformer(
  net: NetworkWriter,
  options: { classes: number; size: number; batch: Dim } & TransformerSize,
): string {
  const { size, patch, dim, depth, heads, batch } = options;
  assert(size % patch === 0, `an input of ${size} divides into patches of ${patch}`);
  assert(dim % heads === 0, `a token of ${dim} divides into ${heads} heads`);
  const tokens = (size / patch) ** 2 + 1;

  // torch's default for a convolution: even within 1 / sqrt(fan-in), which DeiT's code leaves as it is.
  const patchStart = { kind: 'uniform', bound: 1 / Math.sqrt(3 * patch * patch) } as const;
  let x = net.conv('input', 'patch_embed.proj', {
    inChannels: 3,
    outChannels: dim,
    kernel: patch,
    stride: patch,
    padding: 0,
    bias: true,
    start: patchStart,
    biasStart: patchStart,
  });
  x = net.reshape(x, 'patch_embed.flatten', [0, dim, tokens - 1]);
  x = net.emit('Transpose', [x], 'patch_embed', { perm: [0, 2, 1] });
  const token = net.parameter('cls_token', [1, 1, dim], START);
  x = net.emit('Concat', [expandToBatch(net, token, batch, x), x], 'tokens', { axis: 1 });
  x = net.emit('Add', [x, net.parameter('pos_embed', [1, tokens, dim], START)], 'embedded');
  for (let i = 0; i < depth; i++) {
    const name = `blocks.${i}`;
    const attended = attention(net, net.layerNorm(x, `${name}.norm1`, dim, EPSILON), `${name}.attn`, {
      dim,
      heads,
      tokens,
    });
    x = net.emit('Add', [x, attended], `${name}.add1`);
    let inner = net.layerNorm(x, `${name}.norm2`, dim, EPSILON);
    inner = net.tokenLinear(inner, `${name}.mlp.fc1`, { inputs: dim, outputs: 4 * dim }, START);
    inner = net.gelu(inner, `${name}.mlp.act`);
    inner = net.tokenLinear(inner, `${name}.mlp.fc2`, { inputs: 4 * dim, outputs: dim }, START);
    x = net.emit('Add', [x, inner], `${name}.add2`);
  }
  x = net.layerNorm(x, 'norm', dim, EPSILON);
  const first = net.constant('class_token.index', int64Tensor([], [0]));
  x = net.emit('Gather', [x, first], 'class_token', { axis: 1 });
  return net.linear(x, 'head', { inputs: dim, outputs: options.classes }, START);
}

/** [1, 1, dim] -> [batch, 1, dim]. */
function expandToBatch(net: NetworkWriter, token: string, batch: Dim, like: string): string {
  const ones = net.constant('cls_token.ones', int64Tensor([2], [1, 1]));
  const target =
    typeof batch === 'number'
      ? net.constant('cls_token.shape', int64Tensor([3], [batch, 1, 1]))
      : net.emit(
          'Concat',
          [net.emit('Shape', [like], 'cls_token.batch', { start: 0, end: 1 }), ones],
          'cls_token.shape',
          { axis: 0 },
        );
  return net.emit('Expand', [token, target], 'cls_token.expanded');
}

/** Multi-head self attention (Vaswani et al. 2017) on [N, tokens, dim]. */
function attention(
  net: NetworkWriter,
  input: string,
  name: string,
  { dim, heads, tokens }: { dim: number; heads: number; tokens: number },
): string {
  const each = dim / heads;
  const qkv = net.tokenLinear(input, `${name}.qkv`, { inputs: dim, outputs: 3 * dim }, START);
  const split = net.reshape(qkv, `${name}.split`, [0, tokens, 3, heads, each]);
  const ordered = net.emit('Transpose', [split], `${name}.ordered`, { perm: [2, 0, 3, 1, 4] });
  const pick = (which: number, as: string) =>
    net.emit('Gather', [ordered, net.constant(`${name}.${as}.index`, int64Tensor([], [which]))], `${name}.${as}`, {
      axis: 0,
    });
  const scale = net.constant(`${name}.factor`, float32Tensor([], [1 / Math.sqrt(each)]));
  const query = net.emit('Mul', [pick(0, 'query'), scale], `${name}.scaled`);
  const keys = net.emit('Transpose', [pick(1, 'key')], `${name}.keys`, { perm: [0, 1, 3, 2] });
  const weights = net.emit('Softmax', [net.emit('MatMul', [query, keys], `${name}.scores`)], `${name}.weights`, {
    axis: -1,
  });
  const mixed = net.emit('MatMul', [weights, pick(2, 'value')], `${name}.mixed`);
  const joined = net.emit('Transpose', [mixed], `${name}.joined`, { perm: [0, 2, 1, 3] });
  return net.tokenLinear(
    net.reshape(joined, `${name}.merged`, [0, tokens, dim]),
    `${name}.proj`,
    { inputs: dim, outputs: dim },
    START,
  );
}
