import {
  indexGraph,
  inferShapes,
  opsetOf,
  runtimeInputs,
  usedBy,
  type Graph,
  type Model,
  type Node,
} from '../../onnx/index.ts';
import { Atoms, type Label } from './channels.ts';
import { rules, type Counted } from './operator-rules.ts';

/*
 * Dependency groups: which weights must lose the same channels together (the idea of DepGraph, Fang et al. 2023). The rules of the operators tie entries of
 * channel axes (channels.ts); what is tied is one channel, and channels that the same nodes make and read are one group. A channel may be several rows of a
 * weight: one head of an attention, one group of a grouped convolution, one channel of a flattened map.
 */

/** A constant that is cut along `axis` when channels of a group go. */
export interface Slice {
  initializer: string;
  axis: number;
  /** Channel of the group that each entry of the axis belongs to; -1: to none. */
  channels: Int32Array;
}

export interface Consumer {
  node: Node;
  /** Weight [out, in, kh, kw] of a Conv, or a matrix of a Gemm or MatMul. */
  weight: string;
  /** Axis of `weight` that runs over the group's channels. */
  axis: number;
  /** Channel of the group that each entry of the axis belongs to; -1: to another group. */
  channels: Int32Array;
}

/** A number that falls with the channels: see Counted. */
export interface Count extends Pick<Counted, 'node' | 'place' | 'values' | 'entry'> {
  /** Channel of the group that each unit of the number belongs to; -1: to none. */
  channels: Int32Array;
}

export interface DependencyGroup {
  /** Name of the first tensor of the group, in graph order. */
  id: string;
  channels: number;
  /** Rows of the widest weight that one channel takes: 64 for a head of 64, 1 for a plain channel. */
  unit: number;
  /** Activations that carry these channels, in graph order. */
  tensors: readonly string[];
  /** Share of each tensor's channels that are of this group. */
  shares: ReadonlyMap<string, number>;
  /** Channel of the group that each entry of a tensor's only channel axis belongs to; -1: to none. */
  columns: ReadonlyMap<string, Int32Array>;
  /** Nodes that make these channels from others (Conv, Gemm, MatMul). */
  producers: readonly Node[];
  /** Nodes that mix these channels into others; their input axis is cut. */
  consumers: readonly Consumer[];
  /** All that is cut: producers' rows and biases, per-channel constants, consumers' columns. */
  slices: readonly Slice[];
  counts: readonly Count[];
  /** Names of graph outputs that carry these channels. */
  outputs: readonly string[];
  /** Why the group cannot be pruned; null: it can. */
  frozen: string | null;
}

const SIDE = 224;

/** Shapes for one picture, as far as they can be told. */
export function shapesOf(model: Model): ReadonlyMap<string, readonly number[]> {
  const inputShapes = Object.fromEntries(
    runtimeInputs(model.graph).map(({ name, shape }) => [
      name,
      (shape ?? []).map((dim, axis) => (typeof dim === 'number' ? dim : axis >= 2 ? SIDE : axis === 1 ? 3 : 1)),
    ]),
  );
  const infos = inferShapes(model, { inputShapes, unknownOps: 'unknown' });
  return new Map(
    [...infos].flatMap(([name, { shape }]): [string, number[]][] =>
      shape?.every((dim): dim is number => typeof dim === 'number') ? [[name, [...shape]]] : [],
    ),
  );
}

interface Traced {
  atoms: Atoms;
  labels: Map<string, Label>;
  /** Axes of constants: initializer -> axis -> atoms. */
  constants: Map<string, Map<number, Int32Array>>;
  produced: { node: Node; atoms: Int32Array }[];
  consumed: { node: Node; weight: string; axis: number; atoms: Int32Array }[];
  counted: Counted[];
}

