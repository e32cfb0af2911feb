import { expandTrainingOps, TRAINING_DOMAIN, type TrainingStep } from '../../../autodiff/index.ts';
import {
  indexGraph,
  intAttribute,
  graph as makeGraph,
  model as makeModel,
  node as makeNode,
  numbersOf,
  opsetOf,
  sortNodes,
  valueNames,
  verifyStructure,
  value as makeValue,
  floatValue,
  type ElementType,
  type GraphIndex,
  type Model,
  type Node,
  type Value,
} from '../../../onnx/index.ts';
import type { LoweredStep } from '../lowering.ts';
import { convolve, filterLayout, inputGradient, weightGradient } from './convolution.ts';
import { clipGrad, elementwise, expand, reluGrad, totalReduction } from './elementwise.ts';
import { packedDims, packFilter, unpackFilter, type FilterLayout } from './layout.ts';
import { affine, batchNormFrozen, batchNormGrad, batchNormTrain, type Affine } from './normalisation.ts';
import { globalAveragePool, maxPool, maxPoolGrad } from './pooling.ts';
import { BLOCKED_DOMAIN, BlockedWriter } from './writer.ts';

/** Weights that convolutions read, by input name, and how they lie. */
function stateLayouts(
  step: TrainingStep,
  block: number,
  shapes: ReadonlyMap<string, readonly number[]>,
): Map<string, FilterLayout> {
  const byParameter = new Map<string, FilterLayout>();
  const entries = new Map(step.state.map((entry) => [entry.name, entry]));
  for (const node of step.model.graph.nodes) {
    if (node.op !== 'Conv') continue;
    const entry = entries.get(node.inputs[1]!);
    const layout = entry && filterLayout(shapes.get(entry.name)!, intAttribute(node, 'group', 1), block);
    if (entry?.parameter && layout) byParameter.set(entry.parameter, layout);
  }
  const found = new Map<string, FilterLayout>();
  for (const { name, parameter, dims } of step.state) {
    const layout = parameter === undefined ? undefined : byParameter.get(parameter);
    if (layout && layout.dims.join() === dims.join()) found.set(name, layout);
  }
  return found;
}

function shapesOf(model: Model): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const { inputs, outputs, valueInfo, initializers } = model.graph;
  for (const item of [...inputs, ...outputs, ...valueInfo.values()])
    shapes.set(item.name, item.shape as readonly number[]);
  for (const [name, tensor] of initializers) shapes.set(name, tensor.dims);
  return shapes;
}

function typesOf(model: Model): Map<string, ElementType> {
  const { inputs, outputs, valueInfo } = model.graph;
  return new Map([...inputs, ...outputs, ...valueInfo.values()].map((item) => [item.name, item.type ?? 'float32']));
}

/**
 * The step graph on ORT's blocked tensors: convolutions and their gradients, batch normalisation, activations and pooling run in one layout
 * that the CPU's vector kernels read directly; what has no blocked form is converted at its borders and runs as standard ONNX.
 * @param block vector width of the kernels, see probe.ts.
 */
export function lowerBlocked(step: TrainingStep, block: number): LoweredStep {
  const { graph } = step.model;
  const shapes = shapesOf(step.model);
  const layouts = stateLayouts(step, block, shapes);
  const index = indexGraph(graph);
  const writer = new BlockedWriter({
    block,
    taken: valueNames(graph),
    shapes,
    types: typesOf(step.model),
    opset: opsetOf(step.model),
  });

  for (const { name } of graph.inputs) {
    const layout = layouts.get(name);
    if (layout) writer.setFilter(name, name, layout);
    else writer.set(name, 'plain', name);
  }
  for (const [name, tensor] of graph.initializers) {
    writer.initializers.set(name, tensor);
    writer.set(name, 'plain', name);
  }
  const fusion = createFusion(writer, index);
  for (const node of graph.nodes) lowerNode(writer, node, fusion);

  const results = new Map<string, string[]>();
  const outputs = graph.outputs.map((output): Value => {
    const entry = step.state.find(({ next }) => next === output.name);
    const layout = entry && layouts.get(entry.name);
    const made = layout ? writer.filter(output.name, layout) : writer.plain(output.name);
    if (made !== output.name) results.set(made, [...(results.get(made) ?? []), output.name]);
    return layout ? makeValue(output.name, 'float32', packedDims(layout)) : output;
  });
  const inputs = graph.inputs.map((input): Value => {
    const layout = layouts.get(input.name);
    return layout ? makeValue(input.name, 'float32', packedDims(layout)) : input;
  });
  const nodes = byDepth(named(writer.nodes, results));
  const used = new Set([...nodes.flatMap((node) => node.inputs), ...outputs.map(({ name }) => name)]);
  const model: Model = {
    ...step.model,
    opsets: new Map(
      [...step.model.opsets, [BLOCKED_DOMAIN, 1]].filter(([domain]) => domain !== TRAINING_DOMAIN) as [
        string,
        number,
      ][],
    ),
    graph: sortNodes({
      ...graph,
      nodes,
      inputs,
      outputs,
      initializers: new Map([...writer.initializers].filter(([name]) => used.has(name))),
      valueInfo: new Map(),
    }),
  };
  verifyStructure(model);
  return {
    model,
    pack: (name, tensor) => (layouts.has(name) ? packFilter(layouts.get(name)!, tensor) : tensor),
    unpack: (name, tensor) => (layouts.has(name) ? unpackFilter(layouts.get(name)!, tensor) : tensor),
  };
}

