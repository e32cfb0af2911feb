import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { signActive, type ActiveModels } from '../../../main/audit/activation.ts';
import { canonicalJson } from '../../../main/audit/canonical.ts';
import { openRootKey } from '../../../main/audit/keys.ts';
import { chainEntry } from '../../../main/audit/trail.ts';
import type { Backbone, Candidate, Gate, Job, Region } from '../../../main/contract/domain.ts';
import type { Session } from '../../../main/core/port.ts';
import { newJudgement } from '../../store/examples.ts';
import {
  lineRecord,
  PASSWORD,
  setUp,
  startWorld,
  testBackbone,
  until,
  writeDataset,
  writePicture,
  type World,
} from './world.ts';

let world: World;
let stationId: string;
let technician: Session;

beforeEach(async () => {
  world = await startWorld();
  ({ stationId, technician } = await setUp(world));
});
afterEach(() => world.close());

const learn = async (): Promise<void> => {
  const path = await writeDataset(join(world.home, '..', `set-${Math.random()}`), {
    ok: 3,
    'deep scratch': 2,
    打痕: 2,
  });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  await world.done(await world.call('knowledge.update', { stationId }, technician));
};
/** The offered one of two. */
const compress = async (): Promise<Candidate> => {
  await world.done(await world.call('candidates.create', { stationId }, technician));
  return (await world.call('candidates.list', { stationId })).find(
    (candidate) => candidate.offered && candidate.state === 'candidate',
  )!;
};
const approve = (candidateId: string, more: { meaning?: string; waiver?: string; seenChanged?: string[] } = {}) =>
  world.call('candidates.approve', { candidateId, password: PASSWORD, meaning: 'approved for line 1', ...more });
/** Two models: the first is active, the second approved. */
const activeAndApproved = async (): Promise<[Candidate, Candidate]> => {
  await learn();
  const first = await compress();
  await approve(first.id);
  await world.call('models.activate', { candidateId: first.id });
  const second = await compress();
  await approve(second.id);
  return [first, second];
};
const edit = async (sql: string): Promise<void> => {
  await world.core.close();
  const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
  db.exec(sql);
  db.close();
  await world.reopen();
  await world.call('session.signIn', { name: 'sato', password: PASSWORD });
};
const activated = async (): Promise<Candidate> => {
  const candidate = await compress();
  await approve(candidate.id);
  await world.call('models.activate', { candidateId: candidate.id });
  return candidate;
};

