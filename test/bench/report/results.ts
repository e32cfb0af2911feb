import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** A results file as test/bench/record.ts writes it. */
const fileSchema = z.object({
  command: z.string(),
  commit: z.string(),
  /** The program was not as committed when it was measured. */
  changed: z.boolean().default(false),
  at: z.string(),
  machine: z.object({ cpu: z.string(), cores: z.number(), node: z.string().optional() }),
  result: z.unknown(),
});
export type ResultsFile = z.infer<typeof fileSchema> & { name: string };

export function readResults(folder: string): ResultsFile[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .toSorted()
    .map((name) => {
      const parsed = fileSchema.safeParse(JSON.parse(readFileSync(join(folder, name), 'utf8')));
      if (!parsed.success) throw new Error(`${name} is no results file: ${z.prettifyError(parsed.error)}`);
      return { name: name.replace(/\.json$/, ''), ...parsed.data };
    });
}

/**
 * Values at a path of keys with dots. `*`: of all keys, each in turn. `candidates[recommended]`: the element of that list whose id stands beside it under
 * `recommended`; none where that is null.
 * @returns each value with the keys that `*` stood for
 */
export function valuesAt(result: unknown, path: string): { keys: string[]; value: unknown }[] {
  let found: { keys: string[]; value: unknown }[] = [{ keys: [], value: result }];
  for (const step of path.split('.'))
    found = found.flatMap(({ keys, value }) => {
      if (typeof value !== 'object' || value === null) return [];
      const group = value as Record<string, unknown>;
      if (step === '*') return Object.entries(group).map(([key, each]) => ({ keys: [...keys, key], value: each }));
      const chosen = /^(\w+)\[(\w+)\]$/.exec(step);
      if (chosen) {
        const list = group[chosen[1]!] as { id: string }[];
        return list.filter(({ id }) => id === group[chosen[2]!]).map((each) => ({ keys, value: each }));
      }
      return step in group ? [{ keys, value: group[step] }] : [];
    });
  return found;
}
