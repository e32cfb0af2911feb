import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PASSWORD, setUp, startWorld, writeDataset, type World } from './world.ts';

/* Two windows at the same moment: what the first one decided holds for the second. */

let world: World;
let stationId: string;
beforeEach(async () => {
  world = await startWorld();
  ({ stationId } = await setUp(world));
});
afterEach(() => world.close());

const offered = async (): Promise<string> => {
  const path = await writeDataset(join(world.home, '..', 'set'), { ok: 3, pit: 2 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
  await world.done(await world.call('knowledge.update', { stationId }));
  await world.done(await world.call('candidates.create', { stationId }));
  return (await world.call('candidates.list', { stationId })).find((each) => each.offered)!.id;
};
const approve = (candidateId: string) =>
  world.call('candidates.approve', { candidateId, password: PASSWORD, meaning: 'reviewed' });

test('a model that is rejected while it is looked at does not become active', async () => {
  const candidateId = await offered();
  await approve(candidateId);
  const activating = world.call('models.activate', { candidateId });
  await world.call('candidates.reject', { candidateId, reason: 'wrong lot', password: PASSWORD });
  await expect(activating).rejects.toMatchObject({ code: 'NOT_APPROVED' });
  expect((await world.call('candidates.show', { candidateId })).state).toBe('rejected');
  expect((await world.call('stations.list', {}))[0]!.activeModelId).toBeNull();
});

test('of two approvals one holds, with its signature', async () => {
  const candidateId = await offered();
  const both = await Promise.allSettled([approve(candidateId), approve(candidateId)]);
  expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  expect(await world.call('models.activate', { candidateId })).toMatchObject({ active: { id: candidateId } });
});

test('of two changes of a station both hold', async () => {
  const [station] = await world.call('stations.list', {});
  const criteria = { ...station!.criteria, maxEscape: 0.001 };
  await Promise.all([
    world.call('stations.update', { stationId, name: 'Press 4', backboneId: station!.backboneId }),
    world.call('stations.update', { stationId, criteria }),
  ]);
  expect((await world.call('stations.list', {}))[0]).toMatchObject({ name: 'Press 4', criteria });
});
