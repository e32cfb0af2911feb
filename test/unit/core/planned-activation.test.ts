import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Session } from '../../../main/core/port.ts';
import { PASSWORD, setUp, startWorld, writeDataset, type World } from './world.ts';

const SOON = { timeout: 20_000 };
/** Of the core's clock before this PC's, ms. */
let ahead: number;
let world: World;
let stationId: string;
let technician: Session;
beforeEach(async () => {
  ahead = 0;
  world = await startWorld({ now: () => new Date(Date.now() + ahead) });
  ({ stationId, technician } = await setUp(world));
});
afterEach(() => world.close());

const inMs = (ms: number): string => new Date(Date.now() + ahead + ms).toISOString();
const approved = async (): Promise<string[]> => approvedOf(stationId);
const approvedOf = async (stationId: string): Promise<string[]> => {
  const path = await writeDataset(join(world.home, '..', `pictures of ${stationId}`), { ok: 3, pit: 2 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  await world.done(await world.call('knowledge.update', { stationId }, technician));
  const ids: string[] = [];
  for (let i = 0; i < 2; i += 1) {
    await world.done(await world.call('candidates.create', { stationId }, technician));
    const open = (await world.call('candidates.list', { stationId })).find(
      ({ state, offered }) => state === 'candidate' && offered,
    )!;
    await world.call('candidates.approve', {
      candidateId: open.id,
      password: PASSWORD,
      meaning: 'I have reviewed the evidence',
      waiver: 'a test',
      seenChanged: [],
    });
    ids.push(open.id);
  }
  return ids;
};
const active = async () => (await world.call('stations.list', {})).find(({ id }) => id === stationId)!.activeModelId;
const planned = () => world.call('models.planned', { stationId });
const plan = (candidateId: string, at: string, session?: Session) =>
  world.call('models.plan', { stationId, activation: { candidateId, at } }, session);
const actions = async () => (await world.call('audit.list', {})).entries.map(({ user, action }) => `${user} ${action}`);
const activated = async () =>
  (await world.call('audit.list', {})).entries
    .filter(({ action }) => action === 'models.activate')
    .map(({ subject }) => subject);
/** The next model that is to become active waits until this is called. */
const holdTrainer = (): (() => void) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  world.trainer.hold = promise;
  return resolve;
};
const signIn = () => world.call('session.signIn', { name: 'sato', password: PASSWORD });

test('a model becomes active at its time, by whoever planned it, and the plan is over', async () => {
  const [first] = await approved();
  const at = inMs(300);
  await plan(first!, at);
  expect(await planned()).toMatchObject({ candidateId: first, at, userName: 'sato', problem: null });
  expect(await active()).toBeNull();
  await expect.poll(active, SOON).toBe(first);
  await expect.poll(planned, SOON).toBeNull();
  expect((await actions()).slice(0, 3)).toEqual(expect.arrayContaining(['sato models.activate', 'sato models.plan']));
});

test('a plan outlives the program; one that comes too late is not carried out, and says so', async () => {
  const [first, second] = await approved();
  await plan(first!, inMs(60_000));
  await world.core.close();
  ahead += 61_000;
  await world.reopen();
  await expect.poll(active, SOON).toBe(first);
  await signIn();
  await plan(second!, inMs(60_000));
  await world.core.close();
  ahead += 3_600_000;
  await world.reopen();
  await expect.poll(async () => (await planned())?.problem?.code, SOON).toBe('ACTIVATION_MISSED');
  expect(await active()).toBe(first);
  await signIn();
  expect(await actions()).toContain('sato models.planFailed');
  expect(await world.call('models.plan', { stationId, activation: null })).toBeNull();
  expect(await planned()).toBeNull();
});

test('a plan that somebody wrote into the database is not carried out', async () => {
  const [first, second] = await approved();
  await plan(first!, inMs(60_000));
  await world.core.close();
  const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
  db.prepare('UPDATE settings SET value = replace(value, ?, ?)').run(first, second);
  db.close();
  ahead += 61_000;
  await world.reopen();
  await expect.poll(async () => (await planned())?.problem?.code, SOON).toBe('NOT_APPROVED');
  expect(await active()).toBeNull();
});

test('what a person activates meanwhile makes it void, and so does taking it back', async () => {
  const [first, second] = await approved();
  await plan(first!, inMs(60_000));
  await world.call('models.activate', { candidateId: second! });
  expect(await planned()).toBeNull();
  await plan(first!, inMs(60_000));
  expect(await planned()).not.toBeNull();
  await world.call('models.plan', { stationId, activation: null });
  expect(await planned()).toBeNull();
  ahead += 120_000;
  await world.reopen();
  expect(await active()).toBe(second);
  await signIn();
  expect(await actions()).toContain('sato models.unplan');
});

test('what came after what is told by the trail, though the clock is set back', async () => {
  const [first, second] = await approved();
  ahead = 3_600_000;
  await plan(second!, inMs(60_000));
  ahead = 0;
  await world.call('models.activate', { candidateId: first! });
  expect(await planned()).toBeNull();
  ahead = 3_600_000;
  await world.call('models.activate', { candidateId: second! });
  ahead = 0;
  const signature = { password: PASSWORD, meaning: 'it was the better one' };
  await world.call('models.plan', { stationId, activation: { candidateId: first!, at: inMs(2_000), signature } });
  // The model that is active, activated once more, is no other one.
  await world.call('models.activate', { candidateId: second! });
  expect(await planned()).toMatchObject({ candidateId: first, problem: null });
  await expect.poll(active, SOON).toBe(first);
});

test('a plan that is taken back while it is carried out does not come about', async () => {
  const [first, second] = await approved();
  const go = holdTrainer();
  await plan(first!, inMs(300));
  await expect.poll(() => world.trainer.rechecks.length, SOON).toBe(1);
  await world.call('models.plan', { stationId, activation: null });
  expect(await planned()).toBeNull();
  go();
  await plan(second!, inMs(300));
  await expect.poll(active, SOON).toBe(second);
  expect(await activated()).toEqual([second]);
});

test('nor does one that is replaced while another station’s is carried out', async () => {
  const other = await world.call('stations.add', { name: 'Line 2', camera: { kind: 'simulated' } });
  const [first] = await approved();
  const [second, third] = await approvedOf(other.id);
  const planThere = (candidateId: string, at: string) =>
    world.call('models.plan', { stationId: other.id, activation: { candidateId, at } });
  const go = holdTrainer();
  const at = inMs(500);
  await plan(first!, at);
  await planThere(second!, at);
  await expect.poll(() => world.trainer.rechecks.length, SOON).toBe(1);
  await planThere(third!, inMs(300));
  go();
  await expect.poll(activated, SOON).toHaveLength(2);
  expect(await activated()).toEqual([third, first]);
});

test('only a supervisor plans, only what is approved, and only ahead', async () => {
  const [first] = await approved();
  await expect(plan(first!, inMs(60_000), technician)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  await expect(plan(first!, inMs(-1))).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  await expect(plan('m-nothing', inMs(60_000))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await world.done(await world.call('candidates.create', { stationId }, technician));
  const open = (await world.call('candidates.list', { stationId })).find(({ state }) => state === 'candidate')!;
  await expect(plan(open.id, inMs(60_000))).rejects.toMatchObject({ code: 'NOT_APPROVED' });
});

test('whoever was disabled since then does not activate any more', async () => {
  const [first] = await approved();
  await world.call('users.add', { name: 'mori', role: 'supervisor', password: PASSWORD });
  const mori = world.core.openSession();
  await world.call('session.signIn', { name: 'mori', password: PASSWORD }, mori);
  await plan(first!, inMs(1500), mori);
  const { user } = await world.call('session.state', {}, mori);
  await world.call('users.disable', { userId: user!.id });
  await expect.poll(async () => (await planned())?.problem?.code, SOON).toBe('NOT_ALLOWED');
  expect(await active()).toBeNull();
});
