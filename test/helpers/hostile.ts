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

/** An endless stream; the same for the same random numbers. */
export function* hostileInputs(random: () => number): Generator<Hostile> {
  const names = [...shapes.keys()];
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const wrongValue = (): [kind: string, json: string] => {
    const kind = pick(['text', 'number', 'list', 'object', 'null', 'huge', 'deep', 'prototype', 'boolean'] as const);
    switch (kind) {
      case 'text':
        return [kind, JSON.stringify(pick(TEXTS))];
      case 'number':
        return [kind, pick(['-1', '1e308', '-0.5', '9007199254740993', '1e-320', '-2147483649'])];
      case 'list':
        return [kind, JSON.stringify(Array.from({ length: pick([0, 1, 3, 20_000]) }, () => pick([null, 1, 'x', -1])))];
      case 'object':
        return [kind, JSON.stringify(Object.fromEntries(TEXTS.slice(0, 11).map((key) => [key, 1])))];
      case 'null':
        return [kind, 'null'];
      case 'boolean':
        return [kind, 'true'];
      case 'huge':
        return [kind, JSON.stringify('あ'.repeat(pick([1_000, 100_000, 250_000])))];
      case 'deep': {
        const depth = pick([100, 5_000, 100_000]);
        return random() < 0.5
          ? [kind, deep(depth, '[', ']', '')]
          : [kind, deep(Math.min(depth, 50_000), '{"a":', '}', '1')];
      }
      case 'prototype':
        return [kind, `{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":1}`];
    }
  };
  for (;;) {
    const [kind, json] = wrongValue();
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
