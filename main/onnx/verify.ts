import { AppError } from '../contract/errors.ts';
import { runtimeInputs, usedBy } from './edit.ts';
import type { Graph, Model } from './model.ts';
import { elementCount, elementTypes } from './tensor.ts';

const invalid = (where: string, problem: string) => new AppError('GRAPH_INVALID', { where, problem });

/**
 * Checks what the codec does not: every value has one maker, every read value is made before it is read (so there is no cycle), outputs
 * exist, constants hold as many bytes as their dims say, versions of the used operator sets are stated.
 * @throws GRAPH_INVALID naming the place.
 */
export function verifyStructure(model: Model): void {
  verifyGraph(model.graph, [], model.opsets);
}

/** @param outer what the graphs around it have made by then; not joined, for each of a hundred thousand bodies would copy it */
function verifyGraph(graph: Graph, outer: readonly ReadonlySet<string>[], opsets: Model['opsets']): void {
  const where = graph.name || 'graph';
  const known = new Set<string>(graph.initializers.keys());
  const scopes = [...outer, known];
  const made = (name: string): boolean => scopes.some((scope) => scope.has(name));
  for (const [name, tensor] of graph.initializers) {
    const needed = elementCount(tensor.dims) * elementTypes[tensor.type].size;
    if (tensor.bytes.length !== needed) {
      throw invalid(
        name,
        `[${tensor.dims.join(', ')}] of ${tensor.type} needs ${needed} bytes, it has ${tensor.bytes.length}`,
      );
    }
  }
  for (const { name } of runtimeInputs(graph)) {
    if (known.has(name)) throw invalid(name, 'two inputs have this name');
    known.add(name);
  }
  const later = new Set(graph.nodes.flatMap((node) => node.outputs));
  for (const node of graph.nodes) {
    const at = node.name || `${node.op} -> ${node.outputs[0] ?? 'nothing'}`;
    if (!opsets.has(node.domain))
      throw invalid(at, `it needs the operator set "${node.domain || 'ai.onnx'}", no version of it is stated`);
    for (const name of usedBy(node)) {
      if (made(name)) continue;
      throw invalid(
        at,
        later.has(name) ? `it reads "${name}" before it is made` : `it reads "${name}", which nothing makes`,
      );
    }
    for (const attribute of node.attributes.values()) {
      const bodies =
        attribute.kind === 'graph' ? [attribute.value] : attribute.kind === 'graphs' ? attribute.value : [];
      for (const body of bodies) verifyGraph(body, scopes, opsets);
    }
    for (const name of node.outputs) {
      if (name === '') continue;
      if (known.has(name)) throw invalid(at, `it makes "${name}", which exists already`);
      known.add(name);
    }
  }
  if (graph.outputs.length === 0) throw invalid(where, 'it has no output');
  const seen = new Set<string>();
  for (const { name } of graph.outputs) {
    if (!made(name)) throw invalid(where, `nothing makes the output "${name}"`);
    if (seen.has(name)) throw invalid(name, 'it is listed twice as an output');
    seen.add(name);
  }
}
