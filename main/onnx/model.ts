/*
 * An ONNX model as plain immutable values (onnx.proto3, IR version 3 and later). Nothing here is ever changed in place: edits (edit.ts) and
 * passes return new objects that share what stayed the same.
 */

export type ElementType =
  | 'float32'
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'string'
  | 'bool'
  | 'float16'
  | 'float64'
  | 'uint32'
  | 'uint64'
  | 'bfloat16';

/** Fields this program does not know, written back as they came. */
export type Unknown = readonly Uint8Array[];

/** A constant tensor. `bytes` is row-major little-endian and often a view of the file: read it through tensor.ts, never write to it. */
export interface ConstTensor {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly bytes: Uint8Array;
  /** Of type 'string' only, whose `bytes` is empty. */
  readonly strings?: readonly Uint8Array[];
  readonly unknown?: Unknown;
}

/** An int is a bigint only where a number would not be exact. */
export type Int = number | bigint;

export type Attribute =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: Int }
  | { readonly kind: 'string'; readonly value: Uint8Array }
  | { readonly kind: 'tensor'; readonly value: ConstTensor }
  | { readonly kind: 'graph'; readonly value: Graph }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly Int[] }
  | { readonly kind: 'strings'; readonly value: readonly Uint8Array[] }
  | { readonly kind: 'tensors'; readonly value: readonly ConstTensor[] }
  | { readonly kind: 'graphs'; readonly value: readonly Graph[] }
  /** Sparse tensors, type protos, references to a function's attribute: the AttributeProto as it came. */
  | { readonly kind: 'opaque'; readonly value: Uint8Array };

/** An empty string among `inputs` or `outputs` is an optional one left out. */
export interface Node {
  readonly name: string;
  readonly op: string;
  /** '' is ai.onnx. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly doc: string;
  readonly unknown: Unknown;
}

/** A size, a symbol ("N"), or unknown. */
export type Dim = number | string | null;
/** null: not even the rank is known. */
export type Shape = readonly Dim[] | null;

/** A named value with its type, as graph inputs, outputs and value_info have it. */
export interface Value {
  readonly name: string;
  /** null: not a dense tensor, see `typeBytes`. */
  readonly type: ElementType | null;
  readonly shape: Shape;
  /** The TypeProto of what is not a dense tensor, as it came. */
  readonly typeBytes?: Uint8Array;
  readonly doc: string;
  readonly unknown: Unknown;
}

export interface Graph {
  readonly name: string;
  /** In topological order (the codec does not check; verifyStructure does). */
  readonly nodes: readonly Node[];
  /** May repeat names of initializers (IR 3 style). */
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly initializers: ReadonlyMap<string, ConstTensor>;
  /** Types of inner values that the file states. */
  readonly valueInfo: ReadonlyMap<string, Value>;
  readonly doc: string;
  readonly unknown: Unknown;
}

export interface Model {
  readonly irVersion: number;
  /** Domain ('' is ai.onnx) -> version. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly producerName: string;
  readonly producerVersion: string;
  readonly domain: string;
  readonly modelVersion: Int;
  readonly doc: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly graph: Graph;
  readonly unknown: Unknown;
}

/** Version of the ai.onnx operators; 1 where a (very old) file states none. */
export const opsetOf = (model: Model): number => model.opsets.get('') ?? 1;
