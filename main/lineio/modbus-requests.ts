import type { ModbusTCPClient } from 'jsmodbus';

/* What a Modbus master may ask for at a time, and areas read whole in as many requests as that takes. */

/** Most that one request may carry (MODBUS Application Protocol V1.1b3, section 6). */
const READ = { bits: 2000, words: 125 };
export const WRITE = { bits: 1968, words: 123 };

export const pieces = (size: number, most: number): [from: number, count: number][] =>
  Array.from({ length: Math.ceil(size / most) }, (_, i) => [i * most, Math.min(most, size - i * most)]);

/** Coils or discrete inputs, from 0 on. */
export async function readBits(
  client: ModbusTCPClient,
  area: 'readCoils' | 'readDiscreteInputs',
  size: number,
  into: Buffer,
): Promise<void> {
  for (const [from, count] of pieces(size, READ.bits))
    (await client[area](from, count)).response.body.valuesAsBuffer.copy(into, from >> 3);
}

/** Holding or input registers, from 0 on. */
export async function readWords(
  client: ModbusTCPClient,
  area: 'readHoldingRegisters' | 'readInputRegisters',
  size: number,
  into: Buffer,
): Promise<void> {
  for (const [from, count] of pieces(size, READ.words))
    (await client[area](from, count)).response.body.valuesAsBuffer.copy(into, 2 * from);
}