/** Walks the graph once; every operator has its say. */
function trace(model: Model): Traced {
  const { graph } = model;
  const opset = opsetOf(model);
  const shapes = shapesOf(model);
  const atoms = new Atoms();
  const labels = new Map<string, Label>();
  const constants: Traced['constants'] = new Map();
  const produced: Traced['produced'] = [];
  const consumed: Traced['consumed'] = [];
  const counted: Counted[] = [];
  const rigid: { label: Label; axis: number; why: string }[] = [];
  const uses = new Map<string, number>();
  const seen = new Map<string, Set<string>>();
  for (const node of graph.nodes) {
    for (const input of usedBy(node)) uses.set(input, (uses.get(input) ?? 0) + 1);
  }
  const axisOf = (name: string, axis: number): Int32Array => {
    const axes = constants.get(name) ?? new Map<number, Int32Array>();
    constants.set(name, axes);
    const known = axes.get(axis) ?? atoms.fresh(graph.initializers.get(name)!.dims[axis]!);
    axes.set(axis, known);
    return known;
  };
  graph.nodes.forEach((node, at) => {
    const called = `${node.op} "${node.outputs[0]}"`;
    const rule = node.domain === '' ? rules.get(node.op) : undefined;
    const name = (index: number) => node.inputs[index] ?? '';
    const why = rule
      ? rule({
          node,
          opset,
          atoms,
          label: (index) => labels.get(name(index)) ?? null,
          shape: (index) => shapes.get(name(index)) ?? null,
          outputShape: (index = 0) => shapes.get(node.outputs[index] ?? '') ?? null,
          constant: (index) => graph.initializers.get(name(index)) ?? null,
          axisOf(index, axis) {
            const users = seen.get(name(index)) ?? new Set();
            seen.set(name(index), users.add(`${at} ${index}`));
            return axisOf(name(index), axis);
          },
          setLabel(output, label) {
            if (label.axes.length > 0 && node.outputs[output]) labels.set(node.outputs[output], label);
          },
          produces: (made) => produced.push({ node, atoms: made }),
          consumes: (index, axis, read) => consumed.push({ node, weight: name(index), axis, atoms: read }),
          counts: (each) => counted.push({ node, ...each }),
          freeze: (list, reason) => atoms.freeze(list, `${called}: ${reason}`),
          rigid: (label, axis, reason) => rigid.push({ label, axis, why: `${called}: ${reason}` }),
        })
      : 'pruning does not know this operator';
    if (why === null) return;
    for (const each of [...usedBy(node), ...node.outputs]) {
      const label = labels.get(each);
      if (label) atoms.freeze(label.atoms, `${called}: ${why}`);
    }
  });
  // A constant that another node reads in a way that no rule follows.
  for (const [name, axes] of constants) {
    if ((seen.get(name)?.size ?? 0) >= (uses.get(name) ?? 0)) continue;
    for (const each of axes.values()) atoms.freeze(each, `the constant "${name}" is used by several nodes`);
  }
  const all = [...labels.values()];
  while (all.map((label) => atoms.square(label)).includes(true));
  for (const { label, axis, why } of rigid)
    atoms.freeze(
      atoms.slabs(label, axis).filter((root) => root >= 0),
      why,
    );
  for (const [name, label] of labels) {
    const first = atoms.root(label.atoms[0]!);
    if (label.atoms.every((atom) => atoms.root(atom) === first)) {
      atoms.freeze([first], `nothing would be left of "${name}"`);
    }
  }
  return { atoms, labels, constants, produced, consumed, counted };
}

/**
 * Groups of a graph, in the order of their first tensor. Groups without a producer (the image) are left out. Fold constants and BatchNorm first: weights that
 * are computed are not seen as such.
 * @throws GRAPH_INVALID where shapes contradict each other
 */
