/*
 * Protocol Buffers wire format (protobuf.dev/programming-guides/encoding), both directions. Reading copies nothing: byte fields are
 * views of the source. Every length is checked against what is left, so work and memory are linear in the size of the input.
 */

/** Thrown inside the codec only; decode.ts turns it into MODEL_UNREADABLE with the file's name. */
export class WireError extends Error {}

const VARINT = 0;
const FIXED64 = 1;
export const BYTES = 2;
const FIXED32 = 5;

/** Far above what real models hold (ten per node); stops a file of two-byte messages from taking a hundred times its size. */
const MAX_MESSAGES = 5_000_000;

/** Gives the bytes of a tensor that lies in another file; `size` is what its type and dims need. @throws AppError */
export type ExternalData = (
  place: { location: string; offset: number; length: number | null },
  tensor: string,
  size: number,
) => Uint8Array;

/** What all readers of one file share. */
interface Shared {
  messages: number;
  readonly external: ExternalData | null;
}

const utf8 = new TextDecoder('utf-8');

export class WireReader {
  readonly bytes: Uint8Array;
  position: number;
  readonly end: number;
  readonly #view: DataView;
  readonly #shared: Shared;
  /** Of the field whose tag was read last. */
  field = 0;
  wireType = 0;
  #fieldStart = 0;
  readonly #unknown: [start: number, end: number][] = [];

