import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Session } from '../../../main/core/port.ts';
import { newJudgement } from '../../store/examples.ts';
import { lineRecord, PASSWORD, setUp, startWorld, until, writeDataset, writePicture, type World } from './world.ts';

/* Undo among several people and stations: each takes back what is theirs, and nothing that somebody decided on since. */

let world: World;
let stationId: string;
let technician: Session;
let colleague: Session;
let partIds: number[];
/** What the clock is set back by. */
let setBackMs: number;
beforeEach(async () => {
  setBackMs = 0;
  world = await startWorld({ now: () => new Date(Date.now() - setBackMs) });
  ({ stationId, technician } = await setUp(world));
  await world.call('users.add', { name: 'mori', role: 'technician', password: PASSWORD });
  colleague = world.core.openSession();
  await world.call('session.signIn', { name: 'mori', password: PASSWORD }, colleague);
  partIds = await partsOf(stationId);
});
afterEach(() => world.close());

const partsOf = async (station: string): Promise<number[]> => {
  const folder = join(world.home, '..', `loose-${station}`);
  mkdirSync(folder);
  for (let n = 0; n < 2; n += 1) await writePicture(join(folder, `${n}.png`));
  await world.done(await world.call('import.start', { stationId: station, path: folder, asLabels: false }, technician));
  return (await world.call('queue.list', { stationId: station }, technician)).items.map(({ part }) => part.id);
};
const newClass = (en: string) => world.call('classes.create', { names: { en, ja: '' } }, technician);
const label = (partId: number, classId: string, by: Session = technician) =>
  world.call('labels.create', { partIds: [partId], classId }, by);
const labelOf = async (partId: number) => (await world.call('parts.get', { partId })).label?.classId ?? null;

