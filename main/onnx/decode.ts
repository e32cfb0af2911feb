import { AppError } from '../contract/errors.ts';
import type { Attribute, ConstTensor, Dim, Graph, Int, Model, Node, Value } from './model.ts';
import { elementCount, elementTypeOf, elementTypes } from './tensor.ts';
import { JoinedBytes, WireError, WireReader, type ExternalData } from './wire.ts';

/** Bodies of If and Loop nest; no real model comes near this. */
const MAX_GRAPH_DEPTH = 32;
/** A rank beyond this is a broken file. */
const MAX_RANK = 64;

/**
 * Reads a ModelProto. Weights stay views of `bytes`, which must not change afterwards. Structure is not checked: see verifyStructure.
 * @param file named in errors.
 * @param external reads weights from other files (model-file.ts does); without it they are refused.
 * @throws MODEL_UNREADABLE for anything that is not a whole ONNX model with its weights inside, and what `external` throws.
 */
export function decodeModel(bytes: Uint8Array, file = 'the model', external: ExternalData | null = null): Model {
  try {
    return readModel(WireReader.withExternal(bytes, external));
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause;
    throw new AppError('MODEL_UNREADABLE', { file, problem: cause.message }, { cause });
  }
}

function readModel(reader: WireReader): Model {
  const opsets = new Map<string, number>();
  const metadata = new Map<string, string>();
  let irVersion = 0;
  let producerName = '';
  let producerVersion = '';
  let domain = '';
  let modelVersion: Int = 0;
  let doc = '';
  let graph: Graph | null = null;
  while (reader.next()) {
    if (reader.field === 1) irVersion = reader.int();
    else if (reader.field === 2) producerName = reader.text();
    else if (reader.field === 3) producerVersion = reader.text();
    else if (reader.field === 4) domain = reader.text();
    else if (reader.field === 5) modelVersion = reader.int64();
    else if (reader.field === 6) doc = reader.text();
    else if (reader.field === 7) graph = readGraph(reader.message(), 0);
    else if (reader.field === 8) readOpset(reader.message(), opsets);
    else if (reader.field === 14) readEntry(reader.message(), metadata);
    else reader.keep();
  }
  if (!graph) throw new WireError('it holds no graph');
  if (irVersion < 1) throw new WireError('it states no IR version');
  return {
    irVersion,
    opsets,
    producerName,
    producerVersion,
    domain,
    modelVersion,
    doc,
    metadata,
    graph,
    unknown: reader.unknown(),
  };
}

function readOpset(reader: WireReader, into: Map<string, number>): void {
  let domain = '';
  let version = 0;
  while (reader.next()) {
    if (reader.field === 1) domain = reader.text();
    else if (reader.field === 2) version = reader.int();
    else reader.keep();
  }
  // "ai.onnx" is another spelling of the empty default domain.
  into.set(domain === 'ai.onnx' ? '' : domain, version);
}

function readEntry(reader: WireReader, into: Map<string, string>): void {
  let key = '';
  let value = '';
  while (reader.next()) {
    if (reader.field === 1) key = reader.text();
    else if (reader.field === 2) value = reader.text();
    else reader.keep();
  }
  into.set(key, value);
}

function readGraph(reader: WireReader, depth: number): Graph {
  if (depth > MAX_GRAPH_DEPTH) throw new WireError(`graphs nested more than ${MAX_GRAPH_DEPTH} deep`);
  const nodes: Node[] = [];
  const inputs: Value[] = [];
  const outputs: Value[] = [];
  const initializers = new Map<string, ConstTensor>();
  const valueInfo = new Map<string, Value>();
  let name = '';
  let doc = '';
  while (reader.next()) {
    if (reader.field === 1) nodes.push(readNode(reader.message(), depth));
    else if (reader.field === 2) name = reader.text();
    else if (reader.field === 5) {
      const { name: tensorName, tensor } = readTensor(reader.message());
      if (tensorName === '') throw new WireError('an initializer has no name');
      if (initializers.has(tensorName)) throw new WireError(`two initializers are named "${tensorName}"`);
      initializers.set(tensorName, tensor);
    } else if (reader.field === 10) doc = reader.text();
    else if (reader.field === 11) inputs.push(readValue(reader.message()));
    else if (reader.field === 12) outputs.push(readValue(reader.message()));
    else if (reader.field === 13) {
      const value = readValue(reader.message());
      valueInfo.set(value.name, value);
    } else reader.keep();
  }
  return { name, nodes, inputs, outputs, initializers, valueInfo, doc, unknown: reader.unknown() };
}

