import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HEAD_EVERY } from '../../../main/audit/trail.ts';
import { repairDatabase, type RepairReport } from '../../../main/store/repair.ts';
import { ruinPage } from '../../helpers/ruin.ts';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

/* What becomes of a home whose database was repaired: rows are gone, and what they named or proved is still there. */

let world: World;
beforeEach(async () => {
  world = await startWorld();
  await setUp(world);
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
