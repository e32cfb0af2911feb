import { AppError } from '../contract/errors.ts';
import {
  eliminateDead,
  elementCount,
  float32Of,
  float32Tensor,
  graph as makeGraph,
  model as makeModel,
  runtimeInputs,
  setInitializers,
  value as makeValue,
  verifyStructure,
  withGraph,
  type ConstTensor,
  type ElementType,
  type Graph,
  type Model,
} from '../onnx/index.ts';
import { GraphWriter } from './graph-writer.ts';
import { emitLoss, type LossSpec } from './losses.ts';
import { createOptimizer, emitClip, momentsOf, type OptimizerSpec } from './optimizers.ts';
import { addForward, neededPart, stepOpset, type Running } from './prepare.ts';
import { recomputeActivations } from './recompute.ts';
import type { DataType } from './rule.ts';
import { emitLearningRate, emitStepCount, type ScheduleSpec } from './schedules.ts';
import { trainableNames } from './trainable.ts';
import { TRAINING_DOMAIN, TRAINING_VERSION } from './training-facts.ts';
import { walkBack } from './walk.ts';

export interface StepSpec {
  /** The forward model; weights are initializers. */
  model: Model;
  /** Static shape of every input, batch included. */
  inputShapes: Readonly<Record<string, readonly number[]>>;
  /** Names of initializers; 'all': every float32 initializer a gradient can reach (running statistics excepted). */
  trainable: 'all' | readonly string[];
  /** Summed, each times its weight. */
  losses: readonly LossSpec[];
  optimizer: OptimizerSpec;
  /** Gradients are scaled down to this global L2 norm, as torch.nn.utils.clip_grad_norm_ does. */
  clipNorm?: number;
  schedule: ScheduleSpec;
  /** 'train': statistics of the batch, running statistics updated. 'frozen': the running statistics, unchanged. */
  batchNorm: 'train' | 'frozen';
  /** 'activations': cheap activations are computed again for the backward part instead of being kept. Default 'none'. */
  recompute?: 'none' | 'activations';
  /** Parameters without weight decay. Default: decay all, as PyTorch's optimisers do. */
  noDecay?: (name: string, shape: readonly number[]) => boolean;
  /** Values of the forward graph to give out as well. */
  extraOutputs?: readonly string[];
}

export interface StateEntry {
  /** Input of the step graph. */
  readonly name: string;
  /** Output of the step graph: its value for the next step. */
  readonly next: string;
  readonly role: 'parameter' | 'momentum' | 'moment1' | 'moment2' | 'running' | 'stepCount';
  /** Initializer of the forward model it belongs to (none: stepCount). */
  readonly parameter?: string;
  readonly type: DataType;
  readonly dims: readonly number[];
  /** May be a view of the model's bytes: copy before writing. */
  readonly initial: Float32Array | BigInt64Array;
}

export interface BatchInput {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: DataType;
}

export interface TrainingStep {
  /** Standard ops and training ops; every value stands in graph.valueInfo (or inputs, outputs) with its static shape. */
  readonly model: Model;
  readonly state: readonly StateEntry[];
  /** What is fed anew in each step: the model's inputs, targets, teacher values. */
  readonly batch: readonly BatchInput[];
  /** Output, float32 []. */
  readonly loss: string;
  /** Output, float32 []. */
  readonly learningRate: string;
  /** Output, float32 [], before clipping; only with clipNorm. */
  readonly gradientNorm?: string;
  readonly extraOutputs: readonly string[];
}

const STEP_COUNT = 'stepCount';

const lossValues = (loss: LossSpec): readonly string[] => {
  if (loss.kind === 'crossEntropy') return [loss.logits];
  if (loss.kind === 'kl') return [loss.student];
  return loss.kind === 'l1' ? loss.parameters : [loss.value];
};

/** Running statistics of the batch normalisations: initializers that nothing else may read. */
const runningNames = (graph: Graph): ReadonlySet<string> =>
  new Set(graph.nodes.filter((node) => node.op === 'BatchNormalization').flatMap((node) => node.inputs.slice(3, 5)));

/**
 * One graph that does a whole training step: forward, losses, gradients, optimiser, learning-rate schedule. State goes in as inputs and comes out
 * as outputs. Nodes stand in an order in which values die early: each weight is updated as soon as its gradient is complete.
 * @throws UNSUPPORTED_OP (op, opset, node) for an op without gradient rule, a weight that is not float32, a shape that is not static;
 * INVALID_INPUT for a wrong specification; GRAPH_INVALID where shapes contradict each other.
 */
