import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Backbone } from '../../../main/contract/domain.ts';
import type { Session } from '../../../main/core/port.ts';
import { PASSWORD, setUp, startWorld, testBackbone, writeDataset, type World } from './world.ts';

/* Un-learning takes its time, and waits for its turn: what people do meanwhile, and a power cut. */

const SCRATCH = 'c-scratch';
const DENT = 'c-dent';

let world: World;
let stationId: string;
let technician: Session;
/** A backbone of before, which cannot be looked up until this. */
let earlier: Promise<Backbone | null> = Promise.resolve(null);

const worldAt = (home?: string) =>
  startWorld({
    ...(home !== undefined && { home }),
    backbones: {
      shipped: async () => testBackbone,
      take: async () => testBackbone,
      read: async () => testBackbone,
      earlier: () => earlier,
    },
  });
beforeEach(async () => {
  earlier = Promise.resolve(null);
  world = await worldAt();
  ({ stationId, technician } = await setUp(world));
  const path = await writeDataset(join(world.home, '..', 'set'), { ok: 3, scratch: 3, dent: 2 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  await world.done(await world.call('knowledge.update', { stationId }, technician));
});
afterEach(() => world.close());

const labelsOf = (classId: string) => world.call('labels.list', { stationId, classId }, technician);
/** An update that runs until this is called. */
const holdQueue = async (): Promise<() => Promise<unknown>> => {
  const held = Promise.withResolvers<void>();
  world.trainer.hold = held.promise;
  const before = await world.call('knowledge.update', { stationId }, technician);
  return () => {
    world.trainer.hold = null;
    held.resolve();
    return world.done(before);
  };
};

test('labels of named pictures are found beyond what a list has room for', async () => {
  const all = await world.call('labels.list', { stationId }, technician);
  const [oldest, other] = [all.at(-1)!, all.find(({ classId }) => classId !== all.at(-1)!.classId)!];
  const images = [oldest.imageSha, 'f'.repeat(64), other.imageSha];
  expect(await world.call('labels.list', { stationId, images, limit: 1 }, technician)).toEqual([oldest, other]);
  const { classId } = oldest;
  expect(await world.call('labels.list', { stationId, classId, images }, technician)).toEqual([oldest]);
});

test('labels are listed page by page, each once, of all classes and of one', async () => {
  for (const of of [{}, { classId: SCRATCH }]) {
    const all = await world.call('labels.list', { stationId, ...of }, technician);
    expect(all.length).toBeGreaterThan(2);
    const paged: typeof all = [];
    for (let page = all; page.length > 0;) {
      const last = paged.at(-1);
      const before = last && { before: { at: last.at, partId: last.partId } };
      page = await world.call('labels.list', { stationId, ...of, limit: 2, ...before }, technician);
      paged.push(...page);
    }
    expect(paged).toEqual(all);
  }
});

test('a class is un-learnt as it is when its turn comes: what was corrected meanwhile stays, what was added goes', async () => {
  const goOn = await holdQueue();
  const job = await world.call('knowledge.forgetClass', { stationId, classId: SCRATCH }, technician);
  // Whoever asks again meanwhile gets this one.
  expect((await world.call('knowledge.forgetClass', { stationId, classId: SCRATCH }, world.session)).id).toBe(job.id);
  const [corrected] = await labelsOf(SCRATCH);
  const [added] = await labelsOf('ok');
  await world.call('labels.create', { partIds: [corrected!.partId], classId: DENT }, technician);
  await world.call('labels.create', { partIds: [added!.partId], classId: SCRATCH }, technician);
  await goOn();
  await world.done(job);
  expect(await labelsOf(SCRATCH)).toEqual([]);
  expect((await labelsOf(DENT)).map(({ imageSha }) => imageSha)).toContain(corrected!.imageSha);
  const classes = await world.call('classes.list', {});
  expect(classes.find(({ id }) => id === SCRATCH)).toMatchObject({ retired: true });
});

test('what is corrected while its class is being un-learnt keeps its label, and is fresh', async () => {
  const [corrected] = await labelsOf(SCRATCH);
  const held = Promise.withResolvers<void>();
  world.trainer.hold = held.promise;
  const job = await world.call('knowledge.forgetClass', { stationId, classId: SCRATCH }, technician);
  await expect.poll(() => world.trainer.updates.length).toBe(2);
  await world.call('labels.create', { partIds: [corrected!.partId], classId: DENT }, technician);
  held.resolve();
  await world.done(job);
  expect(await labelsOf(SCRATCH)).toEqual([]);
  expect(await labelsOf(DENT)).toHaveLength(3);
  expect(await world.call('labels.summary', { stationId })).toMatchObject({ fresh: 1 });
});

test('a picture whose label is taken away before its turn is un-learnt all the same', async () => {
  const [label] = await labelsOf(SCRATCH);
  const { images, featureFile } = world.trainer.updates[0]!;
  const row = images.findIndex(({ sha }) => sha === label!.imageSha);
  const goOn = await holdQueue();
  const job = await world.call('knowledge.forget', { stationId, imageSha: label!.imageSha }, technician);
  await world.call('labels.leaveOut', { partIds: [label!.partId], toQueue: false }, technician);
  await goOn();
  await world.done(job);
  const features = new Float32Array(new Uint8Array(readFileSync(featureFile)).buffer);
  expect([...features.subarray(4 * row, 4 * row + 4)]).toEqual([0, 0, 0, 0]);
  await world.call('labels.undo', { stationId }, technician);
  expect(await labelsOf(SCRATCH)).toHaveLength(2);
  const { entries } = await world.call('audit.list', {});
  expect(entries.find(({ action }) => action === 'knowledge.forget')).toMatchObject({ subject: label!.imageSha });
});

test('a power cut while the features are overwritten finds the class un-learnt and retired, and the job done', async () => {
  const [label] = await labelsOf(SCRATCH);
  await world.core.close();
  const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
  db.exec(
    `INSERT INTO features SELECT 'bb-before', image_sha, view, 0 FROM features WHERE image_sha = '${label!.imageSha}'`,
  );
  db.close();
  writeFileSync(join(world.home, 'features', 'bb-before.f32'), Buffer.alloc(16, 7));
  await world.reopen();
  const session = world.core.openSession();
  await world.call('session.signIn', { name: 'tanaka', password: PASSWORD }, session);
  const held = Promise.withResolvers<null>();
  earlier = held.promise;
  const job = await world.call('knowledge.forgetClass', { stationId, classId: SCRATCH }, session);
  await expect
    .poll(async () => (await world.call('labels.list', { stationId, classId: SCRATCH }, session)).length)
    .toBe(0);
  const copy = join(world.home, '..', 'cut');
  cpSync(world.home, copy, { recursive: true });
  held.resolve(null);
  await world.done(job);
  earlier = Promise.resolve(null);
  const after = await worldAt(copy);
  try {
    const classes = await after.call('classes.list', {});
    expect(classes.find(({ id }) => id === SCRATCH)).toMatchObject({ retired: true });
    expect((await after.call('jobs.list', {})).find(({ id }) => id === job.id)).toMatchObject({ state: 'done' });
    await after.call('session.signIn', { name: 'sato', password: PASSWORD });
    const { entries } = await after.call('audit.list', {});
    expect(entries.map(({ action }) => action)).toContain('knowledge.forgetClass');
  } finally {
    await after.close();
  }
});

test('what one station un-learns another one, which learnt the same pictures, makes its models of all the same', async () => {
  const other = await world.call('stations.add', { name: 'Second', camera: { kind: 'simulated' } });
  const path = join(world.home, '..', 'set');
  await world.done(await world.call('import.start', { stationId: other.id, path, asLabels: true }, technician));
  await world.done(await world.call('knowledge.update', { stationId: other.id }, technician));
  await world.done(await world.call('knowledge.forgetClass', { stationId, classId: SCRATCH }, technician));
  expect(await world.call('labels.summary', { stationId: other.id })).toMatchObject({ fresh: 0, takenAway: false });
  await world.done(await world.call('candidates.create', { stationId: other.id }, technician));
  const { images } = world.trainer.compressions.at(-1)!;
  expect(images.filter(({ classId }) => classId === SCRATCH)).toHaveLength(3);
});
