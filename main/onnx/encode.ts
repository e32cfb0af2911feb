import type { Attribute, ConstTensor, Graph, Model, Node, Value } from './model.ts';
import { elementTypes } from './tensor.ts';
import { WireWriter } from './wire.ts';

/** Where a weight lies outside the model's file. */
export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Writes a ModelProto. The same model gives the same bytes; weights go into raw_data. */
export const encodeModel = (model: Model): Uint8Array => writeModel(model).finish();

/** As encodeModel, but as pieces that join to the file; long ones are the model's own weights. @param outside initializers that lie elsewhere. */
export const encodeModelPieces = (model: Model, outside?: ReadonlyMap<string, ExternalPlace>): readonly Uint8Array[] =>
  writeModel(model, outside).pieces();

function writeModel(model: Model, outside?: ReadonlyMap<string, ExternalPlace>): WireWriter {
  const out = new WireWriter();
  out.int(1, model.irVersion);
  out.textIfAny(2, model.producerName).textIfAny(3, model.producerVersion).textIfAny(4, model.domain);
  if (model.modelVersion) out.int(5, model.modelVersion);
  out.textIfAny(6, model.doc);
  out.message(7, (inner) => writeGraph(inner, model.graph, outside));
  for (const [domain, version] of model.opsets) {
    out.message(8, (inner) => inner.textIfAny(1, domain).int(2, version));
  }
  for (const [key, value] of model.metadata) out.message(14, (inner) => inner.text(1, key).text(2, value));
  return writeUnknown(out, model.unknown);
}

const writeUnknown = (out: WireWriter, unknown: readonly Uint8Array[] | undefined): WireWriter => {
  for (const bytes of unknown ?? []) out.raw(bytes);
  return out;
};

function writeGraph(out: WireWriter, graph: Graph, outside?: ReadonlyMap<string, ExternalPlace>): void {
  for (const node of graph.nodes) out.message(1, (inner) => writeNode(inner, node));
  out.textIfAny(2, graph.name);
  for (const [name, tensor] of graph.initializers)
    out.message(5, (inner) => writeTensor(inner, tensor, name, outside?.get(name)));
  out.textIfAny(10, graph.doc);
  for (const value of graph.inputs) out.message(11, (inner) => writeValue(inner, value));
  for (const value of graph.outputs) out.message(12, (inner) => writeValue(inner, value));
  for (const value of graph.valueInfo.values()) out.message(13, (inner) => writeValue(inner, value));
  writeUnknown(out, graph.unknown);
}

function writeNode(out: WireWriter, node: Node): void {
  for (const name of node.inputs) out.text(1, name);
  for (const name of node.outputs) out.text(2, name);
  out.textIfAny(3, node.name).text(4, node.op);
  for (const [name, attribute] of node.attributes) out.message(5, (inner) => writeAttribute(inner, name, attribute));
  out.textIfAny(6, node.doc).textIfAny(7, node.domain);
  writeUnknown(out, node.unknown);
}

type Writer<K extends Attribute['kind']> = (out: WireWriter, value: Extract<Attribute, { kind: K }>['value']) => void;

/** AttributeProto: type number and how the value is written. */
const attributeForms: { [K in Exclude<Attribute['kind'], 'opaque'>]: { type: number; write: Writer<K> } } = {
  float: { type: 1, write: (out, value) => out.float32(2, value) },
  int: { type: 2, write: (out, value) => out.int(3, value) },
  string: { type: 3, write: (out, value) => out.bytes(4, value) },
  tensor: { type: 4, write: (out, value) => out.message(5, (inner) => writeTensor(inner, value, '')) },
  graph: { type: 5, write: (out, value) => out.message(6, (inner) => writeGraph(inner, value)) },
  floats: { type: 6, write: (out, value) => value.forEach((item) => out.float32(7, item)) },
  ints: { type: 7, write: (out, value) => value.forEach((item) => out.int(8, item)) },
  strings: { type: 8, write: (out, value) => value.forEach((item) => out.bytes(9, item)) },
  tensors: {
    type: 9,
    write: (out, value) => value.forEach((item) => out.message(10, (inner) => writeTensor(inner, item, ''))),
  },
  graphs: {
    type: 10,
    write: (out, value) => value.forEach((item) => out.message(11, (inner) => writeGraph(inner, item))),
  },
};

function writeAttribute(out: WireWriter, name: string, attribute: Attribute): void {
  if (attribute.kind === 'opaque') {
    out.raw(attribute.value);
    return;
  }
  const form = attributeForms[attribute.kind] as { type: number; write: (out: WireWriter, value: unknown) => void };
  out.text(1, name);
  form.write(out, attribute.value);
  out.int(20, form.type);
}

function writeTensor(out: WireWriter, tensor: ConstTensor, name: string, outside?: ExternalPlace): void {
  out.packedInts(1, tensor.dims);
  out.int(2, elementTypes[tensor.type].code);
  for (const text of tensor.strings ?? []) out.bytes(6, text);
  out.textIfAny(8, name);
  if (outside) {
    for (const [key, part] of Object.entries(outside)) {
      out.message(13, (inner) => inner.text(1, key).text(2, String(part)));
    }
    out.int(14, 1);
  } else if (tensor.type !== 'string') out.bytes(9, tensor.bytes);
  writeUnknown(out, tensor.unknown);
}

function writeValue(out: WireWriter, value: Value): void {
  const { type, shape, typeBytes } = value;
  out.text(1, value.name);
  if (typeBytes) out.bytes(2, typeBytes);
  else if (type !== null) {
    out.message(2, (typeProto) =>
      typeProto.message(1, (tensor) => {
        tensor.int(1, elementTypes[type].code);
        if (!shape) return;
        tensor.message(2, (dims) => {
          for (const dim of shape) {
            dims.message(1, (inner) => {
              if (typeof dim === 'number') inner.int(1, dim);
              else if (dim !== null) inner.text(2, dim);
            });
          }
        });
      }),
    );
  }
  out.textIfAny(3, value.doc);
  writeUnknown(out, value.unknown);
}
