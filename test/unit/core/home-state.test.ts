import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Job } from '../../../main/contract/domain.ts';
import { freeSpaceOf, spaceOf } from '../../../main/core/home-state.ts';
import type { CoreClient } from '../../../main/host/cli/accounts.ts';
import type { Context } from '../../../main/host/cli/context.ts';
import { followJob } from '../../../main/host/cli/jobs.ts';
import { lineRecord, PASSWORD, setUp, startWorld, until, writeDataset, type World } from './world.ts';

const GB = 1024 ** 3;
let clock: Date;
let freeBytes: number;
let world: World;
let folder: string;
beforeEach(async () => {
  clock = new Date('2026-03-01T08:00:00.000Z');
  freeBytes = 100 * GB;
  folder = mkdtempSync(join(tmpdir(), 'mekiki-state-'));
  world = await startWorld({ now: () => clock, freeSpace: async () => ({ freeBytes, totalBytes: 200 * GB }) });
});
afterEach(async () => {
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('room on the disk', () => {
  test('is asked of the system, in bytes', async () => {
    const { freeBytes: free, totalBytes } = await freeSpaceOf(folder);
    expect(free).toBeGreaterThan(0);
    expect(totalBytes).toBeGreaterThan(free);
  });

  test('less room never gives a better level, and a level is left only with room to spare', () => {
    const order = ['very-low', 'low', 'enough'] as const;
    const level = fc.constantFrom(...order);
    fc.assert(
      fc.property(
        fc.nat(300 * GB),
        fc.nat(300 * GB),
        fc.integer({ min: 1, max: 300 * GB }),
        level,
        (a, b, total, was) => {
          const [less, more] = a < b ? [a, b] : [b, a];
          const of = (free: number) => order.indexOf(spaceOf({ freeBytes: free, totalBytes: total }, was));
          expect(of(less)).toBeLessThanOrEqual(of(more));
          // At one amount of room, who was worse off is not better off now.
          expect(of(a)).toBeLessThanOrEqual(order.indexOf(spaceOf({ freeBytes: a, totalBytes: total }, 'enough')));
        },
      ),
    );
    expect(spaceOf({ freeBytes: 2.2 * GB, totalBytes: 200 * GB }, 'low')).toBe('low');
    expect(spaceOf({ freeBytes: 2.2 * GB, totalBytes: 200 * GB }, 'enough')).toBe('enough');
    // A small disk is not low from the beginning.
    expect(spaceOf({ freeBytes: 0.5 * GB, totalBytes: GB }, 'enough')).toBe('enough');
  });

  test('a line that hangs keeps nobody from hearing that pictures stop, nor how the home stands', async () => {
    const { stationId } = await setUp(world);
    const other = await world.call('stations.add', { name: 'Line 2', camera: { kind: 'simulated' } });
    const ids = [stationId, other.id];
    for (const id of ids) await world.call('line.start', { stationId: id });
    const told = () => ids.map((id) => world.lines.get(id)!.refused.at(-1));
    world.lines.get(stationId)!.holds['line.archive'] = new Promise(() => {});
    freeBytes = 0.1 * GB;
    expect(await world.call('home.state', {})).toMatchObject({ space: 'very-low' });
    await expect.poll(told).toEqual(['DISK_LOW', 'DISK_LOW']);
    freeBytes = 100 * GB;
    expect(await world.call('home.state', {})).toMatchObject({ space: 'enough' });
    await expect.poll(told).toEqual([null, null]);
  });

  test('little stops learning, less stops pictures, nothing stops the line; with room it all goes on', async () => {
    const { stationId } = await setUp(world);
    const labelled = await writeDataset(join(folder, 'labelled'), { ok: 3, scratch: 3 });
    const importing = () => world.call('import.start', { stationId, path: labelled, asLabels: true });
    await world.done(await importing());
    await world.call('line.start', { stationId });
    const line = world.lines.get(stationId)!;
    expect(line.refused).toEqual([null]);

    let release = (): void => {};
    world.trainer.hold = new Promise((resolve) => (release = resolve));
    const update = await world.call('knowledge.update', { stationId });
    await until(() => world.trainer.updates.length === 1);
    freeBytes = GB;
    expect(await world.call('home.state', {})).toMatchObject({ space: 'low', freeBytes: GB });
    await expect(world.done(update)).rejects.toMatchObject({ code: 'DISK_LOW' });
    release();
    world.trainer.hold = null;
    for (const start of [importing, () => world.call('knowledge.update', { stationId })])
      await expect(start()).rejects.toMatchObject({ code: 'DISK_LOW' });
    expect(line.refused).toEqual([null, null]);
    // A backup goes to another disk, and makes room possible.
    await world.done(await world.call('home.backup', { file: join(folder, 'b'), password: PASSWORD }));

    freeBytes = GB / 4;
    expect(await world.call('home.state', {})).toMatchObject({ space: 'very-low' });
    expect(line.refused).toEqual([null, null, 'DISK_LOW']);
    line.emit([lineRecord(1, { imageSha: null })]);
    await until(() => line.acknowledged.includes(1));
    expect(await world.call('parts.recent', { stationId })).toHaveLength(1);
    expect(world.events.filter(({ name }) => name === 'home.changed').length).toBeGreaterThanOrEqual(2);

    freeBytes = 50 * GB;
    expect(await world.call('home.state', {})).toMatchObject({ space: 'enough' });
    expect(line.refused.at(-1)).toBeNull();
    await world.done(await world.call('knowledge.update', { stationId }));
  });
});

describe('a compression on a disk with little room', () => {
  let stationId: string;
  let job: Job;
  let release: () => void;
  const low = { state: 'paused', problem: { code: 'DISK_LOW' } };
  const shown = async () => (await world.call('jobs.list', {})).find(({ id }) => id === job.id)!;
  const begun = () => until(() => world.trainer.compressions.length > 0);

  beforeEach(async () => {
    ({ stationId } = await setUp(world));
    const path = await writeDataset(join(folder, 'labelled'), { ok: 3, scratch: 3 });
    await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
    await world.done(await world.call('knowledge.update', { stationId }));
    world.trainer.hold = new Promise((resolve) => (release = resolve));
    job = await world.call('candidates.create', { stationId });
    await begun();
  });
  afterEach(() => release());
  const resumed = async () => {
    release();
    world.trainer.hold = null;
    await expect(world.call('jobs.resume', { jobId: job.id })).rejects.toMatchObject({ code: 'DISK_LOW' });
    freeBytes = 50 * GB;
    await world.call('home.state', {});
    await world.call('jobs.resume', { jobId: job.id });
    expect(await world.done(job)).toMatchObject({ state: 'done', problem: null });
    expect(readdirSync(join(world.home, 'work'))).toEqual([]);
  };

  test('is paused with what it has, tells why, and is resumed once there is room', async () => {
    const client = {
      call: () => world.call('jobs.list', {}),
      on: (_: string, heard: (job: unknown) => void) =>
        world.core.subscribe(({ name, payload }) => name === 'jobs.progressed' && heard(payload)),
      onClose: () => {},
    } as unknown as CoreClient;
    const context = { signal: new AbortController().signal, out: { progress() {} } } as unknown as Context;
    // A command does not wait for somebody to make room.
    const followed = expect(followJob(context, client, job)).rejects.toMatchObject({ code: 'DISK_LOW' });
    freeBytes = GB;
    await world.call('home.state', {});
    expect(await shown()).toMatchObject(low);
    await followed;
    expect(readdirSync(join(world.home, 'work'))).toEqual([job.id]);
    await resumed();
  });

  test('that the start would take up is kept, paused, and does not run before', async () => {
    freeBytes = GB;
    await world.reopen();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    expect(await shown()).toMatchObject(low);
    expect(world.trainer.compressions).toHaveLength(1);
    await resumed();
  });
});

describe('a clock that is set back', () => {
  test('is named in the trail where it happened, keeps the order, and is told until the time has come again', async () => {
    await setUp(world);
    expect(await world.call('home.state', {})).toMatchObject({ clockBehindSeconds: 0 });
    clock = new Date('2026-03-01T07:00:00.000Z');
    expect(await world.call('home.state', {})).toMatchObject({ clockBehindSeconds: 3600 });
    await world.call('users.add', { name: 'ito', role: 'operator', password: PASSWORD });
    await world.call('users.add', { name: 'mori', role: 'operator', password: PASSWORD });
    const { entries, valid } = await world.call('audit.list', { limit: 4 });
    expect(valid).toBe(true);
    expect(entries.map(({ action }) => action).slice(0, 3)).toEqual(['users.add', 'users.add', 'clock.setBack']);
    expect(entries.map(({ n }) => n)).toEqual(entries.map(({ n }) => n).toSorted((a, b) => b - a));
    // Also after a start: what was seen before is not forgotten.
    await world.reopen();
    expect((await world.call('home.state', {})).clockBehindSeconds).toBeGreaterThan(0);
    clock = new Date('2026-03-01T08:00:01.000Z');
    expect(await world.call('home.state', {})).toMatchObject({ clockBehindSeconds: 0 });
  });

  test('a step as time servers make them is nothing', async () => {
    await setUp(world);
    clock = new Date(clock.getTime() - 2_000);
    await world.call('users.add', { name: 'ito', role: 'operator', password: PASSWORD });
    const { entries } = await world.call('audit.list', { limit: 2 });
    expect(entries[0]!.action).toBe('users.add');
    expect(entries.map(({ action }) => action)).not.toContain('clock.setBack');
  });
});
