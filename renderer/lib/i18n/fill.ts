import { numberText } from '../format.ts';

/** Names that a text wants filled in: `{n}` and, with the fitting word, `{n:part:parts}`. */
export type Names<S extends string> = S extends `${string}{${infer Inner}}${infer Rest}`
  ? (Inner extends `${infer Name}:${string}` ? Name : Inner) | Names<Rest>
  : never;
export type Values = Record<string, string | number>;

/** Fills a text. Numbers are grouped as the language does it; a name that is not given stays visible. */
export function fill(template: string, values: Values, locale: string): string {
  return template.replace(/\{(\w+)(?::([^:}]*):([^}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    const value = values[name];
    if (value === undefined) return whole;
    const text = typeof value === 'number' ? numberText(value, locale) : value;
    return one === undefined ? text : `${text} ${value === 1 ? one : many}`;
  });
}
