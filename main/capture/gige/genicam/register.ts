import type { Node } from './nodes.ts';
import type { Element } from './xml.ts';

/** Where a register lies and how its bytes are to be read. */
export interface Register {
  address: number;
  length: number;
  littleEndian: boolean;
  signed: boolean;
}
/** Bits of a register: `shift` counted from the least significant. */
export interface Field {
  shift: number;
  width: number;
}

/** Registers beyond are data, which nobody reads as a feature. */
const MAX_LENGTH = 64 * 1024;

export interface Resolve {
  whole(name: string): Promise<number>;
  wholeOf(element: Element): Promise<number>;
  literal(text: string): number;
  fail(problem: string): Error;
}

/** Address = sum of all that is given: literals, other nodes, formulas, index times offset. */
export async function registerOf(node: Node, resolve: Resolve): Promise<Register> {
  const lengthFrom = node.text('pLength');
  const literal = node.text('Length');
  const length = lengthFrom !== null ? await resolve.whole(lengthFrom) : resolve.literal(literal ?? '4');
  if (!Number.isInteger(length) || length < 1 || length > MAX_LENGTH) throw resolve.fail(`has a length of ${length}`);
  let address = 0;
  for (const element of node.all('Address')) address += resolve.literal(element.text);
  for (const element of node.all('pAddress')) address += await resolve.whole(element.text);
  for (const element of node.all('IntSwissKnife')) address += await resolve.wholeOf(element);
  for (const element of node.all('pIndex')) {
    const { Offset, pOffset } = element.attributes;
    const offset = pOffset ? await resolve.whole(pOffset) : Offset ? resolve.literal(Offset) : length;
    address += (await resolve.whole(element.text)) * offset;
  }
  if (!Number.isSafeInteger(address) || address < 0 || address + length > 2 ** 32) {
    throw resolve.fail(`has the address ${address}`);
  }
  return {
    address,
    length,
    littleEndian: (node.text('Endianess') ?? node.text('Endianness')) !== 'BigEndian',
    signed: node.text('Sign') === 'Signed',
  };
}

/** Bits of a MaskedIntReg; null: the whole register. In a big-endian register bit 0 is the most significant one. */
export function fieldOf(node: Node, at: Register): Field | null {
  if (node.kind !== 'MaskedIntReg') return null;
  const bit = node.text('Bit');
  const ends = [Number(bit ?? node.text('LSB') ?? NaN), Number(bit ?? node.text('MSB') ?? NaN)];
  const low = Math.min(...ends);
  const high = Math.max(...ends);
  if (!Number.isInteger(low) || !Number.isInteger(high) || low < 0 || high >= 8 * at.length)
    return { shift: 0, width: 8 * at.length };
  return { shift: at.littleEndian ? low : 8 * at.length - 1 - high, width: high - low + 1 };
}

/** What the bits can hold; beyond 2^53 to the nearest number. */
export function integerRange(at: Register, field: Field | null): { min: number; max: number } {
  const width = Math.min(64, field?.width ?? 8 * at.length);
  return at.signed ? { min: -(2 ** (width - 1)), max: 2 ** (width - 1) - 1 } : { min: 0, max: 2 ** width - 1 };
}

const toWhole = (bytes: Uint8Array, littleEndian: boolean): bigint => {
  let value = 0n;
  for (let i = 0; i < bytes.length; i += 1) {
    value = (value << 8n) | BigInt(bytes[littleEndian ? bytes.length - 1 - i : i]!);
  }
  return value;
};

/** @param bytes of the whole register, in its own byte order */
export function decodeInteger(bytes: Uint8Array, at: Register, field: Field | null): bigint {
  const raw = toWhole(bytes, at.littleEndian);
  const width = field?.width ?? 8 * at.length;
  const value = field ? (raw >> BigInt(field.shift)) & ((1n << BigInt(width)) - 1n) : raw;
  return at.signed ? BigInt.asIntN(width, value) : value;
}

/** @param before bytes of the register as they are; only the field's bits change. */
export function encodeInteger(before: Uint8Array, at: Register, field: Field | null, value: bigint): Uint8Array {
  const width = field?.width ?? 8 * at.length;
  const mask = (1n << BigInt(width)) - 1n;
  const shift = BigInt(field?.shift ?? 0);
  let raw = (toWhole(before, at.littleEndian) & ~(mask << shift)) | ((value & mask) << shift);
  const bytes = new Uint8Array(at.length);
  for (let i = 0; i < at.length; i += 1) {
    bytes[at.littleEndian ? i : at.length - 1 - i] = Number(raw & 0xffn);
    raw >>= 8n;
  }
  return bytes;
}
