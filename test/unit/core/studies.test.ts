import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Session } from '../../../main/core/port.ts';
import { chooseParts } from '../../../main/core/studies.ts';
import { PASSWORD, setUp, startWorld, writeDataset, type World } from './world.ts';

let world: World;
let stationId: string;
let technician: Session;
let operator: Session;
const create = () => world.call('studies.create', { stationId, name: 'Spring', parts: 10, rounds: 2 }, technician);
const isGood = async (partId: number) => (await world.call('parts.get', { partId })).label?.classId === 'ok';
/** Judges everything that is due; `wrong`: numbers of the calls that are given the wrong way round; `calls`: no more than so many. */
const judge = async (studyId: string, session: Session, wrong: readonly number[] = [], calls = Infinity) => {
  let due = await world.call('studies.next', { studyId }, session);
  const order: number[] = [];
  while (due.part !== null && due.done < calls) {
    const { partId } = due.part;
    order.push(partId);
    const good = (await isGood(partId)) !== wrong.includes(due.done);
    due = await world.call('studies.rate', { studyId, partId, round: due.round, good }, session);
  }
  return order;
};

describe('an acceptance study', () => {
  beforeEach(async () => {
    world = await startWorld();
    ({ stationId, technician } = await setUp(world));
    const path = await writeDataset(join(world.home, '..', 'set'), { good: 9, scratch: 6, pit: 2 });
    await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
    await world.call('users.add', { name: 'ogawa', role: 'operator', password: PASSWORD });
    operator = world.core.openSession();
    await world.call('session.signIn', { name: 'ogawa', password: PASSWORD }, operator);
  });
  afterEach(() => world.close());

  test('goes on over a restart, is blind until it is closed, and then counts what each called', async () => {
    const study = await create();
    expect(study).toMatchObject({ parts: 10, goodParts: 5, rounds: 2, raters: [], closedAt: null });
    const first = await world.call('studies.next', { studyId: study.id }, operator);
    expect(first).toMatchObject({ round: 0, done: 0, of: 20, part: { width: expect.any(Number) } });
    await world.call('studies.rate', { studyId: study.id, partId: first.part!.partId, round: 0, good: true }, operator);
    await world.reopen();
    const signIn = async (name: string) => {
      const session = world.core.openSession();
      await world.call('session.signIn', { name, password: PASSWORD }, session);
      return session;
    };
    [operator, technician] = [await signIn('ogawa'), await signIn('tanaka')];
    expect(await world.call('studies.next', { studyId: study.id }, operator)).toMatchObject({ done: 1 });
    await expect(world.call('studies.report', { studyId: study.id })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await world.call('studies.takeBack', { studyId: study.id }, operator)).toMatchObject({
      done: 0,
      part: { partId: first.part!.partId },
    });

    const ofOperator = await judge(study.id, operator, [0]);
    const ofTechnician = await judge(study.id, technician);
    // Every part once in each round; another order for another person and round.
    expect(new Set(ofOperator.slice(0, 10)).size).toBe(10);
    expect(ofOperator.slice(0, 10)).not.toEqual(ofOperator.slice(10));
    expect(ofOperator).not.toEqual(ofTechnician);
    expect(await world.call('studies.list', { stationId })).toMatchObject([
      {
        raters: [
          { done: 20, of: 20 },
          { done: 20, of: 20 },
        ],
      },
    ]);

    await world.call('studies.close', { studyId: study.id }, technician);
    await expect(world.call('studies.next', { studyId: study.id }, operator)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    const report = await world.call('studies.report', { studyId: study.id });
    const by = new Map(report.raters.map((rater) => [rater.name, rater]));
    expect(by.get('ogawa')).toMatchObject({
      right: { count: 9, of: 10 },
      repeated: { count: 9, of: 10 },
      ownReference: 0,
    });
    expect(by.get('tanaka')).toMatchObject({ right: { count: 10, of: 10 }, kappa: { kappa: 1 }, ownReference: 10 });
    expect(report.pairs).toMatchObject([{ kappa: { n: 20, agreed: 19 } }]);
    expect(report.allSame).toMatchObject({ count: 9, of: 10 });
    expect(report.disputed).toMatchObject([{ partId: ofOperator[0], wrong: 1, calls: 4 }]);
    // Imported pictures were judged by no model.
    expect(report.modelId).toBeNull();
    expect((await world.call('audit.list', {}, await signIn('sato'))).entries.map(({ action }) => action)).toContain(
      'studies.close',
    );
  });

  test('leaves in the trail what was called and taken back', async () => {
    const { id: studyId } = await create();
    const { part } = await world.call('studies.next', { studyId }, operator);
    const { partId } = part!;
    await world.call('studies.rate', { studyId, partId, round: 0, good: false }, operator);
    for (let i = 0; i < 2; i += 1)
      expect(await world.call('studies.takeBack', { studyId }, operator)).toMatchObject({ done: 0 });
    const supervisor = world.core.openSession();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD }, supervisor);
    const file = join(world.home, '..', 'trail.jsonl');
    await world.call('audit.export', { file }, supervisor);
    const entries = (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { action?: string });
    expect(entries.filter(({ action }) => action === 'studies.takeBack')).toMatchObject([
      { user: 'ogawa', subject: studyId, details: { round: 0, partId, good: false } },
    ]);
  });

  test('shows as disputed what was called wrong in the rounds that were finished', async () => {
    const study = await create();
    const [wrong] = await judge(study.id, operator, [0, 10, 11], 12);
    await world.call('studies.close', { studyId: study.id }, technician);
    const report = await world.call('studies.report', { studyId: study.id });
    expect(report.raters).toMatchObject([{ rounds: 1, right: { count: 9, of: 10 } }]);
    expect(report.disputed).toMatchObject([{ partId: wrong, wrong: 1, calls: 1 }]);
  });

  test('takes a call for the part that is due alone, and parts that there are', async () => {
    const study = await create();
    const { part } = await world.call('studies.next', { studyId: study.id }, operator);
    const call = { studyId: study.id, partId: part!.partId, round: 0, good: true };
    await world.call('studies.rate', call, operator);
    await expect(world.call('studies.rate', call, operator)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(world.call('studies.create', { stationId, name: 'x', parts: 40 }, technician)).rejects.toMatchObject({
      code: 'TOO_FEW_IMAGES',
      details: { found: 17, missing: 23 },
    });
    await expect(world.call('studies.next', { studyId: 'nowhere' }, operator)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

describe('the parts of a study', () => {
  const labels = (counts: Record<string, number>) =>
    Object.entries(counts).flatMap(([classId, n]) =>
      Array.from({ length: n }, (_, i) => ({ partId: i, imageSha: `${classId}${i}`, classId, userId: 'u' })),
    );
  const counts = (of: ReturnType<typeof chooseParts>) =>
    Object.fromEntries([...Map.groupBy(of, ({ classId }) => classId)].map(([id, rows]) => [id, rows.length]));

  test('are half good, and the bad ones of all classes, rare ones too', () => {
    const chosen = chooseParts(labels({ ok: 100, a: 100, b: 3 }), 'ok', { studyId: 's', parts: 20 });
    expect(counts(chosen)).toEqual({ ok: 10, a: 7, b: 3 });
  });
  test('are filled up where there are too few of one kind, and do not depend on the order of the labels', () => {
    const few = labels({ ok: 4, a: 40 });
    expect(counts(chooseParts(few, 'ok', { studyId: 's', parts: 20 }))).toEqual({ ok: 4, a: 16 });
    expect(counts(chooseParts(labels({ ok: 40, a: 4 }), 'ok', { studyId: 's', parts: 20 }))).toEqual({ ok: 16, a: 4 });
    expect(chooseParts(few.toReversed(), 'ok', { studyId: 's', parts: 20 })).toEqual(
      chooseParts(few, 'ok', { studyId: 's', parts: 20 }),
    );
    expect(chooseParts(few, 'ok', { studyId: 's2', parts: 20 })).not.toEqual(
      chooseParts(few, 'ok', { studyId: 's', parts: 20 }),
    );
  });
});
