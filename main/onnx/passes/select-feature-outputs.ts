import { AppError } from '../../contract/errors.ts';
import { node as makeNode, value } from '../build.ts';
import { addNodes, eliminateDead, freshName, indexGraph, setOutputs, valueNames, withGraph } from '../edit.ts';
import { inferShapes } from '../infer-shapes.ts';
import type { Dim, Model, Node, Value } from '../model.ts';
import { verifyStructure } from '../verify.ts';
import { selectOutputs } from './reshape-interface.ts';

/**
 * The model with exactly these features as outputs [N, d], in this order; maps are pooled (GlobalAveragePool, Flatten), the rest of the
 * network is dropped.
 * @param names values of the model: maps [N, d, h, w] or pooled [N, d]; need not be outputs.
 * @param options maps: also give these values as outputs, after the features. rename: names of the feature outputs, in order.
 * @throws BACKBONE_UNSUITABLE for a name that is not in the model or has another rank.
 */
export function selectFeatureOutputs(
  model: Model,
  names: readonly string[],
  options: { file?: string; maps?: readonly string[]; rename?: readonly string[]; renameMaps?: readonly string[] } = {},
): Model {
  const unsuitable = (problem: string) =>
    new AppError('BACKBONE_UNSUITABLE', { file: options.file ?? 'the model', problem });
  if (names.length === 0) throw unsuitable('no feature output is chosen');
  const infos = inferShapes(model, { unknownOps: 'unknown' });
  const { producer } = indexGraph(model.graph);
  const maps = options.maps ?? [];
  const missing = [...names, ...maps].find((name) => !producer.has(name) || !infos.get(name)?.shape);
  if (missing !== undefined) throw unsuitable(`it has no value "${missing}" whose shape can be told`);
  // Names of what is dropped are free again: the file's own "map_s16" may be a value that is not chosen.
  const cut = selectOutputs(model, [...new Set([...names, ...maps])]);
  const taken = valueNames(cut.graph);
  const added: Node[] = [];
  const outputs: Value[] = [];
  const rename = (name: string) => (to: string) => [makeNode('Identity', [name], [to])];
  const add = (source: string, wanted: string, shape: readonly Dim[], steps = rename(source)) => {
    const name = wanted === source ? source : freshName(taken, wanted);
    if (name !== source) added.push(...steps(name));
    outputs.push(value(name, 'float32', shape));
  };
  names.forEach((name, i) => {
    const shape = infos.get(name)!.shape!;
    const pooledShape: Dim[] = [shape[0] ?? 'N', shape[1] ?? null];
    if (shape.length === 2) add(name, options.rename?.[i] ?? name, pooledShape);
    else if (shape.length === 4) {
      const mean = freshName(taken, `${name}/mean`);
      add(name, options.rename?.[i] ?? `${name}/pooled`, pooledShape, (to) => [
        makeNode('GlobalAveragePool', [name], [mean]),
        makeNode('Flatten', [mean], [to], { axis: 1 }),
      ]);
    } else throw unsuitable(`"${name}" has ${shape.length} dimensions; features are [N, d], maps [N, d, h, w]`);
  });
  maps.forEach((name, i) => {
    const shape = infos.get(name)!.shape!;
    if (shape.length !== 4) throw unsuitable(`"${name}" is not a map [N, d, h, w]`);
    add(name, options.renameMaps?.[i] ?? name, shape);
  });
  const next = withGraph(model, eliminateDead(setOutputs(addNodes(cut.graph, added), outputs)));
  verifyStructure(next);
  return next;
}