/**
 * By longest distance from the inputs. ORT looks for what an output needs depth first, latest node first: what only depends on the forward
 * part (masks, recomputed activations) stands before the gradients then, and is computed when the gradient that meets it is there.
 */
function byDepth(nodes: readonly Node[]): Node[] {
  const depth = new Map<string, number>();
  const placed = sortNodes({ ...makeGraph({ nodes, inputs: [], outputs: [] }) }).nodes.map((node) => {
    const at = 1 + Math.max(0, ...node.inputs.map((name) => depth.get(name) ?? 0));
    for (const name of node.outputs) depth.set(name, at);
    return { node, at };
  });
  return placed.sort((a, b) => a.at - b.at).map(({ node }) => node);
}

/** Gives values the names of the outputs they are, without a copy where that is possible. */
function named(nodes: readonly Node[], results: ReadonlyMap<string, readonly string[]>): Node[] {
  const made = new Set(nodes.flatMap((node) => node.outputs));
  const names = new Map<string, string>();
  const copies: Node[] = [];
  for (const [value, [first, ...others]] of results) {
    if (made.has(value)) names.set(value, first!);
    else copies.push(makeNode('Identity', [value], [first!]));
    for (const other of others) copies.push(makeNode('Identity', [made.has(value) ? first! : value], [other]));
  }
  const renamed = (list: readonly string[]) => list.map((name) => names.get(name) ?? name);
  return [
    ...nodes.map((node) => ({ ...node, inputs: renamed(node.inputs), outputs: renamed(node.outputs) })),
    ...copies,
  ];
}

/** A normalisation waits for the addition and the activation that follow it and alone read it: then all are one pass. */
interface Fusion {
  defer(y: string, map: Affine): void;
  add(node: Node): boolean;
  activate(node: Node): boolean;
}

function createFusion(writer: BlockedWriter, index: GraphIndex): Fusion {
  const waiting = new Map<string, { map: Affine; sum?: string }>();
  const onlyReader = (name: string): Node | undefined => {
    const readers = index.consumers.get(name) ?? [];
    return readers.length === 1 && !index.outputs.has(name) ? readers[0] : undefined;
  };
  const wait = (name: string, map: Affine, sum?: string): void => {
    waiting.set(name, { map, ...(sum ? { sum } : {}) });
    writer.setPending(name, () => affine(writer, map, sum ? { sum } : {}));
  };
  const take = (name: string): { map: Affine; sum?: string } | undefined => {
    if (!writer.isPending(name) || !onlyReader(name)) return undefined;
    writer.dropPending(name);
    return waiting.get(name);
  };
  return {
    defer: (y, map) => wait(y, map),
    add(node) {
      const [a, b] = node.inputs as [string, string];
      const y = node.outputs[0]!;
      if (a === b || writer.shape(a).join() !== writer.shape(b).join() || !writer.blockable(y)) return false;
      const [first, other] = writer.isPending(a) && !waiting.get(a)?.sum ? [a, b] : [b, a];
      if (waiting.get(first)?.sum) return false;
      const found = take(first);
      if (!found) return false;
      wait(y, found.map, writer.blocked(other));
      return true;
    },
    activate(node) {
      const found = take(node.inputs[0]!);
      if (!found) return false;
      const activation =
        node.op === 'Relu' ? { name: 'Relu' } : { name: 'Clip', params: clipBounds(writer, node) as readonly number[] };
      const sum = found.sum ? { sum: found.sum } : {};
      writer.set(node.outputs[0]!, 'blocked', affine(writer, found.map, { ...sum, activation }));
      return true;
    },
  };
}

