/*
 * FlatBuffers, reading only (flatbuffers.dev/internals): tables with vtables, vectors, strings. Every offset is checked, offsets only point
 * forward (as the format demands), so no file can make a reader go in circles.
 */

/** Thrown inside the import only; read-tflite.ts turns it into MODEL_UNREADABLE. */
export class FlatBufferError extends Error {}

const utf8 = new TextDecoder('utf-8');

export class Table {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #position: number;
  readonly #vtable: number;
  readonly #vtableSize: number;

  private constructor(bytes: Uint8Array, view: DataView, position: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.#position = this.#check(position, 4);
    this.#vtable = this.#check(position - view.getInt32(position, true), 4);
    this.#vtableSize = view.getUint16(this.#vtable, true);
    this.#check(this.#vtable, this.#vtableSize);
  }

  /** @param identifier the four letters at byte 4, for example "TFL3". */
  static root(bytes: Uint8Array, identifier: string): Table {
    if (bytes.length < 12) throw new FlatBufferError('it is too short');
    if (utf8.decode(bytes.subarray(4, 8)) !== identifier)
      throw new FlatBufferError(`it does not start with ${identifier}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new Table(bytes, view, view.getUint32(0, true));
  }

  #check(position: number, size: number): number {
    if (position < 0 || size < 0 || position + size > this.#bytes.length) {
      throw new FlatBufferError(`an offset points outside the file (${position})`);
    }
    return position;
  }

  /** Where a field lies, or null for one at its default. */
  #field(index: number, size: number): number | null {
    const slot = 4 + index * 2;
    if (slot + 2 > this.#vtableSize) return null;
    const offset = this.#view.getUint16(this.#vtable + slot, true);
    return offset === 0 ? null : this.#check(this.#position + offset, size);
  }

  #follow(at: number): number {
    const offset = this.#view.getUint32(this.#check(at, 4), true);
    if (offset === 0) throw new FlatBufferError('an offset points to itself');
    return this.#check(at + offset, 4);
  }

  #vector(index: number, elementSize: number): { start: number; length: number } | null {
    const at = this.#field(index, 4);
    if (at === null) return null;
    const start = this.#follow(at);
    const length = this.#view.getUint32(start, true);
    this.#check(start + 4, length * elementSize);
    return { start: start + 4, length };
  }

  int8(index: number, fallback = 0): number {
    const at = this.#field(index, 1);
    return at === null ? fallback : this.#view.getInt8(at);
  }

  int32(index: number, fallback = 0): number {
    const at = this.#field(index, 4);
    return at === null ? fallback : this.#view.getInt32(at, true);
  }

  float32(index: number, fallback = 0): number {
    const at = this.#field(index, 4);
    return at === null ? fallback : this.#view.getFloat32(at, true);
  }

  text(index: number): string {
    return utf8.decode(this.bytes(index));
  }

  /** A view of a [ubyte]; empty when absent. */
  bytes(index: number): Uint8Array {
    const vector = this.#vector(index, 1);
    return vector ? this.#bytes.subarray(vector.start, vector.start + vector.length) : new Uint8Array(0);
  }

  int32s(index: number): number[] {
    const vector = this.#vector(index, 4);
    return vector
      ? Array.from({ length: vector.length }, (_, i) => this.#view.getInt32(vector.start + i * 4, true))
      : [];
  }

  table(index: number): Table | null {
    const at = this.#field(index, 4);
    return at === null ? null : new Table(this.#bytes, this.#view, this.#follow(at));
  }

  tables(index: number): Table[] {
    const vector = this.#vector(index, 4);
    if (!vector) return [];
    return Array.from(
      { length: vector.length },
      (_, i) => new Table(this.#bytes, this.#view, this.#follow(vector.start + i * 4)),
    );
  }
}
