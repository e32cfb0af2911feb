import { assert } from '../contract/errors.ts';

/*
 * The two inner loops of the resize as a WebAssembly module of some 400 bytes, put together here instruction by instruction:
 * sixteen bytes at a time (fixed-width SIMD, in every Node since 16) and without bounds checks these loops take a third of the time that
 * they take in JavaScript, a tenth in colour. Integer rows and float32 columns give the same bits on every machine.
 * Opcodes: WebAssembly Core Specification 2.0, section 5.4.
 */

const leb = (value: number): number[] => {
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    // Signed: the last byte's bit 6 is the sign.
    if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
};
const unsigned = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
const vector = (items: number[][]): number[] => [...unsigned(items.length), ...items.flat()];
const section = (id: number, body: number[]): number[] => [id, ...unsigned(body.length), ...body];

const I32 = 0x7f;
const F32 = 0x7d;
const V128 = 0x7b;
const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const constant = (value: number) => [0x41, ...leb(value)];
const simd = (op: number, ...immediates: number[]) => [0xfd, ...unsigned(op), ...immediates];
const add = [0x6a];
const lessThan = [0x49];
/** Repeats while the condition left on the stack holds; at least once. */
const doWhile = (body: number[][], condition: number[][]) => [
  0x03,
  0x40,
  ...body.flat(),
  ...condition.flat(),
  0x0d,
  0x00,
  0x0b,
];
const increase = (local: number, by: number[]) => [...get(local), ...by, ...add, ...set(local)];

/** rows(source, stride, count, weights, taps, target): target[i] = sum_t weights[t] * source[t * stride + i], count in steps of 16. */
function rowsFunction(): number[] {
  const [source, stride, count, weights, taps, target] = [0, 1, 2, 3, 4, 5];
  const [i, t, p, w, a, b, c, d, bytes, half, factor] = [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
  const [extendLow8, extendHigh8, extendLow16, extendHigh16] = [137, 138, 169, 170].map((op) => simd(op)) as [
    number[],
    number[],
    number[],
    number[],
  ];
  const accumulate = (sum: number, extend: number[]) => [
    ...get(sum),
    ...get(half),
    ...extend,
    ...get(factor),
    ...simd(181),
    ...simd(174),
    ...set(sum),
  ];
  const zero = simd(12, ...Array.from({ length: 16 }, () => 0));
  const store = (sum: number, offset: number) => [
    ...get(target),
    ...get(i),
    ...constant(2),
    0x74,
    ...add,
    ...get(sum),
    ...simd(250),
    ...simd(11, 4, offset),
  ];
  const code = [
    ...doWhile(
      [
        ...[a, b, c, d].map((sum) => [...zero, ...set(sum)]),
        [...get(source), ...get(i), ...add, ...set(p)],
        [...get(weights), ...set(w), ...constant(0), ...set(t)],
        doWhile(
          [
            [...get(p), ...simd(0, 0, 0), ...set(bytes)],
            [...get(w), 0x28, 2, 0, ...simd(17), ...set(factor)],
            [...get(bytes), ...extendLow8, ...set(half)],
            accumulate(a, extendLow16),
            accumulate(b, extendHigh16),
            [...get(bytes), ...extendHigh8, ...set(half)],
            accumulate(c, extendLow16),
            accumulate(d, extendHigh16),
            increase(p, get(stride)),
            increase(w, constant(4)),
          ],
          [[...get(t), ...constant(1), ...add, ...tee(t), ...get(taps), ...lessThan]],
        ),
        store(a, 0),
        store(b, 16),
        store(c, 32),
        store(d, 48),
      ],
      [[...get(i), ...constant(16), ...add, ...tee(i), ...get(count), ...lessThan]],
    ),
    0x0b,
  ];
  const locals = vector([
    [4, I32],
    [7, V128],
  ]);
  return [...locals, ...code];
}

/** columns(row, starts, weights, taps, step, count, target, scale, shift): target[x] = scale * sum_t weights[x * taps + t] * row[starts[x] + t * step] + shift. */
function columnsFunction(): number[] {
  const [row, starts, weights, taps, step, count, target, scale, shift] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [x, t, p, sum] = [9, 10, 11, 12];
  const code = [
    ...doWhile(
      [
        // starts and step count bytes.
        [...get(row), ...get(starts), 0x28, 2, 0, ...add, ...set(p)],
        [0x43, 0, 0, 0, 0, ...set(sum), ...constant(0), ...set(t)],
        doWhile(
          [
            [...get(sum), ...get(p), 0x2a, 2, 0, ...get(weights), 0x2a, 2, 0, 0x94, 0x92, ...set(sum)],
            increase(p, get(step)),
            increase(weights, constant(4)),
          ],
          [[...get(t), ...constant(1), ...add, ...tee(t), ...get(taps), ...lessThan]],
        ),
        [...get(target), ...get(sum), ...get(scale), 0x94, ...get(shift), 0x92, 0x38, 2, 0],
        increase(starts, constant(4)),
        increase(target, constant(4)),
      ],
      [[...get(x), ...constant(1), ...add, ...tee(x), ...get(count), ...lessThan]],
    ),
    0x0b,
  ];
  const locals = vector([
    [3, I32],
    [1, F32],
  ]);
  return [...locals, ...code];
}

function assembleKernel(): Uint8Array<ArrayBuffer> {
  const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  const repeated = (count: number) => Array.from({ length: count }, () => [I32]);
  const name = (text: string) => [...unsigned(text.length), ...new TextEncoder().encode(text)];
  const sized = (body: number[]) => [...unsigned(body.length), ...body];
  return Uint8Array.from([
    ...magic,
    ...section(
      1,
      vector([
        [0x60, ...vector(repeated(6)), 0],
        [0x60, ...vector([...repeated(7), [F32], [F32]]), 0],
      ]),
    ),
    ...section(2, vector([[...name('m'), ...name('memory'), 0x02, 0x00, 0x01]])),
    ...section(3, vector([[0], [1]])),
    ...section(
      7,
      vector([
        [...name('rows'), 0x00, 0],
        [...name('columns'), 0x00, 1],
      ]),
    ),
    ...section(10, vector([sized(rowsFunction()), sized(columnsFunction())])),
  ]);
}

interface Memory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
/** The part of the global that is used here; Node's types leave it to those of the browser, which are not for this folder. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Memory: new (options: { initial: number }) => Memory;
  Instance: new (
    module: object,
    imports: Record<string, Record<string, unknown>>,
  ) => { exports: Record<string, unknown> };
};

export interface ResizeKernel {
  readonly memory: Memory;
  rows(source: number, stride: number, count: number, weights: number, taps: number, target: number): void;
  columns(
    row: number,
    starts: number,
    weights: number,
    taps: number,
    step: number,
    count: number,
    target: number,
    scale: number,
    shift: number,
  ): void;
}

let compiled: object | null = null;

/** One memory per preprocessor: nothing is shared between threads or stations. */
export function openResizeKernel(): ResizeKernel {
  compiled ??= new WebAssembly.Module(assembleKernel());
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { rows, columns } = new WebAssembly.Instance(compiled, { m: { memory } }).exports;
  assert(typeof rows === 'function' && typeof columns === 'function', 'the module above exports both');
  return { memory, rows: rows as ResizeKernel['rows'], columns: columns as ResizeKernel['columns'] };
}