function clipBounds(writer: BlockedWriter, node: Node): readonly number[] | undefined {
  const bound = (at: number, name: string, none: number): number | undefined => {
    const input = node.inputs[at];
    if (!input) return floatValue(node, name, none);
    const constant = writer.initializers.get(input);
    return constant && numbersOf(constant)[0];
  };
  const [low, high] = [bound(1, 'min', -3.4e38), bound(2, 'max', 3.4e38)];
  // Lanes past the last channel hold 0, which must stay 0.
  return low === undefined || high === undefined || low > 0 || high < 0 ? undefined : [low, high];
}

type Row = (writer: BlockedWriter, node: Node, fusion: Fusion) => boolean;

/** Op -> the blocked form; false: not this one, take the standard form. */
const rows: ReadonlyMap<string, Row> = new Map<string, Row>([
  ['Conv', convolve],
  ['ConvInputGrad', inputGradient],
  ['ConvWeightGrad', weightGradient],
  ['BatchNormTrain', (writer, node, fusion) => batchNormTrain(writer, node, fusion.defer)],
  ['BatchNormalization', (writer, node, fusion) => batchNormFrozen(writer, node, fusion.defer)],
  ['BatchNormGrad', batchNormGrad],
  ['Relu', (writer, node, fusion) => fusion.activate(node) || elementwise(writer, node)],
  [
    'Clip',
    (writer, node, fusion) => clipBounds(writer, node) !== undefined && (fusion.activate(node) || clip(writer, node)),
  ],
  ['ReluGrad', reluGrad],
  ['ClipGrad', clipGrad],
  ['Add', (writer, node, fusion) => fusion.add(node) || elementwise(writer, node)],
  ['Expand', expand],
  ['GlobalAveragePool', globalAveragePool],
  ['MaxPool', maxPool],
  ['MaxPoolGrad', maxPoolGrad],
]);

/** Bounds around 0 keep the lanes past the last channel zero. */
function clip(writer: BlockedWriter, node: Node): boolean {
  const [x, ...bounds] = node.inputs as [string, ...string[]];
  if (!writer.has(x, 'blocked') || !writer.blockable(x)) return false;
  const inputs = [writer.blocked(x), ...bounds.map((name) => writer.plain(name))];
  writer.set(node.outputs[0]!, 'blocked', writer.emit('Clip', inputs, Object.fromEntries(node.attributes)));
  return true;
}

function lowerNode(writer: BlockedWriter, node: Node, fusion: Fusion): void {
  if (rows.get(node.op)?.(writer, node, fusion)) return;
  if (elementwise(writer, node) || totalReduction(writer, node)) return;
  const standard = node.domain === TRAINING_DOMAIN ? expanded(writer, node) : [node];
  for (const each of standard) {
    writer.nodes.push({
      ...each,
      inputs: each.inputs.map((name) => (node.inputs.includes(name) ? writer.plain(name) : name)),
    });
  }
  for (const name of node.outputs) if (name !== '') writer.set(name, 'plain', name);
}

/** One training op as standard nodes, whose inner values have names that are free here. */
function expanded(writer: BlockedWriter, node: Node): Node[] {
  const interfaceOf = (names: readonly string[]) =>
    [...new Set(names)]
      .filter((name) => name !== '')
      .map((name) => makeValue(name, writer.type(name), writer.shape(name)));
  const alone = makeModel(
    makeGraph({ nodes: [node], inputs: interfaceOf(node.inputs), outputs: interfaceOf(node.outputs) }),
    { opset: writer.opset },
  );
  const { nodes, initializers } = expandTrainingOps(alone).graph;
  const names = new Map([...node.inputs, ...node.outputs].map((name) => [name, name]));
  const renamed = (name: string): string => {
    if (!names.has(name)) names.set(name, writer.fresh(name));
    return names.get(name)!;
  };
  for (const [name, tensor] of initializers) writer.initializers.set(renamed(name), tensor);
  return nodes.map((each) => ({
    ...each,
    name: renamed(each.outputs[0]!),
    inputs: each.inputs.map(renamed),
    outputs: each.outputs.map(renamed),
  }));
}
