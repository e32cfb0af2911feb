import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { nodeFiles } from '../../../main/store/files.ts';
import { PASSWORD, setUp, startWorld, until, writeDataset, type World } from './world.ts';

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
  const activating = expect(world.call('models.activate', { candidateId })).rejects.toMatchObject({
    code: 'NOT_APPROVED',
  });
  await world.call('candidates.reject', { candidateId, reason: 'wrong lot', password: PASSWORD });
  await activating;
  expect((await world.call('candidates.show', { candidateId })).state).toBe('rejected');
  expect((await world.call('stations.list', {}))[0]!.activeModelId).toBeNull();
});

test('of two approvals one holds, with its signature', async () => {
  const candidateId = await offered();
  const both = await Promise.allSettled([approve(candidateId), approve(candidateId)]);
  expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  expect(await world.call('models.activate', { candidateId })).toMatchObject({ active: { id: candidateId } });
});

test('an approval of somebody who is disabled while it is signed does not come about', async () => {
  const candidateId = await offered();
  const { id: userId } = await world.call('users.add', { name: 'mori', role: 'supervisor', password: PASSWORD });
  const mori = world.core.openSession();
  await world.call('session.signIn', { name: 'mori', password: PASSWORD }, mori);
  const { syncDirectory } = nodeFiles;
  const bundle = join(world.home, 'bundles', candidateId);
  vi.spyOn(nodeFiles, 'syncDirectory').mockImplementation(async (path) => {
    if (path === bundle) await world.call('users.disable', { userId });
    return syncDirectory(path);
  });
  await expect(
    world.call('candidates.approve', { candidateId, password: PASSWORD, meaning: 'reviewed' }, mori),
  ).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  vi.restoreAllMocks();
  expect((await world.call('candidates.show', { candidateId })).approval).toBeNull();
  expect((await approve(candidateId)).approval?.userName).toBe('sato');
});

test('a line that is set up while its model is exchanged goes on with the model that is active then', async () => {
  const candidateId = await offered();
  await approve(candidateId);
  await world.call('line.start', { stationId });
  const line = world.lines.get(stationId)!;
  const { promise, resolve } = Promise.withResolvers<void>();
  line.holds['line.activate'] = promise;
  const activating = world.call('models.activate', { candidateId });
  await until(() => line.activated.length === 1);
  const setting = world.call('stations.update', { stationId, threads: 1 });
  // It is stored, and told to the line next: without regard to its model it would be now.
  await expect.poll(async () => (await world.call('stations.list', {}))[0]!.threads).toBe(1);
  resolve();
  await Promise.all([activating, setting]);
  expect(line.configured.at(-1)).toMatchObject({
    station: { threads: 1, activeModelId: candidateId },
    bundleDir: line.activated[0],
  });
});

test('the same question joins the job under way; another one is done for itself', async () => {
  const path = await writeDataset(join(world.home, '..', 'set'), { ok: 3, pit: 2 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
  await world.done(await world.call('knowledge.update', { stationId }));
  const first = await world.call('knowledge.check', { stationId });
  const update = await world.call('knowledge.update', { stationId });
  expect(await world.call('knowledge.update', { stationId })).toMatchObject({ id: update.id });
  expect(update.id).not.toBe(first.id);
  expect((await world.done(update)).result).toEqual([(await world.call('knowledge.show', { stationId }))!.id]);

  // Of one that is ending, cancelled, nobody gets anything.
  const { promise, resolve } = Promise.withResolvers<void>();
  world.trainer.hold = promise;
  const cancelled = await world.call('candidates.create', { stationId });
  await until(() => world.trainer.compressions.length === 1);
  expect(await world.call('candidates.create', { stationId })).toMatchObject({ id: cancelled.id });
  await world.call('jobs.cancel', { jobId: cancelled.id });
  const made = await world.call('candidates.create', { stationId });
  resolve();
  const [one, two] = (await world.done(made)).result as [string, string];
  expect((await world.call('jobs.list', {})).find(({ id }) => id === cancelled.id)).toMatchObject({
    state: 'cancelled',
  });

  // Each for the candidate that it was asked about.
  const more = (await world.done(await world.call('candidates.create', { stationId }))).result as [string, string];
  await approve(one);
  await world.call('models.activate', { candidateId: one });
  const sets = [await writeDataset(join(world.home, '..', 'golden'), { ok: 2, pit: 2 })];
  sets.push(await writeDataset(join(world.home, '..', 'grown'), { ok: 1 }));
  const adding = () => world.call('golden.add', { stationId, path: sets.shift()! });
  await world.done(await adding());
  const held = Promise.withResolvers<void>();
  world.trainer.hold = held.promise;
  const asked = [await world.call('candidates.recheck', { candidateId: two }), await adding()];
  const methods = ['candidates.recheck', 'candidates.golden', 'candidates.shadow'] as const;
  for (const method of methods)
    for (const candidateId of [two, ...more, two]) asked.push(await world.call(method, { candidateId }));
  held.resolve();
  const ended = await Promise.all(asked.slice(2).map((job) => world.done(job)));
  expect(ended.map(({ result }) => result)).toEqual(methods.flatMap(() => [[two], [more[0]], [more[1]], [two]]));
  // The last of each four joined the first, and so did the first measuring that one before.
  expect(new Set(asked.map(({ id }) => id)).size).toBe(1 + 3 * 3);
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
