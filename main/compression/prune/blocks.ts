import {
  eliminateDead,
  indexGraph,
  usedBy,
  verifyStructure,
  withGraph,
  type Graph,
  type GraphIndex,
  type Model,
  type Node,
} from '../../onnx/index.ts';

/*
 * Residual blocks y = x + f(x): f can go as a whole, and x takes the place of y. Channels that go make a layer cheaper; a small network spends most of its time on what a layer costs
 * however narrow it is (some 13 microseconds each in ONNX Runtime on two threads), so there only fewer layers make it faster.
 */

export interface ResidualBlock {
  /** Output of its Add. */
  id: string;
  /** What is passed on when the block goes. */
  skip: string;
  /** First outputs of the nodes that go with it, the Add included. */
  nodes: ReadonlySet<string>;
}

/** Blocks of more nodes are no blocks of a layer or two but half the network. */
const MOST_NODES = 64;

/** Nodes that lie between `skip` and `branch` and serve nothing else; null: there are others that read them, or `skip` is not all that they read. */
function branchOf(graph: Graph, index: GraphIndex, skip: string, branch: string, add: Node): Set<Node> | null {
  const found = new Set<Node>();
  const open = [branch];
  let reached = false;
  while (open.length > 0) {
    const name = open.pop()!;
    if (name === skip) reached = true;
    if (name === skip || graph.initializers.has(name)) continue;
    const node = index.producer.get(name);
    if (!node || found.size > MOST_NODES) return null;
    if (found.has(node)) continue;
    found.add(node);
    open.push(...usedBy(node));
  }
  const inside = (name: string): boolean =>
    !index.outputs.has(name) &&
    (index.consumers.get(name) ?? []).every((reader) => reader === add || found.has(reader));
  return reached && [...found].every((node) => node.outputs.every(inside)) ? found : null;
}

/** Residual blocks of a graph, in its order. One whose sum is an output of the graph has to stay. */
export function findBlocks({ graph }: Model): ResidualBlock[] {
  const index = indexGraph(graph);
  return graph.nodes.flatMap((add): ResidualBlock[] => {
    const [a, b] = add.inputs;
    const id = add.outputs[0]!;
    if (add.op !== 'Add' || a === undefined || b === undefined || index.outputs.has(id)) return [];
    for (const [skip, branch] of [
      [a, b],
      [b, a],
    ] as const) {
      if (skip === branch || graph.initializers.has(skip) || graph.initializers.has(branch)) continue;
      const found = branchOf(graph, index, skip, branch, add);
      if (found) return [{ id, skip, nodes: new Set([id, ...[...found].map(({ outputs }) => outputs[0]!)]) }];
    }
    return [];
  });
}

/** Applied again they change nothing, so that one may follow another when the block between them goes. */
const IDEMPOTENT = new Set(['Relu', 'Clip']);

/** The sum or output that `skip` is made from, by activations alone. */
export function sourceOf(index: GraphIndex, skip: string): string {
  let name = skip;
  for (;;) {
    const node = index.producer.get(name);
    if (!node || !IDEMPOTENT.has(node.op)) return name;
    name = node.inputs[0]!;
  }
}

/** What each tensor is called after the blocks are gone. */
export const renamedBy = (blocks: readonly ResidualBlock[]): ((name: string) => string) => {
  const skips = new Map(blocks.map(({ id, skip }) => [id, skip]));
  return (name) => {
    let at = name;
    for (let next = skips.get(at); next !== undefined; next = skips.get(at)) at = next;
    return at;
  };
};

/** Takes blocks out; who read the sum reads what came into the block. */
export function dropBlocks(model: Model, blocks: readonly ResidualBlock[]): Model {
  if (blocks.length === 0) return model;
  const gone = new Set(blocks.flatMap(({ nodes }) => [...nodes]));
  const renamed = renamedBy(blocks);
  const nodes = model.graph.nodes
    .filter(({ outputs }) => !gone.has(outputs[0]!))
    .map((node) =>
      node.inputs.some((name) => renamed(name) !== name) ? { ...node, inputs: node.inputs.map(renamed) } : node,
    );
  const result = withGraph(model, eliminateDead({ ...model.graph, nodes }));
  verifyStructure(result);
  return result;
}
