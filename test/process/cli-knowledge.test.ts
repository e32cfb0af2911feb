import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli } from '../helpers/cli.ts';
import { writeParts } from '../helpers/parts-on-disk.ts';
import { smallBackboneFile } from '../unit/compression/small-data.ts';

/*
 * `knowledge show | labels | merge | split | forget | export | import | check | rename | retire` with the real core and trainer, on a backbone small enough
 * that a dozen updates take seconds; test/process/cli-home.test.ts goes round the loop with the shipped one.
 */

const env = { MEKIKI_PASSWORD: 'correct horse battery' };
let folder: string;
let early: Map<string, string[]>;

const run = (home: string, ...args: string[]) => cli([...args, '--home', join(folder, home), '--json'], env);
const done = async <T = unknown>(home: string, ...args: string[]): Promise<T> => {
  const result = await run(home, ...args);
  expect(result.code, `${args.join(' ')}: ${result.stdout}${result.stderr}`).toBe(0);
  return result.json() as T;
};
const failed = async (home: string, ...args: string[]): Promise<string> => {
  const result = await run(home, ...args);
  expect(result.code, `${args.join(' ')}: ${result.stdout}${result.stderr}`).toBe(1);
  return (result.json() as { error: { code: string } }).error.code;
};
interface Known {
  knowledgeId: string;
  classes: { classId: string; labelled: number }[];
}
const counts = ({ classes }: Pick<Known, 'classes'>) =>
  Object.fromEntries(classes.map(({ classId, labelled }) => [classId, labelled]));
const shown = async (home: string, ...args: string[]) => {
  const { current } = await done<{ current: (Known & { id: string; lambda: number }) | null }>(
    home,
    'knowledge',
    'show',
    ...args,
  );
  return current!;
};
const shaOf = async (file: string) =>
  createHash('sha256')
    .update(await readFile(file))
    .digest('hex');

/** A new home whose stations learn with the small backbone. @returns the id of its first station */
const made = async (home: string, ...more: string[]): Promise<string> => {
  const { stations } = await done<{ stations: { id: string }[] }>(home, 'init', '--user', 'hana');
  for (const name of more) await done(home, 'stations', 'add', name);
  const { added } = await done<{ added: { id: string } }>(home, 'backbones', 'add', join(folder, 'small.onnx'));
  const first = stations[0]!.id;
  for (const station of [first, ...more]) await done(home, 'stations', 'set', station, '--backbone', added.id);
  return first;
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-knowledge-'));
  early = await writeParts(join(folder, 'early'), { perClass: 6, size: 96, classes: ['ok', 'scratch'] });
  await writeParts(join(folder, 'late'), { perClass: 6, size: 96, seed: 5, classes: ['ok', 'pit', 'stain'] });
  await smallBackboneFile(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('knowledge on the command line', { timeout: 120_000 }, () => {
  test('another station of the home is added once, however often; classes are merged, renamed, retired and forgotten', async () => {
    const first = await made('a', 'Second');
    for (const [station, parts] of [
      [first, 'early'],
      ['Second', 'late'],
    ] as const) {
      await done('a', 'import', join(folder, parts), '--as-labels', '--station', station);
      await done('a', 'update', '--station', station);
    }
    expect(counts(await shown('a', '--station', first))).toEqual({ ok: 6, 'c-scratch': 6 });
    const both = await done<Known>('a', 'knowledge', 'merge', 'Second', '--station', first);
    expect(counts(both)).toEqual({ ok: 12, 'c-scratch': 6, 'c-pit': 6, 'c-stain': 6 });
    const again = await done<Known>('a', 'knowledge', 'merge', 'Second', '--station', first);
    expect(counts(again)).toEqual(counts(both));
    expect(await failed('a', 'knowledge', 'merge', first, '--station', first)).toBe('INVALID_INPUT');

    const one = await done<Known>('a', 'knowledge', 'merge', 'stain', 'pit', '--station', 'Second');
    expect(counts(one)).toEqual({ ok: 6, 'c-pit': 12 });
    await done('a', 'knowledge', 'rename', 'pit', 'dent');
    expect(await failed('a', 'knowledge', 'retire', 'ok')).toBe('CONFLICT');
  });

  test('an image is forgotten, once; a class that is needed is not emptied', async () => {
    const [gone, ...rest] = early.get('scratch')!;
    const sha = await shaOf(gone!);
    await made('b');
    await done('b', 'import', join(folder, 'early'), '--as-labels');
    await done('b', 'update');
    await done('b', 'knowledge', 'forget', '--image', sha);
    expect(counts(await shown('b'))).toEqual({ ok: 6, 'c-scratch': rest.length });
    expect(await failed('b', 'knowledge', 'forget', '--image', sha)).toBe('NOT_FOUND');
    const before = await shown('b');
    expect(await failed('b', 'knowledge', 'forget', '--class', 'scratch')).toBe('TOO_FEW_CLASSES');
    expect(await failed('b', 'knowledge', 'forget')).toBe('INVALID_INPUT');
    expect(await shown('b')).toEqual(before);
  });

  test('by file, split, listed and checked', async () => {
    const file = join(folder, 'second.knowledge');
    await done('a', 'knowledge', 'export', file, '--station', 'Second');
    const added = await done<Known>('b', 'knowledge', 'import', file);
    expect(counts(added)).toEqual({ ok: 12, 'c-scratch': 5, 'c-pit': 12 });
    const { labels } = await done<{ labels: { imageSha: string; classId: string }[] }>(
      'b',
      'knowledge',
      'labels',
      '--class',
      'scratch',
    );
    expect(labels.map(({ classId }) => classId)).toEqual(Array(5).fill('c-scratch'));
    const some = labels.slice(0, 2).map(({ imageSha }) => imageSha);
    expect(await failed('b', 'knowledge', 'split', 'ok', 'deep', ...some)).toBe('NOT_FOUND');
    const split = await done<Known>('b', 'knowledge', 'split', 'scratch', 'deep', ...some);
    expect(counts(split)).toEqual({ ok: 12, 'c-deep': 2, 'c-pit': 12, 'c-scratch': 3 });
    expect(await done('b', 'knowledge', 'check')).toEqual({ differing: [] });
  });
});
