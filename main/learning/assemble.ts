import type { Backbone } from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import {
  addNodes,
  decodeModel,
  encodeModel,
  eliminateDead,
  float32Tensor,
  int64Tensor,
  node,
  opsetOf,
  renameValue,
  runtimeInputs,
  selectOutputs,
  setInputSize,
  setOutputs,
  value,
  valueNames,
  verifyStructure,
  withGraph,
  type ConstTensor,
  type Model,
  type Node,
} from '../onnx/index.ts';
import type { Matrix } from './dense.ts';
import type { SolvedKnowledge } from './knowledge.ts';
import { TINY_LENGTH } from './novelty.ts';
import type { Sign } from './novelty-score.ts';

/*
 * Backbone, embedding, closed-form head and novelty in one ONNX graph: what the line runs. Values are named below so that a heat
 * map can be read out of any assembled model later (heat-map.ts), also after quantisation.
 */

export const assembled = {
  input: 'image',
  logits: 'logits',
  novelty: 'novelty',
  /** Pooled features of stage i, [N, channels]. */
  pooled: (stage: number) => `mekiki/stage${stage}/pooled`,
  /** z, [N, d - 1]. */
  embedding: 'mekiki/z',
  weights: 'mekiki/head/weights',
  bias: 'mekiki/head/bias',
};

export interface AssembleInput {
  /** The backbone (ONNX bytes or model), or a pruned or quantised copy with the same outputs. */
  model: Uint8Array | Model;
  backbone: Pick<Backbone, 'inputName' | 'featureOutputs' | 'dynamicSize' | 'inputSize' | 'id'>;
  /** Solved on the features of exactly this model at exactly this size. */
  knowledge: Pick<SolvedKnowledge, 'stages' | 'weights' | 'novelty'>;
  /** Side of the square input in pixels, to be stated in the model; default: as open or fixed as the model is. */
  inputSize?: number;
}

const tensorOf = ({ rows, columns, data }: Matrix): ConstTensor =>
  float32Tensor([rows, columns], Float32Array.from(data));
const columnOf = (values: Float64Array): ConstTensor => float32Tensor([values.length, 1], Float32Array.from(values));
const ones = (count: number): ConstTensor => float32Tensor([count, 1], new Float32Array(count).fill(1));

/**
 * Input `image` [N, 3, S, S] float32, normalised as the backbone wants it. Outputs `logits` [N, C] in the order of the knowledge's
 * classes, NOT divided by the temperature (the model card has it), and `novelty` [N].
 * @throws MODEL_UNREADABLE, GRAPH_INVALID, BACKBONE_UNSUITABLE, KNOWLEDGE_OF_OTHER_BACKBONE
 */
export function assembleInspector({ model: source, backbone, knowledge, inputSize }: AssembleInput): Uint8Array {
  const { stages, weights } = knowledge;
  const outputs = backbone.featureOutputs;
  if (outputs.length !== stages.length || outputs.some(({ channels }, i) => channels !== stages[i])) {
    throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', {
      found: `with ${stages.join(' + ')} features`,
      needed: `${backbone.id} with ${outputs.map(({ channels }) => channels).join(' + ')}`,
    });
  }
  if (inputSize !== undefined && inputSize !== backbone.inputSize && !backbone.dynamicSize) {
    throw new AppError('BACKBONE_UNSUITABLE', {
      file: backbone.id,
      problem: `its input is fixed at ${backbone.inputSize} pixels`,
    });
  }
  let model = selectOutputs(
    source instanceof Uint8Array ? decodeModel(source, backbone.id) : source,
    outputs.map(({ name }) => name),
  );
  const image = runtimeInputs(model.graph).find(({ name }) => name === backbone.inputName);
  if (!image) {
    throw new AppError('BACKBONE_UNSUITABLE', {
      file: backbone.id,
      problem: `it has no input "${backbone.inputName}"`,
    });
  }
  const names = [assembled.input, assembled.logits, assembled.novelty];
  model = withGraph(
    model,
    clearNames(
      model,
      names.filter((name) => name !== backbone.inputName),
    ),
  );
  model = withGraph(model, renameValue(model.graph, backbone.inputName, assembled.input));
  // Stated sizes let ORT plan its memory once; the number of tiles stays open.
  if (backbone.dynamicSize && inputSize !== undefined)
    model = setInputSize(model, { batch: image.shape?.[0] ?? 'N', height: inputSize, width: inputSize });

  const current = model.graph.outputs.map(({ name }) => name);
  const { nodes, constants } = headNodes(current, outputs, knowledge, opsetOf(model));
  const grown = addNodes(model.graph, nodes, constants);
  const batch = runtimeInputs(model.graph)[0]?.shape?.[0] ?? 'N';
  const final = setOutputs(grown, [
    value(assembled.logits, 'float32', [batch, weights.columns]),
    value(assembled.novelty, 'float32', [batch]),
  ]);
  const done = withGraph(model, eliminateDead(final));
  verifyStructure(done);
  return encodeModel(done);
}

