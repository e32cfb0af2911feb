/*
 * Writes a network of buildNetwork as JSON (nodes) and raw weights, for make-torch-fixtures.py:
 *   node dump-network.ts <architecture> <size> <batch> <classes> <width> <seed> <out without extension>
 */
import { writeFileSync } from 'node:fs';
import { buildNetwork, opsetOf, type Architecture, type Attribute } from '../../../main/onnx/index.ts';

const [architecture, size, batch, classes, width, seed, out] = process.argv.slice(2);
const model = buildNetwork(architecture as Architecture, {
  size: Number(size),
  batch: Number(batch),
  classes: Number(classes),
  width: Number(width),
  seed: Number(seed),
});
const plain = (attribute: Attribute): unknown =>
  attribute.kind === 'string' ? new TextDecoder().decode(attribute.value) : attribute.value;
const chunks: Uint8Array[] = [];
let at = 0;
const initializers = [...model.graph.initializers].map(([name, { type, dims, bytes }]) => {
  const entry = { name, type, dims, at, bytes: bytes.length };
  chunks.push(bytes);
  at += bytes.length;
  return entry;
});
const nodes = model.graph.nodes.map(({ op, inputs, outputs, attributes }) => ({
  op,
  inputs,
  outputs,
  attributes: Object.fromEntries([...attributes].map(([name, attribute]) => [name, plain(attribute)])),
}));
writeFileSync(`${out}.json`, JSON.stringify({ opset: opsetOf(model), nodes, initializers }));
writeFileSync(`${out}.bin`, Buffer.concat(chunks));
