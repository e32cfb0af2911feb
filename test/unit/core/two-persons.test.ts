import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../../main/core/port.ts';
import { PASSWORD, setUp, startWorld, until, writeDataset, type World } from './world.ts';

let world: World;
let stationId: string;
let technician: Session;
beforeEach(async () => {
  world = await startWorld();
  ({ stationId, technician } = await setUp(world));
});
afterEach(() => world.close());

/** Labels by the technician; update and candidates by whoever is given. */
const learn = async (trains: Session, makes: Session): Promise<string> => {
  const path = await writeDataset(join(world.home, '..', 'pictures'), { ok: 3, pit: 2 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  await world.done(await world.call('knowledge.update', { stationId }, trains));
  await world.done(await world.call('candidates.create', { stationId }, makes));
  return (await world.call('candidates.list', { stationId })).find(({ offered }) => offered)!.id;
};
const second = async (): Promise<Session> => {
  await world.call('users.add', { name: 'mori', role: 'supervisor', password: PASSWORD });
  const session = world.core.openSession();
  await world.call('session.signIn', { name: 'mori', password: PASSWORD }, session);
  return session;
};
const approve = (candidateId: string, by: Session = world.session) =>
  world.call(
    'candidates.approve',
    { candidateId, password: PASSWORD, meaning: 'I have reviewed the evidence', waiver: 'a test', seenChanged: [] },
    by,
  );

describe('whoever made a model', () => {
  test('may approve it where nobody else can', async () => {
    const id = await learn(world.session, world.session);
    expect((await approve(id)).state).toBe('approved');
  });

  test.each([
    ['taught it', true, false],
    ['made it', false, true],
  ])('does not approve it where another supervisor exists: %s', async (_, trains, makes) => {
    const other = await second();
    const id = await learn(trains ? world.session : technician, makes ? world.session : technician);
    await expect(approve(id)).rejects.toMatchObject({ code: 'TWO_PERSONS', details: { who: 'mori' } });
    expect((await world.call('candidates.list', { stationId })).find((each) => each.id === id)!.state).toBe(
      'candidate',
    );
    expect((await approve(id, other)).approval?.userName).toBe('mori');
  });

  test('a supervisor who did none of it approves alone', async () => {
    await second();
    const id = await learn(technician, technician);
    expect((await approve(id)).state).toBe('approved');
  });

  test('whose labels it learnt is asked as it was then, whatever became of them since', async () => {
    const other = await second();
    const path = await writeDataset(join(world.home, '..', 'own'), { ok: 3, pit: 2 });
    await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    await world.done(await world.call('candidates.create', { stationId }, technician));
    const { id } = (await world.call('candidates.list', { stationId })).find(({ offered }) => offered)!;
    const labels = await world.call('labels.list', { stationId });
    await world.call('labels.leaveOut', { partIds: labels.map(({ partId }) => partId) });
    await expect(approve(id)).rejects.toMatchObject({ code: 'TWO_PERSONS' });
    expect((await approve(id, other)).state).toBe('approved');
  });

  test('nor what becomes of them while they are learnt', async () => {
    const other = await second();
    const path = await writeDataset(join(world.home, '..', 'own'), { ok: 3, pit: 2 });
    await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
    const { promise: held, resolve: goOn } = Promise.withResolvers<void>();
    world.trainer.hold = held;
    const update = await world.call('knowledge.update', { stationId }, technician);
    await until(() => world.trainer.updates.length > 0);
    const labels = await world.call('labels.list', { stationId });
    await world.call('labels.leaveOut', { partIds: labels.map(({ partId }) => partId) });
    world.trainer.hold = null;
    goOn();
    await world.done(update);
    await world.done(await world.call('candidates.create', { stationId }, technician));
    const { id } = (await world.call('candidates.list', { stationId })).find(({ offered }) => offered)!;
    expect(await world.call('candidates.labelledBy', { candidateId: id })).toEqual({
      source: 'learnt',
      people: [{ name: 'sato', parts: 5 }],
    });
    await expect(approve(id)).rejects.toMatchObject({ code: 'TWO_PERSONS' });
    expect((await approve(id, other)).state).toBe('approved');
  });

  test('a newer knowledge of other labels changes neither who is shown nor who may approve', async () => {
    const other = await second();
    const own = await learn(technician, technician);
    const path = await writeDataset(join(world.home, '..', 'mine'), { ok: 20, pit: 20 });
    await world.done(await world.call('import.start', { stationId, path, asLabels: true }));
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    await world.done(await world.call('candidates.create', { stationId }, technician));
    const offered = (await world.call('candidates.list', { stationId })).filter((each) => each.offered);
    const newer = offered.find(({ id }) => id !== own)!.id;
    expect(await world.call('candidates.labelledBy', { candidateId: own })).toEqual({
      source: 'learnt',
      people: [{ name: 'tanaka', parts: 5 }],
    });
    expect(await world.call('candidates.labelledBy', { candidateId: newer })).toEqual({
      source: 'learnt',
      people: [
        { name: 'sato', parts: 40 },
        { name: 'tanaka', parts: 5 },
      ],
    });
    await expect(approve(newer)).rejects.toMatchObject({ code: 'TWO_PERSONS' });
    expect((await approve(own)).state).toBe('approved');
    expect((await approve(newer, other)).state).toBe('approved');
  });

  test('of an update that did not note its labellers today’s stand for them, and that is said', async () => {
    const id = await learn(technician, technician);
    await world.core.close();
    const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
    db.exec(
      `DROP TRIGGER audit_no_update; UPDATE audit SET details = json_remove(details, '$.labelledBy') WHERE action = 'knowledge.update'`,
    );
    db.close();
    await world.reopen();
    expect(await world.call('candidates.labelledBy', { candidateId: id })).toEqual({
      source: 'now',
      people: [{ name: 'tanaka', parts: 5 }],
    });
  });

  test('a model that left as a bundle and came back is still theirs', async () => {
    await second();
    const id = await learn(technician, world.session);
    const file = join(world.home, '..', 'own.mekiki');
    await world.call('bundles.export', { candidateId: id, file });
    const back = await world.call('bundles.import', { stationId, file });
    expect((await world.call('candidates.labelledBy', { candidateId: back.id })).people).toEqual([
      { name: 'tanaka', parts: 5 },
    ]);
    await expect(approve(back.id)).rejects.toMatchObject({ code: 'TWO_PERSONS' });
  });

  test('the rule is a recorded setting of a supervisor', async () => {
    await second();
    const id = await learn(world.session, technician);
    await expect(world.call('candidates.setApprovalRule', { twoPersons: 'never' }, technician)).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
    });
    await world.call('candidates.setApprovalRule', { twoPersons: 'never' });
    expect((await approve(id)).state).toBe('approved');
    const { entries } = await world.call('audit.list', {});
    expect(entries.some(({ action }) => action === 'candidates.setApprovalRule')).toBe(true);
  });

  test('`always` asks for a second supervisor to be added', async () => {
    await world.call('candidates.setApprovalRule', { twoPersons: 'always' });
    const id = await learn(world.session, technician);
    await expect(approve(id)).rejects.toMatchObject({ code: 'TWO_PERSONS' });
    expect((await approve(id, await second())).state).toBe('approved');
  });
});
