import { assert } from '../../../contract/errors.ts';
import {
  elementCount,
  elementTypes,
  float32Tensor,
  freshName,
  int64Tensor,
  node as makeNode,
  scalar,
  type AttributeInput,
  type ConstTensor,
  type ElementType,
  type Node,
} from '../../../onnx/index.ts';
import { packedDims, roundUp, type FilterLayout, type Form } from './layout.ts';

/** ORT's own domain of convolutions on blocked tensors; its graph optimiser makes such nodes where weights are constant. */
export const BLOCKED_DOMAIN = 'com.microsoft.nchwc';

type Attributes = Readonly<Record<string, AttributeInput>>;

/** The graph being written, and in which forms each value of the step graph is at hand there. */
export class BlockedWriter {
  readonly nodes: Node[] = [];
  readonly initializers = new Map<string, ConstTensor>();
  readonly block: number;
  readonly opset: number;
  readonly #taken: Set<string>;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #types: ReadonlyMap<string, ElementType>;
  readonly #forms = new Map<string, Partial<Record<Form, string>>>();
  readonly #filters = new Map<string, FilterLayout>();
  readonly #pending = new Map<string, () => string>();
  readonly #constants = new Map<string, string>();

  constructor(options: {
    block: number;
    taken: Set<string>;
    shapes: ReadonlyMap<string, readonly number[]>;
    types: ReadonlyMap<string, ElementType>;
    opset: number;
  }) {
    this.opset = options.opset;
    this.block = options.block;
    this.#taken = options.taken;
    this.#shapes = options.shapes;
    this.#types = options.types;
  }

  /** Shape of a value of the step graph. */
  shape(name: string): readonly number[] {
    const shape = this.#shapes.get(name);
    assert(shape, `the step graph states the shape of "${name}"`);
    return shape;
  }

  type(name: string): ElementType {
    return this.#types.get(name) ?? 'float32';
  }

  fresh(base: string): string {
    return freshName(this.#taken, base);
  }

  emit(op: string, inputs: readonly string[], attributes: Attributes = {}, domain = ''): string {
    const output = this.fresh(op);
    this.nodes.push(makeNode(op, inputs, [output], attributes, { domain }));
    return output;
  }

  /** A node of ORT's blocked domain. */
  blockedOp(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.emit(op, inputs, attributes, BLOCKED_DOMAIN);
  }

  constant(key: string, make: () => ConstTensor): string {
    const known = this.#constants.get(key);
    if (known) return known;
    const name = this.fresh('blocked/const');
    this.initializers.set(name, make());
    this.#constants.set(key, name);
    return name;
  }

  ints(values: readonly number[]): string {
    return this.constant(`i${values.join()}`, () => int64Tensor([values.length], values));
  }

  number(value: number): string {
    return this.constant(`f${value}`, () => scalar(value));
  }

  zeros(dims: readonly number[]): string {
    return this.constant(`z${dims.join()}`, () => float32Tensor(dims, new Float32Array(elementCount(dims))));
  }

  reshape(name: string, dims: readonly number[]): string {
    return this.emit('Reshape', [name, this.ints(dims)]);
  }

  transpose(name: string, perm: readonly number[]): string {
    return this.emit('Transpose', [name], { perm });
  }

  /** @param range along one axis; step 1. */
  slice(name: string, axis: number, start: number, end: number, step = 1): string {
    return this.emit('Slice', [name, this.ints([start]), this.ints([end]), this.ints([axis]), this.ints([step])]);
  }

  /** Zeros at the end of an axis of a tensor of this rank. */
  padEnd(name: string, rank: number, axis: number, count: number): string {
    if (count === 0) return name;
    const pads = Array.from({ length: 2 * rank }, (_, i) => (i === rank + axis ? count : 0));
    return this.emit('Pad', [name, this.ints(pads)]);
  }

  // ---------------------------------------------------------------- forms
  set(name: string, form: Form, as: string): void {
    const forms = this.#forms.get(name) ?? {};
    forms[form] = as;
    this.#forms.set(name, forms);
  }

  setFilter(name: string, as: string, layout: FilterLayout): void {
    this.set(name, 'filter', as);
    this.#filters.set(name, layout);
  }

  /** The blocked form is made when it is first asked for, unless somebody takes the work over (`takePending`). */
  setPending(name: string, make: () => string): void {
    this.#pending.set(name, make);
  }

  isPending(name: string): boolean {
    return this.#pending.has(name);
  }

  dropPending(name: string): void {
    this.#pending.delete(name);
  }

  #settle(name: string): void {
    const make = this.#pending.get(name);
    if (!make) return;
    this.#pending.delete(name);
    this.set(name, 'blocked', make());
  }

