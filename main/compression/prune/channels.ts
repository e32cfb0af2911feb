import { elementCount } from '../../onnx/index.ts';

/*
 * Which entries of which axes belong together. Every entry of a channel axis is an atom; operators tie atoms that can only go together (the two summands of
 * an Add, all that one head of an attention is made of), and what is tied is one channel in the end.
 */

/** The axes of a tensor that run over channels. */
export interface Label {
  /** Increasing. */
  readonly axes: readonly number[];
  readonly dims: readonly number[];
  /** Row-major over `dims`. */
  readonly atoms: Int32Array;
}

/** Calls back with every index of an array of these dims, in row-major order; the array is the same one each time. */
export function eachIndex(dims: readonly number[], visit: (index: readonly number[], flat: number) => void): void {
  const index = dims.map(() => 0);
  const total = elementCount(dims);
  for (let flat = 0; flat < total; flat++) {
    visit(index, flat);
    for (let k = dims.length - 1; k >= 0; k--) {
      if (++index[k]! < dims[k]!) break;
      index[k] = 0;
    }
  }
}

/** The atom at a full index of the tensor; axes of one entry are broadcast. */
export const atomAt = ({ axes, dims, atoms }: Label, indexOf: (axis: number) => number): number => {
  let flat = 0;
  for (let k = 0; k < axes.length; k++) flat = flat * dims[k]! + (dims[k] === 1 ? 0 : indexOf(axes[k]!));
  return atoms[flat]!;
};

export class Atoms {
  readonly #parent: number[] = [];
  readonly #frozen: [atom: number, why: string][] = [];

  fresh(count: number): Int32Array {
    const start = this.#parent.length;
    for (let i = 0; i < count; i++) this.#parent.push(start + i);
    return Int32Array.from({ length: count }, (_, i) => start + i);
  }

  root(atom: number): number {
    let at = atom;
    while (this.#parent[at] !== at) {
      this.#parent[at] = this.#parent[this.#parent[at]!]!;
      at = this.#parent[at]!;
    }
    return at;
  }

  /** The smaller number stays the root: channels keep the order in which they were made. */
  tie(a: number, b: number): boolean {
    const [first, second] = [this.root(a), this.root(b)];
    if (first === second) return false;
    this.#parent[Math.max(first, second)] = Math.min(first, second);
    return true;
  }

  tieAll(a: Int32Array, b: Int32Array): void {
    for (let i = 0; i < a.length; i++) this.tie(a[i]!, b[i]!);
  }

  freeze(atoms: Iterable<number>, why: string): void {
    for (const atom of atoms) this.#frozen.push([atom, why]);
  }