function readNode(reader: WireReader, depth: number): Node {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  let name = '';
  let op = '';
  let domain = '';
  let doc = '';
  while (reader.next()) {
    if (reader.field === 1) inputs.push(reader.text());
    else if (reader.field === 2) outputs.push(reader.text());
    else if (reader.field === 3) name = reader.text();
    else if (reader.field === 4) op = reader.text();
    else if (reader.field === 5) {
      const start = reader.message();
      const [key, attribute] = readAttribute(start, depth);
      attributes.set(key, attribute);
    } else if (reader.field === 6) doc = reader.text();
    else if (reader.field === 7) domain = reader.text();
    else reader.keep();
  }
  if (op === '') throw new WireError(`node "${name}" names no operator`);
  return {
    name,
    op,
    domain: domain === 'ai.onnx' ? '' : domain,
    inputs,
    outputs,
    attributes,
    doc,
    unknown: reader.unknown(),
  };
}

/** AttributeProto.AttributeType of those that have a form of their own here. */
const attributeKinds = new Map<number, Attribute['kind']>([
  [1, 'float'],
  [2, 'int'],
  [3, 'string'],
  [4, 'tensor'],
  [5, 'graph'],
  [6, 'floats'],
  [7, 'ints'],
  [8, 'strings'],
  [9, 'tensors'],
  [10, 'graphs'],
]);

function readAttribute(reader: WireReader, depth: number): [string, Attribute] {
  const whole = reader.bytes.subarray(reader.position, reader.end);
  const reals = new JoinedBytes();
  const ints: Int[] = [];
  const strings: Uint8Array[] = [];
  const tensors: ConstTensor[] = [];
  const graphs: Graph[] = [];
  let name = '';
  let type = 0;
  let float = 0;
  let int: Int = 0;
  let string: Uint8Array = new Uint8Array(0);
  let tensor: ConstTensor | null = null;
  let graph: Graph | null = null;
  let seen: Attribute['kind'] | null = null;
  let odd = false;
  while (reader.next()) {
    if (reader.field === 1) name = reader.text();
    else if (reader.field === 20) type = reader.int();
    else if (reader.field === 2) [float, seen] = [reader.float32(), 'float'];
    else if (reader.field === 3) [int, seen] = [reader.int64(), 'int'];
    else if (reader.field === 4) [string, seen] = [reader.view(), 'string'];
    else if (reader.field === 5) [tensor, seen] = [readTensor(reader.message()).tensor, 'tensor'];
    else if (reader.field === 6) [graph, seen] = [readGraph(reader.message(), depth + 1), 'graph'];
    else if (reader.field === 7) [, seen] = [reader.reals(reals, 4), 'floats'];
    else if (reader.field === 8) [, seen] = [reader.int64s(ints), 'ints'];
    else if (reader.field === 9) [, seen] = [strings.push(reader.view()), 'strings'];
    else if (reader.field === 10) [, seen] = [tensors.push(readTensor(reader.message()).tensor), 'tensors'];
    else if (reader.field === 11) [, seen] = [graphs.push(readGraph(reader.message(), depth + 1)), 'graphs'];
    else if (reader.field === 13)
      reader.text(); // documentation of one attribute: no exporter writes it, not kept
    else {
      reader.keep();
      odd = true;
    }
  }
  if (name === '') throw new WireError('an attribute has no name');
  // IR version 1 files state no type: what is there decides.
  const kind = type === 0 ? seen : attributeKinds.get(type);
  if (odd || !kind || kind === 'opaque') return [name, { kind: 'opaque', value: whole }];
  if (kind === 'tensor' || kind === 'graph') {
    const value = kind === 'tensor' ? tensor : graph;
    if (!value) throw new WireError(`attribute "${name}" is empty`);
    return [name, { kind, value } as Attribute];
  }
  const floats = kind === 'floats' ? floatsIn(reals.bytes) : [];
  const value = { float, int, string, floats, ints, strings, tensors, graphs }[kind];
  return [name, { kind, value } as Attribute];
}

