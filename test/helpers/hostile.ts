import { z } from 'zod';
import { fromJson } from '../../main/contract/rpc/json.ts';
import { methods, type MethodName } from '../../main/contract/methods.ts';

/* Inputs that nobody means well with. Every one of them breaks the contract of its method: whatever is answered, it must not be "done". */

export interface Hostile {
  method: string;
  /** As it rides on the wire: JSON text, so that `__proto__` and depth arrive as an attacker would send them. */
  inputJson: string;
  kind: string;
}

const TEXTS = [
  '../../../../etc/passwd',
  '..\\..\\windows\\system32',
  "'; DROP TABLE users; --",
  '\u0000',
  '\ud800',
  '{{7*7}}',
  '%2e%2e%2f',
  'constructor',
  '__proto__',
  '<script>1</script>',
  '\u202e',
  'a'.repeat(65_536),
];

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const deep = (depth: number, open: string, close: string, inside: string): string =>
  open.repeat(depth) + inside + close.repeat(depth);

/** A value that the schema takes, as far as its JSON schema tells; only ever a carrier for what is put into it. */
const example = (schema: Record<string, unknown>): Json => {
  if ('const' in schema) return schema['const'] as Json;
  if (Array.isArray(schema['enum'])) return (schema['enum'] as Json[])[0]!;
  if ('default' in schema) return schema['default'] as Json;
  for (const key of ['anyOf', 'oneOf', 'allOf'])
    if (Array.isArray(schema[key])) return example((schema[key] as Record<string, unknown>[])[0]!);
  switch (schema['type']) {
    case 'object': {
      const properties = (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>;
      const required = (schema['required'] ?? []) as string[];
      return Object.fromEntries(required.map((key) => [key, example(properties[key] ?? {})]));
    }
    case 'array':
      return [example((schema['items'] ?? {}) as Record<string, unknown>)];
    case 'integer':
    case 'number':
      return Number(schema['minimum'] ?? 1);
    case 'boolean':
      return false;
    case 'null':
      return null;
    default:
      return 'x'.repeat(Number(schema['minLength'] ?? 1));
  }
};

/** Made once: a table of every method's fields. */
const shapes = new Map(
  (Object.keys(methods) as MethodName[]).map((name) => {
    const schema = z.toJSONSchema(methods[name].input, { unrepresentable: 'any', io: 'input' }) as Record<
      string,
      unknown
    >;
    return [name, { fields: Object.keys((schema['properties'] ?? {}) as object), carrier: example(schema) }] as const;
  }),
);

const isTaken = (method: MethodName, input: unknown): boolean => methods[method].input.safeParse(input).success;

/** What fills a message or nests too deep: one value in so many, for each costs as much as a hundred others. */
const LARGE_ONE_IN = 16;

/** Values that no field wants, as JSON text; an endless stream, the same for the same random numbers. */
export function* hostileJson(random: () => number): Generator<[kind: string, json: string], never> {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  for (;;) {
    const kind =
      random() < 1 / LARGE_ONE_IN
        ? pick(['huge', 'deep', 'long list'] as const)
        : pick(['text', 'number', 'list', 'object', 'null', 'prototype', 'boolean'] as const);
    switch (kind) {
      case 'text':
        yield [kind, JSON.stringify(pick(TEXTS))];
        break;
      case 'number':
        yield [kind, pick(['-1', '1e308', '-0.5', '9007199254740993', '1e-320', '-2147483649'])];
        break;
      case 'list':
      case 'long list': {
        const length = kind === 'list' ? pick([0, 1, 3]) : 20_000;
        yield [kind, JSON.stringify(Array.from({ length }, () => pick([null, 1, 'x', -1])))];
        break;
      }
      case 'object':
        yield [kind, JSON.stringify(Object.fromEntries(TEXTS.slice(0, 11).map((key) => [key, 1])))];
        break;
      case 'null':
        yield [kind, 'null'];
        break;
      case 'boolean':
        yield [kind, 'true'];
        break;
      case 'huge':
        yield [kind, JSON.stringify('あ'.repeat(pick([1_000, 100_000, 250_000])))];
        break;
      case 'deep': {
        const depth = pick([100, 5_000, 100_000]);
        const lists = random() < 0.5;
        yield [kind, lists ? deep(depth, '[', ']', '') : deep(Math.min(depth, 50_000), '{"a":', '}', '1')];
        break;
      }
      case 'prototype':
        yield [kind, `{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":1}`];
        break;
    }
  }
}

/** An endless stream; the same for the same random numbers. */
export function* hostileInputs(random: () => number): Generator<Hostile> {
  const names = [...shapes.keys()];
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const values = hostileJson(random);
  for (;;) {
    const [kind, json] = values.next().value;
    // Now and then a method that does not exist, or exists on every object.
    if (random() < 0.05) {
      const method = pick([
        '__proto__',
        'constructor',
        'toString',
        'hasOwnProperty',
        'session',
        'session.state ',
        '',
        'x'.repeat(200),
      ]);
      yield { method, inputJson: json, kind: 'no such method' };
      continue;
    }
    const method = pick(names);
    const { fields, carrier } = shapes.get(method)!;
    let inputJson = json;
    if (fields.length > 0 && random() < 0.7) {
      const field = pick(fields);
      const text = JSON.stringify(carrier);
      const rest = Object.entries(JSON.parse(text) as object).filter(([key]) => key !== field);
      inputJson = `{${[...rest.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`), `${JSON.stringify(field)}:${json}`].join(',')}}`;
    }
    // What the contract takes after all (a text in a field of text, an object where anything may lie) is no hostile input but a wrong one.
    const parsed = fromJson(inputJson);
    if (parsed !== undefined && isTaken(method, parsed)) continue;
    yield { method, inputJson, kind };
  }
}

/** Whether anything reached the prototype that all objects share. */
export const isPolluted = (): boolean => 'polluted' in {};
