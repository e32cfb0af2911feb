import { toInteger } from './expression.ts';
import type { DeviceRegisters } from './device-registers.ts';
import {
  FeatureError,
  featureType,
  findNode,
  flagLiteral,
  floatLiteral,
  step,
  wholeLiteral,
  type Walk,
} from './feature.ts';
import type { Formulas } from './formulas.ts';
import type { Description, Node } from './nodes.ts';
import { decodeInteger, fieldOf } from './register.ts';

/* Reading: numbers and texts, by kind of node. */

/** Values of nodes that lie in this program and in no register. */
export type OwnValues = Map<string, bigint | number | string>;

/** Where a value comes from. */
export type Origin = { node: Node } | { literal: string };

export interface Values {
  integer(node: Node, walk: Walk): Promise<bigint>;
  float(node: Node, walk: Walk): Promise<number>;
  /** Symbolic name of an enumeration, text of anything else. */
  text(node: Node, walk: Walk): Promise<string>;
  entries(node: Node): { symbol: string; entry: Node }[];
  origin(node: Node, walk: Walk): Promise<Origin | null>;
}

export function createValues(
  description: Description,
  registers: DeviceRegisters,
  formulas: Formulas,
  own: OwnValues,
): Values {
  const find = (name: string) => findNode(description, name);

  /** The node that an indexed value comes from (pIndex), or the plain pValue; null: it has none. */
  const origin = async (node: Node, walk: Walk): Promise<Origin | null> => {
    const index = node.text('pIndex');
    if (index !== null && (node.all('ValueIndexed').length > 0 || node.all('pValueIndexed').length > 0)) {
      const at = await integer(find(index), walk);
      for (const tag of ['pValueIndexed', 'ValueIndexed'] as const) {
        for (const element of node.all(tag)) {
          if (wholeLiteral(node, element.attributes.Index ?? '') !== at) continue;
          return tag === 'pValueIndexed' ? { node: find(element.text) } : { literal: element.text };
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
  const needOrigin = async (node: Node, walk: Walk): Promise<Origin> => {
    const from = await origin(node, walk);
    if (!from) throw new FeatureError(node.name, 'has no value');
    return from;
  };

  const integer = (node: Node, walk: Walk): Promise<bigint> =>
    step(walk, node, async () => {
      switch (node.kind) {
        case 'IntReg':
        case 'MaskedIntReg': {
          const at = await registers.locate(node, walk);
          return decodeInteger(await registers.read(node, walk, at), at, fieldOf(node, at));
        }
        case 'IntSwissKnife':
          return (await formulas.solve(node, 'Formula', walk)).whole;
        case 'IntConverter':
          return (await formulas.converted(node, walk)).whole;
        case 'Float':
        case 'FloatReg':
        case 'SwissKnife':
        case 'Converter':
          return toInteger(await float(node, walk));
        case 'Boolean':
          return (await rawInteger(node, walk)) === flagLiteral(node, true) ? 1n : 0n;
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
    const from = await needOrigin(node, walk);
    if ('node' in from) return integer(from.node, walk);
    const isFlag = node.kind === 'Boolean' && /^(true|false)$/i.test(from.literal);
    return isFlag ? flagLiteral(node, from.literal.toLowerCase() === 'true') : wholeLiteral(node, from.literal);
  };

  const float = (node: Node, walk: Walk): Promise<number> =>
    step(walk, node, async () => {
      switch (node.kind) {
        case 'Float': {
          const kept = own.get(node.name);
          if (kept !== undefined) return Number(kept);
          const from = await needOrigin(node, walk);
          return 'node' in from ? float(from.node, walk) : floatLiteral(node, from.literal);
        }
        case 'FloatReg': {
          const at = await registers.locate(node, walk);
          if (at.length !== 4 && at.length !== 8) throw new FeatureError(node.name, `has ${at.length} bytes`);
          const bytes = await registers.read(node, walk, at);
          const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
          return at.length === 4 ? view.getFloat32(0, at.littleEndian) : view.getFloat64(0, at.littleEndian);
        }
        case 'SwissKnife':
          return (await formulas.solve(node, 'Formula', walk)).value;
        case 'Converter':
          return (await formulas.converted(node, walk)).value;
        default:
          return Number(await integer(node, walk));
      }
    });

  const string = (node: Node, walk: Walk): Promise<string> =>
    step(walk, node, async () => {
      if (node.kind === 'StringReg') {
        const bytes = await registers.read(node, walk);
        const end = bytes.indexOf(0);
        return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
      }
      const kept = own.get(node.name);
      if (kept !== undefined) return String(kept);
      const pValue = node.text('pValue');
      return pValue === null ? (node.text('Value') ?? '') : text(find(pValue), walk);
    });

  const entries = (node: Node): { symbol: string; entry: Node }[] => {
    const inline = node.all('EnumEntry').flatMap((element) => {
      const name = element.attributes.Name ?? '';
      const entry = description.nodes.get(`${node.name}/${name}`);
      return entry ? [{ name, entry }] : [];
    });
    const named = node.all('pEnumEntry').map((element) => ({ name: element.text, entry: find(element.text) }));
    return [...inline, ...named].map(({ name, entry }) => ({ symbol: entry.text('Symbolic') ?? name, entry }));
  };
  const text = async (node: Node, walk: Walk): Promise<string> => {
    switch (featureType(node)) {
      case 'string':
        return string(node, walk);
      case 'float':
        return String(await float(node, walk));
      case 'boolean':
        return (await integer(node, walk)) !== 0n ? 'true' : 'false';
      case 'enumeration': {
        const value = await integer(node, walk);
        for (const { symbol, entry } of entries(node)) if ((await integer(entry, walk)) === value) return symbol;
        return String(value);
      }
      case 'register':
        return Buffer.from((await registers.read(node, walk)).subarray(0, 64)).toString('hex');
      default:
        return String(await integer(node, walk));
    }
  };
  return { integer, float, text, entries, origin };
}
