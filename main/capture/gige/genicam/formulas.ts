import { ExpressionError, parseExpression, toInteger, type Expression } from './expression.ts';
import { FeatureError, findNode, floatLiteral, isFloat, step, type Questions, type Walk } from './feature.ts';
import type { Description, Node } from './nodes.ts';

/* Nodes with formulas: SwissKnife, IntSwissKnife, Converter, IntConverter. */

/** A value as a double and as a whole number, or why there is none: only the branch of a formula that uses it fails. */
type Variable = { ok: true; value: number; whole: bigint } | { ok: false; error: unknown };
export interface Solution {
  value: number;
  whole: bigint;
}
/** What a converter's formula is given: TO for reading, FROM for writing. */
export type Given = { name: 'TO' | 'FROM'; value: number | bigint };

export interface Formulas {
  /** @throws FeatureError */
  solve(node: Node, tag: 'Formula' | 'FormulaTo' | 'FormulaFrom', walk: Walk, given?: Given): Promise<Solution>;
  /** Reads through a converter. */
  converted(node: Node, walk: Walk): Promise<Solution>;
}

const ofNumber = (value: number): Solution => ({ value, whole: Number.isFinite(value) ? toInteger(value) : 0n });
const ofWhole = (whole: bigint): Solution => ({ value: Number(whole), whole });
const known = (solution: Solution): Variable => ({ ok: true, ...solution });
const taken = (values: ReadonlyMap<string, Variable>, name: string): Solution => {
  const value = values.get(name);
  if (!value) throw new ExpressionError(`${name} has no value`);
  if (!value.ok) throw value.error;
  return value;
};

export function createFormulas(description: Description, ask: Questions): Formulas {
  /** Parsed once each. */
  const parsed = new Map<string, Expression>();
  const parse = (node: Node, text: string): Expression => {
    const before = parsed.get(text);
    if (before) return before;
    try {
      const made = parseExpression(text);
      parsed.set(text, made);
      return made;
    } catch (error) {
      throw new FeatureError(node.name, `has a formula that cannot be read: ${(error as Error).message}`, error);
    }
  };
  const inWholes = (node: Node) => node.kind.startsWith('Int');
  /** Doubles hold what a converter of whole numbers needs, but for 64-bit masks. */
  const evaluate = (node: Node, expression: Expression, values: ReadonlyMap<string, Variable>): Solution =>
    inWholes(node)
      ? ofWhole(expression.integer((name) => taken(values, name).whole))
      : ofNumber(expression.float((name) => taken(values, name).value));

  const variable = async (reference: string, name: string, whole: boolean, walk: Walk): Promise<Solution> => {
    const node = findNode(description, reference);
    const property = /\.(Min|Max|Inc)$/.exec(name)?.[1];
    if (property) {
      const range = await ask.range(node, walk);
      const value = property === 'Min' ? range?.min : property === 'Max' ? range?.max : (range?.increment ?? 1);
      if (value === undefined) throw new FeatureError(reference, 'has no limits');
      return ofNumber(value);
    }
    return whole ? ofWhole(await ask.integer(node, walk)) : ofNumber(await ask.float(node, walk));
  };
  const variables = async (node: Node, expression: Expression, walk: Walk, given: ReadonlyMap<string, Variable>) => {
    const values = new Map(given);
    const named = (tag: string, name: string) => node.all(tag).find((element) => element.attributes.Name === name);
    const gather = async (names: readonly string[]): Promise<void> => {
      for (const name of names) {
        if (values.has(name)) continue;
        const [reference, constant, inner] = [
          named('pVariable', name),
          named('Constant', name),
          named('Expression', name),
        ];
        try {
          if (reference) values.set(name, known(await variable(reference.text, name, inWholes(node), walk)));
          else if (constant) values.set(name, known(ofNumber(floatLiteral(node, constant.text))));
          else if (inner) {
            await step(walk, node, async () => {
              const made = parse(node, inner.text);
              await gather(made.names);
              values.set(name, known(ofNumber(evaluate(node, made, values).value)));
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

  const solve: Formulas['solve'] = async (node, tag, walk, given) => {
    const text = node.text(tag);
    if (text === null) throw new FeatureError(node.name, `has no ${tag}`);
    const expression = parse(node, text);
    const start = new Map<string, Variable>();
    if (given) {
      const { name, value } = given;
      start.set(name, known(typeof value === 'bigint' ? ofWhole(value) : ofNumber(value)));
    }
    const values = await variables(node, expression, walk, start);
    try {
      return evaluate(node, expression, values);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      throw new FeatureError(node.name, `cannot be worked out: ${error.message}`, error);
    }
  };
  return {
    solve,
    async converted(node, walk) {
      const target = findNode(description, node.text('pValue') ?? '');
      const value = isFloat(target) ? await ask.float(target, walk) : await ask.integer(target, walk);
      return solve(node, 'FormulaFrom', walk, { name: 'TO', value });
    },
  };
}