  has(name: string, form: Form): boolean {
    return this.#forms.get(name)?.[form] !== undefined || (form === 'blocked' && this.#pending.has(name));
  }

  filterLayout(name: string): FilterLayout | undefined {
    return this.#filters.get(name);
  }

  /** May the value lie blocked? Four dimensions; channels in fours, for ORT's reordering kernels. */
  blockable(name: string): boolean {
    const shape = this.#shapes.get(name);
    return shape?.length === 4 && shape[1]! % 4 === 0 && shape[1]! >= this.block && shape.every((size) => size > 0);
  }

  /** Channels of the blocked form. */
  lanes(name: string): number {
    return roundUp(this.shape(name)[1]!, this.block);
  }

  plain(name: string): string {
    if (name === '') return name;
    this.#settle(name);
    const forms = this.#forms.get(name);
    assert(forms, `"${name}" is made before it is used`);
    if (forms.plain) return forms.plain;
    const made = forms.blocked ? this.#fromBlocked(name, forms.blocked) : this.#fromFilter(name, forms.filter!);
    forms.plain = made;
    return made;
  }

  blocked(name: string): string {
    this.#settle(name);
    const forms = this.#forms.get(name);
    assert(forms, `"${name}" is made before it is used`);
    if (forms.blocked) return forms.blocked;
    const made = this.#reordered(name, this.plain(name), (floats) => this.blockedOp('ReorderInput', [floats]));
    forms.blocked = made;
    return made;
  }

  /** The value as a filter: the form it has, or made from the plain one. */
  filter(name: string, layout: FilterLayout): string {
    const forms = this.#forms.get(name);
    assert(forms, `"${name}" is made before it is used`);
    if (forms.filter) return forms.filter;
    const made = this.#toFilter(this.plain(name), layout);
    this.setFilter(name, made, layout);
    return made;
  }

  /** Per-channel vector [C] of the step graph with zeros for the lanes past C. */
  vector(name: string): string {
    const channels = this.shape(name)[0]!;
    return this.padEnd(this.plain(name), 1, 0, roundUp(channels, this.block) - channels);
  }

  /** Gives a vector of whole blocks to the step graph, whose shape is [C]. */
  setVector(name: string, as: string): void {
    if (name === '') return;
    const channels = this.shape(name)[0]!;
    this.set(name, 'plain', channels % this.block === 0 ? as : this.slice(as, 0, 0, channels));
  }

  #fromBlocked(name: string, blocked: string): string {
    const [n, c, h, w] = this.shape(name) as [number, number, number, number];
    if (h * w === 1 && c % this.block === 0) return this.reshape(blocked, [n, c, h, w]);
    return this.#reordered(name, blocked, (floats) => this.blockedOp('ReorderOutput', [floats], { channels: c }));
  }

  /** The reordering kernels take float32 alone: a mask goes through them as zeros and ones. */
  #reordered(name: string, from: string, reorder: (floats: string) => string): string {
    const type = this.type(name);
    if (type === 'float32') return reorder(from);
    const cast = (value: string, to: ElementType) => this.emit('Cast', [value], { to: elementTypes[to].code });
    return cast(reorder(cast(from, 'float32')), type);
  }

  #toFilter(plain: string, layout: FilterLayout): string {
    const { block, dims, kind } = layout;
    const [o, i, kh, kw] = dims as [number, number, number, number];
    const [op, ip] = packedDims(layout) as [number, number, number, number];
    const padded = this.padEnd(this.padEnd(plain, 4, 0, op - o), 4, 1, ip - i);
    const area = kh * kw;
    const packed =
      kind === 'dense'
        ? this.transpose(this.reshape(padded, [op / block, block, ip / block, block, area]), [0, 2, 4, 3, 1])
        : this.transpose(this.reshape(padded, [op / block, block, ip, area]), [0, 2, 3, 1]);
    return this.reshape(packed, [op, ip, kh, kw]);
  }

  #fromFilter(name: string, filter: string): string {
    const layout = this.#filters.get(name)!;
    const { block, dims, kind } = layout;
    const [o, i, kh, kw] = dims as [number, number, number, number];
    const [op, ip] = packedDims(layout) as [number, number, number, number];
    const area = kh * kw;
    const plain =
      kind === 'dense'
        ? this.transpose(this.reshape(filter, [op / block, ip / block, area, block, block]), [0, 4, 1, 3, 2])
        : this.transpose(this.reshape(filter, [op / block, ip, area, block]), [0, 3, 1, 2]);
    const whole = this.reshape(plain, [op, ip, kh, kw]);
    const cut = op === o ? whole : this.slice(whole, 0, 0, o);
    return ip === i ? cut : this.slice(cut, 1, 0, i);
  }
}
