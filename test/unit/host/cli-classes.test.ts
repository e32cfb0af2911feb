import { beforeEach, expect, test } from 'vitest';
import { defectClassSchema, type DefectClass } from '../../../main/contract/domain.ts';
import type { CoreClient } from '../../../main/host/cli/accounts.ts';
import { knownClass, usableClass } from '../../../main/host/cli/classes.ts';

/* Classes that a command names. */

const made = (id: string, en: string, change: Partial<DefectClass> = {}): DefectClass =>
  defectClassSchema.parse({
    id,
    names: { en, ja: en },
    isOk: false,
    color: 1,
    hotKey: null,
    retired: false,
    ...change,
  });

let created: string[];
const clientWith = (...classes: DefectClass[]): CoreClient =>
  ({
    async call(method: string, { names }: { names?: DefectClass['names'] }) {
      if (method === 'classes.list') return classes;
      created.push(names!.en);
      return made('c-new', names!.en);
    },
  }) as unknown as CoreClient;
beforeEach(() => {
  created = [];
});

const ok = made('ok', 'OK', { isOk: true });

test('a name that a retired class had before is that of the class in use, and else of a new one', async () => {
  const retired = made('c-pit', 'Pit', { retired: true });
  const again = clientWith(ok, retired, made('c-pit-2', 'Pit'));
  expect([await usableClass(again, 'Pit'), await knownClass(again, 'Pit')]).toEqual(['c-pit-2', 'c-pit-2']);
  expect(created).toEqual([]);
  const gone = clientWith(ok, retired);
  // What was learnt of it can still be un-learnt by its name.
  expect([await usableClass(gone, 'Pit'), await knownClass(gone, 'Pit')]).toEqual(['c-new', 'c-pit']);
  expect(created).toEqual(['Pit']);
});

test('case and width make no other class, and what folders of good parts are called no class of defects', async () => {
  const client = clientWith(ok, made('c-pit', 'Pit'));
  for (const name of ['pit', 'ＰＩＴ'])
    expect([await usableClass(client, name), await knownClass(client, name)], name).toEqual(['c-pit', 'c-pit']);
  for (const name of ['good', '良品']) expect(await usableClass(client, name), name).toBe('ok');
  expect(created).toEqual([]);
  // What is un-learnt has to be called by its own name.
  for (const name of ['good', 'dent'])
    await expect(knownClass(client, name), name).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const called = clientWith(ok, made('c-good', 'good'));
  expect([await usableClass(called, 'good'), await knownClass(called, 'good')]).toEqual(['c-good', 'c-good']);
});
