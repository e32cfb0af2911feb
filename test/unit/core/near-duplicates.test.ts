import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { featureFileOf } from '../../../main/core/feature-file.ts';
import type { Session } from '../../../main/core/port.ts';
import { writeLooks } from '../../../main/learning/feature-rows.ts';
import { NO_LOOK } from '../../../main/learning/near-duplicates.ts';
import { setUp, startWorld, testBackbone, writeDataset, type World } from './world.ts';

let world: World;
let stationId: string;
let technician: Session;
beforeEach(async () => {
  world = await startWorld();
  ({ stationId, technician } = await setUp(world));
  const path = await writeDataset(join(world.home, '..', 'set'), { good: 5, scratch: 3 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
});
afterEach(() => world.close());

const find = () => world.call('labels.nearDuplicates', { stationId }, technician);
const update = async () => world.done(await world.call('knowledge.update', { stationId }, technician));
const summary = () => world.call('labels.summary', { stationId }, technician);

/** An update as the trainer makes it: rows in the order asked for, and what their pictures look like. */
const learn = async () => {
  await update();
  const { images } = world.trainer.updates[0]!;
  const waiting = {
    ok: ['ffffffff00000000', 'fffffffe00000000', '0f0f0f0f0f0f0f0f', '00000000ffffffff', NO_LOOK],
    other: ['0f0f0f0f0f0f0f0c', '3333333333333333', 'aaaaaaaa55555555'],
  };
  const looks = images.map(({ classId }) => waiting[classId === 'ok' ? 'ok' : 'other'].shift()!);
  await writeLooks(featureFileOf(world.home, testBackbone.id), 0, looks);
};

describe('labelled pictures that look almost the same', () => {
  test('are found once they are learnt: those under different classes first', async () => {
    expect(await find()).toEqual({ compared: 0, notCompared: 8, total: 0, groups: [] });
    await learn();
    const found = await find();
    // A flat picture is like no other.
    expect(found).toMatchObject({ compared: 7, notCompared: 1, total: 2 });
    expect(found.groups.map(({ size, parts }) => [size, new Set(parts.map(({ classId }) => classId)).size])).toEqual([
      [2, 2],
      [2, 1],
    ]);
    expect(await world.call('labels.nearDuplicates', { stationId, limit: 1 }, technician)).toMatchObject({
      total: 2,
      groups: [{ size: 2 }],
    });
  });

  test('teach no longer when they are left out, and can be given back', async () => {
    await learn();
    const { partId, imageSha, classId } = (await find()).groups[1]!.parts[1]!;
    expect((await summary()).takenAway).toBe(false);
    expect(await world.call('labels.leaveOut', { partIds: [partId] }, technician)).toMatchObject({ leftOut: 1 });
    expect((await find()).total).toBe(1);
    expect(await summary()).toMatchObject({ fresh: 0, takenAway: true });
    expect(await world.call('labels.history', { stationId }, technician)).toMatchObject([
      { kind: 'leave-out', classId, parts: [{ partId, imageSha }] },
    ]);
    await expect(world.call('labels.leaveOut', { partIds: [partId] }, technician)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });

    // Taken back before an update: as if nothing had been.
    await world.call('labels.undo', {}, technician);
    expect((await world.call('labels.list', { stationId }, technician)).every(({ learnt }) => learnt)).toBe(true);
    expect((await find()).total).toBe(2);
    expect(await summary()).toMatchObject({ fresh: 0, takenAway: false });
    for (const { partId: each } of (await find()).groups[1]!.parts)
      await world.call('labels.leaveOut', { partIds: [each] }, technician);
    for (const takenAway of [true, false]) {
      await world.call('labels.undo', {}, technician);
      expect(await summary()).toMatchObject({ fresh: 0, takenAway });
    }

    await world.call('labels.leaveOut', { partIds: [partId] }, technician);
    await update();
    expect(world.trainer.updates.at(-1)!.images.some(({ sha }) => sha === imageSha)).toBe(false);
    expect(await summary()).toMatchObject({ fresh: 0, takenAway: false });
    // Taken back after it: a new label again.
    await world.call('labels.undo', {}, technician);
    expect(await summary()).toMatchObject({ fresh: 1, takenAway: false });

    const file = join(world.home, '..', 'trail.jsonl');
    await world.call('audit.export', { file });
    const trail = readFileSync(file, 'utf8');
    expect(trail).toContain('"labels.leaveOut"');
    expect(trail.split('\n').filter((line) => line.includes('labels.leaveOut'))[0]).toContain(imageSha);
  });

  test('are left out together or not at all', async () => {
    await learn();
    const [first] = (await find()).groups[0]!.parts;
    await expect(world.call('labels.leaveOut', { partIds: [first!.partId, 4711] }, technician)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect((await find()).total).toBe(2);
    expect(await summary()).toMatchObject({ takenAway: false });
  });

  test('left out while an update learns them are due to be forgotten', async () => {
    await learn();
    const { partId } = (await find()).groups[0]!.parts[0]!;
    const { promise, resolve } = Promise.withResolvers<void>();
    world.trainer.hold = promise;
    const job = await world.call('knowledge.update', { stationId }, technician);
    await expect.poll(() => world.trainer.updates.length).toBe(2);
    await world.call('labels.leaveOut', { partIds: [partId] }, technician);
    resolve();
    await world.done(job);
    world.trainer.hold = null;
    expect((await summary()).takenAway).toBe(true);
    await update();
    expect((await summary()).takenAway).toBe(false);
  });
});
