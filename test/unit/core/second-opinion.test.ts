import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../../main/core/port.ts';
import { setUp, startWorld, writeDataset, type World } from './world.ts';

let world: World;
let stationId: string;
let technician: Session;
beforeEach(async () => {
  world = await startWorld();
  ({ stationId, technician } = await setUp(world));
  const path = await writeDataset(join(world.home, '..', 'set'), { good: 4, scratch: 3 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
});
afterEach(() => world.close());

describe('a second opinion', () => {
  test('is blind, is asked of somebody else, and brings a part where two differ back into the queue', async () => {
    // The technician labelled: nothing to ask there. The supervisor sees seven parts, and no word of their labels.
    expect(await world.call('labels.secondQueue', { stationId }, technician)).toEqual({ total: 0, parts: [] });
    const { total, parts } = await world.call('labels.secondQueue', { stationId });
    expect([total, parts.length]).toEqual([7, 7]);
    expect(JSON.stringify(parts)).not.toContain('scratch');

    const labels = await world.call('labels.list', { stationId }, technician);
    const labelOf = (partId: number) => labels.find((label) => label.partId === partId)!.classId;
    const scratch = parts.find(({ partId }) => labelOf(partId) !== 'ok')!.partId;
    for (const { partId } of parts.filter((part) => part.partId !== scratch))
      expect(await world.call('labels.second', { partId, classId: labelOf(partId) })).toMatchObject({ agrees: true });
    expect(await world.call('queue.count', { stationId })).toEqual({ total: 0 });
    expect(await world.call('labels.second', { partId: scratch, classId: 'ok' })).toEqual({
      agrees: false,
      firstClassId: labelOf(scratch),
    });

    const { items } = await world.call('queue.list', { stationId }, technician);
    expect(items).toMatchObject([
      {
        part: { id: scratch },
        reason: 'suspect',
        suggestedClassId: 'ok',
        doubt: { classId: labelOf(scratch), by: 'sato', given: null, copies: 0 },
      },
    ]);
    expect(await world.call('labels.agreement', { stationId })).toMatchObject({
      waiting: 0,
      same: { count: 6, of: 7 },
      differing: [{ classIds: [labelOf(scratch), 'ok'].toSorted(), parts: 1 }],
    });
    // 6 of 7 agree; by chance 4/7 * 5/7 + 3/7 * 2/7 would.
    expect((await world.call('labels.agreement', { stationId })).kappa).toBeCloseTo(
      (6 / 7 - 26 / 49) / (1 - 26 / 49),
      9,
    );

    // An update looks for doubtful labels anew; what a person doubts waits for a person.
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect(await world.call('queue.count', { stationId })).toEqual({ total: 1 });
    // Corrected: the first opinion was what it was, so the agreement stays.
    await world.call('labels.create', { partIds: [scratch], classId: 'ok' }, technician);
    expect(await world.call('labels.agreement', { stationId })).toMatchObject({ same: { count: 6, of: 7 } });
  });

  test('waits for a person, also where a model doubts the label for a while', async () => {
    const [part] = (await world.call('labels.secondQueue', { stationId })).parts;
    const { partId } = part!;
    const label = (await world.call('labels.list', { stationId })).find((each) => each.partId === partId)!;
    const classIds = (await world.call('classes.list', {})).map(({ id }) => id);
    const otherId = classIds.find((id) => id !== label.classId)!;
    await world.call('labels.second', { partId, classId: otherId });
    world.trainer.suspects = () => [
      {
        sha: label.imageSha,
        classId: label.classId,
        suggestedClassId: otherId,
        given: 0.1,
        suggested: 0.9,
        contradicting: [],
      },
    ];
    const asked = async () => {
      await world.done(await world.call('knowledge.update', { stationId }, technician));
      return (await world.call('queue.list', { stationId }, technician)).items;
    };
    const waits = [{ part: { id: partId }, reason: 'suspect', doubt: { by: 'sato', given: null } }];
    expect(await asked()).toMatchObject(waits);
    world.trainer.suspects = () => [];
    expect(await asked()).toMatchObject(waits);
  });

  test('is given once, and not of an own label', async () => {
    const [part] = (await world.call('labels.secondQueue', { stationId })).parts;
    const call = { partId: part!.partId, classId: 'ok' };
    await expect(world.call('labels.second', call, technician)).rejects.toMatchObject({ code: 'CONFLICT' });
    await world.call('labels.second', call);
    await expect(world.call('labels.second', call)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(world.call('labels.second', { partId: 4711, classId: 'ok' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('goes with a picture that is forgotten', async () => {
    const [part] = (await world.call('labels.secondQueue', { stationId })).parts;
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    await world.call('labels.second', { partId: part!.partId, classId: 'ok' });
    await world.done(await world.call('knowledge.forget', { stationId, imageSha: part!.imageSha! }, technician));
    expect((await world.call('labels.agreement', { stationId })).same.of).toBe(0);
  });
});