function readValue(reader: WireReader): Value {
  let name = '';
  let doc = '';
  let type: Value['type'] = null;
  let shape: Value['shape'] = null;
  let typeBytes: Uint8Array | undefined;
  while (reader.next()) {
    if (reader.field === 1) name = reader.text();
    else if (reader.field === 2) {
      const bytes = reader.view();
      const dense = readDenseType(new WireReader(bytes));
      if (dense) ({ type, shape } = dense);
      else typeBytes = bytes;
    } else if (reader.field === 3) doc = reader.text();
    else reader.keep();
  }
  if (name === '') throw new WireError('a value has no name');
  const value: Value = { name, type, shape, doc, unknown: reader.unknown() };
  return typeBytes ? { ...value, typeBytes } : value;
}

/** TypeProto.Tensor; null for sequences, maps, denoted or unknown types, which are kept as bytes. */
function readDenseType(reader: WireReader): { type: Value['type']; shape: Value['shape'] } | null {
  let found: { type: Value['type']; shape: Value['shape'] } | null = null;
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.keep();
      continue;
    }
    const inner = reader.message();
    let type: Value['type'] = null;
    let shape: Value['shape'] = null;
    while (inner.next()) {
      if (inner.field === 1) type = elementTypeOf(inner.int());
      else if (inner.field === 2) shape = readShape(inner.message());
      else inner.keep();
    }
    if (inner.unknown().length > 0) return null;
    found = { type, shape };
  }
  return reader.unknown().length > 0 || found?.type == null ? null : found;
}

function readShape(reader: WireReader): readonly Dim[] {
  const dims: Dim[] = [];
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.keep();
      continue;
    }
    const inner = reader.message();
    let dim: Dim = null;
    while (inner.next()) {
      if (inner.field === 1) dim = inner.int();
      else if (inner.field === 2) dim = inner.text() || null;
      else inner.keep();
    }
    // Some exporters write -1 or 0 for "any".
    dims.push(typeof dim === 'number' && dim <= 0 ? null : dim);
    if (dims.length > MAX_RANK) throw new WireError(`a shape of more than ${MAX_RANK} dimensions`);
  }
  return dims;
}

