import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HEAD_EVERY } from '../../../main/audit/trail.ts';
import { repairDatabase, type RepairReport } from '../../../main/store/repair.ts';
import { ruinPage } from '../../helpers/ruin.ts';
import { PASSWORD, setUp, startWorld, writeDataset, type World } from './world.ts';

/* What becomes of a home whose database was repaired: rows are gone, and what they named or proved is still there. */

let world: World;
let stationId: string;
beforeEach(async () => {
  world = await startWorld();
  ({ stationId } = await setUp(world));
});
afterEach(() => world.close());

const repaired = async (...ruined: Parameters<typeof ruinPage> extends [string, ...infer Rest] ? Rest : never) => {
  await world.core.close();
  ruinPage(join(world.home, 'mekiki.sqlite'), ...ruined);
  const report: RepairReport = await repairDatabase(world.home, new Date());
  await world.reopen();
  await signIn();
  return report;
};
const signIn = () => world.call('session.signIn', { name: 'sato', password: PASSWORD });
const newest = async () => (await world.call('audit.list', { limit: 1 })).entries[0]!.n;

test('a trail that lost its end beside a signed head of it goes on, and stays a broken one', async () => {
  while ((await newest()) <= HEAD_EVERY) await signIn();
  await repaired('audit', 'last');
  const left = await newest();
  expect(left).toBeLessThan(HEAD_EVERY);
  while ((await newest()) < HEAD_EVERY + 5) await signIn();
  expect(await world.call('audit.verify', {})).toMatchObject({ valid: false });
  await world.reopen();
  await signIn();
  expect(await world.call('audit.verify', {})).toMatchObject({ valid: false });
});

test('a trail with a hole in it is taken away to its end', async () => {
  while ((await newest()) < 90) await signIn();
  await repaired('audit');
  const file = join(world.home, '..', 'trail.jsonl');
  const last = await newest();
  const made = await world.call('audit.export', { file });
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const [about, ...entries] = lines.slice(0, -1).map((line) => JSON.parse(line) as Record<string, number>);
  const told = { valid: false, entries: entries.length };
  expect([made, about]).toMatchObject([told, told]);
  expect(entries.length).toBeLessThan(last);
  expect(entries[0]!['n']).toBe(1);
  expect(entries.at(-1)!['n']).toBe(last);
  expect(entries.some(({ n }) => n! > made.firstBroken!)).toBe(true);
  expect((await world.call('audit.verify', {})).entries).toBe(entries.length + 1);
});

test('models whose rows are lost are kept beside the damaged file, and a station goes on without its own', async () => {
  const path = await writeDataset(join(world.home, '..', 'pictures'), { ok: 3, pit: 2 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
  await world.done(await world.call('knowledge.update', { stationId }));
  const [lost] = (await world.done(await world.call('candidates.create', { stationId }))).result;
  const statement = { password: PASSWORD, meaning: 'I have reviewed the evidence', waiver: 'a test' };
  await world.call('candidates.approve', { candidateId: lost!, ...statement });
  await world.call('models.activate', { candidateId: lost! });
  const { kept } = await repaired('candidates');
  for (const name of ['model.onnx', 'evidence.json', 'approval.json'])
    expect(existsSync(join(kept!, 'bundles', lost!, name)), name).toBe(true);
  expect((await world.call('stations.list', {}))[0]!.activeModelId).toBeNull();
  // Compared with no model that is gone, and activated in its place.
  const [next] = (await world.done(await world.call('candidates.create', { stationId }))).result;
  expect(world.trainer.compressions.at(-1)!.activeBundleDir).toBeNull();
  await world.call('candidates.approve', { candidateId: next!, ...statement });
  await world.call('models.activate', { candidateId: next! });
  // What a later start finds nobody's is removed.
  await world.reopen();
  expect(existsSync(join(kept!, 'bundles', lost!))).toBe(true);
});