export function findGroups(model: Model): DependencyGroup[] {
  const { graph } = model;
  const { atoms, labels, constants, produced, consumed, counted } = trace(model);
  const frozen = atoms.frozen();
  // What makes and reads a channel; channels of one group have the same.
  const facts = new Map<number, string[]>();
  const note = (list: Iterable<number>, fact: string) => {
    for (const root of new Set([...list].map((atom) => atoms.root(atom)))) {
      facts.set(root, [...(facts.get(root) ?? []), fact]);
    }
  };
  produced.forEach(({ atoms: made }, i) => note(made, `made ${i}`));
  const made = new Set(facts.keys());
  consumed.forEach(({ atoms: read }, i) => note(read, `read ${i}`));
  graph.outputs.forEach(({ name }, i) => note(labels.get(name)?.atoms ?? [], `output ${i}`));
  const kinds = new Map<string, number[]>();
  for (const root of [...made].sort((a, b) => a - b)) {
    const kind = [...facts.get(root)!, frozen.get(root) ?? ''].join('\n');
    kinds.set(kind, [...(kinds.get(kind) ?? []), root]);
  }
  const order = new Map(graph.nodes.flatMap(({ outputs }) => outputs).map((name, i) => [name, i]));
  const members = [...labels].sort(([a], [b]) => order.get(a)! - order.get(b)!);
  const ids = new Map<string, number>();
  const groups = [...kinds.values()].map((roots): DependencyGroup => {
    const channelOf = new Map(roots.map((root, channel) => [root, channel]));
    const channel = (atom: number): number => (atom < 0 ? -1 : (channelOf.get(atoms.root(atom)) ?? -1));
    const has = (list: Int32Array): boolean => list.some((atom) => channel(atom) >= 0);
    const shares = new Map<string, number>();
    for (const [name, label] of members) {
      const own = label.atoms.reduce((sum, atom) => sum + (channel(atom) >= 0 ? 1 : 0), 0);
      if (own > 0) shares.set(name, own / label.atoms.length);
    }
    const slices: Slice[] = [];
    for (const [initializer, axes] of constants) {
      for (const [axis, list] of axes) if (has(list)) slices.push({ initializer, axis, channels: list.map(channel) });
    }
    const counts: Count[] = [];
    const unitsOf = ({ units }: Counted) =>
      atoms.slabs(units.label, units.axis).subarray(units.start, units.end).map(channel);
    // Negative and open bounds were resolved: where one number of a node falls, all of them are written anew.
    const touched = new Set(counted.filter((each) => unitsOf(each).some((one) => one >= 0)).map(({ node }) => node));
    for (const each of counted) {
      const { node, place, values, entry } = each;
      if (touched.has(node)) counts.push({ node, place, values, entry, channels: unitsOf(each) });
    }
    const tensors = [...shares.keys()];
    const producers = produced.filter((each) => has(each.atoms));
    const first = tensors[0] ?? producers[0]!.node.outputs[0]!;
    const twins = ids.get(first) ?? 0;
    ids.set(first, twins + 1);
    const rowsOf = (list: Int32Array) => list.reduce((sum, atom) => sum + (channel(atom) >= 0 ? 1 : 0), 0);
    return {
      id: twins === 0 ? first : `${first} (part ${twins + 1})`,
      channels: roots.length,
      unit: Math.max(...producers.map((each) => Math.round(rowsOf(each.atoms) / roots.length))),
      tensors,
      shares,
      columns: new Map(
        members
          .filter(([name, label]) => shares.has(name) && label.axes.length === 1)
          .map(([name, label]) => [name, label.atoms.map(channel)]),
      ),
      producers: producers.map(({ node }) => node),
      consumers: consumed
        .filter((each) => has(each.atoms))
        .map(({ node, weight, axis, atoms: read }) => ({ node, weight, axis, channels: read.map(channel) })),
      slices,
      counts,
      outputs: graph.outputs.map(({ name }) => name).filter((name) => shares.has(name)),
      frozen: frozen.get(roots[0]!) ?? null,
    };
  });
  const place = ({ tensors }: DependencyGroup) => order.get(tensors[0] ?? '') ?? Infinity;
  return groups.sort((a, b) => place(a) - place(b));
}

/** Nodes whose operator pruning has no row for, by operator. */
export function unknownOperators({ graph }: Model): Map<string, number> {
  const out = new Map<string, number>();
  for (const { op, domain } of graph.nodes) {
    if (domain === '' && rules.has(op)) continue;
    const name = domain === '' ? op : `${domain}.${op}`;
    out.set(name, (out.get(name) ?? 0) + 1);
  }
  return out;
}

/** A matrix product whose bias is an Add of its own: that Add; null: none. */
export function biasBehind(graph: Graph, node: Node): { node: Node; bias: string } | null {
  if (node.op !== 'MatMul') return null;
  const index = indexGraph(graph);
  const output = node.outputs[0]!;
  const readers = index.consumers.get(output) ?? [];
  const [add] = readers;
  if (readers.length !== 1 || add?.op !== 'Add' || index.outputs.has(output)) return null;
  const bias = add.inputs.find((name) => name !== output);
  const dims = bias === undefined ? undefined : graph.initializers.get(bias)?.dims;
  return bias !== undefined && dims?.length === 1 ? { node: add, bias } : null;
}
