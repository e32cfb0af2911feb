import { AppError, assert } from '../../contract/errors.ts';
import { randomSource, uniformNumbers } from '../architectures/random.ts';
import { node, value } from '../build.ts';
import { addNodes, eliminateDead, freshName, indexGraph, setOutputs, valueNames, withGraph } from '../edit.ts';
import { inferShapes } from '../infer-shapes.ts';
import type { Model, Node } from '../model.ts';
import { float32Tensor } from '../tensor.ts';
import { verifyStructure } from '../verify.ts';

export interface HeadOptions {
  /** A value [N, d], or a map [N, d, h, w] that is averaged first. */
  readonly from: string;
  readonly classes: number;
  /** Row-major [classes, d], and [classes]. Default: random as torch.nn.Linear starts, even within 1 / sqrt(d). */
  readonly weights?: { readonly weight: Float32Array; readonly bias: Float32Array };
  /** Of random weights; default 0. */
  readonly seed?: number;
}

/**
 * The network up to `from` with one fully connected layer behind it: the only output is `logits` [N, classes]; parameters `head.weight` and
 * `head.bias` (with a number behind where these are taken).
 * @throws NOT_FOUND for a value that no node makes; GRAPH_INVALID where its shape cannot be told or does not fit.
 */
export function replaceHead(model: Model, options: HeadOptions): Model {
  const { from, classes, weights } = options;
  assert(Number.isInteger(classes) && classes >= 1, `${classes} classes`);
  if (!indexGraph(model.graph).producer.has(from)) throw new AppError('NOT_FOUND', { kind: 'Model value', id: from });
  const shape = inferShapes(model, { unknownOps: 'unknown' }).get(from)?.shape;
  const features = shape?.[1];
  const invalid = (problem: string) => new AppError('GRAPH_INVALID', { where: from, problem });
  if (!shape || (shape.length !== 2 && shape.length !== 4) || typeof features !== 'number') {
    throw invalid('a head needs features [N, d] or a map [N, d, h, w] with a known d');
  }
  if (weights && (weights.weight.length !== classes * features || weights.bias.length !== classes)) {
    throw invalid(
      `weights of ${weights.weight.length} and ${weights.bias.length} for ${classes} classes of ${features}`,
    );
  }
  // The old head goes first, so that its names are free.
  const cut = eliminateDead(setOutputs(model.graph, [value(from)]));
  const taken = valueNames(cut);
  const bound = 1 / Math.sqrt(features);
  const random = (name: string, count: number) => uniformNumbers(randomSource(options.seed ?? 0, name), count, bound);
  const weightName = freshName(taken, 'head.weight');
  const biasName = freshName(taken, 'head.bias');
  const nodes: Node[] = [];
  let input = from;
  if (shape.length === 4) {
    const pooled = freshName(taken, 'head.pooled');
    input = freshName(taken, 'head.features');
    nodes.push(node('GlobalAveragePool', [from], [pooled]), node('Flatten', [pooled], [input], { axis: 1 }));
  }
  const logits = freshName(taken, 'logits');
  nodes.push(node('Gemm', [input, weightName, biasName], [logits], { transB: 1, alpha: 1, beta: 1 }));
  const grown = addNodes(cut, nodes, {
    [weightName]: float32Tensor([classes, features], weights?.weight ?? random('head.weight', classes * features)),
    [biasName]: float32Tensor([classes], weights?.bias ?? random('head.bias', classes)),
  });
  const next = withGraph(model, setOutputs(grown, [value(logits, 'float32', [shape[0]!, classes])]));
  verifyStructure(next);
  return next;
}