  /** Root -> the first reason why it must stay. */
  frozen(): Map<number, string> {
    const out = new Map<number, string>();
    for (const [atom, why] of this.#frozen) if (!out.has(this.root(atom))) out.set(this.root(atom), why);
    return out;
  }

  /** For each entry along one axis of a label: the root that fills it alone, else -1. */
  slabs({ dims, atoms }: Label, k: number): Int32Array {
    const out = new Int32Array(dims[k]!).fill(-2);
    const inner = elementCount(dims.slice(k + 1));
    for (let i = 0; i < atoms.length; i++) {
      const at = Math.floor(i / inner) % dims[k]!;
      const root = this.root(atoms[i]!);
      if (out[at] === -2) out[at] = root;
      else if (out[at] !== root) out[at] = -1;
    }
    return out;
  }

  /**
   * Ties what must go together so that the label stays a block of whole rows and columns whatever goes. Entries that lie across axes are tied so that whole
   * slabs along the longest axis go.
   * @returns whether anything was tied
   */
  square(label: Label): boolean {
    const { dims, atoms } = label;
    if (dims.length < 2) return false;
    const slabs = dims.map((_, k) => this.slabs(label, k));
    let sound = true;
    eachIndex(dims, (index, flat) => {
      const root = this.root(atoms[flat]!);
      sound &&= index.some((at, k) => slabs[k]![at] === root);
    });
    if (sound) return false;
    const longest = dims.indexOf(Math.max(...dims));
    const inner = elementCount(dims.slice(longest + 1));
    const first = new Map<number, number>();
    let changed = false;
    atoms.forEach((atom, i) => {
      const at = Math.floor(i / inner) % dims[longest]!;
      const known = first.get(at);
      if (known === undefined) first.set(at, atom);
      else changed = this.tie(known, atom) || changed;
    });
    return changed;
  }
}

/** A label with axes in any order, put in order. */
export function sorted(axes: readonly number[], dims: readonly number[], atoms: Int32Array): Label {
  const order = axes.map((_, k) => k).sort((a, b) => axes[a]! - axes[b]!);
  const into = order.map((k) => dims[k]!);
  const out = new Int32Array(atoms.length);
  eachIndex(dims, (index, flat) => {
    out[order.reduce((at, k) => at * dims[k]! + index[k]!, 0)] = atoms[flat]!;
  });
  return { axes: order.map((k) => axes[k]!), dims: into, atoms: out };
}

/** The entries [start, end) of one labelled axis. */
export function range(label: Label, k: number, start: number, end: number): Label {
  return pick(
    label,
    k,
    Array.from({ length: end - start }, (_, i) => start + i),
  );
}

/** The given entries of one labelled axis. */
export function pick({ axes, dims, atoms }: Label, k: number, entries: readonly number[]): Label {
  const into = dims.map((dim, i) => (i === k ? entries.length : dim));
  const out = new Int32Array(elementCount(into));
  eachIndex(into, (index, flat) => {
    out[flat] = atoms[index.reduce((at, i, axis) => at * dims[axis]! + (axis === k ? entries[i]! : i), 0)]!;
  });
  return { axes, dims: into, atoms: out };
}

/** More entries than this on an axis that a Reshape makes: not looked into. */
const MOST_ENTRIES = 1 << 20;

/** What a label becomes when the tensor is reshaped; null: too large to follow. An empty label: no channel axis is left. */
export function reshaped(label: Label, from: readonly number[], to: readonly number[]): Label | null {
  const axes: number[] = [];
  const dims: number[] = [];
  const blocks: { dims: number[]; atoms: Int32Array; inAxes: number[] }[] = [];
  for (let i = 0, o = 0; i < from.length || o < to.length;) {
    // The shortest runs of axes on both sides that hold equally many entries.
    const [i0, o0] = [i, o];
    let inside = i < from.length ? from[i++]! : 1;
    let outside = o < to.length ? to[o++]! : 1;
    while (inside !== outside) {
      if (inside < outside && i < from.length) inside *= from[i++]!;
      else if (o < to.length) outside *= to[o++]!;
      else return null;
    }
    while (i < from.length && from[i] === 1 && (o >= to.length || to[o] !== 1)) i++;
    while (o < to.length && to[o] === 1 && (i >= from.length || from[i] !== 1)) o++;
    const inAxes = Array.from({ length: i - i0 }, (_, k) => i0 + k);
    const own = inAxes.filter((axis) => label.axes.includes(axis));
    if (own.length === 0) continue;
    if (inside > MOST_ENTRIES) return null;
    const outAxes = Array.from({ length: o - o0 }, (_, k) => o0 + k).filter((axis) => to[axis]! > 1);
    axes.push(...outAxes);
    dims.push(...outAxes.map((axis) => to[axis]!));
    blocks.push({ dims: inAxes.map((axis) => from[axis]!), atoms: label.atoms, inAxes });
  }
  // Row-major over all blocks: the labels of several runs hang together by the common atoms.
  const all = blocks.flatMap(({ dims: block }) => block);
  const inAxes = blocks.flatMap(({ inAxes: block }) => block);
  if (elementCount(all) > MOST_ENTRIES) return null;
  const atoms = new Int32Array(elementCount(all));
  eachIndex(all, (index, flat) => {
    atoms[flat] = atomAt(label, (axis) => index[inAxes.indexOf(axis)]!);
  });
  return { axes, dims, atoms };
}