export function buildTrainingStep(spec: StepSpec): TrainingStep {
  if (spec.losses.length === 0) throw invalid('it has no loss');
  const opset = stepOpset(spec.model);
  const graph = neededPart(spec.model, [...spec.losses.flatMap(lossValues), ...(spec.extraOutputs ?? [])]);
  const trainable = trainableNames(graph, spec.trainable, opset);
  const running = spec.batchNorm === 'train' ? runningNames(graph) : new Set<string>();
  const writer = new GraphWriter(spec.model, opset);

  const batch: BatchInput[] = [];
  const input = (name: string, type: ElementType, dims: readonly number[]): string => {
    const known = batch.find((item) => item.name === name);
    if (known && (known.type !== type || known.dims.join() !== dims.join())) {
      throw invalid(`the input "${name}" would be ${known.type} [${known.dims.join()}] and ${type} [${dims.join()}]`);
    }
    if (!known) {
      if (writer.has(name) || graph.initializers.has(name)) throw invalid(`the name "${name}" is taken in the model`);
      batch.push({ name, type, dims });
      writer.declareInput(name, type, dims);
    }
    return name;
  };
  declareInputs(writer, graph, spec.inputShapes, batch);
  for (const [name, tensor] of graph.initializers) {
    const isState = trainable.has(name) || (running.has(name) && tensor.type === 'float32');
    if (isState) writer.declareInput(name, tensor.type, tensor.dims);
    else writer.initializer(name, tensor);
  }
  const statistics = addForward(writer, graph, spec.batchNorm);
  const forwardLength = writer.nodes.length;

  const seeds = new Map<string, string[]>();
  const gradient = (of: string, name: string) => void seeds.set(of, [...(seeds.get(of) ?? []), name]);
  const losses = spec.losses.map((loss) => emitLoss({ writer, input, gradient, opset }, loss));
  writer.scope = 'loss';
  const loss = losses.length === 1 ? losses[0]! : writer.emit1('Sum', losses);

  writer.scope = '';
  const stepCount = writer.fresh(STEP_COUNT);
  writer.declareInput(stepCount, 'int64', []);
  const { count, next } = emitStepCount(writer, stepCount);
  const learningRate = emitLearningRate(writer, spec.schedule, count);
  const updates = emitUpdates(writer, spec, { graph, trainable, seeds, forwardLength, learningRate, count });
  if (updates.state.length === 0) throw invalid('no trainable parameter has an influence on the losses');

  const state: StateEntry[] = [
    ...updates.state,
    ...runningState(graph, statistics),
    { name: stepCount, next, role: 'stepCount', type: 'int64', dims: [], initial: new BigInt64Array(1) },
  ];
  const extraOutputs = [...(spec.extraOutputs ?? [])];
  const outputs = [
    loss,
    learningRate,
    ...(updates.norm ? [updates.norm] : []),
    ...extraOutputs,
    ...state.map((entry) => entry.next),
  ];
  if (spec.recompute === 'activations') recomputeActivations(writer, forwardLength, new Set(outputs));
  const model = assemble(writer, batch, state, outputs);
  return {
    model,
    state,
    batch: batch.filter(({ name }) => model.graph.inputs.some((item) => item.name === name)),
    loss,
    learningRate,
    ...(updates.norm ? { gradientNorm: updates.norm } : {}),
    extraOutputs,
  };
}

const invalid = (problem: string) => new AppError('INVALID_INPUT', { what: 'the training step', problem });

/** @throws INVALID_INPUT where a size is left open. */
function declareInputs(
  writer: GraphWriter,
  graph: Graph,
  inputShapes: StepSpec['inputShapes'],
  batch: BatchInput[],
): void {
  const read = new Set([...graph.nodes.flatMap((node) => node.inputs), ...graph.outputs.map(({ name }) => name)]);
  for (const { name, type, shape } of runtimeInputs(graph)) {
    if (!read.has(name)) continue;
    const given = inputShapes[name] ?? shape;
    if (!type || !given?.every((dim): dim is number => Number.isSafeInteger(dim) && Number(dim) > 0)) {
      throw invalid(`the input "${name}" is [${given?.join(', ') ?? 'of unknown rank'}]: give every size`);
    }
    if (shape && shape.some((dim, axis) => typeof dim === 'number' && dim !== given[axis])) {
      throw invalid(`the input "${name}" is [${shape.join(', ')}] in the model, [${given.join(', ')}] is given`);
    }
    const dims = given as number[];
    batch.push({ name, type, dims });
    writer.declareInput(name, type, dims);
  }
}

interface UpdateContext {
  graph: Graph;
  trainable: ReadonlySet<string>;
  seeds: ReadonlyMap<string, readonly string[]>;
  forwardLength: number;
  learningRate: string;
  /** float32 step count. */
  count: string;
}

