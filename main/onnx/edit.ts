import { AppError, assert } from '../contract/errors.ts';
import type { Attribute, ConstTensor, Graph, Model, Node, Value } from './model.ts';

/* Edits are pure: they return a new graph that shares what stayed the same. None checks the result: end a pass with verifyStructure. */

export const withGraph = (model: Model, graph: Graph): Model => ({ ...model, graph });

// ---------------------------------------------------------------- looking things up
const subgraphsOf = (node: Node): Graph[] => {
  const found: Graph[] = [];
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === 'graph') found.push(attribute.value);
    else if (attribute.kind === 'graphs') found.push(...attribute.value);
  }
  return found;
};

/** Names that a graph's bodies take from outside it. */
function captured(graph: Graph, into: Set<string>): void {
  const own = new Set<string>([...graph.initializers.keys(), ...graph.inputs.map((input) => input.name)]);
  for (const node of graph.nodes) {
    for (const name of usedBy(node)) if (!own.has(name)) into.add(name);
    for (const name of node.outputs) own.add(name);
  }
  for (const { name } of graph.outputs) if (!own.has(name)) into.add(name);
}

/** All values a node reads, those read by bodies inside it (If, Loop) included. */
export function usedBy(node: Node): readonly string[] {
  const bodies = subgraphsOf(node);
  const direct = node.inputs.filter((name) => name !== '');
  if (bodies.length === 0) return direct;
  const names = new Set(direct);
  for (const body of bodies) captured(body, names);
  return [...names];
}

export interface GraphIndex {
  /** Value name -> node that makes it (none for inputs and initializers). */
  readonly producer: ReadonlyMap<string, Node>;
  /** Value name -> nodes that read it, in graph order. */
  readonly consumers: ReadonlyMap<string, readonly Node[]>;
  readonly outputs: ReadonlySet<string>;
}

/** Built once per pass; it goes stale with the next edit. */
export function indexGraph(graph: Graph): GraphIndex {
  const producer = new Map<string, Node>();
  const consumers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of node.outputs) if (name !== '') producer.set(name, node);
    for (const name of new Set(usedBy(node))) {
      const list = consumers.get(name);
      if (list) list.push(node);
      else consumers.set(name, [node]);
    }
  }
  return { producer, consumers, outputs: new Set(graph.outputs.map((output) => output.name)) };
}

/** Inputs that are fed at run time: those that are not just a listed initializer. */
export const runtimeInputs = (graph: Graph): readonly Value[] =>
  graph.inputs.filter((input) => !graph.initializers.has(input.name));

/** A constant by value name: an initializer or the tensor of a Constant node. */
export function constantOf(graph: Graph, index: GraphIndex, name: string): ConstTensor | undefined {
  const stored = graph.initializers.get(name);
  if (stored) return stored;
  const node = index.producer.get(name);
  if (node?.op !== 'Constant' || node.domain !== '') return undefined;
  const attribute = node.attributes.get('value');
  return attribute?.kind === 'tensor' ? attribute.value : undefined;
}

/** Every name in use anywhere. */
export function valueNames(graph: Graph): Set<string> {
  const names = new Set<string>([...graph.initializers.keys(), ...graph.inputs.map((input) => input.name)]);
  for (const node of graph.nodes) {
    for (const name of [...node.inputs, ...node.outputs]) names.add(name);
    for (const body of subgraphsOf(node)) for (const name of valueNames(body)) names.add(name);
  }
  return names;
}

/** `base`, or `base_2`, `base_3` … : the first that is not in `taken`, which it joins. */
export function freshName(taken: Set<string>, base: string): string {
  let name = base;
  for (let i = 2; taken.has(name); i++) name = `${base}_${i}`;
  taken.add(name);
  return name;
}

// ---------------------------------------------------------------- order
/**
 * Nodes in an order where each comes after what it reads; keeps the present order where that is possible.
 * @throws GRAPH_INVALID naming a node on a cycle.
 */
export function sortNodes(graph: Graph): Graph {
  const makers = new Map<string, number>();
  graph.nodes.forEach((node, i) => node.outputs.forEach((name) => name !== '' && makers.set(name, i)));
  const state = new Uint8Array(graph.nodes.length); // 0 unseen, 1 open, 2 done
  const order: Node[] = [];
  // An explicit stack: a chain of a million nodes must not overflow the call stack.
  const stack: { at: number; needs: readonly string[]; next: number }[] = [];
  const open = (at: number) => {
    state[at] = 1;
    stack.push({ at, needs: usedBy(graph.nodes[at]!), next: 0 });
  };
  for (let root = 0; root < graph.nodes.length; root++) {
    if (state[root] !== 0) continue;
    open(root);
    while (stack.length > 0) {
      const frame = stack.at(-1)!;
      const need = frame.needs[frame.next++];
      if (need === undefined) {
        state[frame.at] = 2;
        order.push(graph.nodes[frame.at]!);
        stack.pop();
        continue;
      }
      const maker = makers.get(need);
      if (maker === undefined || state[maker] === 2) continue;
      if (state[maker] === 1) {
        throw new AppError('GRAPH_INVALID', {
          where: graph.nodes[maker]!.name || need,
          problem: 'it depends on its own output',
        });
      }
      open(maker);
    }
  }
  return { ...graph, nodes: order };
}

// ---------------------------------------------------------------- edits
type Initializers = ReadonlyMap<string, ConstTensor> | Readonly<Record<string, ConstTensor>>;