  constructor(bytes: Uint8Array, position = 0, end = bytes.length, shared: Shared = { messages: 0, external: null }) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#shared = shared;
    if (++shared.messages > MAX_MESSAGES) throw new WireError(`more than ${MAX_MESSAGES} messages`);
  }

  static withExternal(bytes: Uint8Array, external: ExternalData | null): WireReader {
    return new WireReader(bytes, 0, bytes.length, { messages: 0, external });
  }

  get external(): ExternalData | null {
    return this.#shared.external;
  }

  /** Goes to the next field; false at the end of the message. */
  next(): boolean {
    if (this.position >= this.end) return false;
    this.#fieldStart = this.position;
    const tag = this.length();
    this.field = Math.floor(tag / 8);
    this.wireType = tag % 8;
    if (this.field === 0) throw new WireError(`field number 0 at byte ${this.#fieldStart}`);
    return true;
  }

  /** An unsigned varint that must be a safe integer: tags and lengths. */
  length(): number {
    const value = this.#varint();
    if (typeof value === 'bigint') throw new WireError(`length out of range at byte ${this.position}`);
    return value;
  }

  #varint(): number | bigint {
    let low = 0;
    let scale = 1;
    for (let i = 0; i < 7; i++) {
      const byte = this.#byte();
      low += (byte & 0x7f) * scale;
      if (byte < 0x80) return low;
      scale *= 128;
    }
    let wide = BigInt(low);
    for (let shift = 49n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      wide |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, wide);
    }
    throw new WireError(`number longer than ten bytes at byte ${this.position}`);
  }

  #byte(): number {
    if (this.position >= this.end) throw new WireError(`ends in the middle of a number at byte ${this.position}`);
    return this.bytes[this.position++]!;
  }

  #expect(wireType: number): void {
    if (this.wireType !== wireType) {
      throw new WireError(
        `field ${this.field} at byte ${this.#fieldStart} has wire type ${this.wireType}, not ${wireType}`,
      );
    }
  }

  /** int64: a number where it is exact, else a bigint. */
  int64(): number | bigint {
    this.#expect(VARINT);
    return this.signed();
  }

  /** The next varint of bytes that are nothing but varints. */
  signed(): number | bigint {
    const value = this.#varint();
    if (typeof value === 'number') return value;
    const signed = BigInt.asIntN(64, value);
    return signed >= BigInt(Number.MIN_SAFE_INTEGER) && signed <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(signed)
      : signed;
  }

  /** An int that must be exact as a number: dimensions, enums, versions. */
  int(): number {
    const value = this.int64();
    if (typeof value === 'bigint')
      throw new WireError(`field ${this.field} at byte ${this.#fieldStart} is out of range`);
    return value;
  }

  float32(): number {
    this.#expect(FIXED32);
    return this.#view.getFloat32(this.#take(4), true);
  }

  #take(count: number): number {
    const start = this.position;
    if (count > this.end - start) {
      throw new WireError(
        `field ${this.field} at byte ${this.#fieldStart} needs ${count} bytes, ${this.end - start} are left`,
      );
    }
    this.position = start + count;
    return start;
  }

  /** A view, not a copy. */
  view(): Uint8Array {
    this.#expect(BYTES);
    const count = this.length();
    const start = this.#take(count);
    return this.bytes.subarray(start, start + count);
  }

  text(): string {
    return utf8.decode(this.view());
  }

  message(): WireReader {
    this.#expect(BYTES);
    const count = this.length();
    const start = this.#take(count);
    return new WireReader(this.bytes, start, start + count, this.#shared);
  }

  /** A repeated int64, packed or not; appends to `into`. */
  int64s(into: (number | bigint)[]): void {
    if (this.wireType === VARINT) {
      into.push(this.signed());
      return;
    }
    this.#expect(BYTES);
    const count = this.length();
    const stop = this.#take(count) + count;
    this.position = stop - count;
    while (this.position < stop) into.push(this.signed());
    if (this.position !== stop) throw new WireError(`packed numbers overrun at byte ${this.#fieldStart}`);
  }

  /** As int64s, of lists as long as weights: appends the numbers as they lie in the file, for `signed`. */
  varints(into: JoinedBytes): void {
    if (this.wireType === BYTES) into.append(this.view());
    else {
      this.#expect(VARINT);
      const start = this.position;
      this.#varint();
      into.append(this.bytes.subarray(start, this.position));
    }
  }

  /** A repeated float (4) or double (8), packed or not: appends its bytes, little-endian, to `into`. */
  reals(into: JoinedBytes, bytesEach: 4 | 8): void {
    const single = this.wireType === (bytesEach === 4 ? FIXED32 : FIXED64);
    if (!single) this.#expect(BYTES);
    const count = single ? bytesEach : this.length();
    const start = this.#take(count);
    if (count % bytesEach !== 0) throw new WireError(`packed numbers cut short at byte ${this.#fieldStart}`);
    into.append(this.bytes.subarray(start, start + count));
  }

  /** Steps over the present field and keeps its bytes for `unknown`. */
  keep(): void {
    if (this.wireType === VARINT) this.#varint();
    else if (this.wireType === FIXED64) this.#take(8);
    else if (this.wireType === FIXED32) this.#take(4);
    else if (this.wireType === BYTES) this.#take(this.length());
    else
      throw new WireError(`field ${this.field} at byte ${this.#fieldStart} has the unknown wire type ${this.wireType}`);
    const last = this.#unknown.at(-1);
    // Neighbours are joined, so a long run of tiny fields stays one view.
    if (last && last[1] === this.#fieldStart) last[1] = this.position;
    else this.#unknown.push([this.#fieldStart, this.position]);
  }

  /** What `keep` kept, as views that can be written back. */
  unknown(): readonly Uint8Array[] {
    return this.#unknown.length === 0 ? NOTHING : this.#unknown.map(([from, to]) => this.bytes.subarray(from, to));
  }
}

/** Pieces of one list: a view of the first while there is no other, which is how every exporter writes weights. */
export class JoinedBytes {
  #room: Uint8Array = new Uint8Array(0);
  #used = 0;

  get bytes(): Uint8Array {
    return this.#room.subarray(0, this.#used);
  }

  append(piece: Uint8Array): void {
    const needed = this.#used + piece.length;
    if (this.#used === 0) this.#room = piece;
    else {
      // A view is as long as its piece, so the file itself is never written to.
      if (needed > this.#room.length) {
        const wider = new Uint8Array(2 * needed);
        wider.set(this.bytes);
        this.#room = wider;
      }
      this.#room.set(piece, this.#used);
    }
    this.#used = needed;
  }
}

const NOTHING: readonly Uint8Array[] = Object.freeze([]);

/** Collects pieces and joins them once: weights are copied one time, at the end. */
export class WireWriter {
  readonly #pieces: Uint8Array[] = [];
  #size = 0;
  /** Small things are gathered here, so that a tag is not an allocation. */
  #scratch = new Uint8Array(4096);
  #used = 0;
  #from = 0;

  get size(): number {
    return this.#size;
  }

  #room(count: number): void {
    if (this.#used + count <= this.#scratch.length) return;
    this.#cut();
    this.#scratch = new Uint8Array(Math.max(4096, count));
    this.#used = 0;
    this.#from = 0;
  }

  #cut(): void {
    if (this.#used > this.#from) this.#pieces.push(this.#scratch.subarray(this.#from, this.#used));
    this.#from = this.#used;
  }

  raw(bytes: Uint8Array): this {
    if (bytes.length === 0) return this;
    if (bytes.length < 256) {
      this.#room(bytes.length);
      this.#scratch.set(bytes, this.#used);
      this.#used += bytes.length;
    } else {
      this.#cut();
      this.#pieces.push(bytes);
    }
    this.#size += bytes.length;
    return this;
  }

  varint(value: number | bigint): this {
    this.#room(10);
    const start = this.#used;
    if (typeof value === 'number' && value >= 0) {
      let rest = value;
      while (rest >= 128) {
        this.#scratch[this.#used++] = (rest % 128) | 0x80;
        rest = Math.floor(rest / 128);
      }
      this.#scratch[this.#used++] = rest;
    } else {
      let rest = BigInt.asUintN(64, BigInt(value));
      while (rest >= 128n) {
        this.#scratch[this.#used++] = Number(rest & 0x7fn) | 0x80;
        rest >>= 7n;
      }
      this.#scratch[this.#used++] = Number(rest);
    }
    this.#size += this.#used - start;
    return this;
  }

  tag(field: number, wireType: number): this {
    return this.varint(field * 8 + wireType);
  }

  int(field: number, value: number | bigint): this {
    return this.tag(field, VARINT).varint(value);
  }

  float32(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.tag(field, FIXED32).raw(bytes);
  }

  bytes(field: number, value: Uint8Array): this {
    return this.tag(field, BYTES).varint(value.length).raw(value);
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  /** A text field that is left out when empty (proto3 default). */
  textIfAny(field: number, value: string): this {
    return value === '' ? this : this.text(field, value);
  }

  message(field: number, write: (inner: WireWriter) => void): this {
    const inner = new WireWriter();
    write(inner);
    this.tag(field, BYTES).varint(inner.#size);
    inner.#cut();
    for (const piece of inner.#pieces) this.raw(piece);
    return this;
  }

  packedInts(field: number, values: readonly (number | bigint)[]): this {
    if (values.length === 0) return this;
    return this.message(field, (inner) => {
      for (const value of values) inner.varint(value);
    });
  }

  /** What was written, in pieces that join to the whole; long ones are the caller's own bytes, not copies. */
  pieces(): readonly Uint8Array[] {
    this.#cut();
    return this.#pieces;
  }

  finish(): Uint8Array {
    this.#cut();
    const out = new Uint8Array(this.#size);
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}
