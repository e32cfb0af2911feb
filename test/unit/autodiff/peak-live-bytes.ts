import { assert } from '../../../main/contract/errors.ts';
import { elementCount, elementTypes, usedBy, type Model } from '../../../main/onnx/index.ts';

/**
 * The most bytes that values made by nodes hold at one time when nodes run in the order they stand in: a value lives from the node that makes it to
 * the last that reads it, an output to the end. Inputs, constants and working memory inside nodes are not counted, nor is sharing.
 * @param model every value has its static shape in valueInfo or the outputs (as buildTrainingStep gives it).
 */
export function peakLiveBytes(model: Model): number {
  const { graph } = model;
  const outputs = new Map(graph.outputs.map((output) => [output.name, output]));
  const bytes = (name: string): number => {
    const stated = graph.valueInfo.get(name) ?? outputs.get(name);
    assert(stated?.type && stated.shape?.every((dim) => typeof dim === 'number'), `"${name}" has a static shape`);
    return elementCount(stated.shape as number[]) * elementTypes[stated.type].size;
  };
  const lastUse = new Map<string, number>();
  graph.nodes.forEach((node, at) => {
    for (const name of node.outputs) if (name !== '') lastUse.set(name, at);
    for (const name of usedBy(node)) if (lastUse.has(name)) lastUse.set(name, at);
  });
  const dying = new Map<number, string[]>();
  for (const [name, at] of lastUse) {
    if (!outputs.has(name)) dying.set(at, [...(dying.get(at) ?? []), name]);
  }
  let live = 0;
  let peak = 0;
  graph.nodes.forEach((node, at) => {
    for (const name of node.outputs) if (name !== '') live += bytes(name);
    peak = Math.max(peak, live);
    for (const name of dying.get(at) ?? []) live -= bytes(name);
  });
  return peak;
}
