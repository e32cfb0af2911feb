import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { commandLine, type CommandLine } from '../helpers/cli.ts';
import { writeParts } from '../helpers/parts-on-disk.ts';
import { story } from '../helpers/story.ts';
import { smallBackboneFile } from '../unit/compression/small-data.ts';

/*
 * `knowledge show | labels | merge | split | forget | export | import | check | rename | retire` with the real core and trainer, on a backbone small enough
 * that a dozen updates take seconds; test/process/cli-home.test.ts goes round the loop with the shipped one.
 */

let folder: string;
let early: Map<string, string[]>;

interface Known {
  knowledgeId: string;
  classes: { classId: string; labelled: number }[];
}
const counts = ({ classes }: Pick<Known, 'classes'>) =>
  Object.fromEntries(classes.map(({ classId, labelled }) => [classId, labelled]));
const shown = async ({ done }: CommandLine, ...args: string[]) => {
  const { current } = await done<{ current: (Known & { id: string; lambda: number }) | null }>(
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

/** Sets stations up that learn with the small backbone. @returns the id of the first one */
const setUp = async ({ done }: CommandLine, ...more: string[]): Promise<string> => {
  const { stations } = await done<{ stations: { id: string }[] }>('init', '--user', 'hana');
  for (const name of more) await done('stations', 'add', name);
  const { added } = await done<{ added: { id: string } }>('backbones', 'add', join(folder, 'small.onnx'));
  const first = stations[0]!.id;
  for (const station of [first, ...more]) await done('stations', 'set', station, '--backbone', added.id);
  return first;
};
/** Two data folders. */
const begin = async () => {
  const homes = await mkdtemp(join(folder, 'homes-'));
  const at = (name: string) => commandLine(join(homes, name), { MEKIKI_PASSWORD: 'correct horse battery' });
  return { a: at('a'), b: at('b'), [Symbol.asyncDispose]: () => rm(homes, { recursive: true, force: true }) };
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-knowledge-'));
  early = await writeParts(join(folder, 'early'), { perClass: 6, size: 96, classes: ['ok', 'scratch'] });
  await writeParts(join(folder, 'late'), { perClass: 6, size: 96, seed: 5, classes: ['ok', 'pit', 'stain'] });
  await smallBackboneFile(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('knowledge on the command line', () => {
  const step = story(begin);

  step(
    'another station of the home is added once, however often; classes are merged, renamed, retired and forgotten',
    async ({ a }) => {
      const first = await setUp(a, 'Second');
      for (const [station, parts] of [
        [first, 'early'],
        ['Second', 'late'],
      ] as const) {
        await a.done('import', join(folder, parts), '--as-labels', '--station', station);
        await a.done('update', '--station', station);
      }
      expect(counts(await shown(a, '--station', first))).toEqual({ ok: 6, 'c-scratch': 6 });
      const both = await a.done<Known>('knowledge', 'merge', 'Second', '--station', first);
      expect(counts(both)).toEqual({ ok: 12, 'c-scratch': 6, 'c-pit': 6, 'c-stain': 6 });
      const again = await a.done<Known>('knowledge', 'merge', 'Second', '--station', first);
      expect(counts(again)).toEqual(counts(both));
      expect((await a.failed('knowledge', 'merge', first, '--station', first)).code).toBe('INVALID_INPUT');

      const one = await a.done<Known>('knowledge', 'merge', 'stain', 'pit', '--station', 'Second');
      expect(counts(one)).toEqual({ ok: 6, 'c-pit': 12 });
      await a.done('knowledge', 'rename', 'pit', 'dent');
      const renamed = await a.done<{ id: string; names: object }>(
        'knowledge',
        'rename',
        'dent',
        '打痕',
        '--language',
        'ja',
      );
      expect(renamed).toMatchObject({ id: 'c-pit', names: { en: 'dent', ja: '打痕' } });
      expect((await a.failed('knowledge', 'retire', 'ok')).code).toBe('CONFLICT');
    },
  );

  step('an image is forgotten, once; a class that is needed is not emptied', async ({ b }) => {
    const [gone, ...rest] = early.get('scratch')!;
    const sha = await shaOf(gone!);
    await setUp(b);
    await b.done('import', join(folder, 'early'), '--as-labels');
    await b.done('update');
    await b.done('knowledge', 'forget', '--image', sha);
    expect(counts(await shown(b))).toEqual({ ok: 6, 'c-scratch': rest.length });
    expect((await b.failed('knowledge', 'forget', '--image', sha)).code).toBe('NOT_FOUND');
    const before = await shown(b);
    expect((await b.failed('knowledge', 'forget', '--class', 'scratch')).code).toBe('TOO_FEW_CLASSES');
    expect((await b.misused('knowledge', 'forget')).code).toBe('INVALID_INPUT');
    expect(await shown(b)).toEqual(before);
  });

  step('by file, split, listed and checked', async ({ a, b }) => {
    const file = `${a.home}.knowledge`;
    await a.done('knowledge', 'export', file, '--station', 'Second');
    const added = await b.done<Known>('knowledge', 'import', file);
    expect(counts(added)).toEqual({ ok: 12, 'c-scratch': 5, 'c-pit': 12 });
    const { labels } = await b.done<{ labels: { imageSha: string; classId: string }[] }>(
      'knowledge',
      'labels',
      '--class',
      'scratch',
    );
    expect(labels.map(({ classId }) => classId)).toEqual(Array(5).fill('c-scratch'));
    const some = labels.slice(0, 2).map(({ imageSha }) => imageSha);
    expect((await b.failed('knowledge', 'split', 'ok', 'deep', ...some)).code).toBe('NOT_FOUND');
    const split = await b.done<Known>('knowledge', 'split', 'scratch', 'deep', ...some);
    expect(counts(split)).toEqual({ ok: 12, 'c-deep': 2, 'c-pit': 12, 'c-scratch': 3 });
    const [back] = some;
    await b.done('knowledge', 'send-back', back!);
    expect((await b.failed('knowledge', 'send-back', back!)).code).toBe('NOT_FOUND');
    expect(await b.done('queue', 'list')).toMatchObject({ items: [{ reason: 'returned' }] });
    expect(counts(await b.done<Known>('update'))).toMatchObject({ 'c-deep': 1, 'c-scratch': 3 });
    expect(await b.done('knowledge', 'check')).toEqual({ differing: [] });
  });
});
