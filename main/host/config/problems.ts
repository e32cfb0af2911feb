import { z } from 'zod';
import { AppError } from '../../contract/errors.ts';
import { configSchema } from './schema.ts';

export type Path = readonly (string | number)[];

/** One thing that is wrong in a configuration file. */
export interface Problem {
  /** Such as `stations[0].camera.serial`; empty for the file as a whole. */
  path: string;
  /** From 1; null where the file as a whole is meant. */
  line: number | null;
  what: string;
  next: string;
}

export const pathText = (path: Path): string =>
  path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`),
    '',
  );

/** `FILE:12 stations[0].name: it is missing. Add it.` */
export const problemLine = (file: string, { path, line, what, next }: Problem): string =>
  `${file}${line === null ? '' : `:${line}`}${path === '' ? '' : ` ${path}`}: ${what}. ${next}.`;

export const configInvalid = (file: string, problems: readonly Problem[]): AppError =>
  new AppError('CONFIG_INVALID', {
    file,
    count: problems.length,
    problems: problems.map((problem) => problemLine(file, problem)).join('\n'),
  });

type Issue = z.core.$ZodIssue;
const article = (kind: string): string => `${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind}`;
const KINDS: Record<string, string> = {
  int: 'whole number',
  string: 'text in quotes',
  array: 'list',
  object: 'group of keys',
  record: 'group of keys',
  boolean: 'true or false',
};
const kindOf = (value: unknown): string =>
  value === null
    ? 'empty'
    : Array.isArray(value)
      ? 'a list'
      : typeof value === 'object'
        ? 'a group of keys'
        : typeof value === 'number'
          ? String(value)
          : JSON.stringify(value);
const FORMATS: Record<string, string> = { ipv4: 'an IPv4 address', ipv6: 'an IPv6 address' };

/** What zod found, in words of whoever writes the file: what is there, and what should be. */
export function wordsOf(issue: Issue, value: unknown): { what: string; next: string } {
  const found = value === undefined ? 'it is missing' : `it is ${kindOf(value)}`;
  const give = value === undefined ? 'Add' : 'Give';
  switch (issue.code) {
    case 'invalid_type': {
      const wanted = KINDS[issue.expected] ?? issue.expected;
      return {
        what: found,
        next: `${give} ${issue.expected === 'boolean' || issue.expected === 'string' ? wanted : article(wanted)}`,
      };
    }
    case 'invalid_value':
      return { what: found, next: `${give} ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.join(', ')}` };
    case 'too_small':
    case 'too_big': {
      const least = issue.code === 'too_small';
      const limit = least ? issue.minimum : issue.maximum;
      const bound = issue.inclusive === false ? (least ? 'more than' : 'less than') : least ? 'at least' : 'at most';
      const unit = { string: 'character', array: 'element' }[issue.origin as string];
      return {
        what: issue.origin === 'string' && value === '' ? 'it is empty' : found,
        next: `Give ${bound} ${limit}${unit === undefined ? '' : ` ${unit}${Number(limit) === 1 ? '' : 's'}`}`,
      };
    }
    case 'invalid_format':
      return {
        what: found,
        next: `Give ${FORMATS[issue.format] ?? `text of the form ${issue.pattern ?? issue.format}`}`,
      };
    case 'invalid_union': {
      if ('options' in issue && Array.isArray(issue.options))
        return { what: found, next: `${give} one of ${issue.options.join(', ')}` };
      const ways = issue.errors.map(([first]) => wayTo(first!, value));
      return {
        what: found,
        next: ways.length > 0 ? `${give} ${[...new Set(ways)].join(' or ')}` : `${give} another value`,
      };
    }
    default:
      return { what: issue.message, next: 'Correct it' };
  }
}

/** What one of several forms asks for, to stand behind `Give`. Of keys it is said which: a password is never asked for as text. */
function wayTo(issue: Issue, value: unknown): string {
  if (issue.path.length > 0) return `the key ${pathText(issue.path as Path)}`;
  if (issue.code === 'unrecognized_keys') return `it without ${issue.keys.join(', ')}`;
  return wordsOf(issue, value).next.replace(/^(Give|Add) /, '');
}

/** Keys that the format knows at a place, of the alternative that the file has chosen by `kind` there. */
export function keysAt(path: Path, value: unknown): string[] {
  type Node = {
    properties?: Record<string, Node>;
    items?: Node;
    const?: unknown;
    anyOf?: Node[];
    oneOf?: Node[];
    allOf?: Node[];
  };
  const ways = (node: Node): Node[] => [
    node,
    ...[node.anyOf, node.oneOf, node.allOf].flatMap((list) => list ?? []).flatMap(ways),
  ];
  let nodes = ways(z.toJSONSchema(configSchema, { io: 'input' }) as Node);
  let at = value;
  for (const step of path) {
    at = (at as Record<string | number, unknown> | undefined)?.[step];
    const kind = (at as { kind?: unknown } | undefined)?.kind;
    nodes = nodes
      .flatMap((node) => (typeof step === 'number' ? node.items : node.properties?.[step]) ?? [])
      .flatMap(ways)
      .filter(({ properties }) => properties?.['kind']?.const === undefined || properties['kind'].const === kind);
  }
  return [...new Set(nodes.flatMap((node) => Object.keys(node.properties ?? {})))];
}

export const unknownKey = (path: Path, value: unknown): { what: string; next: string } => ({
  what: 'there is no such key',
  next: `Known here: ${keysAt(path.slice(0, -1), value).join(', ')}`,
});

/** Keys that were given and that parsing has dropped: misspelt, or of another kind of camera. */
export function droppedKeys(given: unknown, parsed: unknown, at: Path = []): Path[] {
  if (Array.isArray(given) && Array.isArray(parsed))
    return given.flatMap((each, i) => droppedKeys(each, parsed[i], [...at, i]));
  if (typeof given !== 'object' || given === null || typeof parsed !== 'object' || parsed === null) return [];
  return Object.entries(given).flatMap(([key, value]) =>
    Object.hasOwn(parsed, key)
      ? droppedKeys(value, (parsed as Record<string, unknown>)[key], [...at, key])
      : [[...at, key]],
  );
}
