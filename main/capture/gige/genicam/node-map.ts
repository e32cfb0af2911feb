import { ExpressionError, parseExpression, toInteger, type Expression } from './expression.ts';
import { innerNode, parseDescription, type Description, type Node } from './nodes.ts';
import { decodeInteger, encodeInteger, fieldOf, integerRange, registerOf, type Register } from './register.ts';

/*
 * The features of a camera by name, as its own description (GenICam, GenApi schema 1.0 and 1.1) defines them over its registers.
 * Values are worked out when asked for: a description that is wrong in one place costs that feature and no other.
 */

/** Registers of a device. Addresses and lengths as the description gives them. */
export interface Port {
  read(address: number, length: number): Promise<Uint8Array>;
  write(address: number, bytes: Uint8Array): Promise<void>;
}

/** A feature that cannot be read or set now, in words. */
export class FeatureError extends Error {
  readonly feature: string;
  constructor(feature: string, problem: string, cause?: unknown) {
    super(`${feature} ${problem}`, { cause });
    this.feature = feature;
  }
}

export type Access = 'NI' | 'NA' | 'RO' | 'WO' | 'RW';
export type FeatureType =
  'integer' | 'float' | 'enumeration' | 'boolean' | 'command' | 'string' | 'register' | 'category';

export interface Feature {
  name: string;
  type: FeatureType;
  /** As text; null where it cannot be read. */
  value: string | number | boolean | null;
  min: number | null;
  max: number | null;
  increment: number | null;
  unit: string | null;
  access: Access;
  /** Choices of an enumeration that are available now. */
  values: string[] | null;
  category: string;
}

const types: Record<string, FeatureType> = {
  Integer: 'integer',
  IntReg: 'integer',
  MaskedIntReg: 'integer',
  IntSwissKnife: 'integer',
  IntConverter: 'integer',
  Float: 'float',
  FloatReg: 'float',
  SwissKnife: 'float',
  Converter: 'float',
  Enumeration: 'enumeration',
  Boolean: 'boolean',
  Command: 'command',
  String: 'string',
  StringReg: 'string',
  Register: 'register',
  Category: 'category',
};

/** One question's way through the description: bounded in depth and in steps, for a description may go in circles. */
interface Walk {
  depth: number;
  steps: number;
}
const MAX_DEPTH = 60;
const MAX_STEPS = 20_000;

const readable = (access: Access) => access === 'RO' || access === 'RW';
const writable = (access: Access) => access === 'WO' || access === 'RW';

export interface NodeMap {
  readonly description: Description;
  has(name: string): boolean;
  typeOf(name: string): FeatureType | null;
  access(name: string): Promise<Access>;
  /** @throws FeatureError, and what the port throws */
  integer(name: string): Promise<number>;
  float(name: string): Promise<number>;
  /** Symbolic name of an enumeration, text of anything else. */
  text(name: string): Promise<string>;
  range(name: string): Promise<{ min: number; max: number; increment: number | null } | null>;
  /** Number, text, symbolic name or truth value; a command is executed. */
  set(name: string, value: string | number | boolean): Promise<void>;
  execute(name: string): Promise<void>;
  describe(name: string): Promise<Feature>;
  /** Names of all features, in the order of the categories. */
  features(): { name: string; category: string }[];
  /** What was read is asked for anew. */
  forget(): void;
}

