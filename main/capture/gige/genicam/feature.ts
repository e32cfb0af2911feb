import { ExpressionError, toInteger } from './expression.ts';
import type { Description, Node } from './nodes.ts';

/* What all kinds of nodes share: how a feature fails, and one question's way from node to node. */

/** A feature that cannot be read or set now, in words. */
export class FeatureError extends Error {
  readonly feature: string;
  constructor(feature: string, problem: string, cause?: unknown) {
    super(`${feature} ${problem}`, { cause });
    this.feature = feature;
  }
}

export type Access = 'NI' | 'NA' | 'RO' | 'WO' | 'RW';
export const readable = (access: Access) => access === 'RO' || access === 'RW';
export const writable = (access: Access) => access === 'WO' || access === 'RW';

export type FeatureType =
  'integer' | 'float' | 'enumeration' | 'boolean' | 'command' | 'string' | 'register' | 'category';
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
/** null: a node that is no feature (a port, an entry of an enumeration). */
export const featureType = (node: Node): FeatureType | null => types[node.kind] ?? null;
export const isFloat = (node: Node) => featureType(node) === 'float';

export interface Range {
  min: number;
  max: number;
  increment: number | null;
}

/** One question's way through the description: bounded in depth and in steps, for a description may go in circles. */
export interface Walk {
  depth: number;
  steps: number;
}
export const MAX_DEPTH = 60;
const MAX_STEPS = 20_000;
export const newWalk = (): Walk => ({ depth: 0, steps: 0 });

/** One node further. What a formula cannot work out is this node's failure. */
export async function step<T>(walk: Walk, node: Node, run: () => Promise<T>): Promise<T> {
  walk.steps += 1;
  if (walk.depth >= MAX_DEPTH || walk.steps > MAX_STEPS) throw new FeatureError(node.name, 'is defined by itself');
  walk.depth += 1;
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    throw new FeatureError(node.name, `cannot be worked out: ${error.message}`, error);
  } finally {
    walk.depth -= 1;
  }
}

/** @throws FeatureError when the description has none of this name */
export function findNode({ nodes }: Description, name: string): Node {
  const node = nodes.get(name.trim());
  if (!node) throw new FeatureError(name, 'is not in the description of the camera');
  return node;
}

/** Decimal or 0x…, as descriptions write whole numbers; a fraction is cut off. @throws FeatureError */
export function wholeLiteral(node: Node, text: string): bigint {
  try {
    const negative = text.startsWith('-');
    const value = BigInt(negative ? text.slice(1) : text);
    return negative ? -value : value;
  } catch {
    const value = Number(text);
    if (Number.isFinite(value)) return BigInt(Math.trunc(value));
    throw new FeatureError(node.name, `has "${text}" where a number belongs`);
  }
}

/** @throws FeatureError */
export function floatLiteral(node: Node, text: string): number {
  const value = Number(text);
  if (text === '' || Number.isNaN(value)) throw new FeatureError(node.name, `has "${text}" where a number belongs`);
  return value;
}

/** Value of a Boolean node's register for on or off. */
export const flagLiteral = (node: Node, on: boolean): bigint =>
  wholeLiteral(node, (on ? node.text('OnValue') : node.text('OffValue')) ?? (on ? '1' : '0'));

/** To the nearest whole number. @throws ExpressionError for what has none */
export const rounded = (value: number | bigint): bigint =>
  typeof value === 'bigint' ? value : toInteger(Math.round(value));

/** What nodes ask of each other; each kind's file answers some of it (node-map.ts joins them). */
export interface Questions {
  integer(node: Node, walk: Walk): Promise<bigint>;
  float(node: Node, walk: Walk): Promise<number>;
  range(node: Node, walk: Walk): Promise<Range | null>;
}

/** Truth value of the node that `tag` refers to. */
export async function flagOf(
  description: Description,
  ask: Questions,
  node: Node,
  tag: string,
  walk: Walk,
  otherwise: boolean,
): Promise<boolean> {
  const name = node.text(tag);
  return name === null ? otherwise : (await ask.integer(findNode(description, name), walk)) !== 0n;
}