const merged = (graph: Graph, more: Initializers | undefined): ReadonlyMap<string, ConstTensor> => {
  if (!more) return graph.initializers;
  const entries = more instanceof Map ? [...more] : Object.entries(more);
  return new Map([...graph.initializers, ...entries]);
};

/** Adds nodes (in any order; the graph is sorted) and the constants they need. */
export const addNodes = (graph: Graph, nodes: readonly Node[], initializers?: Initializers): Graph =>
  sortNodes({ ...graph, nodes: [...graph.nodes, ...nodes], initializers: merged(graph, initializers) });

/** Replaces one node (by identity) by any number of nodes in its place. */
export function replaceNode(graph: Graph, old: Node, by: Node | readonly Node[], initializers?: Initializers): Graph {
  const at = graph.nodes.indexOf(old);
  assert(at >= 0, `node "${old.name}" is of this graph`);
  const nodes = [...graph.nodes];
  nodes.splice(at, 1, ...(Array.isArray(by) ? (by as readonly Node[]) : [by as Node]));
  return { ...graph, nodes, initializers: merged(graph, initializers) };
}

/** Each node becomes what `change` returns: itself, another, several, or none. The way to edit many nodes at once. */
export const mapNodes = (graph: Graph, change: (node: Node) => Node | readonly Node[]): Graph => ({
  ...graph,
  nodes: graph.nodes.flatMap((node) => change(node) as Node | Node[]),
});

export const setInitializer = (graph: Graph, name: string, tensor: ConstTensor): Graph =>
  setInitializers(graph, new Map([[name, tensor]]));

/** Sets several at once; an input that repeats the constant's type (IR 3 style) is dropped, for it may no longer fit. */
export function setInitializers(graph: Graph, tensors: Initializers): Graph {
  const initializers = merged(graph, tensors);
  return { ...graph, initializers, inputs: graph.inputs.filter((input) => !initializers.has(input.name)) };
}

export const setInputs = (graph: Graph, inputs: readonly Value[]): Graph => ({ ...graph, inputs });

export const setOutputs = (graph: Graph, outputs: readonly Value[]): Graph => ({ ...graph, outputs });

const renamed = (names: readonly string[], from: string, to: string): readonly string[] =>
  names.includes(from) ? names.map((name) => (name === from ? to : name)) : names;

function renameInNode(node: Node, from: string, to: string): Node {
  const inputs = renamed(node.inputs, from, to);
  const outputs = renamed(node.outputs, from, to);
  const bodies = subgraphsOf(node);
  if (bodies.length === 0)
    return inputs === node.inputs && outputs === node.outputs ? node : { ...node, inputs, outputs };
  const attributes = new Map<string, Attribute>();
  for (const [name, attribute] of node.attributes) {
    if (attribute.kind === 'graph')
      attributes.set(name, { kind: 'graph', value: renameCaptured(attribute.value, from, to) });
    else if (attribute.kind === 'graphs') {
      attributes.set(name, { kind: 'graphs', value: attribute.value.map((body) => renameCaptured(body, from, to)) });
    } else attributes.set(name, attribute);
  }
  return { ...node, inputs, outputs, attributes };
}

const renameCaptured = (body: Graph, from: string, to: string): Graph => {
  const names = new Set<string>();
  captured(body, names);
  return names.has(from) ? renameValue(body, from, to) : body;
};

/** Renames a value wherever it occurs: nodes, bodies, inputs, outputs, constants. @throws GRAPH_INVALID if `to` is taken. */
export function renameValue(graph: Graph, from: string, to: string): Graph {
  if (from === to) return graph;
  if (valueNames(graph).has(to)) throw new AppError('GRAPH_INVALID', { where: to, problem: 'the name is taken' });
  const rename = (values: readonly Value[]) =>
    values.map((item) => (item.name === from ? { ...item, name: to } : item));
  const moved = <T>(map: ReadonlyMap<string, T>, change: (item: T) => T): ReadonlyMap<string, T> =>
    map.has(from) ? new Map([...map].map(([name, item]) => (name === from ? [to, change(item)] : [name, item]))) : map;
  return {
    ...graph,
    nodes: graph.nodes.map((node) => renameInNode(node, from, to)),
    inputs: rename(graph.inputs),
    outputs: rename(graph.outputs),
    initializers: moved(graph.initializers, (tensor) => tensor),
    valueInfo: moved(graph.valueInfo, (item) => ({ ...item, name: to })),
  };
}

/** Drops nodes, constants and stated types that no output needs. Inputs stay: they are the model's interface. */
export function eliminateDead(graph: Graph): Graph {
  const live = new Set(graph.outputs.map((output) => output.name));
  const producer = new Map<string, Node>();
  for (const node of graph.nodes) for (const name of node.outputs) if (name !== '') producer.set(name, node);
  const kept = new Set<Node>();
  const stack = [...live];
  while (stack.length > 0) {
    const node = producer.get(stack.pop()!);
    if (!node || kept.has(node)) continue;
    kept.add(node);
    for (const name of usedBy(node)) {
      if (live.has(name)) continue;
      live.add(name);
      stack.push(name);
    }
  }
  const made = new Set([...kept].flatMap((node) => node.outputs));
  return {
    ...graph,
    nodes: graph.nodes.filter((node) => kept.has(node)),
    inputs: graph.inputs.filter((input) => live.has(input.name) || !graph.initializers.has(input.name)),
    initializers: new Map([...graph.initializers].filter(([name]) => live.has(name))),
    valueInfo: new Map([...graph.valueInfo].filter(([name]) => made.has(name))),
  };
}