function readTensor(reader: WireReader): { name: string; tensor: ConstTensor } {
  const dims: Int[] = [];
  const [floats, doubles, ints] = [new JoinedBytes(), new JoinedBytes(), new JoinedBytes()];
  const strings: Uint8Array[] = [];
  let name = '';
  let code = 0;
  let raw: Uint8Array | null = null;
  let outside = false;
  const place = new Map<string, string>();
  while (reader.next()) {
    if (reader.field === 1) reader.int64s(dims);
    else if (reader.field === 2) code = reader.int();
    else if (reader.field === 3) throw new WireError(`tensor "${name}" is stored in segments`);
    else if (reader.field === 4) reader.reals(floats, 4);
    else if (reader.field === 5 || reader.field === 7 || reader.field === 11) reader.varints(ints);
    else if (reader.field === 6) strings.push(reader.view());
    else if (reader.field === 8) name = reader.text();
    else if (reader.field === 9) raw = reader.view();
    else if (reader.field === 10) reader.reals(doubles, 8);
    else if (reader.field === 13) {
      readEntry(reader.message(), place);
    } else if (reader.field === 14) outside = reader.int() === 1;
    else reader.keep();
  }
  const type = elementTypeOf(code);
  if (!type) throw new WireError(`tensor "${name}" has the unknown element type ${code}`);
  const sizes = dims.map(Number);
  if (sizes.length > MAX_RANK) throw new WireError(`tensor "${name}" has ${sizes.length} dimensions`);
  if (sizes.some((size) => !(size >= 0))) throw new WireError(`tensor "${name}" has a negative dimension`);
  const count = elementCount(sizes);
  const wrong = (found: number, unit: string) =>
    new WireError(`tensor "${name}" [${sizes.join(', ')}] of ${type} holds ${found} ${unit}`);
  const unknown = reader.unknown();
  const finish = (bytes: Uint8Array, texts?: readonly Uint8Array[]) => ({
    name,
    tensor: { type, dims: sizes, bytes, ...(texts && { strings: texts }), ...(unknown.length > 0 && { unknown }) },
  });
  if (outside || place.size > 0) {
    if (type === 'string') throw new WireError(`tensor "${name}" of texts lies outside the file`);
    return finish(readOutside(reader, name, place, count * elementTypes[type].size));
  }
  if (type === 'string') {
    if (strings.length !== count) throw wrong(strings.length, 'texts');
    return finish(new Uint8Array(0), strings);
  }
  if (raw) {
    if (raw.length !== count * elementTypes[type].size) throw wrong(raw.length, 'bytes');
    return finish(raw);
  }
  const reals = { float32: floats, float64: doubles }[type as string]?.bytes;
  // The last byte of a varint is below 128.
  const found = reals
    ? reals.length / elementTypes[type].size
    : ints.bytes.reduce((sum, byte) => sum + +(byte < 128), 0);
  if (found !== count) throw wrong(found, 'numbers');
  return finish(reals ?? packInts(type, ints.bytes, count));
}

/** TensorProto.external_data: location, offset (default 0), length (default: to the end of that file). */
function readOutside(reader: WireReader, tensor: string, place: ReadonlyMap<string, string>, size: number): Uint8Array {
  const location = place.get('location') ?? '';
  if (!reader.external) {
    throw new WireError(
      `weight "${tensor}" lies outside the file (in "${location}"), which is read only where the model is opened by its path`,
    );
  }
  const whole = (key: string): number | null => {
    const text = place.get(key);
    if (text === undefined) return null;
    const found = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(found))
      throw new WireError(`weight "${tensor}" lies at the ${key} "${text.slice(0, 40)}"`);
    return found;
  };
  if (!Number.isSafeInteger(size)) throw new WireError(`tensor "${tensor}" is too large`);
  return reader.external({ location, offset: whole('offset') ?? 0, length: whole('length') }, tensor, size);
}

/** int32_data carries all small integer types, bool and the bits of float16; int64_data and uint64_data their own. */
function packInts(type: Exclude<ConstTensor['type'], 'string'>, varints: Uint8Array, count: number): Uint8Array {
  const { size } = elementTypes[type];
  const bytes = new Uint8Array(count * size);
  const view = new DataView(bytes.buffer);
  const reader = new WireReader(varints);
  for (let at = 0; at < bytes.length; at += size) {
    const value = reader.signed();
    // Below 64 bits the DataView takes the low bits itself, of a number that is exact.
    const low = typeof value === 'number' ? value : Number(BigInt.asUintN(32, value));
    if (size === 1) view.setUint8(at, low);
    else if (size === 2) view.setUint16(at, low, true);
    else if (size === 4) view.setUint32(at, low, true);
    else if (typeof value === 'bigint') view.setBigInt64(at, value, true);
    else {
      view.setUint32(at, value, true);
      view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
    }
  }
  return bytes;
}

function floatsIn(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(i * 4, true));
}