describe('the loop', () => {
  test('import, update, compress, approve, activate, roll back', async () => {
    await learn();
    const knowledge = await world.call('knowledge.show', { stationId });
    expect(knowledge?.classes).toEqual([
      { classId: 'c-deep-scratch', labelled: 2 },
      { classId: 'c-打痕', labelled: 2 },
      { classId: 'ok', labelled: 3 },
    ]);
    expect(await world.call('labels.summary', { stationId })).toMatchObject({ fresh: 0 });

    const first = await compress();
    await world.call('candidates.submit', { candidateId: first.id }, technician);
    expect((await approve(first.id)).approval).toMatchObject({ userName: 'sato', waiver: null });
    expect(await world.call('models.activate', { candidateId: first.id })).toMatchObject({ previous: null });

    await learn();
    const second = await compress();
    await approve(second.id);
    const swapped = await world.call('models.activate', { candidateId: second.id });
    expect(swapped).toMatchObject({ previous: first.id, active: { state: 'active' } });
    expect((await world.call('candidates.show', { candidateId: first.id })).state).toBe('retired');

    const rollBack = () =>
      world.call('models.rollback', { stationId, signature: { password: PASSWORD, meaning: 'bad verdicts' } });
    const back = await rollBack();
    expect(back).toMatchObject({ active: { id: first.id, state: 'active' }, previous: second.id });
    await expect(rollBack()).rejects.toMatchObject({ code: 'NO_PREVIOUS_MODEL' });

    const activeIn = async (from: number, to: number) =>
      (
        await world.call('reports.summary', {
          stationId,
          from: new Date(Date.now() + from).toISOString(),
          to: new Date(Date.now() + to).toISOString(),
        })
      ).models.map(({ modelId }) => modelId);
    expect(await activeIn(-3_600_000, 3_600_000)).toEqual([first.id, second.id, first.id]);
    // Active before the period began: it judged in it all the same.
    expect(await activeIn(60_000, 3_600_000)).toEqual([first.id]);
    expect(await activeIn(-7_200_000, -3_600_000)).toEqual([]);

    const audit = await world.call('audit.list', {});
    expect(audit.valid).toBe(true);
    expect(audit.entries.map((entry) => entry.action).slice(0, 3)).toEqual([
      'models.rollback',
      'models.activate',
      'candidates.approve',
    ]);
  });

  test('what was made before a class got another name means it still, by its id', async () => {
    await learn();
    const before = await activated();
    const classId = 'c-deep-scratch';
    await world.call('classes.rename', { classId, names: { en: 'Gouge', ja: '深い傷' } }, technician);
    expect((await world.call('knowledge.show', { stationId }))!.classes[0]).toEqual({ classId, labelled: 2 });
    // The signed files are as they were: the model is activated again, and after a restart it still may inspect.
    expect(await world.call('models.activate', { candidateId: before.id })).toMatchObject({
      active: { id: before.id },
    });
    await world.reopen();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    await world.call('line.start', { stationId });
    const line = world.lines.get(stationId)!;
    line.emit([lineRecord(1, { judgement: newJudgement({ verdict: 'ng', unsureReason: null, classId }) })]);
    await until(() => line.acknowledged.includes(1));
    const [from, to] = ['2025-12-31T00:00:00.000Z', '2026-01-02T00:00:00.000Z'];
    expect(await world.call('reports.summary', { stationId, from, to })).toMatchObject({
      ngByClass: [{ classId, parts: 1 }],
    });
    expect((await world.call('classes.list', {})).find(({ id }) => id === classId)).toMatchObject({
      names: { en: 'Gouge', ja: '深い傷' },
    });
  });

  test('a part inspected while the bundle is being checked is stored after those that are sent again', async () => {
    await learn();
    const { id } = await compress();
    await approve(id);
    await world.call('models.activate', { candidateId: id });
    await world.call('line.start', { stationId });
    const line = () => world.lines.get(stationId)!;
    line().emit([lineRecord(1)]);
    await until(() => line().acknowledged.includes(1));
    line().resend = [lineRecord(2), lineRecord(3)];
    line().early = [lineRecord(4)];
    line().die();
    await until(() => line().acknowledged.includes(4));
    expect(
      (await world.call('parts.recent', { stationId }))
        .map(({ seq }) => seq)
        .filter((seq) => seq > 0)
        .slice(0, 4),
    ).toEqual([4, 3, 2, 1]);
    expect((await world.call('line.status', { stationId })).lostRecords).toBe(0);
  });

  test('features of an image are extracted once, and again under another rotation', async () => {
    await learn();
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect(world.trainer.updates[1]!.images.every((image) => image.row >= 0)).toBe(true);
    const [station] = await world.call('stations.list', {});
    await world.call('stations.update', { stationId, recipe: { ...station!.recipe, rotation: 90 } });
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect(world.trainer.updates[2]!.images.every((image) => image.row === -1)).toBe(true);
  });

  test('of another recipe no model is made, and nothing exported, until an update has learnt its views', async () => {
    const [station] = await world.call('stations.list', {});
    const [first, second] = [0, 4].map((x) => ({ x, y: 0, width: 4, height: 8 })) as [Region, Region];
    const lookAt = (regions: Region[]) =>
      world.call('stations.update', { stationId, recipe: { ...station!.recipe, regions } });
    const summary = () => world.call('labels.summary', { stationId });
    await lookAt([first]);
    expect(await summary()).toMatchObject({ otherViews: false });
    await learn();
    expect(await summary()).toMatchObject({ fresh: 0, otherViews: false });

    // One of its two views is known, and no label is new.
    await lookAt([first, second]);
    expect(await summary()).toMatchObject({ fresh: 0, otherViews: true });
    const refused = { code: 'CONFLICT', details: { state: 'of the recipe before' } };
    await expect(compress()).rejects.toMatchObject(refused);
    const file = join(world.home, '..', 'knowledge');
    const exported = await world.call('knowledge.export', { stationId, file }, technician);
    await expect(world.done(exported)).rejects.toMatchObject(refused);

    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect(await summary()).toMatchObject({ otherViews: false });
    await compress();
    const regions = world.trainer.compressions
      .at(-1)!
      .images.flatMap(({ classId, region }) => (classId === 'ok' ? [region] : []));
    expect(regions).toEqual([first, second, first, second, first, second]);
    await lookAt([first]);
    expect(await summary()).toMatchObject({ otherViews: true });
  });

  test('with a tile grid good parts teach every tile and a defect those that hold its boxes', async () => {
    await learn();
    const [station] = await world.call('stations.list', {});
    await world.call('stations.update', {
      stationId,
      recipe: { ...station!.recipe, tiles: { columns: 2, rows: 2, overlap: 0 } },
    });
    const path = join(world.home, '..', 'one.png');
    await writePicture(path);
    const job = await world.done(await world.call('import.start', { stationId, path, asLabels: false }, technician));
    const partIds = [Number(job.result[0])];
    const boxes = [
      { x: 5, y: 5, width: 2, height: 2 },
      { x: 0, y: 0, width: 1, height: 3 },
      { x: 6, y: 5, width: 2, height: 2 },
    ];
    await world.call('labels.create', { partIds, classId: 'c-打痕', boxes: boxes.slice(0, 1) }, technician);
    await world.call('labels.create', { partIds, classId: 'c-打痕', boxes: [] }, technician);
    await world.call('labels.undo', {}, technician);
    await world.call('labels.create', { partIds, classId: 'c-打痕', boxes }, technician);
    const { imageSha } = await world.call('parts.get', { partId: Number(job.result[0]) });
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const { images } = world.trainer.updates.at(-1)!;
    expect(images.filter((image) => image.classId === 'ok')).toHaveLength(3 * 4);
    // Two of the boxes lie in one tile, which teaches once.
    const regionsOf = (at: number) =>
      world.trainer.updates
        .at(at)!
        .images.filter(({ sha }) => sha === imageSha)
        .map(({ region }) => region);
    const held = [
      { x: 0, y: 0, width: 4, height: 4 },
      { x: 4, y: 4, width: 4, height: 4 },
    ];
    expect(regionsOf(-1)).toEqual(held);
    // Nobody knows where the other defects are: they teach nothing, and that is told.
    const without = (await world.call('labels.summary', { stationId })).withoutPlace;
    expect(without).toBeGreaterThan(0);
    expect(images.filter((image) => image.classId !== 'ok')).toHaveLength(2);
    // What a model that turned no frame judged: its deciding tile is the place.
    const { id: modelId } = await activated();
    await world.call('line.start', { stationId });
    const line = world.lines.get(stationId)!;
    const tile = { x: 4, y: 4, width: 4, height: 4, index: 3, count: 4 };
    const ng = { verdict: 'ng', unsureReason: null, tile } as const;
    const judged = lineRecord(1, { judgement: newJudgement({ ...ng, modelId }) });
    const unknown = lineRecord(2, { judgement: newJudgement({ ...ng, modelId: 'm-gone' }) });
    line.emit([judged, unknown]);
    await until(() => line.acknowledged.includes(2));
    const lineParts = (await world.call('parts.recent', { stationId })).map(({ id }) => id);
    await world.call('labels.create', { partIds: lineParts, classId: 'c-打痕', boxes: [] }, technician);
    const regionsOfRecord = (record: typeof judged) =>
      world.trainer.updates.at(-1)!.images.flatMap(({ sha, region }) => (sha === record.imageSha ? [region] : []));
    // The frame is turned from now on, and each mark with it.
    const [tiled] = await world.call('stations.list', {});
    await world.call('stations.update', { stationId, recipe: { ...tiled!.recipe, rotation: 90 } });
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const turned = [
      { x: 4, y: 0, width: 4, height: 4 },
      { x: 0, y: 4, width: 4, height: 4 },
    ];
    expect(regionsOf(-1)).toEqual(turned);
    expect(regionsOfRecord(judged)).toEqual(turned.slice(1));
    expect(regionsOfRecord(unknown)).toEqual([]);
    await world.call('labels.undo', {}, technician);
    // Taken back: the one box of before, where it lies now.
    await world.call('labels.undo', {}, technician);
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect(regionsOf(-1)).toEqual(turned.slice(1));
  });

  test('a learnt defect that is marked in another tile makes an update due, and back again', async () => {
    const [station] = await world.call('stations.list', {});
    const tiles = { columns: 2, rows: 2, overlap: 0 };
    await world.call('stations.update', { stationId, recipe: { ...station!.recipe, tiles } });
    await learn();
    const classId = 'c-打痕';
    const { partId, imageSha } = (await world.call('labels.list', { stationId, classId }))[0]!;
    const mark = (x: number) =>
      world.call(
        'labels.create',
        { partIds: [partId], classId, boxes: [{ x, y: 1, width: 2, height: 2 }] },
        technician,
      );
    const update = async () => world.done(await world.call('knowledge.update', { stationId }, technician));
    const due = async () => {
      const { fresh, takenAway } = await world.call('labels.summary', { stationId });
      return { fresh, takenAway };
    };
    await mark(1);
    await update();
    const before = await due();
    expect(before.takenAway).toBe(false);
    await mark(5);
    expect(await due()).toEqual({ ...before, takenAway: true });
    await update();
    expect(await due()).toEqual(before);
    const taught = world.trainer.updates
      .at(-1)!
      .images.flatMap(({ sha, region }) => (sha === imageSha ? [region!.x] : []));
    expect(taught).toEqual([4]);
    await world.call('labels.undo', {}, technician);
    expect((await due()).takenAway).toBe(true);
  });

  test('with a part finder a box counts where the part lay on its picture; where the part is not found it teaches nothing', async () => {
    await learn();
    const [station] = await world.call('stations.list', {});
    const importOne = async (name: string): Promise<number> => {
      const path = join(world.home, '..', name);
      await writePicture(path);
      const job = await world.done(await world.call('import.start', { stationId, path, asLabels: false }, technician));
      return Number(job.result[0]);
    };
    const [taught, other] = [await importOne('taught.png'), await importOne('other.png')];
    const region = { x: 0, y: 0, width: 8, height: 8 };
    const template = await world.call('stations.teachPart', { stationId, partId: taught, region });
    const finder = { kind: 'template', template, searchX: 0, searchY: 0, minScore: 0.9 } as const;
    const tiles = { columns: 2, rows: 2, overlap: 0 };
    await world.call('stations.update', { stationId, recipe: { ...station!.recipe, finder, tiles } });
    const box = { x: 5, y: 1, width: 2, height: 2 };
    await world.call('labels.create', { partIds: [taught, other], classId: 'c-打痕', boxes: [box] }, technician);
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const shaOf = async (partId: number) => (await world.call('parts.get', { partId })).imageSha;
    const { images } = world.trainer.updates.at(-1)!;
    const regionsOf = (sha: string | null) => images.filter((image) => image.sha === sha).map((image) => image.region);
    expect(regionsOf(await shaOf(taught))).toEqual([{ x: 4, y: 0, width: 4, height: 4 }]);
    expect(regionsOf(await shaOf(other))).toEqual([]);
  });

  test('un-learning takes label, features and undo away, and the next knowledge has never seen the image', async () => {
    await learn();
    const { images, featureFile } = world.trainer.updates[0]!;
    const victim = images.find((image) => image.classId === 'ok')!;
    await world.done(await world.call('knowledge.forget', { stationId, imageSha: victim.sha }, technician));
    expect(world.trainer.updates[1]!.images.map((image) => image.sha)).not.toContain(victim.sha);
    const shas = images.map((image) => image.sha);
    const row = new Float32Array(new Uint8Array(readFileSync(featureFile)).buffer, shas.indexOf(victim.sha) * 16, 4);
    expect([...row]).toEqual([0, 0, 0, 0]);
    await world.call('labels.undo', {}, technician);
    expect((await world.call('labels.summary', { stationId })).perClass.find((c) => c.classId === 'ok')?.labelled).toBe(
      2,
    );
    await expect(world.call('knowledge.forget', { stationId, imageSha: victim.sha }, technician)).rejects.toMatchObject(
      { code: 'NOT_FOUND' },
    );
  });

  test('features that cannot be overwritten yet cost no knowledge, and are overwritten when they can be', async () => {
    let earlier: Backbone | null = null;
    await world.close();
    const sources = {
      shipped: async () => testBackbone,
      take: async () => testBackbone,
      read: async () => testBackbone,
    };
    world = await startWorld({ backbones: { ...sources, earlier: async () => earlier } });
    ({ stationId, technician } = await setUp(world));
    await learn();
    const { sha } = world.trainer.updates[0]!.images[0]!;
    // Learnt with another backbone before, whose file somebody took away since.
    const file = join(world.home, 'features', 'bb-before.f32');
    writeFileSync(file, Buffer.alloc(32, 7));
    await edit(`INSERT INTO features SELECT 'bb-before', image_sha, view, 1 FROM features WHERE image_sha = '${sha}'`);
    const job = await world.call('knowledge.forget', { stationId, imageSha: sha }, world.session);
    const [id] = (await world.done(job)).result;
    expect(existsSync(join(world.home, 'knowledge', id!, 'head.f64'))).toBe(true);
    expect(readFileSync(file)).toEqual(Buffer.alloc(32, 7));
    await world.reopen();
    expect((await world.call('knowledge.show', { stationId }))?.id).toBe(id);
    earlier = { ...testBackbone, id: 'bb-before' };
    await world.reopen();
    const overwritten = Buffer.concat([Buffer.alloc(16, 7), Buffer.alloc(16)]);
    expect(readFileSync(file)).toEqual(overwritten);
    // Once: the row may be another image's later.
    writeFileSync(file, Buffer.alloc(32, 8));
    await world.reopen();
    expect(readFileSync(file)).toEqual(Buffer.alloc(32, 8));
  });

  test('two classes are made one: their labels move, the emptied one is retired, and the next update learns it so', async () => {
    await learn();
    const { perClass } = await world.call('labels.summary', { stationId });
    const made = await world.call('classes.create', { names: { en: 'dent', ja: '' } }, technician);
    const from = { id: perClass.find(({ classId }) => classId !== 'ok')!.classId };
    await expect(world.call('classes.merge', { from: 'ok', into: made.id }, technician)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    await world.call('classes.merge', { from: from.id, into: made.id }, technician);
    const summary = await world.call('labels.summary', { stationId });
    const left = new Set([...perClass.map((c) => c.classId).filter((id) => id !== from.id), made.id]);
    expect(new Set(summary.perClass.map((c) => c.classId))).toEqual(left);
    expect((await world.call('classes.list', {})).find((c) => c.id === from.id)?.retired).toBe(true);
    // Compressed as it is, the knowledge knows them all the same.
    await compress();
    const { images } = world.trainer.compressions.at(-1)!;
    expect(images).toHaveLength(7);
    expect(new Set(images.map((image) => image.classId))).toEqual(left);
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const learnt = new Set(world.trainer.updates.at(-1)!.images.map((image) => image.classId));
    expect(learnt).toEqual(left);
  });

  test('a doubted label waits in the queue; once decided it is not doubted again, and undo brings the doubt back', async () => {
    const first = (images: { sha: string; classId: string }[], classId: string) =>
      images
        .filter((image) => image.classId === classId)
        .map(({ sha }) => sha)
        .toSorted()[0]!;
    world.trainer.suspects = ({ images }) =>
      ['ok', 'c-deep-scratch'].map((classId, i) => ({
        sha: first(images, classId),
        classId,
        suggestedClassId: 'c-打痕',
        given: 0.1,
        suggested: 0.9,
        contradicting: i === 0 ? [first(images, 'c-打痕')] : [],
      }));
    await learn();
    const waiting = async () => (await world.call('queue.list', { stationId }, technician)).items;
    const [copied, doubted] = await waiting();
    expect(copied).toMatchObject({
      reason: 'suspect',
      suggestedClassId: 'c-打痕',
      doubt: { classId: 'ok', given: 0.1, suggested: 0.9, copies: 1 },
    });
    expect(doubted).toMatchObject({ reason: 'suspect', doubt: { classId: 'c-deep-scratch', copies: 0 } });

    // Kept as it was, and relabelled.
    await world.call('labels.create', { partIds: [copied!.part.id], classId: 'ok' }, technician);
    await world.call('labels.create', { partIds: [doubted!.part.id], classId: 'c-打痕' }, technician);
    expect(await waiting()).toEqual([]);
    expect(await world.call('labels.summary', { stationId })).toMatchObject({ fresh: 1 });
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    // The first was confirmed; of the second class another image is doubted now.
    expect((await waiting()).map(({ part, doubt }) => [part.id, doubt?.classId])).toEqual([
      [expect.not.toSatisfy((id: number) => id === copied!.part.id || id === doubted!.part.id), 'c-deep-scratch'],
    ]);

    await world.call('labels.undo', {}, technician);
    await world.call('labels.undo', {}, technician);
    expect((await waiting()).map(({ part }) => part.id)).toContain(copied!.part.id);
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect((await waiting()).map(({ doubt }) => doubt?.classId).toSorted()).toEqual(['c-deep-scratch', 'ok']);
  });

  test('whoever decides on a doubted label says which class it is: where the defect is stays as it was marked', async () => {
    await learn();
    const doubted = (await world.call('labels.list', { stationId, classId: 'c-打痕' })).map(({ partId }) => partId);
    const boxes = [{ x: 1, y: 2, width: 3, height: 4 }];
    await world.call('labels.create', { partIds: doubted, classId: 'c-打痕', boxes }, technician);
    world.trainer.suspects = ({ images }) =>
      images
        .filter(({ classId }) => classId === 'c-打痕')
        .map(({ sha, classId }) => ({
          sha,
          classId,
          suggestedClassId: 'ok',
          given: 0.1,
          suggested: 0.9,
          contradicting: [],
        }));
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const marked = async () =>
      (await world.call('labels.list', { stationId }))
        .filter(({ partId }) => doubted.includes(partId))
        .map((l) => l.boxes);
    const decide = (classId: string) => world.call('labels.create', { partIds: doubted, classId }, technician);
    await decide('c-打痕');
    expect(await marked()).toEqual([boxes, boxes]);
    await world.call('labels.undo', {}, technician);
    await decide('c-deep-scratch');
    expect(await marked()).toEqual([boxes, boxes]);
    await world.call('labels.undo', {}, technician);
    await decide('ok');
    expect(await marked()).toEqual([[], []]);
    // Not asked about, it is given as it is.
    await world.call('labels.undo', {}, technician);
    await decide('c-打痕');
    await decide('c-打痕');
    expect(await marked()).toEqual([[], []]);
  });

  test('a part whose doubted label was sent back waits until it is labelled, over every update', async () => {
    world.trainer.suspects = ({ images }) => {
      const { sha, classId } = images.find((image) => image.classId === 'ok')!;
      return [{ sha, classId, suggestedClassId: 'c-打痕', given: 0.1, suggested: 0.9, contradicting: [] }];
    };
    await learn();
    const waiting = async () =>
      (await world.call('queue.list', { stationId }, technician)).items.map(({ part, reason }) => [part.id, reason]);
    const update = async () => world.done(await world.call('knowledge.update', { stationId }, technician));
    world.trainer.suspects = () => [];
    const [[partId]] = (await waiting()) as [[number]];
    await world.call('labels.leaveOut', { partIds: [partId], toQueue: true }, technician);
    await update();
    expect(await waiting()).toEqual([[partId, 'suspect']]);
    // Taken back it is a doubt as it was, which the next update looks at anew.
    await world.call('labels.undo', {}, technician);
    expect(await waiting()).toEqual([[partId, 'suspect']]);
    await update();
    expect(await waiting()).toEqual([]);
  });

  test('candidates are timed with the threads of the line, and made with those of the trainer', async () => {
    await world.call('stations.update', { stationId, threads: 3 });
    await learn();
    const asked: unknown[] = [];
    world.trainer.evidence = ({ threads, lineThreads }) => {
      asked.push({ threads, lineThreads });
      return {};
    };
    await compress();
    expect(asked[0]).toEqual({ threads: 2, lineThreads: 3 });
  });

  test('an update with one class, and compressing nothing, are refused before a job starts', async () => {
    expect(await world.call('labels.summary', { stationId })).toMatchObject({ canLearn: false });
    await expect(world.call('knowledge.update', { stationId }, technician)).rejects.toMatchObject({
      code: 'TOO_FEW_CLASSES',
      details: { found: 0, needed: 2 },
    });
    await expect(world.call('candidates.create', { stationId }, technician)).rejects.toMatchObject({
      code: 'NO_KNOWLEDGE',
    });
  });
});

describe('shadow running', () => {
  test('a candidate beside the active model: kept with it and in the audit trail, and nothing else changes', async () => {
    await learn();
    const first = await compress();
    await expect(world.call('candidates.shadow', { candidateId: first.id }, technician)).rejects.toMatchObject({
      code: 'NO_ACTIVE_MODEL',
    });
    await approve(first.id);
    await world.call('models.activate', { candidateId: first.id });
    await expect(world.call('candidates.shadow', { candidateId: first.id }, technician)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    const second = await compress();
    const queue = await world.call('queue.list', { stationId });
    const kept = () =>
      readdirSync(join(world.home, 'images'), { recursive: true }).filter((name) => String(name).endsWith('.keep'));
    for (const name of kept()) rmSync(join(world.home, 'images', String(name)));
    const job = await world.call('candidates.shadow', { candidateId: second.id, frames: 5 }, technician);
    expect((await world.done(job)).result).toEqual([second.id]);
    const shown = await world.call('candidates.show', { candidateId: second.id });
    expect(shown).toEqual({
      ...second,
      shadow: expect.objectContaining({ judged: 5, disagreements: 1, activeModelId: first.id }),
    });
    // Both models weighed alike: a process each.
    expect(shown.shadow!.memory).toEqual({ candidateBytes: expect.any(Number), activeBytes: expect.any(Number) });
    expect(world.trainer.stops).toBe(3);
    // The label of the frame is told with the disagreement.
    expect(shown.shadow!.examples).toEqual([expect.objectContaining({ truthClassId: expect.any(String) })]);
    // Whoever approves will look at it: the line's ring of good pictures leaves it alone.
    expect(kept().map((name) => basename(String(name), '.keep'))).toEqual([shown.shadow!.examples[0]!.imageSha]);
    expect(await world.call('queue.list', { stationId })).toEqual(queue);
    const entry = (await world.call('audit.list', {})).entries.find(({ action }) => action === 'candidates.shadow');
    expect(entry).toMatchObject({ subject: second.id });
  });

  test('one that waited for its turn: beside the model that is active then, and never of a candidate decided on', async () => {
    await learn();
    for (const { id } of [await compress(), await compress()]) {
      await approve(id);
      await world.call('models.activate', { candidateId: id });
    }
    const [third, fourth] = [await compress(), await compress()];
    const held = Promise.withResolvers<void>();
    world.trainer.hold = held.promise;
    const before = await world.call('candidates.recheck', { candidateId: third.id });
    const decided = await world.call('candidates.shadow', { candidateId: third.id }, technician);
    const waiting = await world.call('candidates.shadow', { candidateId: fourth.id }, technician);
    await world.call('candidates.reject', { candidateId: third.id, reason: 'too slow' });
    const signature = { password: PASSWORD, meaning: 'bad verdicts' };
    const { active } = await world.call('models.rollback', { stationId, signature });
    held.resolve();
    await world.done(before);
    await expect(world.done(decided)).rejects.toMatchObject({ code: 'CONFLICT' });
    await world.done(waiting);
    const { shadow } = await world.call('candidates.show', { candidateId: fourth.id });
    expect(shadow).toMatchObject({ activeModelId: active.id });
  });

  test('an altered bundle is not judged with', async () => {
    await learn();
    const first = await compress();
    await approve(first.id);
    await world.call('models.activate', { candidateId: first.id });
    const second = await compress();
    appendFileSync(join(world.home, 'bundles', second.id, 'model.onnx'), 'x');
    const job = await world.call('candidates.shadow', { candidateId: second.id }, technician);
    await expect(world.done(job)).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
    expect((await world.call('candidates.show', { candidateId: second.id })).shadow).toBeUndefined();
  });
});

describe('what may not inspect', () => {
  test('a candidate that nobody approved', async () => {
    await learn();
    const candidate = await compress();
    await expect(world.call('models.activate', { candidateId: candidate.id })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
    // Signed with nothing said, it is not either.
    await expect(approve(candidate.id, { meaning: ' \n' })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await world.call('candidates.reject', { candidateId: candidate.id, reason: 'no' });
    await expect(world.call('models.activate', { candidateId: candidate.id })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
    await expect(approve(candidate.id)).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test.each(['approved', 'active', 'retired'])('a row edited by hand to "%s"', async (state) => {
    await learn();
    const candidate = await compress();
    await edit(
      `UPDATE candidates SET state = '${state}', approval = '{"signatureId":"sig-1","userId":"u","userName":"sato","meaning":"m","waiver":null,"at":"2026-01-01T00:00:00.000Z"}' WHERE id = '${candidate.id}'`,
    );
    await expect(world.call('models.activate', { candidateId: candidate.id })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
    expect((await world.call('stations.list', {}))[0]?.activeModelId).toBeNull();
  });

  test('a station edited by hand to run it: the line does not start', async () => {
    await learn();
    const candidate = await compress();
    await edit(
      `UPDATE candidates SET state = 'active' WHERE id = '${candidate.id}'; UPDATE stations SET active_model_id = '${candidate.id}'`,
    );
    await expect(world.call('line.start', { stationId })).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    expect(await world.call('line.status', { stationId })).toMatchObject({
      state: 'fault',
      problem: { code: 'NOT_APPROVED' },
    });
    expect(world.lines.get(stationId)?.configured).toEqual([]);
  });

  test('a retired one that rows edited by hand make the active one again: the trail knows better', async () => {
    await learn();
    const retired = await activated();
    const active = await activated();
    await edit(
      `UPDATE candidates SET state = 'retired' WHERE id = '${active.id}'; UPDATE candidates SET state = 'active' WHERE id = '${retired.id}';
       UPDATE stations SET active_model_id = '${retired.id}';
       INSERT INTO activations (station_id, candidate_id, kind, user_id, at) SELECT station_id, '${retired.id}', kind, user_id, at FROM activations LIMIT 1`,
    );
    await expect(world.call('line.start', { stationId })).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    expect(world.lines.get(stationId)?.configured).toEqual([]);
    // What was activated last may be activated again, and the line runs.
    await world.call('models.activate', { candidateId: active.id });
    await world.call('line.start', { stationId });
    expect(world.lines.get(stationId)?.configured.at(-1)?.bundleDir).toContain(active.id);
  });

  test('a retired one for which an entry of the trail was made up, too: the core believes it, the line does not', async () => {
    await learn();
    const retired = await activated();
    const active = await activated();
    await world.core.close();
    const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
    const last = db.prepare('SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1').get() as { n: number; hash: string };
    const made = { n: last.n + 1, at: new Date().toISOString(), user: 'sato', action: 'models.activate' };
    const forged = chainEntry({ ...made, subject: retired.id, details: { stationId } }, last.hash);
    db.prepare('INSERT INTO audit VALUES (@n, @at, @user, @action, @subject, @details, @previousHash, @hash)').run({
      ...forged,
      details: canonicalJson(forged.details),
    });
    db.exec(
      `UPDATE candidates SET state = 'retired' WHERE id = '${active.id}'; UPDATE candidates SET state = 'active' WHERE id = '${retired.id}';
       UPDATE stations SET active_model_id = '${retired.id}'`,
    );
    db.close();
    await world.reopen();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    // It fits the chain, and no head was signed since.
    expect((await world.call('audit.verify', {})).valid).toBe(true);
    await expect(world.call('line.start', { stationId })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
      message: expect.stringContaining(`activated ${active.id}`),
    });
    expect(world.lines.get(stationId)?.configured).toEqual([]);
    // A supervisor decides; then it runs.
    await world.call('models.activate', { candidateId: retired.id });
    await world.call('line.start', { stationId });
  });

  test('one whose activation cannot be recorded: the line goes back to the one that is active', async () => {
    const [first, second] = await activeAndApproved();
    await edit(`CREATE TRIGGER nothing_more BEFORE INSERT ON activations BEGIN SELECT RAISE(ABORT, 'no room'); END`);
    await world.call('line.start', { stationId });
    const line = world.lines.get(stationId)!;
    const inspect = async (seqs: number[]): Promise<void> => {
      line.emit(seqs.map((seq) => lineRecord(seq, { judgement: newJudgement({ modelId: first.id }) })));
      await until(() => line.acknowledged.includes(seqs.at(-1)!));
    };
    await inspect([1, 2, 3]);
    await expect(world.call('models.activate', { candidateId: second.id })).rejects.toThrow('no room');
    expect(line.activated.at(-1)).toContain(second.id);
    expect(line.configured.at(-1)?.bundleDir).toContain(first.id);
    expect((await world.call('stations.list', {}))[0]?.activeModelId).toBe(first.id);
    // Nothing is learnt anew for it either.
    await inspect([4]);
    expect(await world.call('alarms.state', { stationId })).toMatchObject({ reference: 4 });
    const file = join(world.home, 'trust', 'active', `${stationId}.json`);
    expect((JSON.parse(readFileSync(file, 'utf8')) as ActiveModels).models).toMatchObject([{ candidateId: first.id }]);
  });

  test('a power cut between two models leaves the one that the database names, and no other', async () => {
    const [first, second] = await activeAndApproved();
    const file = join(world.home, 'trust', 'active', `${stationId}.json`);
    const named = () => (JSON.parse(readFileSync(file, 'utf8')) as ActiveModels).models.map((each) => each.candidateId);
    expect(named()).toEqual([first.id]);
    const keys = openRootKey(readFileSync(join(world.home, 'secrets', 'root.key')));
    const models = [first, second].map(({ id, bundleSha256 }) => ({ candidateId: id, bundleSha256 }));
    writeFileSync(file, signActive({ stationId, models, by: 'sato', at: new Date().toISOString() }, keys.privateKey));
    await world.reopen();
    expect(named()).toEqual([first.id]);
    // A home of a version that signed none: what the trail says is signed once.
    await world.core.close();
    rmSync(join(world.home, 'trust', 'active'), { recursive: true });
    await world.reopen();
    expect(named()).toEqual([first.id]);
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    await world.call('line.start', { stationId });
    expect((await world.call('audit.list', {})).entries.map(({ action }) => action)).toContain('models.signActive');
    // A file alone that is gone is not made anew.
    await world.core.close();
    rmSync(file);
    await world.reopen();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    await expect(world.call('line.start', { stationId })).rejects.toMatchObject({ code: 'NOT_APPROVED' });
  });

  test('an activation that cannot be read for a moment: nothing is written over it', async () => {
    const [first, second] = await activeAndApproved();
    const file = join(world.home, 'trust', 'active', `${stationId}.json`);
    renameSync(file, `${file}.away`);
    symlinkSync(file, file);
    await expect(world.call('models.activate', { candidateId: second.id })).rejects.toThrow('ELOOP');
    expect((await world.call('stations.list', {}))[0]?.activeModelId).toBe(first.id);
    renameSync(`${file}.away`, file);
    await world.call('models.activate', { candidateId: second.id });
  });

  test('another model laid under the name of an approved one', async () => {
    await learn();
    const good = await compress();
    await approve(good.id);
    const other = (await world.call('candidates.list', { stationId })).find((candidate) => candidate.id !== good.id)!;
    for (const name of ['model.onnx', 'model.json', 'evidence.json', 'approval.json']) {
      writeFileSync(
        join(world.home, 'bundles', other.id, name),
        readFileSync(join(world.home, 'bundles', good.id, name)),
      );
    }
    await edit(`UPDATE candidates SET state = 'approved' WHERE id = '${other.id}'`);
    await expect(world.call('models.activate', { candidateId: other.id })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
  });

  test.each(['model.onnx', 'evidence.json', 'approval.json'])(
    'an approved bundle whose %s was changed',
    async (name) => {
      await learn();
      const candidate = await compress();
      await approve(candidate.id);
      const file = join(world.home, 'bundles', candidate.id, name);
      writeFileSync(file, readFileSync(file, 'utf8').replace('e', 'E'));
      await expect(world.call('models.activate', { candidateId: candidate.id })).rejects.toMatchObject({
        code: 'BUNDLE_ALTERED',
      });
    },
  );
});

describe('approval', () => {
  const gate = (outcome: Gate['outcome']): Gate => ({
    name: 'escape',
    limit: '5 %',
    measured: '9 %',
    bound: null,
    outcome,
    missing: 7,
  });

  test('a failing gate cannot be signed, with or without a waiver, and not by editing the row', async () => {
    world.trainer.evidence = () => ({ gates: [gate('fail')] });
    await learn();
    const candidate = await compress();
    await expect(approve(candidate.id, { waiver: 'please' })).rejects.toMatchObject({
      code: 'GATE_FAILED',
      details: { gates: 'escape' },
    });
    await edit(`UPDATE candidates SET evidence = replace(evidence, '"fail"', '"pass"')`);
    await expect(approve(candidate.id)).rejects.toMatchObject({ code: 'GATE_FAILED' });
    expect(existsSync(join(world.home, 'bundles', candidate.id, 'approval.json'))).toBe(false);
  });

  test('thin evidence needs a written waiver, which is kept', async () => {
    world.trainer.evidence = () => ({ gates: [gate('not-enough-evidence')] });
    await learn();
    const candidate = await compress();
    await expect(approve(candidate.id)).rejects.toMatchObject({ code: 'WAIVER_NEEDED' });
    await expect(approve(candidate.id, { waiver: '   ' })).rejects.toMatchObject({ code: 'WAIVER_NEEDED' });
    expect((await approve(candidate.id, { waiver: 'trial batch' })).approval?.waiver).toBe('trial batch');
  });

  test('every verdict that got worse must have been seen', async () => {
    const changed = ['a', 'b', 'c'].map((letter, i) => ({
      imageSha: letter.repeat(64),
      truthClassId: 'ok',
      from: { verdict: 'ok' as const, classId: 'ok' },
      to: { verdict: 'ng' as const, classId: 'c-1' },
      kind: i < 2 ? ('worse' as const) : ('better' as const),
    }));
    world.trainer.evidence = () => ({ changed });
    await learn();
    const candidate = await compress();
    await expect(approve(candidate.id, { seenChanged: ['a'.repeat(64)] })).rejects.toMatchObject({
      code: 'CHANGED_NOT_SEEN',
      details: { count: 1 },
    });
    await approve(candidate.id, { seenChanged: ['a'.repeat(64), 'b'.repeat(64)] });
  });

  test('the session is not enough: the password signs', async () => {
    await learn();
    const candidate = await compress();
    await expect(
      world.call('candidates.approve', { candidateId: candidate.id, password: 'wrong', meaning: 'x' }),
    ).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    await expect(
      world.call('candidates.approve', { candidateId: candidate.id, password: PASSWORD, meaning: 'x' }, technician),
    ).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  });

  test('what was not offered cannot be approved', async () => {
    await learn();
    await compress();
    const other = (await world.call('candidates.list', { stationId })).find((candidate) => !candidate.offered)!;
    await expect(approve(other.id)).rejects.toMatchObject({ code: 'CONFLICT' });
  });
});

describe('jobs', () => {
  const stateOf = async ({ id }: Job) => (await world.call('jobs.list', {})).find((job) => job.id === id)!;
  /** What the trail holds of them, oldest first. */
  const jobActions = async () =>
    (await world.call('audit.list', {})).entries
      .map(({ action }) => action)
      .filter((action) => action.startsWith('jobs.'))
      .toReversed();

  test('a job is done by whoever asked for it, and not by who stands at that window when its turn comes', async () => {
    await learn();
    let release = () => {};
    world.trainer.hold = new Promise<void>((resolve) => (release = resolve));
    const first = await world.call('knowledge.update', { stationId }, technician);
    const path = await writeDataset(join(world.home, '..', 'more'), { ok: 2 });
    const job = await world.call('import.start', { stationId, path, asLabels: true }, technician);
    await world.call('session.signIn', { name: 'sato', password: PASSWORD }, technician);
    release();
    await world.done(first);
    await world.done(job);
    const { entries } = await world.call('audit.list', {});
    const labelled = entries.filter(({ action }) => action === 'labels.create' || action === 'import.start');
    expect(labelled.length).toBeGreaterThan(0);
    expect(new Set(labelled.map(({ user }) => user))).toEqual(new Set(['tanaka']));
    const signedIn = entries.find(({ action }) => action === 'session.signIn')!;
    expect(labelled[0]!.n).toBeGreaterThan(signedIn.n);
  });

  test('a crash of the trainer fails the job clearly and leaves nothing half-made', async () => {
    await learn();
    const before = statSync(world.trainer.updates[0]!.featureFile).size;
    world.trainer.crash = true;
    await expect(world.done(await world.call('knowledge.update', { stationId }, technician))).rejects.toMatchObject({
      code: 'TRAINER_FAILED',
    });
    expect(await world.call('knowledge.list', { stationId })).toHaveLength(1);
    expect(readdirSync(join(world.home, 'knowledge'))).toHaveLength(1);
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect(statSync(world.trainer.updates[0]!.featureFile).size).toBe(before);
  });

  test('cancelling ends the trainer; rows it appended do not count and are cut off', async () => {
    const path = await writeDataset(join(world.home, '..', 'set'), { ok: 2, pit: 2 });
    await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
    let release = (): void => {};
    world.trainer.hold = new Promise((resolve) => (release = resolve));
    const job = await world.call('knowledge.update', { stationId }, technician);
    while (world.trainer.updates.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await world.call('jobs.cancel', { jobId: job.id }, technician);
    await world.call('jobs.cancel', { jobId: job.id });
    expect((await world.done(job)).state).toBe('cancelled');
    const { entries } = await world.call('audit.list', {});
    expect(entries.filter(({ action }) => action === 'jobs.cancel')).toMatchObject([
      { user: 'tanaka', subject: stationId },
    ]);
    release();
    expect(world.trainer.stops).toBe(1);
    expect(await world.call('knowledge.show', { stationId })).toBeNull();
    world.trainer.hold = null;
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    expect(statSync(world.trainer.updates[0]!.featureFile).size).toBe(4 * 4 * 4);

    // One whose cancelling cannot be recorded (a full disk) ends all the same.
    await edit(
      `CREATE TRIGGER no_room BEFORE INSERT ON audit WHEN NEW.action = 'jobs.cancel' BEGIN SELECT RAISE(ABORT, 'no room'); END`,
    );
    world.trainer.hold = new Promise((resolve) => (release = resolve));
    const begun = world.trainer.updates.length;
    const unrecorded = await world.call('knowledge.update', { stationId });
    await until(() => world.trainer.updates.length > begun);
    await world.call('jobs.cancel', { jobId: unrecorded.id });
    expect((await world.done(unrecorded)).state).toBe('cancelled');
    release();
  });

  test('a compression is begun again when the trainer is gone, and given up when it always goes', async () => {
    await learn();
    world.trainer.crash = true;
    const job = await world.done(await world.call('candidates.create', { stationId }, technician));
    expect(readdirSync(join(world.home, 'bundles')).toSorted()).toEqual(job.result.toSorted());
    world.trainer.crash = 'always';
    await expect(world.done(await world.call('candidates.create', { stationId }, technician))).rejects.toMatchObject({
      code: 'TRAINER_FAILED',
    });
    expect(readdirSync(join(world.home, 'bundles')).toSorted()).toEqual(job.result.toSorted());
    expect(readdirSync(join(world.home, 'work'))).toEqual([]);
  });

  test('a compression is paused over a restart, resumed, and discarded; an update cannot be paused', async () => {
    await learn();
    const until = (job: Job, state: Job['state']) =>
      expect.poll(async () => (await stateOf(job)).state, { interval: 5, timeout: 20_000 }).toBe(state);
    const works = () => readdirSync(join(world.home, 'work'));
    const hold = () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      world.trainer.hold = promise;
      return () => {
        world.trainer.hold = null;
        resolve();
      };
    };
    const release = hold();
    const job = await world.call('candidates.create', { stationId }, technician);
    await until(job, 'running');
    const nobody = world.core.openSession();
    await expect(world.call('jobs.pause', { jobId: job.id }, nobody)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    // Behind it one that waits, and would begin anew.
    const update = await world.call('knowledge.update', { stationId }, technician);
    await expect(world.call('jobs.pause', { jobId: update.id }, technician)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    await world.call('jobs.pause', { jobId: job.id }, technician);
    await until(job, 'paused');
    release();
    await world.done(update);
    expect(works()).toEqual([job.id]);
    expect(await world.call('jobs.pause', { jobId: job.id }, technician)).toMatchObject({ state: 'paused' });
    await expect(world.call('candidates.create', { stationId }, technician)).rejects.toMatchObject({
      code: 'CONFLICT',
    });

    await edit('SELECT 1');
    expect(await stateOf(job)).toMatchObject({ state: 'paused', resumable: true });
    expect(works()).toEqual([job.id]);
    const letGo = hold();
    expect(await world.call('jobs.resume', { jobId: job.id })).toMatchObject({ state: 'waiting' });
    await expect(world.call('jobs.resume', { jobId: job.id })).rejects.toMatchObject({ code: 'CONFLICT' });
    // While it waits for its turn, too.
    await world.call('jobs.pause', { jobId: job.id });
    await until(job, 'paused');
    await world.call('jobs.resume', { jobId: job.id });
    // Closed while it runs: used is what was used until then, and since the program is there again.
    await until(job, 'running');
    const { usedSeconds: before } = await stateOf(job);
    await edit(`UPDATE jobs SET job = json_set(job, '$.resumedAt', '2026-01-01T00:00:00.000Z') WHERE id = '${job.id}'`);
    const { usedSeconds, resumedAt } = await stateOf(job);
    expect(usedSeconds).toBeGreaterThan(before!);
    expect(usedSeconds).toBeLessThan(60);
    expect(Date.now() - Date.parse(resumedAt!)).toBeLessThan(60_000);
    letGo();
    expect((await world.done(job)).state).toBe('done');
    expect(works()).toEqual([]);

    const letGoAgain = hold();
    const other = await world.call('candidates.create', { stationId });
    await until(other, 'running');
    await world.call('jobs.pause', { jobId: other.id });
    await until(other, 'paused');
    letGoAgain();
    expect(await world.call('jobs.cancel', { jobId: other.id })).toMatchObject({ state: 'cancelled' });
    expect(works()).toEqual([]);
    await expect(world.call('jobs.resume', { jobId: other.id })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await jobActions()).toEqual([
      'jobs.pause',
      'jobs.resume',
      'jobs.pause',
      'jobs.resume',
      'jobs.pause',
      'jobs.discard',
    ]);
  });

  test('one that is cancelled before its turn ends at once, and what waits behind it has its turn', async () => {
    await learn();
    const { promise, resolve } = Promise.withResolvers<void>();
    world.trainer.hold = promise;
    const first = await world.call('knowledge.update', { stationId }, technician);
    const second = await world.call('candidates.create', { stationId }, technician);
    const third = await world.call('knowledge.check', { stationId }, technician);
    expect(await world.call('jobs.cancel', { jobId: second.id }, technician)).toMatchObject({ state: 'cancelled' });
    expect((await stateOf(first)).state).toBe('running');
    expect((await stateOf(second)).state).toBe('cancelled');
    resolve();
    expect((await world.done(third)).state).toBe('done');
    expect((await stateOf(second)).state).toBe('cancelled');
    expect(world.trainer.compressions).toEqual([]);
  });

  test('one that was cancelled is not brought back by a power cut while its work ends', async () => {
    await learn();
    const { promise, resolve } = Promise.withResolvers<void>();
    world.trainer.hold = promise;
    const job = await world.call('candidates.create', { stationId });
    await expect.poll(async () => (await stateOf(job)).state).toBe('running');
    await world.call('jobs.cancel', { jobId: job.id });
    resolve();
    expect((await world.done(job)).state).toBe('cancelled');
    // As the row was until then.
    await edit(`UPDATE jobs SET state = 'running' WHERE id = '${job.id}'`);
    expect((await stateOf(job)).problem).toMatchObject({ code: 'JOB_INTERRUPTED' });
  });

  test('a search ends early with what it has found, while it runs or is paused; nothing else does', async () => {
    await learn();
    const { promise, resolve } = Promise.withResolvers<void>();
    world.trainer.hold = promise;
    const atSearch = (job: Job) =>
      expect.poll(async () => (await stateOf(job)).step.key, { interval: 5, timeout: 20_000 }).toBe('compress.try');
    const job = await world.call('candidates.create', { stationId, budget: 'overnight' }, technician);
    await atSearch(job);
    expect(await stateOf(job)).toMatchObject({ finishable: true });
    const update = await world.call('knowledge.update', { stationId }, technician);
    for (const [jobId, code, session] of [
      [job.id, 'NOT_ALLOWED', world.core.openSession()],
      [update.id, 'CONFLICT', technician],
      ['j-none', 'NOT_FOUND', technician],
    ] as const) {
      await expect(world.call('jobs.finish', { jobId }, session)).rejects.toMatchObject({ code });
    }
    // Two windows at once: one search, finished once.
    await Promise.all([1, 2].map(() => world.call('jobs.finish', { jobId: job.id }, technician)));
    world.trainer.hold = null;
    await world.done(update);
    const finished = await world.done(job);
    expect(finished).toMatchObject({ state: 'done', problem: null, finishable: false });
    expect(world.trainer.compressions.map(({ enough }) => enough)).toEqual([false, true]);
    expect(new Set(world.trainer.compressions.map(({ workDir }) => workDir)).size).toBe(1);
    await expect(world.call('jobs.finish', { jobId: job.id })).rejects.toMatchObject({ code: 'CONFLICT' });

    world.trainer.hold = promise;
    const other = await world.call('candidates.create', { stationId });
    await atSearch(other);
    await world.call('jobs.pause', { jobId: other.id });
    await edit('SELECT 1');
    await world.call('jobs.finish', { jobId: other.id });
    expect((await world.done(other)).result.length).toBeGreaterThan(0);
    resolve();
    expect(await jobActions()).toEqual(['jobs.finish', 'jobs.pause', 'jobs.finish']);
  });

  test('a job that a killed run left behind is shown as interrupted', async () => {
    await learn();
    const job = (await world.call('jobs.list', {}))[0]!;
    await edit(`UPDATE jobs SET state = 'running', job = replace(job, '"done"', '"running"') WHERE id = '${job.id}'`);
    const after = (await world.call('jobs.list', {})).find((each) => each.id === job.id);
    expect(after).toMatchObject({ state: 'failed', problem: { code: 'JOB_INTERRUPTED' } });
  });
});
