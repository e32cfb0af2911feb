import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Gate } from '../../../main/contract/domain.ts';
import type { Session } from '../../../main/core/port.ts';
import { lineRecord, PASSWORD, setUp, startWorld, until, writeDataset, type World } from './world.ts';

/* The active model is to be looked at again: when, for how long, and what ends it. The clock is the test's own. */

const DAY = 86_400_000;
let world: World;
let stationId: string;
let technician: Session;
let clock: Date;
beforeEach(async () => {
  clock = new Date('2026-01-01T00:00:00.000Z');
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  world = await startWorld({ now: () => clock });
  ({ stationId, technician } = await setUp(world));
  await world.call('line.start', { stationId });
  world.lines.get(stationId)!.emit([lineRecord(1)]);
  await until(() => world.lines.get(stationId)!.acknowledged.includes(1));
});
afterEach(async () => {
  await world.close();
  vi.useRealTimers();
});

/** As many days later, and a look at the stations. */
const later = (days: number): void => {
  clock = new Date(clock.getTime() + days * DAY);
  vi.advanceTimersByTime(60_000);
};
const approved = async (): Promise<string> => {
  const path = await writeDataset(join(world.home, '..', `set-${clock.getTime()}`), { ok: 3, scratch: 3 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
  await world.done(await world.call('knowledge.update', { stationId }));
  await world.done(await world.call('candidates.create', { stationId }));
  const { id } = (await world.call('candidates.list', { stationId })).find(
    ({ offered, state }) => offered && state === 'candidate',
  )!;
  await world.call('candidates.approve', { candidateId: id, password: PASSWORD, meaning: 'reviewed' });
  return id;
};
const activate = (candidateId: string) => world.call('models.activate', { candidateId });
const due = async () =>
  (await world.call('alarms.list', { stationId, openOnly: true })).map(({ measure, modelId }) => [measure, modelId]);
const measured = (outcome: Gate['outcome']): NonNullable<World['trainer']['recheck']> => ({
  environment: { cpu: 'test', onnxruntime: 'test', threads: 1 },
  pictures: 1,
  parity: { images: 8, equal: 8, maxLogitDifference: 0 },
  latencyMsP50: 2,
  latencyMsP99: 3,
  gates: [{ name: 'latency', limit: '50 ms', measured: '3 ms', bound: null, outcome, missing: 0 }],
});
const measure = async (candidateId: string) => world.done(await world.call('candidates.recheck', { candidateId }));

test('is due 90 days after the approval, once, over a restart, and until a measurement passes', async () => {
  const id = await approved();
  later(10);
  await activate(id);
  later(79);
  expect(await due()).toEqual([]);
  later(1);
  expect(await due()).toEqual([['revalidation', id]]);
  later(1);
  await world.reopen();
  await world.call('session.signIn', { name: 'sato', password: PASSWORD });
  expect(await due()).toHaveLength(1);
  // Nobody acknowledges it away.
  const [alarm] = await world.call('alarms.list', { stationId });
  await expect(world.call('alarms.acknowledge', { alarmId: alarm!.id })).rejects.toMatchObject({ code: 'CONFLICT' });
  await expect(world.call('candidates.recheck', { candidateId: id }, technician)).rejects.toMatchObject({
    code: 'NOT_ALLOWED',
  });

  // It is measured although this PC is the one of its evidence.
  world.trainer.recheck = measured('fail');
  await measure(id);
  expect(world.trainer.rechecks.at(-1)).toMatchObject({ always: true });
  expect(await due()).toHaveLength(1);
  world.trainer.recheck = measured('pass');
  await measure(id);
  expect(await due()).toEqual([]);
  const { entries } = await world.call('audit.list', { limit: 50 });
  const told = entries.filter(({ action }) => action.startsWith('alarms.') || action === 'candidates.recheck');
  expect(told.map(({ action, user }) => `${action} ${user}`)).toEqual([
    'alarms.acknowledge sato',
    'candidates.recheck sato',
    'candidates.recheck sato',
    'alarms.raise system',
  ]);
  // And again so long after it.
  later(89);
  expect(await due()).toEqual([]);
  later(1);
  expect(await due()).toEqual([['revalidation', id]]);
});

test('is over with a newer approved model, and due again where the old one comes back', async () => {
  const old = await approved();
  await activate(old);
  later(91);
  expect(await due()).toEqual([['revalidation', old]]);
  await activate(await approved());
  expect(await due()).toEqual([]);
  const signature = { password: PASSWORD, meaning: 'bad verdicts' };
  await world.call('models.rollback', { stationId, signature });
  expect(await due()).toEqual([['revalidation', old]]);
});

test('waits as long as the station says, and not at all with 0', async () => {
  const [station] = await world.call('stations.list', {});
  expect(station!.criteria.revalidateDays).toBe(90);
  const wait = (revalidateDays: number) =>
    world.call('stations.update', { stationId, criteria: { ...station!.criteria, revalidateDays } });
  await activate(await approved());
  await wait(7);
  later(7);
  expect(await due()).toHaveLength(1);
  await wait(8);
  later(0);
  expect(await due()).toEqual([]);
  await wait(0);
  later(3000);
  expect(await due()).toEqual([]);
  await expect(wait(-1)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  await expect(wait(1.5)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
});
