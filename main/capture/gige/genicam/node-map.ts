import { createDeviceRegisters, type Port } from './device-registers.ts';
import { FeatureError, featureType, findNode, MAX_DEPTH, newWalk, readable } from './feature.ts';
import type { Access, FeatureType, Questions, Range } from './feature.ts';
import { createFormulas } from './formulas.ts';
import { createLimits, type Limits } from './limits.ts';
import { parseDescription, type Description } from './nodes.ts';
import { createSetting } from './setting.ts';
import { createValues, type OwnValues, type Values } from './values.ts';

export { FeatureError } from './feature.ts';
export type { Access, FeatureType } from './feature.ts';
export type { Port } from './device-registers.ts';

/*
 * The features of a camera by name, as its own description (GenICam, GenApi schema 1.0 and 1.1) defines them over its registers.
 * Values are worked out when asked for: a description that is wrong in one place costs that feature and no other.
 */

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
  range(name: string): Promise<Range | null>;
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
  const find = (name: string) => findNode(description, name);
  const own: OwnValues = new Map();
  // Kinds of nodes refer to each other in every direction: they meet here, and their files know each other by type only.
  const ask: Questions = {
    integer: (node, walk) => values.integer(node, walk),
    float: (node, walk) => values.float(node, walk),
    range: (node, walk) => limits.range(node, walk),
  };
  const registers = createDeviceRegisters(description, ask, port);
  const formulas = createFormulas(description, ask);
  const values: Values = createValues(description, registers, formulas, own);
  const limits: Limits = createLimits(description, ask, registers, formulas);
  const { set, execute, choices } = createSetting(description, registers, formulas, values, limits, own);

  const listed: { name: string; category: string }[] = [];
  const seen = new Set<string>();
  const list = (category: string, depth: number): void => {
    for (const { text: name } of nodes.get(category)?.all('pFeature') ?? []) {
      const node = nodes.get(name);
      if (!node || seen.has(name)) continue;
      seen.add(name);
      if (node.kind === 'Category') {
        if (depth < MAX_DEPTH) list(name, depth + 1);
      } else if (featureType(node) !== null) listed.push({ name, category });
    }
  };
  list('Root', 0);
  const categories = new Map(listed.map(({ name, category }) => [name, category]));

  const describe = async (name: string): Promise<Feature> => {
    const node = find(name);
    const type = featureType(node);
    if (!type) throw new FeatureError(name, `is a ${node.kind}, not a feature`);
    // What fails is left out: one broken feature must not hide the others.
    const tried = async <T>(question: () => Promise<T>): Promise<T | null> => {
      try {
        return await question();
      } catch (error) {
        if (error instanceof FeatureError) return null;
        throw error;
      }
    };
    const access = (await tried(() => limits.access(node, newWalk()))) ?? 'NA';
    const value = async () => {
      if (type === 'float') return values.float(node, newWalk());
      if (type === 'integer') return Number(await values.integer(node, newWalk()));
      if (type === 'boolean') return (await values.integer(node, newWalk())) !== 0n;
      return values.text(node, newWalk());
    };
    const canRead = readable(access) && type !== 'command' && type !== 'category';
    const isNumber = type === 'integer' || type === 'float';
    const hasRange = isNumber && access !== 'NI' && access !== 'NA';
    const range = hasRange ? await tried(() => limits.range(node, newWalk())) : null;
    return {
      name,
      type,
      value: canRead ? await tried(value) : null,
      min: range?.min ?? null,
      max: range?.max ?? null,
      increment: range?.increment ?? null,
      unit: node.text('Unit'),
      access,
      values: type === 'enumeration' ? await tried(() => choices(node)) : null,
      category: categories.get(name) ?? '',
    };
  };

  return {
    description,
    has: (name) => nodes.has(name),
    typeOf(name) {
      const node = nodes.get(name);
      return node ? featureType(node) : null;
    },
    access: async (name) => limits.access(find(name), newWalk()),
    integer: async (name) => Number(await values.integer(find(name), newWalk())),
    float: async (name) => values.float(find(name), newWalk()),
    text: async (name) => values.text(find(name), newWalk()),
    range: async (name) => limits.range(find(name), newWalk()),
    set,
    execute,
    describe,
    features: () => listed,
    forget: () => registers.forget(),
  };
}
