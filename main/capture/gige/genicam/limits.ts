import type { DeviceRegisters } from './device-registers.ts';
import { FeatureError, findNode, flagOf, floatLiteral, readable, step, writable } from './feature.ts';
import type { Access, Questions, Range, Walk } from './feature.ts';
import type { Formulas } from './formulas.ts';
import type { Description, Node } from './nodes.ts';
import { fieldOf, integerRange } from './register.ts';

/* What a node takes, and whether it can be read or set now. */

export interface Limits {
  /** null: it has none. */
  range(node: Node, walk: Walk): Promise<Range | null>;
  access(node: Node, walk: Walk): Promise<Access>;
}

const narrowed = (a: Access, b: Access): Access => {
  const read = readable(a) && readable(b);
  const write = writable(a) && writable(b);
  return read && write ? 'RW' : read ? 'RO' : write ? 'WO' : 'NA';
};
const isRegister = (node: Node) => /Reg$|^Register$/.test(node.kind);
const isAccess = (text: string): text is Access => ['NI', 'NA', 'RO', 'WO', 'RW'].includes(text);
const accessIn = (node: Node, tag: string): Access | null => {
  const text = node.text(tag);
  return text !== null && isAccess(text) ? text : null;
};

export function createLimits(
  description: Description,
  ask: Questions,
  registers: DeviceRegisters,
  formulas: Formulas,
): Limits {
  const find = (name: string) => findNode(description, name);
  const limit = async (node: Node, tag: string, walk: Walk): Promise<number | null> => {
    const reference = node.text(`p${tag}`);
    if (reference !== null) return ask.float(find(reference), walk);
    const literal = node.text(tag);
    return literal === null || literal === '' ? null : floatLiteral(node, literal);
  };
  /** Of what lies behind the node. */
  const inherited = async (node: Node, walk: Walk): Promise<Range | null> => {
    switch (node.kind) {
      case 'IntReg':
      case 'MaskedIntReg': {
        const at = await registers.locate(node, walk);
        return { ...integerRange(at, fieldOf(node, at)), increment: null };
      }
      case 'Converter':
      case 'IntConverter': {
        const raw = await range(find(node.text('pValue') ?? ''), walk);
        if (!raw) return null;
        const ends: number[] = [];
        try {
          for (const value of [raw.min, raw.max]) {
            ends.push((await formulas.solve(node, 'FormulaFrom', walk, { name: 'TO', value })).value);
          }
        } catch (error) {
          if (!(error instanceof FeatureError)) throw error;
          // 1/TO has no value where the register is 0: what the feature takes is then the camera's to say.
          return null;
        }
        return { min: Math.min(...ends), max: Math.max(...ends), increment: null };
      }
      case 'Integer':
      case 'Float': {
        const pValue = node.text('pValue');
        return pValue === null ? null : range(find(pValue), walk);
      }
      default:
        return null;
    }
  };
  const range = (node: Node, walk: Walk): Promise<Range | null> =>
    step(walk, node, async () => {
      const given = {
        min: await limit(node, 'Min', walk),
        max: await limit(node, 'Max', walk),
        increment: await limit(node, 'Inc', walk),
      };
      const rest = given.min === null || given.max === null ? await inherited(node, walk) : null;
      const min = given.min ?? rest?.min;
      const max = given.max ?? rest?.max;
      if (min === undefined || max === undefined) return null;
      return { min, max, increment: given.increment ?? rest?.increment ?? null };
    });

  const access = (node: Node, walk: Walk): Promise<Access> =>
    step(walk, node, async () => {
      const flag = (tag: string, otherwise: boolean) => flagOf(description, ask, node, tag, walk, otherwise);
      if (!(await flag('pIsImplemented', true))) return 'NI';
      if (!(await flag('pIsAvailable', true))) return 'NA';
      if (isRegister(node) && !registers.isRemote(node)) return 'NA';
      let granted: Access = accessIn(node, 'AccessMode') ?? (isRegister(node) ? 'RO' : 'RW');
      if (node.kind.endsWith('SwissKnife')) granted = 'RO';
      const pValue = node.text('pValue');
      if (pValue !== null) {
        const behindIt = await access(find(pValue), walk);
        if (behindIt === 'NI' || behindIt === 'NA') return behindIt;
        granted = narrowed(granted, behindIt);
      }
      const imposed = accessIn(node, 'ImposedAccessMode');
      if (imposed !== null) granted = narrowed(granted, imposed);
      if (writable(granted) && (await flag('pIsLocked', false))) granted = granted === 'RW' ? 'RO' : 'NA';
      return granted;
    });
  return { range, access };
}