test('of one station, an undo leaves those of the others alone', async () => {
  const other = await world.call('stations.add', { name: 'Line 2', camera: { kind: 'simulated' } });
  const [there] = await partsOf(other.id);
  const [here] = partIds;
  await label(here!, 'ok');
  await label(there!, 'ok');
  expect(await world.call('labels.undo', { stationId }, technician)).toEqual({ partIds: [here], left: 0 });
  expect(await labelOf(there!)).toBe('ok');
  const [last] = await world.call('labels.history', { stationId: other.id }, technician);
  await expect(world.call('labels.undo', { stationId, downTo: last!.undoId }, technician)).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

test('parts with the very same picture, labelled together, are without a label again', async () => {
  const { imageSha } = await world.call('parts.get', { partId: partIds[0]! });
  await world.call('line.start', { stationId });
  const line = world.lines.get(stationId)!;
  const judgement = newJudgement({ verdict: 'unsure', unsureReason: 'novel' });
  line.emit([1, 2].map((seq) => lineRecord(seq, { imageSha, judgement })));
  await until(() => line.acknowledged.includes(2));
  const both = (await world.call('parts.recent', { stationId, limit: 2 })).map(({ id }) => id).toReversed();
  await world.call('labels.create', { partIds: both, classId: 'ok' }, technician);
  expect(await world.call('labels.undo', {}, technician)).toMatchObject({ left: 0 });
  expect(await labelOf(both[0]!)).toBeNull();
});

test('a label that somebody else corrected since stays', async () => {
  const [part, second] = partIds as [number, number];
  const [pit, dent] = [await newClass('Pit'), await newClass('Dent')];
  await world.call('labels.create', { partIds: [part, second], classId: pit.id }, technician);
  await label(part, dent.id, colleague);
  expect(await world.call('labels.undo', {}, technician)).toEqual({ partIds: [second], left: 1 });
  expect(await labelOf(part)).toBe(dent.id);
  expect(await labelOf(second)).toBeNull();
  const trail = join(world.home, '..', 'trail.jsonl');
  await world.call('audit.export', { file: trail });
  expect(readFileSync(trail, 'utf8')).toContain(`"left":[${part}]`);
});

test('a label that somebody else gave or took away after a skip stays given, or taken away', async () => {
  const [part, second] = partIds as [number, number];
  await world.call('queue.skip', { partId: part }, technician);
  await label(part, 'ok', colleague);
  expect(await world.call('labels.undo', {}, technician)).toEqual({ partIds: [], left: 1 });
  expect(await labelOf(part)).toBe('ok');

  const pit = await newClass('Pit');
  await label(second, pit.id, colleague);
  await label(second, 'ok');
  await world.call('labels.leaveOut', { partIds: [second] }, colleague);
  expect(await world.call('labels.undo', {}, technician)).toEqual({ partIds: [], left: 1 });
  expect(await labelOf(second)).toBeNull();
});

test('a label that no model doubts is taken away for another one: the part waits for it, and undo gives the label back', async () => {
  const [part, other] = partIds as [number, number];
  await label(part, 'ok');
  await label(other, 'ok');
  expect(await world.call('labels.leaveOut', { partIds: [part], toQueue: true }, colleague)).toMatchObject({
    leftOut: 1,
  });
  expect(await labelOf(part)).toBeNull();
  const { items } = await world.call('queue.list', { stationId }, technician);
  expect(items.map(({ part: { id }, reason }) => [id, reason])).toEqual([[part, 'returned']]);
  expect(await world.call('labels.history', { stationId }, colleague)).toMatchObject([
    { kind: 'send-back', classId: 'ok', parts: [{ partId: part }] },
  ]);
  expect(await world.call('labels.undo', {}, colleague)).toEqual({ partIds: [part], left: 0 });
  expect(await labelOf(part)).toBe('ok');
  expect(await world.call('queue.count', { stationId })).toEqual({ total: 0 });

  // Somebody gave it another label meanwhile: that one stays.
  const pit = await newClass('Pit');
  await world.call('labels.leaveOut', { partIds: [part], toQueue: true }, colleague);
  await label(part, pit.id);
  expect(await world.call('labels.undo', {}, colleague)).toEqual({ partIds: [], left: 1 });
  expect(await labelOf(part)).toBe(pit.id);
  const trail = join(world.home, '..', 'trail.jsonl');
  await world.call('audit.export', { file: trail });
  const entry = readFileSync(trail, 'utf8')
    .split('\n')
    .find((line) => line.includes('labels.sendBack'))!;
  expect(JSON.parse(entry)).toMatchObject({
    user: 'mori',
    details: { labels: [{ part, before: 'ok', after: null }] },
  });
});

test('a label that an update has forgotten is to be learnt when it comes back, whatever the clock says', async () => {
  const path = await writeDataset(join(world.home, '..', 'set'), { ok: 3, pit: 3 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  const learn = async () => world.done(await world.call('knowledge.update', { stationId }, technician));
  const fresh = async () => (await world.call('labels.summary', { stationId })).fresh;
  await learn();
  const labels = await world.call('labels.list', { stationId });
  for (const toQueue of [false, true]) {
    await world.call('labels.leaveOut', { partIds: [labels[0]!.partId], toQueue }, technician);
    await world.call('labels.undo', {}, technician);
    expect(await fresh()).toBe(0);
    await world.call('labels.leaveOut', { partIds: [labels[0]!.partId], toQueue }, technician);
    setBackMs += 3_600_000;
    await learn();
    await world.call('labels.undo', {}, technician);
    expect(await fresh()).toBe(1);
    await learn();
  }
});

test('no part goes back to a class that was merged away', async () => {
  const [part] = partIds as [number];
  const [pit, dent] = [await newClass('Pit'), await newClass('Dent')];
  await label(part, pit.id);
  await label(part, dent.id);
  await world.call('classes.merge', { from: pit.id, into: dent.id });
  expect(await world.call('labels.undo', {}, technician)).toEqual({ partIds: [], left: 1 });
  expect(await labelOf(part)).toBe(dent.id);
});