export function createNodeMap(source: string | Description, port: Port): NodeMap {
  const description = typeof source === 'string' ? parseDescription(source) : source;
  const { nodes } = description;
  const cache = new Map<string, { bytes: Uint8Array; at: number }>();
  /** Values of nodes that lie in this program and in no register. */
  const own = new Map<string, bigint | number | string>();
  const formulas = new Map<string, Expression>();

  const step = async <T>(walk: Walk, node: string, run: () => Promise<T>): Promise<T> => {
    walk.steps += 1;
    if (walk.depth >= MAX_DEPTH || walk.steps > MAX_STEPS) throw new FeatureError(node, 'is defined by itself');
    walk.depth += 1;
    try {
      return await run();
    } finally {
      walk.depth -= 1;
    }
  };
  const walkFrom = (): Walk => ({ depth: 0, steps: 0 });
  const find = (name: string): Node => {
    const node = nodes.get(name.trim());
    if (!node) throw new FeatureError(name, 'is not in the description of the camera');
    return node;
  };
  const formula = (node: Node, text: string): Expression => {
    const known = formulas.get(text);
    if (known) return known;
    try {
      const made = parseExpression(text);
      formulas.set(text, made);
      return made;
    } catch (error) {
      throw new FeatureError(node.name, `has a formula that cannot be read: ${(error as Error).message}`, error);
    }
  };
  const wholeLiteral = (node: Node, text: string): bigint => {
    try {
      const negative = text.startsWith('-');
      const value = BigInt(negative ? text.slice(1) : text);
      return negative ? -value : value;
    } catch {
      const value = Number(text);
      if (Number.isFinite(value)) return BigInt(Math.trunc(value));
      throw new FeatureError(node.name, `has "${text}" where a number belongs`);
    }
  };
  const floatLiteral = (node: Node, text: string): number => {
    const value = Number(text);
    if (text === '' || Number.isNaN(value)) throw new FeatureError(node.name, `has "${text}" where a number belongs`);
    return value;
  };

  // ---------------------------------------------------------------- registers
  const located = (node: Node, walk: Walk): Promise<Register> =>
    registerOf(node, {
      whole: async (name) => Number(await integerOf(find(name), walk)),
      wholeOf: async (element) => Number(await integerOf(innerNode(element), walk)),
      literal: (text) => Number(wholeLiteral(node, text)),
      fail: (problem) => new FeatureError(node.name, problem),
    });
  const isRemote = (node: Node): boolean => {
    const name = node.text('pPort');
    const at = name === null ? null : nodes.get(name);
    // Registers inside the pictures' chunk data are not the device's.
    return !at || (at.text('ChunkID') === null && at.text('pChunkID') === null);
  };
  const readBytes = async (node: Node, walk: Walk, at?: Register): Promise<Uint8Array> => {
    if (!isRemote(node)) throw new FeatureError(node.name, 'lies in the chunk data of pictures');
    const { address, length } = at ?? (await located(node, walk));
    const key = `${address}:${length}`;
    const cached = cache.get(key);
    const pollMs = Number(node.text('PollingTime') ?? Infinity);
    const kept = node.text('Cachable') !== 'NoCache' && cached && performance.now() - cached.at < pollMs;
    if (kept) return cached.bytes;
    const bytes = await port.read(address, length);
    if (bytes.length !== length) throw new FeatureError(node.name, `has ${length} bytes, ${bytes.length} came`);
    cache.set(key, { bytes, at: performance.now() });
    return bytes;
  };
  const writeBytes = async (address: number, bytes: Uint8Array): Promise<void> => {
    // Any register may depend on any other, whatever pInvalidator says: asking again costs a millisecond, an old value a shift.
    cache.clear();
    await port.write(address, bytes);
    cache.clear();
  };

  // ---------------------------------------------------------------- values
  const flagOf = async (node: Node, tag: string, walk: Walk, otherwise: boolean): Promise<boolean> => {
    const name = node.text(tag);
    return name === null ? otherwise : (await integerOf(find(name), walk)) !== 0n;
  };

  /** The node that an indexed value comes from (pIndex), or the plain pValue; null: the value is a literal. */
  const origin = async (node: Node, walk: Walk): Promise<{ node: Node } | { literal: string } | null> => {
    const index = node.text('pIndex');
    if (index !== null && (node.all('ValueIndexed').length > 0 || node.all('pValueIndexed').length > 0)) {
      const at = await integerOf(find(index), walk);
      for (const [tag, reference] of [
        ['pValueIndexed', true],
        ['ValueIndexed', false],
      ] as const) {
        for (const element of node.all(tag)) {
          if (wholeLiteral(node, element.attributes.Index ?? '') !== at) continue;
          return reference ? { node: find(element.text) } : { literal: element.text };
        }
      }
      const fallback = node.text('pValueDefault');
      if (fallback !== null) return { node: find(fallback) };
      const literal = node.text('ValueDefault');
      if (literal !== null) return { literal };
      throw new FeatureError(node.name, `has no value for index ${at}`);
    }
    const pValue = node.text('pValue');
    if (pValue !== null) return { node: find(pValue) };
    const value = node.text('Value');
    return value === null ? null : { literal: value };
  };

  type Variable = { ok: true; value: number; whole: bigint } | { ok: false; error: unknown };
  /** Values of all variables that a formula names; one that cannot be read fails only the branch that uses it. */
  const variables = async (node: Node, expression: Expression, walk: Walk, given: ReadonlyMap<string, Variable>) => {
    const values = new Map(given);
    const whole = node.kind.startsWith('Int');
    const gather = async (names: readonly string[]): Promise<void> => {
      for (const name of names) {
        if (values.has(name)) continue;
        const variable = node.all('pVariable').find((element) => element.attributes.Name === name);
        const constant = node.all('Constant').find((element) => element.attributes.Name === name);
        const inner = node.all('Expression').find((element) => element.attributes.Name === name);
        try {
          if (variable) values.set(name, await variableValue(variable.text, name, whole, walk));
          else if (constant) values.set(name, ofNumber(floatLiteral(node, constant.text)));
          else if (inner) {
            await step(walk, node.name, async () => {
              const made = formula(node, inner.text);
              await gather(made.names);
              const value = whole ? Number(made.integer(wholeFrom(values))) : made.float(floatFrom(values));
              values.set(name, ofNumber(value));
            });
          }
        } catch (error) {
          values.set(name, { ok: false, error });
        }
      }
    };
    await gather(expression.names);
    return values;
  };
  const ofNumber = (value: number): Variable => ({
    ok: true,
    value,
    whole: Number.isFinite(value) ? toInteger(value) : 0n,
  });
  const variableValue = async (reference: string, name: string, whole: boolean, walk: Walk): Promise<Variable> => {
    const node = find(reference);
    const property = /\.(Min|Max|Inc)$/.exec(name)?.[1];
    if (property) {
      const range = await rangeOf(node, walk);
      const value = property === 'Min' ? range?.min : property === 'Max' ? range?.max : (range?.increment ?? 1);
      if (value === undefined) throw new FeatureError(reference, 'has no limits');
      return ofNumber(value);
    }
    if (whole) {
      const value = await integerOf(node, walk);
      return { ok: true, value: Number(value), whole: value };
    }
    return ofNumber(await floatOf(node, walk));
  };
  const taken = (values: ReadonlyMap<string, Variable>, name: string) => {
    const value = values.get(name);
    if (!value) throw new ExpressionError(`${name} has no value`);
    if (!value.ok) throw value.error;
    return value;
  };
  const wholeFrom = (values: ReadonlyMap<string, Variable>) => (name: string) => taken(values, name).whole;
  const floatFrom = (values: ReadonlyMap<string, Variable>) => (name: string) => taken(values, name).value;
  const solve = async (node: Node, tag: string, walk: Walk, given: ReadonlyMap<string, Variable> = new Map()) => {
    const text = node.text(tag);
    if (text === null) throw new FeatureError(node.name, `has no ${tag}`);
    const expression = formula(node, text);
    const values = await variables(node, expression, walk, given);
    try {
      // Doubles hold what a converter of whole numbers needs, but for 64-bit masks.
      return node.kind.startsWith('Int')
        ? ofWhole(expression.integer(wholeFrom(values)))
        : ofNumber(expression.float(floatFrom(values)));
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      throw new FeatureError(node.name, `cannot be worked out: ${error.message}`, error);
    }
  };
  const ofWhole = (whole: bigint): Variable => ({ ok: true, value: Number(whole), whole });
  const solved = (variable: Variable) => {
    if (!variable.ok) throw variable.error;
    return variable;
  };
  /** Value behind a converter as the formula sees it. */
  const behind = async (node: Node, walk: Walk): Promise<Variable> => {
    const target = find(node.text('pValue') ?? '');
    return isFloat(target) ? ofNumber(await floatOf(target, walk)) : ofWhole(await integerOf(target, walk));
  };
  const isFloat = (node: Node) => types[node.kind] === 'float';

  const integerOf = (node: Node, walk: Walk): Promise<bigint> =>
    step(walk, node.name, async () => {
      switch (node.kind) {
        case 'IntReg':
        case 'MaskedIntReg': {
          const at = await located(node, walk);
          return decodeInteger(await readBytes(node, walk, at), at, fieldOf(node, at));
        }
        case 'IntSwissKnife':
          return solved(await solve(node, 'Formula', walk)).whole;
        case 'IntConverter':
          return solved(await solve(node, 'FormulaFrom', walk, new Map([['TO', await behind(node, walk)]]))).whole;
        case 'Float':
        case 'FloatReg':
        case 'SwissKnife':
        case 'Converter':
          return toInteger(await floatOf(node, walk));
        case 'Boolean': {
          const raw = await rawInteger(node, walk);
          return raw === wholeLiteral(node, node.text('OnValue') ?? '1') ? 1n : 0n;
        }
        case 'Integer':
        case 'Enumeration':
        case 'Command':
          return rawInteger(node, walk);
        case 'EnumEntry':
          return wholeLiteral(node, node.text('Value') ?? '');
        default:
          throw new FeatureError(node.name, `is a ${node.kind}, not a number`);
      }
    });
  const rawInteger = async (node: Node, walk: Walk): Promise<bigint> => {
    const kept = own.get(node.name);
    if (kept !== undefined) return BigInt(kept);
    const from = await origin(node, walk);
    if (!from) throw new FeatureError(node.name, 'has no value');
    if ('node' in from) return integerOf(from.node, walk);
    if (node.kind === 'Boolean' && /^(true|false)$/i.test(from.literal)) {
      const on = from.literal.toLowerCase() === 'true';
      return wholeLiteral(node, (on ? node.text('OnValue') : node.text('OffValue')) ?? (on ? '1' : '0'));
    }
    return wholeLiteral(node, from.literal);
  };

  const floatOf = (node: Node, walk: Walk): Promise<number> =>
    step(walk, node.name, async () => {
      switch (node.kind) {
        case 'Float': {
          const kept = own.get(node.name);
          if (kept !== undefined) return Number(kept);
          const from = await origin(node, walk);
          if (!from) throw new FeatureError(node.name, 'has no value');
          return 'node' in from ? floatOf(from.node, walk) : floatLiteral(node, from.literal);
        }
        case 'FloatReg': {
          const at = await located(node, walk);
          const view = viewOf(await readBytes(node, walk, at));
          if (at.length !== 4 && at.length !== 8) throw new FeatureError(node.name, `has ${at.length} bytes`);
          return at.length === 4 ? view.getFloat32(0, at.littleEndian) : view.getFloat64(0, at.littleEndian);
        }
        case 'SwissKnife':
          return solved(await solve(node, 'Formula', walk)).value;
        case 'Converter':
          return solved(await solve(node, 'FormulaFrom', walk, new Map([['TO', await behind(node, walk)]]))).value;
        default:
          return Number(await integerOf(node, walk));
      }
    });

  const stringOf = (node: Node, walk: Walk): Promise<string> =>
    step(walk, node.name, async () => {
      if (node.kind === 'StringReg') {
        const bytes = await readBytes(node, walk);
        const end = bytes.indexOf(0);
        return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
      }
      const kept = own.get(node.name);
      if (kept !== undefined) return String(kept);
      const pValue = node.text('pValue');
      return pValue === null ? (node.text('Value') ?? '') : textOf(find(pValue), walk);
    });

  const entriesOf = (node: Node): { symbol: string; entry: Node }[] => {
    const inline = node.all('EnumEntry').flatMap((element) => {
      const name = element.attributes.Name ?? '';
      const entry = nodes.get(`${node.name}/${name}`);
      return entry ? [{ name, entry }] : [];
    });
    const named = node.all('pEnumEntry').map((element) => ({ name: element.text, entry: find(element.text) }));
    return [...inline, ...named].map(({ name, entry }) => ({ symbol: entry.text('Symbolic') ?? name, entry }));
  };
  const textOf = async (node: Node, walk: Walk): Promise<string> => {
    switch (types[node.kind]) {
      case 'string':
        return stringOf(node, walk);
      case 'float':
        return String(await floatOf(node, walk));
      case 'boolean':
        return (await integerOf(node, walk)) !== 0n ? 'true' : 'false';
      case 'enumeration': {
        const value = await integerOf(node, walk);
        for (const { symbol, entry } of entriesOf(node)) if ((await integerOf(entry, walk)) === value) return symbol;
        return String(value);
      }
      case 'register':
        return Buffer.from((await readBytes(node, walk)).subarray(0, 64)).toString('hex');
      default:
        return String(await integerOf(node, walk));
    }
  };

  // ---------------------------------------------------------------- limits and access
  const limit = async (node: Node, tag: string, walk: Walk): Promise<number | null> => {
    const reference = node.text(`p${tag}`);
    if (reference !== null) return floatOf(find(reference), walk);
    const literal = node.text(tag);
    return literal === null || literal === '' ? null : floatLiteral(node, literal);
  };
  const rangeOf = (node: Node, walk: Walk): Promise<{ min: number; max: number; increment: number | null } | null> =>
    step(walk, node.name, async () => {
      const given = {
        min: await limit(node, 'Min', walk),
        max: await limit(node, 'Max', walk),
        increment: await limit(node, 'Inc', walk),
      };
      let inherited: Awaited<ReturnType<typeof rangeOf>> = null;
      if (given.min === null || given.max === null) {
        if (node.kind === 'IntReg' || node.kind === 'MaskedIntReg') {
          const at = await located(node, walk);
          inherited = { ...integerRange(at, fieldOf(node, at)), increment: null };
        } else if (node.kind === 'Converter' || node.kind === 'IntConverter') {
          const raw = await rangeOf(find(node.text('pValue') ?? ''), walk);
          const ends: number[] = [];
          for (const end of raw ? [raw.min, raw.max] : []) {
            ends.push(solved(await solve(node, 'FormulaFrom', walk, new Map([['TO', ofNumber(end)]]))).value);
          }
          if (ends.length === 2) inherited = { min: Math.min(...ends), max: Math.max(...ends), increment: null };
        } else if (node.kind === 'Integer' || node.kind === 'Float') {
          const pValue = node.text('pValue');
          if (pValue !== null) inherited = await rangeOf(find(pValue), walk);
        }
      }
      const min = given.min ?? inherited?.min;
      const max = given.max ?? inherited?.max;
      if (min === undefined || max === undefined) return null;
      return { min, max, increment: given.increment ?? inherited?.increment ?? null };
    });

  const accessOf = (node: Node, walk: Walk): Promise<Access> =>
    step(walk, node.name, async () => {
      if (!(await flagOf(node, 'pIsImplemented', walk, true))) return 'NI';
      if (!(await flagOf(node, 'pIsAvailable', walk, true))) return 'NA';
      let access: Access = 'RW';
      if (node.text('AccessMode') !== null) access = node.text('AccessMode') as Access;
      else if (/Reg$|^Register$/.test(node.kind)) access = 'RO';
      if (/Reg$|^Register$/.test(node.kind) && !isRemote(node)) return 'NA';
      if (node.kind.endsWith('SwissKnife')) access = 'RO';
      const pValue = node.text('pValue');
      if (pValue !== null) {
        const behindIt = await accessOf(find(pValue), walk);
        if (behindIt === 'NI' || behindIt === 'NA') return behindIt;
        access = narrowed(access, behindIt);
      }
      const imposed = node.text('ImposedAccessMode');
      if (imposed !== null) access = narrowed(access, imposed as Access);
      if (writable(access) && (await flagOf(node, 'pIsLocked', walk, false))) access = access === 'RW' ? 'RO' : 'NA';
      return access;
    });
  const narrowed = (a: Access, b: Access): Access => {
    const read = readable(a) && readable(b);
    const write = writable(a) && writable(b);
    return read && write ? 'RW' : read ? 'RO' : write ? 'WO' : 'NA';
  };

  // ---------------------------------------------------------------- setting
  const setNumber = (node: Node, value: number | bigint, walk: Walk): Promise<void> =>
    step(walk, node.name, async () => {
      switch (node.kind) {
        case 'IntReg':
        case 'MaskedIntReg': {
          const at = await located(node, walk);
          const field = fieldOf(node, at);
          const whole = typeof value === 'bigint' ? value : BigInt(Math.round(value));
          const range = integerRange(at, field);
          if (Number(whole) < range.min || Number(whole) > range.max) {
            throw new FeatureError(node.name, `takes ${range.min} to ${range.max}, not ${whole}`);
          }
          // The bits beside the field stay as the device has them now, not as they were read some time ago.
          const before = field ? await port.read(at.address, at.length) : new Uint8Array(at.length);
          return writeBytes(at.address, encodeInteger(before, at, field, whole));
        }
        case 'FloatReg': {
          const at = await located(node, walk);
          const bytes = new Uint8Array(at.length);
          const view = viewOf(bytes);
          if (at.length === 4) view.setFloat32(0, Number(value), at.littleEndian);
          else view.setFloat64(0, Number(value), at.littleEndian);
          return writeBytes(at.address, bytes);
        }
        case 'Converter':
        case 'IntConverter': {
          const from = typeof value === 'bigint' ? ofWhole(value) : ofNumber(value);
          const to = solved(await solve(node, 'FormulaTo', walk, new Map([['FROM', from]])));
          const target = find(node.text('pValue') ?? '');
          return setNumber(
            target,
            isFloat(target) ? to.value : node.kind === 'Converter' ? Math.round(to.value) : to.whole,
            walk,
          );
        }
        case 'Boolean': {
          const on = Number(value) !== 0;
          const raw = wholeLiteral(node, (on ? node.text('OnValue') : node.text('OffValue')) ?? (on ? '1' : '0'));
          return setBehind(node, raw, walk);
        }
        case 'Integer':
        case 'Enumeration':
        case 'Command':
          return setBehind(node, typeof value === 'bigint' ? value : BigInt(Math.round(value)), walk);
        case 'Float':
          return setBehind(node, value, walk);
        default:
          throw new FeatureError(node.name, `is a ${node.kind} and cannot be set`);
      }
    });
  const setBehind = async (node: Node, value: number | bigint, walk: Walk): Promise<void> => {
    const from = await origin(node, walk);
    if (from && 'node' in from) await setNumber(from.node, value, walk);
    else {
      own.set(node.name, value);
      cache.clear();
    }
    for (const copy of node.all('pValueCopy')) await setNumber(find(copy.text), value, walk);
  };

  const setString = async (node: Node, text: string, walk: Walk): Promise<void> => {
    if (node.kind === 'StringReg') {
      const { address, length } = await located(node, walk);
      const bytes = Buffer.from(text, 'utf8');
      if (bytes.length > length) throw new FeatureError(node.name, `takes ${length} bytes, not ${bytes.length}`);
      return writeBytes(address, Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]));
    }
    const pValue = node.text('pValue');
    if (pValue !== null) return step(walk, node.name, () => setString(find(pValue), text, walk));
    own.set(node.name, text);
  };

  const execute = async (name: string): Promise<void> => {
    const node = find(name);
    if (node.kind !== 'Command') throw new FeatureError(name, 'is not a command');
    const walk = walkFrom();
    const access = await accessOf(node, walk);
    if (!writable(access)) throw new FeatureError(name, `cannot be executed now (${access})`);
    const reference = node.text('pCommandValue');
    const value =
      reference === null
        ? wholeLiteral(node, node.text('CommandValue') ?? '1')
        : await integerOf(find(reference), walk);
    await setBehind(node, value, walk);
  };

  const set = async (name: string, value: string | number | boolean): Promise<void> => {
    const node = find(name);
    const type = types[node.kind];
    if (type === 'command') return execute(name);
    const walk = walkFrom();
    const access = await accessOf(node, walk);
    if (!writable(access)) throw new FeatureError(name, `cannot be set now (${access})`);
    if (type === 'string') return setString(node, String(value), walk);
    if (type === 'enumeration') {
      const entries = entriesOf(node);
      const wanted = entries.find(({ symbol }) => symbol === String(value));
      if (wanted) return setNumber(node, await integerOf(wanted.entry, walk), walk);
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
    const range = await rangeOf(node, walk);
    if (range && (number < range.min || number > range.max)) {
      throw new FeatureError(name, `takes ${range.min} to ${range.max}, not ${number}`);
    }
    if (type === 'integer' && range?.increment && (number - range.min) % range.increment !== 0) {
      throw new FeatureError(name, `takes ${range.min} and steps of ${range.increment} above, not ${number}`);
    }
    await setNumber(node, type === 'integer' ? BigInt(number) : number, walk);
  };

  const choices = async (node: Node): Promise<string[]> => {
    const walk = walkFrom();
    const symbols: string[] = [];
    for (const { symbol, entry } of entriesOf(node)) {
      const there =
        (await flagOf(entry, 'pIsImplemented', walk, true)) && (await flagOf(entry, 'pIsAvailable', walk, true));
      if (there) symbols.push(symbol);
    }
    return symbols;
  };

  const features = (): { name: string; category: string }[] => {
    const list: { name: string; category: string }[] = [];
    const seen = new Set<string>();
    const visit = (category: string, depth: number): void => {
      for (const { text: name } of nodes.get(category)?.all('pFeature') ?? []) {
        const node = nodes.get(name);
        if (!node || seen.has(name)) continue;
        seen.add(name);
        if (node.kind === 'Category') {
          if (depth < MAX_DEPTH) visit(name, depth + 1);
        } else if (types[node.kind]) list.push({ name, category });
      }
    };
    visit('Root', 0);
    return list;
  };

  const describe = async (name: string): Promise<Feature> => {
    const node = find(name);
    const type = types[node.kind];
    if (!type) throw new FeatureError(name, `is a ${node.kind}, not a feature`);
    // What fails is left out: one broken feature must not hide the others.
    const tried = async <T>(ask: () => Promise<T>): Promise<T | null> => {
      try {
        return await ask();
      } catch (error) {
        if (error instanceof FeatureError || error instanceof ExpressionError) return null;
        throw error;
      }
    };
    const access = (await tried(() => accessOf(node, walkFrom()))) ?? 'NA';
    const canRead = readable(access) && type !== 'command' && type !== 'category';
    const value = canRead
      ? await tried(async () => {
          if (type === 'float') return floatOf(node, walkFrom());
          if (type === 'integer') return Number(await integerOf(node, walkFrom()));
          if (type === 'boolean') return (await integerOf(node, walkFrom())) !== 0n;
          return textOf(node, walkFrom());
        })
      : null;
    const isNumber = type === 'integer' || type === 'float';
    const range = isNumber && access !== 'NI' && access !== 'NA' ? await tried(() => rangeOf(node, walkFrom())) : null;
    return {
      name,
      type,
      value,
      min: range?.min ?? null,
      max: range?.max ?? null,
      increment: range?.increment ?? null,
      unit: node.text('Unit'),
      access,
      values: type === 'enumeration' ? await tried(() => choices(node)) : null,
      category: features().find((feature) => feature.name === name)?.category ?? '',
    };
  };

  return {
    description,
    has: (name) => nodes.has(name),
    typeOf: (name) => types[nodes.get(name)?.kind ?? ''] ?? null,
    access: (name) => accessOf(find(name), walkFrom()),
    integer: async (name) => Number(await integerOf(find(name), walkFrom())),
    float: (name) => floatOf(find(name), walkFrom()),
    text: (name) => textOf(find(name), walkFrom()),
    range: (name) => rangeOf(find(name), walkFrom()),
    set,
    execute,
    describe,
    features,
    forget: () => cache.clear(),
  };
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
