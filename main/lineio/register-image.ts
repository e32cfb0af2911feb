import { registerMap, signalNames, type Layout, type SignalName, type SignalValue } from './register-map.ts';

/** The four areas as bytes, laid out as Modbus sends them, and read and written by signal name. */
export function createRegisterImage({ addressOf, size }: Layout) {
  const bytes = {
    coil: Buffer.alloc(Math.ceil(size.coil / 8)),
    discrete: Buffer.alloc(Math.ceil(size.discrete / 8)),
    holding: Buffer.alloc(2 * size.holding),
    input: Buffer.alloc(2 * size.input),
  };
  const get = (name: SignalName): SignalValue => {
    const { area, type } = registerMap[name];
    const at = addressOf[name];
    const buffer = bytes[area];
    switch (type) {
      case 'bit':
        return ((buffer[at >> 3]! >> (at & 7)) & 1) === 1;
      case 'u16':
        return buffer.readUInt16BE(2 * at);
      case 'i16':
        return buffer.readInt16BE(2 * at);
      case 'u32':
        return buffer.readUInt32BE(2 * at);
      case 'ascii16':
        return buffer
          .toString('latin1', 2 * at, 2 * at + 16)
          .replace(/[^\x20-\x7e]/g, '')
          .trim();
    }
  };
  return {
    bytes,
    get,
    /** Counters roll over: 4,294,967,295 is followed by 0. */
    set(name: SignalName, value: SignalValue): void {
      const { area, type } = registerMap[name];
      const at = addressOf[name];
      const buffer = bytes[area];
      const number = Number(value);
      if (type === 'bit')
        buffer[at >> 3] = (buffer[at >> 3]! & ~(1 << (at & 7))) | (Number(value === true) << (at & 7));
      else if (type === 'i16') buffer.writeInt16BE((number << 16) >> 16, 2 * at);
      else if (type === 'u16') buffer.writeUInt16BE(number & 0xffff, 2 * at);
      else if (type === 'u32') buffer.writeUInt32BE(number >>> 0, 2 * at);
      else buffer.write(String(value).padEnd(16, '\0'), 2 * at, 16, 'latin1');
    },
    values: (): Record<SignalName, SignalValue> =>
      Object.fromEntries(signalNames.map((name) => [name, get(name)])) as Record<SignalName, SignalValue>,
  };
}
export type RegisterImage = ReturnType<typeof createRegisterImage>;
