import type { DeviceRegisters } from './device-registers.ts';
import {
  FeatureError,
  featureType,
  findNode,
  flagLiteral,
  flagOf,
  isFloat,
  newWalk,
  rounded,
  step,
} from './feature.ts';
import { wholeLiteral, writable, type Walk } from './feature.ts';
import type { Formulas } from './formulas.ts';
import type { Limits } from './limits.ts';
import type { Description, Node } from './nodes.ts';
import { encodeInteger, fieldOf, integerRange } from './register.ts';
import type { OwnValues, Values } from './values.ts';

/* Writing, by kind of node. */

export interface Setting {
  /** Number, text, symbolic name or truth value; a command is executed. @throws FeatureError, and what the port throws */
  set(name: string, value: string | number | boolean): Promise<void>;
  execute(name: string): Promise<void>;
  /** Choices of an enumeration that are available now. */
  choices(node: Node): Promise<string[]>;
}

export function createSetting(
  description: Description,
  registers: DeviceRegisters,
  formulas: Formulas,
  values: Values,
  limits: Limits,
  own: OwnValues,
): Setting {
  const find = (name: string) => findNode(description, name);

  const setNumber = (node: Node, value: number | bigint, walk: Walk): Promise<void> =>
    step(walk, node, async () => {
      switch (node.kind) {
        case 'IntReg':
        case 'MaskedIntReg': {
          const at = await registers.locate(node, walk);
          const field = fieldOf(node, at);
          const whole = rounded(value);
          const range = integerRange(at, field);
          if (Number(whole) < range.min || Number(whole) > range.max) {
            throw new FeatureError(node.name, `takes ${range.min} to ${range.max}, not ${whole}`);
          }
          // The bits beside the field stay as the device has them now, not as they were read some time ago; those that nobody can read are 0.
          const keeps = field !== null && node.text('AccessMode') !== 'WO';
          const before = keeps ? await registers.readNow(node, at) : new Uint8Array(at.length);
          return registers.write(node, at, encodeInteger(before, at, field, whole));
        }
        case 'FloatReg': {
          const at = await registers.locate(node, walk);
          if (at.length !== 4 && at.length !== 8) throw new FeatureError(node.name, `has ${at.length} bytes`);
          const bytes = new Uint8Array(at.length);
          const view = new DataView(bytes.buffer);
          if (at.length === 4) view.setFloat32(0, Number(value), at.littleEndian);
          else view.setFloat64(0, Number(value), at.littleEndian);
          return registers.write(node, at, bytes);
        }
        case 'Converter':
        case 'IntConverter': {
          const to = await formulas.solve(node, 'FormulaTo', walk, { name: 'FROM', value });
          const target = find(node.text('pValue') ?? '');
          if (isFloat(target)) return setNumber(target, to.value, walk);
          return setNumber(target, node.kind === 'Converter' ? rounded(to.value) : to.whole, walk);
        }
        case 'Boolean':
          return setBehind(node, flagLiteral(node, Number(value) !== 0), walk);
        case 'Integer':
        case 'Enumeration':
        case 'Command':
          return setBehind(node, rounded(value), walk);
        case 'Float':
          return setBehind(node, value, walk);
        default:
          throw new FeatureError(node.name, `is a ${node.kind} and cannot be set`);
      }
    });
  const setBehind = async (node: Node, value: number | bigint, walk: Walk): Promise<void> => {
    const from = await values.origin(node, walk);
    if (from && 'node' in from) await setNumber(from.node, value, walk);
    else {
      own.set(node.name, value);
      registers.forget();
    }
    for (const copy of node.all('pValueCopy')) await setNumber(find(copy.text), value, walk);
  };
  const setString = (node: Node, text: string, walk: Walk): Promise<void> =>
    step(walk, node, async () => {
      if (node.kind === 'StringReg') {
        const at = await registers.locate(node, walk);
        const bytes = Buffer.from(text, 'utf8');
        if (bytes.length > at.length)
          throw new FeatureError(node.name, `takes ${at.length} bytes, not ${bytes.length}`);
        return registers.write(node, at, Buffer.concat([bytes, Buffer.alloc(at.length - bytes.length)]));
      }
      if (node.kind !== 'String') throw new FeatureError(node.name, `is a ${node.kind}, not a text`);
      const pValue = node.text('pValue');
      if (pValue !== null) return setString(find(pValue), text, walk);
      own.set(node.name, text);
    });

  const execute = async (name: string): Promise<void> => {
    const node = find(name);
    if (node.kind !== 'Command') throw new FeatureError(name, 'is not a command');
    const walk = newWalk();
    const access = await limits.access(node, walk);
    if (!writable(access)) throw new FeatureError(name, `cannot be executed now (${access})`);
    const reference = node.text('pCommandValue');
    const value =
      reference === null
        ? wholeLiteral(node, node.text('CommandValue') ?? '1')
        : await values.integer(find(reference), walk);
    await step(walk, node, () => setBehind(node, value, walk));
  };

  const choices = async (node: Node): Promise<string[]> => {
    const walk = newWalk();
    const symbols: string[] = [];
    for (const { symbol, entry } of values.entries(node)) {
      const flag = (tag: string) => flagOf(description, { ...values, range: limits.range }, entry, tag, walk, true);
      if ((await flag('pIsImplemented')) && (await flag('pIsAvailable'))) symbols.push(symbol);
    }
    return symbols;
  };

  const set = async (name: string, value: string | number | boolean): Promise<void> => {
    const node = find(name);
    const type = featureType(node);
    if (type === 'command') return execute(name);
    const walk = newWalk();
    const access = await limits.access(node, walk);
    if (!writable(access)) throw new FeatureError(name, `cannot be set now (${access})`);
    if (type === 'string') return setString(node, String(value), walk);
    if (type === 'enumeration') {
      const wanted = values.entries(node).find(({ symbol }) => symbol === String(value));
      if (wanted) return setNumber(node, await values.integer(wanted.entry, walk), walk);
      throw new FeatureError(name, `takes ${(await choices(node)).join(', ')}, not ${String(value)}`);
    }
    if (type === 'boolean') {
      const text = String(value).toLowerCase();
      if (!/^(true|false|1|0|on|off)$/.test(text)) throw new FeatureError(name, `takes true or false, not ${text}`);
      return setNumber(node, /^(true|1|on)$/.test(text) ? 1n : 0n, walk);
    }
    if (type !== 'integer' && type !== 'float') throw new FeatureError(name, `is a ${node.kind} and cannot be set`);
    const number = typeof value === 'number' ? value : String(value).trim() === '' ? NaN : Number(value);
    if (!Number.isFinite(number) || (type === 'integer' && !Number.isInteger(number))) {
      throw new FeatureError(name, `takes a ${type === 'integer' ? 'whole ' : ''}number, not ${String(value)}`);
    }
    const range = await limits.range(node, walk);
    if (range && (number < range.min || number > range.max)) {
      throw new FeatureError(name, `takes ${range.min} to ${range.max}, not ${number}`);
    }
    if (type === 'integer' && range?.increment && (number - range.min) % range.increment !== 0) {
      throw new FeatureError(name, `takes ${range.min} and steps of ${range.increment} above, not ${number}`);
    }
    await setNumber(node, type === 'integer' ? BigInt(number) : number, walk);
  };
  return { set, execute, choices };
}