/** Values of the backbone that happen to have a name of ours get another. */
function clearNames(model: Model, names: readonly string[]): Model['graph'] {
  let graph = model.graph;
  for (const name of names) {
    if (!valueNames(graph).has(name)) continue;
    const taken = valueNames(graph);
    let other = `backbone/${name}`;
    while (taken.has(other)) other = `${other}_`;
    graph = renameValue(graph, name, other);
  }
  return graph;
}

function headNodes(
  features: readonly string[],
  outputs: Backbone['featureOutputs'],
  { stages, weights, novelty }: AssembleInput['knowledge'],
  opset: number,
): { nodes: Node[]; constants: Record<string, ConstTensor> } {
  const nodes: Node[] = [];
  const constants: Record<string, ConstTensor> = {};
  const constant = (name: string, tensor: ConstTensor): string => {
    constants[`mekiki/${name}`] = tensor;
    return `mekiki/${name}`;
  };
  const add = (op: string, inputs: string[], name: string, attributes: Parameters<typeof node>[3] = {}): string => {
    const output =
      name.startsWith('mekiki/') || name === assembled.logits || name === assembled.novelty ? name : `mekiki/${name}`;
    nodes.push(node(op, inputs, [output], attributes));
    return output;
  };

  // ---- z (embedding.ts): signed square root, each stage to length 1 / sqrt(stages).
  const parts = stages.map((channels, s) => {
    const at = `stage${s}`;
    let source = features[s]!;
    if (outputs[s]!.kind === 'map') source = add('GlobalAveragePool', [source], `${at}/mean`);
    const pooled = add('Flatten', [source], assembled.pooled(s), { axis: 1 });
    const size = add('Abs', [pooled], `${at}/abs`);
    const root = add('Mul', [add('Sign', [pooled], `${at}/sign`), add('Sqrt', [size], `${at}/sqrt`)], `${at}/root`);
    // A silent stage is 0 / sqrt(tiny) = 0, as in embedding.ts.
    const sum = add('MatMul', [size, constant(`${at}/ones`, ones(channels))], `${at}/sum`);
    const scaled = add(
      'Mul',
      [sum, constant(`${at}/count`, float32Tensor([1, 1], new Float32Array([stages.length])))],
      `${at}/scaled`,
    );
    const safe = add(
      'Add',
      [scaled, constant(`${at}/tiny`, float32Tensor([1, 1], new Float32Array([1e-12])))],
      `${at}/safe`,
    );
    return add('Div', [root, add('Sqrt', [safe], `${at}/length`)], stages.length > 1 ? `${at}/z` : assembled.embedding);
  });
  const z = parts.length > 1 ? add('Concat', parts, assembled.embedding, { axis: 1 }) : parts[0]!;

  // ---- logits = z W + bias.
  const d0 = weights.rows - 1;
  const classes = weights.columns;
  assert(
    d0 === stages.reduce((sum, channels) => sum + channels, 0),
    'a head has a row per feature and one for the bias',
  );
  const body = float32Tensor([d0, classes], Float32Array.from(weights.data.subarray(0, d0 * classes)));
  const bias = float32Tensor([classes], Float32Array.from(weights.data.subarray(d0 * classes)));
  constants[assembled.weights] = body;
  constants[assembled.bias] = bias;
  add('Gemm', [z, assembled.weights, assembled.bias], assembled.logits);

  // ---- novelty: the distances of novelty.ts, and their sum of novelty-score.ts.
  const { rank, mean, directions, precision, whitening, centres, scale } = novelty;
  const centred = add(
    'Sub',
    [z, constant('novelty/mean', float32Tensor([1, d0], Float32Array.from(mean)))],
    'novelty/centred',
  );
  const y = add('MatMul', [centred, constant('novelty/directions', tensorOf(directions))], 'novelty/y');
  const yy = add('Mul', [y, y], 'novelty/yy');
  const energy = add(
    'MatMul',
    [add('Mul', [centred, centred], 'novelty/squares'), constant('novelty/ones', ones(d0))],
    'novelty/energy',
  );
  const kept = add('MatMul', [yy, constant('novelty/rankOnes', ones(rank))], 'novelty/kept');
  const outside = add('Relu', [add('Sub', [energy, kept], 'novelty/difference')], 'novelty/outside');
  const all = add('MatMul', [yy, constant('novelty/precision', columnOf(precision))], 'novelty/all');
  // |u - c|^2 = |u|^2 - 2 u c + |c|^2 for all classes in one product.
  const u = add('MatMul', [y, constant('novelty/whitening', tensorOf(whitening))], 'novelty/u');
  const length = add('MatMul', [add('Mul', [u, u], 'novelty/uu'), 'mekiki/novelty/rankOnes'], 'novelty/length');
  const cross = new Float32Array(rank * classes);
  const towards = new Float32Array(rank * classes);
  const norms = new Float32Array(classes);
  for (let c = 0; c < classes; c += 1) {
    let sum = 0;
    for (let j = 0; j < rank; j += 1) {
      const v = centres.data[c * rank + j]!;
      cross[j * classes + c] = -2 * v;
      sum += v * v;
    }
    norms[c] = sum;
    const size = Math.sqrt(sum + TINY_LENGTH);
    for (let j = 0; j < rank; j += 1) towards[j * classes + c] = centres.data[c * rank + j]! / size;
  }
  const distances = add(
    'Gemm',
    [
      u,
      constant('novelty/centres', float32Tensor([rank, classes], cross)),
      constant('novelty/norms', float32Tensor([classes], norms)),
    ],
    'novelty/distances',
  );
  // The axes of a reduction are an attribute up to opset 17, an input from 18 on.
  const reduced = (op: 'ReduceMin' | 'ReduceMax', input: string, name: string) =>
    opset >= 18
      ? add(op, [input, constant('novelty/axis', int64Tensor([1], [1]))], name, { keepdims: 1 })
      : add(op, [input], name, { axes: [1], keepdims: 1 });
  const scalar = (name: string, x: number) => constant(name, float32Tensor([1, 1], new Float32Array([x])));
  const nearest = reduced('ReduceMin', distances, 'novelty/nearestCross');
  const difference = add('Sub', [add('Add', [nearest, length], 'novelty/nearest'), all], 'novelty/relativeSum');
  const relative = add('Mul', [difference, scalar('novelty/perRank', 1 / rank)], 'novelty/relative');
  const along = add(
    'MatMul',
    [u, constant('novelty/towards', float32Tensor([rank, classes], towards))],
    'novelty/along',
  );
  const size = add(
    'Sqrt',
    [add('Add', [length, scalar('novelty/tiny', TINY_LENGTH)], 'novelty/lengthSafe')],
    'novelty/size',
  );
  const closest = add('Div', [reduced('ReduceMax', along, 'novelty/closest'), size], 'novelty/closestCosine');
  const cosine = add('Neg', [closest], 'novelty/cosine');
  const squares = add('Mul', [assembled.logits, assembled.logits], 'novelty/logitSquares');
  const answers = add('MatMul', [squares, constant('novelty/classOnes', ones(classes))], 'novelty/answers');
  const top = reduced('ReduceMax', assembled.logits, 'novelty/topLogit');
  const twice = add('Mul', [top, scalar('novelty/two', 2)], 'novelty/twice');
  const doubt = add('Sub', [answers, twice], 'novelty/doubt');
  let score = scalar('novelty/constant', scale.constant);
  for (const [sign, values] of Object.entries({ relative, cosine, outside, doubt })) {
    const share = scalar(`novelty/${sign}Factor`, scale.factors[sign as Sign]);
    score = add('Add', [score, add('Mul', [values, share], `novelty/${sign}Share`)], `novelty/upTo_${sign}`);
  }
  add('Reshape', [score, constant('novelty/flat', int64Tensor([1], [-1]))], assembled.novelty);
  return { nodes, constants };
}