/** Gradients and updates; without clipping each update follows its gradient at once. */
function emitUpdates(
  writer: GraphWriter,
  spec: StepSpec,
  context: UpdateContext,
): { state: readonly StateEntry[]; norm?: string } {
  const { graph, trainable, seeds, forwardLength, learningRate, count } = context;
  const optimize = createOptimizer(writer, spec.optimizer, learningRate, count);
  const state = new Map<string, readonly StateEntry[]>();
  const update = (name: string, gradient: string): void => {
    const { type, dims } = graph.initializers.get(name)!;
    const outer = writer.scope;
    writer.scope = name;
    const roles = momentsOf(spec.optimizer).map(({ role }) => role);
    const moments = roles.map((role) => {
      const moment = writer.fresh(role);
      writer.declareInput(moment, 'float32', dims);
      return moment;
    });
    writer.scope = `update/${name}`;
    const decays = !spec.noDecay?.(name, dims);
    const after = optimize({ parameter: name, gradient, moments, decays });
    writer.scope = outer;
    const common = { parameter: name, type, dims };
    const initial = float32Of(graph.initializers.get(name)!);
    state.set(name, [
      { ...common, name, next: after.parameter, role: 'parameter', initial },
      ...roles.map((role, i) => {
        const zeros = new Float32Array(elementCount(dims));
        return { ...common, name: moments[i]!, next: after.moments[i]!, role, initial: zeros };
      }),
    ]);
  };
  const gradients = new Map<string, string>();
  const nodes = writer.nodes.slice(0, forwardLength);
  const onGradient = spec.clipNorm === undefined ? update : (name: string, found: string) => gradients.set(name, found);
  walkBack({ writer, nodes, wanted: trainable, seeds, onGradient });
  let norm: string | undefined;
  if (spec.clipNorm !== undefined && gradients.size > 0) {
    const clip = emitClip(writer, [...gradients.values()], spec.clipNorm);
    norm = clip.norm;
    for (const [name, gradient] of gradients) update(name, writer.emit1('Mul', [gradient, clip.factor]));
  }
  const missing = [...trainable].find((name) => !state.has(name));
  if (missing !== undefined) {
    if (spec.trainable !== 'all') throw invalid(`no gradient reaches the parameter "${missing}"`);
    // Not learnt from these losses: a constant again.
    for (const name of trainable) if (!state.has(name)) writer.initializer(name, graph.initializers.get(name)!);
  }
  // In the order of the forward model, whatever the walk's order was.
  const ordered = [...graph.initializers.keys()].flatMap((name) => state.get(name) ?? []);
  return { state: ordered, ...(norm ? { norm } : {}) };
}

const runningState = (graph: Graph, statistics: Running): StateEntry[] =>
  [...statistics].map(([name, next]) => {
    const { type, dims } = graph.initializers.get(name)!;
    const initial = float32Of(graph.initializers.get(name)!);
    return { name, next, role: 'running', parameter: name, type, dims, initial };
  });

function assemble(
  writer: GraphWriter,
  batch: readonly BatchInput[],
  state: readonly StateEntry[],
  outputs: readonly string[],
): Model {
  const declared = [...batch, ...state];
  const whole: Graph = {
    ...makeGraph({
      name: 'training step',
      nodes: writer.nodes,
      inputs: declared.map(({ name, type, dims }) => makeValue(name, type, dims)),
      outputs: [...new Set(outputs)].map((name) => makeValue(name, writer.type(name), writer.shape(name))),
      initializers: writer.initializers,
    }),
    valueInfo: writer.valueInfo(),
  };
  const live = eliminateDead(whole);
  const read = new Set(live.nodes.flatMap((node) => node.inputs));
  const given = new Set(outputs);
  const kept = live.inputs.filter(({ name }) => read.has(name) || state.some((entry) => entry.name === name));
  const valueInfo = new Map([...live.valueInfo].filter(([name]) => !given.has(name)));
  const model = makeModel({ ...live, inputs: kept, valueInfo }, { opset: writer.opset });
  const result = { ...model, opsets: new Map([...model.opsets, [TRAINING_DOMAIN, TRAINING_VERSION]]) };
  verifyStructure(result);
  return result;
}

/**
 * Trained weights and running statistics back into the forward model.
 * @param values `StateEntry.parameter` -> row-major elements (copied).
 * @throws INVALID_INPUT for a name the model does not have or another number of elements.
 */
export function writeState(model: Model, values: ReadonlyMap<string, Float32Array>): Model {
  const changes = new Map<string, ConstTensor>();
  for (const [name, data] of values) {
    const old = model.graph.initializers.get(name);
    const what = 'the trained state';
    if (!old || old.type !== 'float32') {
      throw new AppError('INVALID_INPUT', { what, problem: `the model has no float32 initializer "${name}"` });
    }
    if (elementCount(old.dims) !== data.length) {
      const problem = `"${name}" has ${data.length} elements, [${old.dims.join(', ')}] needs ${elementCount(old.dims)}`;
      throw new AppError('INVALID_INPUT', { what, problem });
    }
    changes.set(name, float32Tensor(old.dims, data.slice()));
  }
  const result = withGraph(model, setInitializers(model.graph, changes));
  verifyStructure(result);
  return result;
}
