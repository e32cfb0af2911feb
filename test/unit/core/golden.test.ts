import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { verifyBundle } from '../../../main/audit/approval.ts';
import { sha256 } from '../../../main/audit/canonical.ts';
import type { GoldenResult } from '../../../main/contract/domain.ts';
import { decodeImage, encodePng } from '../../../main/vision/decode.ts';
import { lineRecord, PASSWORD, setUp, startWorld, until, writeDataset, type World } from './world.ts';

let world: World;
let folder: string;
let stationId: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-golden-'));
  world = await startWorld();
  ({ stationId } = await setUp(world));
  const labelled = await writeDataset(join(folder, 'labelled'), { ok: 3, scratch: 3 });
  await world.done(await world.call('import.start', { stationId, path: labelled, asLabels: true }));
  await world.done(await world.call('knowledge.update', { stationId }));
  await world.done(await world.call('candidates.create', { stationId }));
});
afterEach(async () => {
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

const offered = async () => (await world.call('candidates.list', { stationId })).find((each) => each.offered)!;
const add = async (path: string) => world.done(await world.call('golden.add', { stationId, path }));
const tryOn = async (candidateId: string) => {
  await world.done(await world.call('candidates.golden', { candidateId }));
  return (await world.call('candidates.show', { candidateId })).golden!;
};
const approve = (candidateId: string, waiver: string | null = null) =>
  world.call('candidates.approve', { candidateId, password: PASSWORD, meaning: 'reviewed', waiver });

describe('the golden set', () => {
  test('judges, is counted, and decides; without it an approval is as before', async () => {
    const { id } = await offered();
    expect(await world.call('golden.show', { stationId })).toBeNull();
    await add(await writeDataset(join(folder, 'golden'), { ok: 3, scratch: 2 }));
    const set = (await world.call('golden.show', { stationId }))!;
    expect(set).toMatchObject({ images: 5, uses: 0, by: 'sato' });
    await expect(approve(id)).rejects.toMatchObject({ code: 'GOLDEN_DUE' });
    // The window is told the same before anybody signs.
    expect(await world.call('golden.gates', { candidateId: id })).toEqual({ due: true, gates: [] });

    // Everything is ok to this model: both defects escape.
    const bad = await tryOn(id);
    expect(bad).toMatchObject({
      use: 1,
      images: 5,
      setSha256: set.sha256,
      escape: { wrong: 2, parts: 2 },
      overkill: { wrong: 0, parts: 3 },
      rightClass: 3,
    });
    await expect(approve(id, 'because')).rejects.toMatchObject({ code: 'GATE_FAILED' });
    world.trainer.judge = (sha) => ({ sha, verdict: 'unsure', classId: null });
    expect(await tryOn(id)).toMatchObject({ use: 2, unsure: 5, escape: { wrong: 0, parts: 2 } });
    expect((await world.call('golden.show', { stationId }))!.uses).toBe(2);
    // Two images prove little: that needs a reason.
    const { due, gates } = await world.call('golden.gates', { candidateId: id });
    expect([due, gates.map(({ name, outcome }) => [name, outcome])]).toEqual([
      false,
      [
        ['golden-escape', 'not-enough-evidence'],
        ['golden-overkill', 'not-enough-evidence'],
      ],
    ]);
    await expect(approve(id)).rejects.toMatchObject({ code: 'WAIVER_NEEDED' });

    // The set has grown since: what was tried is another set.
    await add(await writeDataset(join(folder, 'more'), { ok: 1 }));
    await expect(approve(id, 'because')).rejects.toMatchObject({ code: 'GOLDEN_DUE' });
    const figures = await tryOn(id);
    expect((await approve(id, 'because')).approval?.golden).toEqual(figures);
    // The figures are in what was signed: with others, or without any, it is no approval.
    const bundleDir = join(world.home, 'bundles', id);
    const check = () =>
      verifyBundle({
        bundleDir,
        rootPublicKey: readFileSync(join(world.home, 'trust/root.pub'), 'utf8'),
        demo: false,
        stationId,
      });
    expect((await check()).approval.golden).toEqual(figures);
    const file = join(bundleDir, 'approval.json');
    const signed = readFileSync(file, 'utf8');
    const { golden: _figures, ...without } = JSON.parse(signed) as { golden: GoldenResult };
    for (const altered of [without, { ...without, golden: { ...figures, escape: { ...figures.escape, wrong: 1 } } }]) {
      writeFileSync(file, JSON.stringify(altered));
      await expect(check()).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
    }
    writeFileSync(file, signed);
    // Tried again after the decision, the signed figures stay.
    await tryOn(id);
    expect((await world.call('candidates.show', { candidateId: id })).approval?.golden).toEqual(figures);
    expect((await world.call('models.activate', { candidateId: id })).active.id).toBe(id);
    const { entries } = await world.call('audit.list', { limit: 50 });
    expect(entries.filter(({ action }) => action === 'candidates.golden')).toHaveLength(4);
    expect(entries.filter(({ action }) => action === 'golden.add')).toHaveLength(2);
  });

  test('takes nothing that was learnt, and nothing of it is learnt', async () => {
    const golden = await writeDataset(join(folder, 'golden'), { scratch: 2 });
    mkdirSync(join(golden, 'ok'));
    const learnt = readdirSync(join(folder, 'labelled', 'ok'))[0]!;
    copyFileSync(join(folder, 'labelled', 'ok', learnt), join(golden, 'ok', 'known.png'));
    mkdirSync(join(golden, 'nobody knows this'));
    copyFileSync(join(folder, 'labelled', 'ok', learnt), join(golden, 'nobody knows this', 'x.png'));
    const job = await add(golden);
    expect(job.skipped!.map(({ file, code }) => [file.split('/').at(-1), code]).toSorted()).toEqual([
      ['known.png', 'GOLDEN_LEAK'],
      ['x.png', 'NOT_FOUND'],
    ]);
    expect((await world.call('golden.show', { stationId }))!.images).toBe(2);

    const before = (await world.call('labels.summary', { stationId })).perClass;
    const again = await world.done(await world.call('import.start', { stationId, path: golden, asLabels: true }));
    const refused = again.skipped!.filter(({ code }) => code === 'GOLDEN_IMAGE');
    expect(refused).toHaveLength(2);
    // The copy of a labelled picture was labelled before and is again; the two golden ones are not.
    expect((await world.call('labels.summary', { stationId })).perClass).toEqual(
      expect.arrayContaining(before.filter(({ classId }) => classId !== 'ok')),
    );
  });

  test('a picture that is labelled while the set is compared teaches, and one of two classes judges nothing', async () => {
    await world.close();
    let meanwhile: () => Promise<unknown> = async () => {};
    world = await startWorld({
      trainer: {
        'trainer.golden': async () => {
          await meanwhile();
          return { results: [], leaks: [], unreadable: [], looks: [] };
        },
      },
    });
    ({ stationId } = await setUp(world));
    await world.call('classes.create', { names: { en: 'scratch', ja: '' } });
    const golden = await writeDataset(join(folder, 'golden'), { ok: 3, scratch: 2 });
    copyFileSync(join(golden, 'ok', '0.png'), join(golden, 'scratch', 'same.png'));
    const loose = { stationId, path: join(golden, 'ok', '1.png'), asLabels: false };
    const [shown] = (await world.done(await world.call('import.start', loose))).result;
    meanwhile = () => world.call('labels.create', { partIds: [Number(shown)], classId: 'c-scratch' });
    const job = await add(golden);
    expect(job.skipped!.map(({ file, code }) => [file.split('/').at(-1), code])).toEqual([
      ['same.png', 'CONTRADICTING_LABELS'],
      ['1.png', 'GOLDEN_LEAK'],
    ]);
    expect(job.result).toEqual(['3']);
    expect((await world.call('golden.show', { stationId }))!.perClass).toEqual(
      expect.arrayContaining([
        { classId: 'ok', images: 1 },
        { classId: 'c-scratch', images: 2 },
      ]),
    );
    // What is there already is not added again, and the job says so.
    expect((await add(golden)).result).toEqual(['0']);
  });

  test('a part that shows one of its pictures gets no label, neither by the queue nor by a correction', async () => {
    const golden = await writeDataset(join(folder, 'golden'), { scratch: 1 });
    await add(golden);
    const loose = { stationId, path: join(golden, 'scratch'), asLabels: false };
    const [shown] = (await world.done(await world.call('import.start', loose))).result;
    const partId = Number(shown);
    await expect(world.call('parts.toQueue', { partId })).rejects.toMatchObject({ code: 'GOLDEN_IMAGE' });
    await expect(world.call('labels.create', { partIds: [partId], classId: 'ok' })).rejects.toMatchObject({
      code: 'GOLDEN_IMAGE',
    });

    // Labelled while it was being taken in: it is not sent where it could get no label, but its label can go.
    const [label] = await world.call('labels.list', { stationId, limit: 1 });
    await world.core.close();
    const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
    db.prepare('INSERT INTO golden (station_id, image_sha, class_id, user_name, at) VALUES (?, ?, ?, ?, ?)').run(
      stationId,
      label!.imageSha,
      'ok',
      'sato',
      '2026-01-01T00:00:00.000Z',
    );
    db.close();
    await world.reopen();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    const partIds = [label!.partId];
    for (const correction of [
      () => world.call('labels.create', { partIds, classId: 'ok' }),
      () => world.call('labels.leaveOut', { partIds, toQueue: true }),
    ])
      await expect(correction()).rejects.toMatchObject({ code: 'GOLDEN_IMAGE' });
    expect((await world.call('parts.get', { partId: partIds[0]! })).label).not.toBeNull();
    await world.call('labels.leaveOut', { partIds });
    expect(await world.call('labels.undo', {})).toEqual({ partIds: [], left: 1 });
  });

  test('is locked in the database, and its pictures outlive the ring of ok pictures', async () => {
    await add(await writeDataset(join(folder, 'golden'), { ok: 2 }));
    await tryOn((await offered()).id);
    await world.core.close();
    const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
    for (const sql of ['DELETE FROM golden', `UPDATE golden SET class_id = 'x'`, 'DELETE FROM golden_uses'])
      expect(() => db.exec(sql), sql).toThrow(/locked|counted/);
    const shas = db.prepare('SELECT image_sha FROM golden').pluck().all() as string[];
    db.close();
    for (const sha of shas) expect(existsSync(join(world.home, 'images', sha.slice(0, 2), `${sha}.keep`))).toBe(true);
    await world.reopen();
  });
});

const lookAlikes = async (folder: string) => {
  const sha = async (name: string) =>
    sha256(await encodePng((await decodeImage(join(folder, name), { name, maxPixels: 1e6 })).image));
  return { files: [await sha('0.png'), await sha('copy.png')] };
};
/** `<folder>/<class>/<n>.png`, none of which looks like another; with `copies` the first of each class once more, brighter. */
const writeNoise = async (to: string, classes: Record<string, number>, copies = false): Promise<string> => {
  for (const [name, count] of Object.entries(classes)) {
    mkdirSync(join(to, name), { recursive: true });
    for (let n = 0; n < count; n += 1) {
      // Other rows throughout: of a few that repeat some pictures look alike by chance.
      const noise = Array.from({ length: 4 }, (_, block) => sha256(`${to} ${name} ${n} ${block}`)).join('');
      const data = Uint8Array.from(Buffer.from(noise, 'hex'), (byte) => byte >> 1);
      const picture = { width: 16, height: 8, channels: 1 as const };
      writeFileSync(join(to, name, `${n}.png`), await encodePng({ ...picture, data }));
      if (n > 0 || !copies) continue;
      const brighter = data.map((value) => value + 9);
      writeFileSync(join(to, name, 'copy.png'), await encodePng({ ...picture, data: brighter }));
    }
  }
  return to;
};
const importLabelled = async (path: string) =>
  world.done(await world.call('import.start', { stationId, path, asLabels: true }));
const update = async () => world.done(await world.call('knowledge.update', { stationId }));
const filling = () => world.call('golden.filling', { stationId });
const setNow = () => world.call('golden.show', { stationId });
const learntOf = () => new Set(world.trainer.updates.at(-1)!.images.map(({ sha }) => sha));
let exports = 0;
/** Entries of the trail, the newest first. */
const trail = async (action: string) => {
  const file = join(folder, `trail-${(exports += 1)}.jsonl`);
  await world.call('audit.export', { file });
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { action: string; user: string; subject: string; details: unknown })
    .filter((entry) => entry.action === action)
    .toReversed();
};

describe('a golden set that is filled from labels', () => {
  test('is nobody’s surprise: without a set every label is learnt, until somebody asks for one', async () => {
    await importLabelled(await writeNoise(join(folder, 'first'), { ok: 20, scratch: 12, rust: 4 }));
    expect(await filling()).toMatchObject({ on: false });
    await update();
    expect([await setNow(), learntOf().size]).toEqual([null, 42]);

    const technician = world.core.openSession();
    await world.call('session.signIn', { name: 'tanaka', password: PASSWORD }, technician);
    await expect(world.call('golden.setFilling', { stationId, on: true }, technician)).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
    });
    await world.call('golden.setFilling', { stationId, on: true });
    // What is learnt never judges.
    await update();
    expect(await setNow()).toBeNull();
    expect((await trail('golden.setFilling'))[0]).toMatchObject({
      subject: stationId,
      details: { before: false, after: true },
    });
  });

  test('takes 30 % of what is new, learns the rest, and says so before and after', async () => {
    await world.call('golden.setFilling', { stationId, on: true });
    await importLabelled(await writeNoise(join(folder, 'new'), { ok: 20, scratch: 9, rust: 12, dent: 9 }));
    const classId = async (name: string) =>
      (await world.call('classes.list', {})).find(({ names }) => names.en === name)!.id;
    const [scratch, rust, dent] = [await classId('scratch'), await classId('rust'), await classId('dent')];
    // Three good parts and three scratches are learnt already.
    const told = new Map((await filling()).perClass.map(({ classId: id, ...row }) => [id, row]));
    expect(told.get('ok')).toEqual({ fresh: 20, most: 6, few: false, golden: 0 });
    expect(told.get(scratch)).toEqual({ fresh: 9, most: 4, few: false, golden: 0 });
    expect(told.get(rust)).toEqual({ fresh: 12, most: 5, few: false, golden: 0 });
    expect(told.get(dent)).toEqual({ fresh: 9, most: 0, few: true, golden: 0 });
    const before = (await world.call('knowledge.list', { stationId }))[0]!;
    const known = new Set(world.trainer.updates.at(-1)!.images.map(({ sha }) => sha));

    await update();
    const set = (await setNow())!;
    expect(set.perClass.toSorted((a, b) => a.images - b.images)).toEqual([
      { classId: scratch, images: 4 },
      { classId: rust, images: 5 },
      { classId: 'ok', images: 6 },
    ]);
    const [entry] = await trail('golden.fill');
    const golden = (entry!.details as { images: { image: string; part: number }[] }).images;
    expect(golden).toHaveLength(15);
    expect(golden.some(({ image }) => learntOf().has(image) || known.has(image))).toBe(false);
    expect(learntOf().size).toBe(6 + 50 - 15);
    expect((await trail('knowledge.update'))[0]!.details).toMatchObject({ images: 41, golden: 15 });
    expect((await world.call('knowledge.show', { stationId }))!.parentId).toBe(before.id);
    // They are labels no more: neither counted, nor labelled again, nor brought back by undo.
    expect(await world.call('labels.summary', { stationId })).toMatchObject({ fresh: 0, takenAway: false });
    const { part } = golden[0]!;
    await expect(world.call('labels.create', { partIds: [part], classId: 'ok', boxes: [] })).rejects.toMatchObject({
      code: 'GOLDEN_IMAGE',
    });
    expect((await filling()).perClass.find(({ classId: id }) => id === 'ok')).toMatchObject({ fresh: 0, golden: 6 });

    // The next update has nothing new, and takes nothing.
    await update();
    expect((await setNow())!.sha256).toBe(set.sha256);
    await world.call('golden.setFilling', { stationId, on: false });
    await importLabelled(await writeNoise(join(folder, 'later'), { ok: 20 }));
    await update();
    expect((await setNow())!.images).toBe(15);
  });

  test('takes nothing from what people found of the line, in reports of before and after', async () => {
    await world.call('golden.setFilling', { stationId, on: true });
    const path = await writeNoise(join(folder, 'line'), { part: 20 });
    const { result } = await world.done(
      await world.call('import.start', { stationId, path: join(path, 'part'), asLabels: false }),
    );
    const pictures = await Promise.all(result.map((id) => world.call('parts.get', { partId: Number(id) })));
    await world.call('line.start', { stationId });
    const line = world.lines.get(stationId)!;
    line.emit(pictures.map(({ imageSha }, i) => lineRecord(i + 1, { imageSha })));
    await until(() => line.acknowledged.includes(20));
    const partIds = (await world.call('parts.recent', { stationId, limit: 20 })).map(({ id }) => id);
    const scratch = (await world.call('classes.list', {})).find(({ names }) => names.en === 'scratch')!.id;
    await world.call('labels.create', { partIds, classId: scratch });
    const period = { from: '2026-01-01T00:00:00.000Z', to: '2026-01-02T00:00:00.000Z' };
    const escape = async () => (await world.call('reports.summary', { stationId, ...period })).escape;
    expect(await escape()).toMatchObject({ wrong: 20, parts: 20 });
    await update();
    expect((await setNow())!.images).toBe(6);
    expect(await escape()).toMatchObject({ wrong: 20, parts: 20 });
    await world.call('golden.refresh', { stationId });
    expect(await escape()).toMatchObject({ wrong: 20, parts: 20 });
  });

  test('is nothing where the update fails, and nothing that looks like a learnt picture or is half of a pair', async () => {
    await add(await writeDataset(join(folder, 'golden'), { ok: 1 }));
    expect(await filling()).toMatchObject({ on: true });
    await importLabelled(await writeNoise(join(folder, 'new'), { ok: 30 }, true));
    world.trainer.crash = true;
    await expect(update()).rejects.toMatchObject({ code: 'TRAINER_FAILED' });
    expect((await setNow())!.images).toBe(1);
    await update();
    const golden = (await trail('golden.fill'))[0]!.details as { images: { image: string }[] };
    const taken = new Set(golden.images.map(({ image }) => image));
    const { files } = await lookAlikes(join(folder, 'new', 'ok'));
    expect(files.filter((sha) => taken.has(sha)).length % 2).toBe(0);
    expect(taken.size).toBeGreaterThanOrEqual(8);
    expect(taken.size).toBeLessThanOrEqual(9);
  });

  test('takes no label that somebody asks about, before the update or while it runs', async () => {
    await world.call('golden.setFilling', { stationId, on: true });
    await importLabelled(await writeNoise(join(folder, 'new'), { ok: 30 }));
    const fresh = (await world.call('labels.list', { stationId, limit: 100 })).filter(({ learnt }) => !learnt);
    const doubted = fresh.slice(0, 20);
    for (const { partId } of doubted) await world.call('parts.toQueue', { partId });
    expect((await filling()).perClass.find(({ classId }) => classId === 'ok')).toMatchObject({ fresh: 10, most: 5 });

    const { promise, resolve: go } = Promise.withResolvers<void>();
    world.trainer.hold = promise;
    const updates = world.trainer.updates.length;
    const job = await world.call('knowledge.update', { stationId });
    await expect.poll(() => world.trainer.updates.length).toBe(updates + 1);
    const chosen = fresh.filter(({ imageSha }) => !learntOf().has(imageSha));
    expect(chosen).toHaveLength(5);
    expect(chosen.some((label) => doubted.includes(label))).toBe(false);
    await world.call('parts.toQueue', { partId: chosen[0]!.partId });
    go();
    await world.done(job);
    expect((await setNow())!.images).toBe(4);
    expect((await world.call('parts.get', { partId: chosen[0]!.partId })).label?.classId).toBe('ok');
  });

  test('of good parts alone leaves what a first model needs', async () => {
    ({ id: stationId } = await world.call('stations.add', { name: 'Line 2', camera: { kind: 'simulated' } }));
    await world.call('golden.setFilling', { stationId, on: true });
    await importLabelled(await writeNoise(join(folder, 'good'), { ok: 12 }));
    expect((await filling()).perClass).toEqual([{ classId: 'ok', fresh: 12, most: 0, few: false, golden: 0 }]);
    await update();
    expect([await setNow(), learntOf().size]).toEqual([null, 12]);
  });
});

describe('a golden set that has judged too often', () => {
  test('asks for a refresh after 20 uses; retired, it teaches and judges no more', async () => {
    await world.call('golden.setFilling', { stationId, on: true });
    const { result } = await importLabelled(await writeNoise(join(folder, 'new'), { ok: 20 }));
    const box = { x: 1, y: 0, width: 4, height: 2 };
    await world.call('labels.create', { partIds: result.map(Number), classId: 'ok', boxes: [box] });
    await update();
    await add(await writeDataset(join(folder, 'golden'), { scratch: 2 }));
    // Of 16 x 8 pixels, clockwise: what was marked comes back where it lies then.
    const [station] = await world.call('stations.list', {});
    await world.call('stations.update', { stationId, recipe: { ...station!.recipe, rotation: 90 } });
    const before = (await setNow())!;
    expect(before).toMatchObject({ images: 8, refreshDue: false });
    const { id } = await offered();
    for (let use = 1; use < 20; use += 1) expect((await tryOn(id)).refreshDue).toBeUndefined();
    expect((await setNow())!.refreshDue).toBe(false);
    expect(await tryOn(id)).toMatchObject({ use: 20, refreshDue: true });
    expect((await setNow())!.refreshDue).toBe(true);

    expect(await world.call('golden.refresh', { stationId })).toEqual({ returned: 8, left: 0 });
    expect(await setNow()).toBeNull();
    await expect(world.call('golden.refresh', { stationId })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const [entry] = await trail('golden.refresh');
    expect(entry).toMatchObject({ user: 'sato', details: { set: before.sha256, uses: 20, images: 8 } });
    const { returned } = entry!.details as { returned: { image: string; classId: string }[] };
    expect(returned).toHaveLength(8);
    const back = await world.call('labels.list', { stationId, limit: 100 });
    const boxesOf = (image: string) => back.find(({ imageSha }) => imageSha === image)!.boxes;
    const boxes = returned.filter(({ classId }) => classId === 'ok').map(({ image }) => boxesOf(image));
    expect(boxes).toEqual(Array.from({ length: 6 }, () => [{ x: 6, y: 1, width: 2, height: 4 }]));
    // Fresh, but never to judge again, nor to come back from a folder.
    const { perClass } = await world.call('labels.summary', { stationId });
    expect(perClass.reduce((sum, { fresh }) => sum + fresh, 0)).toBe(8);
    expect((await filling()).perClass.every(({ most }) => most === 0)).toBe(true);
    const again = await add(join(folder, 'golden'));
    expect(again.skipped!.map(({ code }) => code)).toEqual(['GOLDEN_LEAK', 'GOLDEN_LEAK']);
    await importLabelled(await writeNoise(join(folder, 'next'), { ok: 20 }));
    await update();
    for (const { image } of returned) expect(learntOf().has(image)).toBe(true);
    // A new set, from what was labelled since, and its uses are counted from one.
    expect(await setNow()).toMatchObject({ images: 6, uses: 0, refreshDue: false });
    expect((await tryOn(id)).use).toBe(1);
  }, 60_000);

  test('retired, it clears no failed gate: what it said holds until there is a new one, and what it said nothing of needs a reason', async () => {
    const made = async () => {
      const before = new Set((await world.call('candidates.list', { stationId })).map(({ id }) => id));
      await world.done(await world.call('candidates.create', { stationId }));
      return (await world.call('candidates.list', { stationId })).find(({ id, offered: is }) => is && !before.has(id))!
        .id;
    };
    const [early, failed, untried, unsure] = [await made(), await made(), await made(), await made()];
    await add(await writeDataset(join(folder, 'golden'), { ok: 3, scratch: 2 }));
    await tryOn(early);
    await add(await writeDataset(join(folder, 'more'), { ok: 1 }));
    await tryOn(failed);
    world.trainer.judge = (sha) => ({ sha, verdict: 'unsure', classId: null });
    const figures = await tryOn(unsure);
    await world.call('golden.refresh', { stationId });

    const gates = async (candidateId: string) => {
      const told = await world.call('golden.gates', { candidateId });
      expect(told.due).toBe(false);
      return told.gates.map(({ name, outcome }) => `${name} ${outcome}`);
    };
    expect(await gates(failed)).toEqual(['golden-escape fail', expect.stringContaining('golden-overkill')]);
    expect(await gates(early)).toEqual(['golden-escape fail', 'golden-set not-enough-evidence']);
    for (const id of [failed, early])
      await expect(approve(id, 'because')).rejects.toMatchObject({ code: 'GATE_FAILED' });
    expect(await gates(untried)).toEqual(['golden-set not-enough-evidence']);
    await expect(approve(untried)).rejects.toMatchObject({ code: 'WAIVER_NEEDED' });
    expect((await approve(untried, 'no set yet')).approval).toMatchObject({ waiver: 'no set yet' });
    expect((await world.call('candidates.show', { candidateId: untried })).approval?.golden).toBeUndefined();
    await expect(approve(unsure)).rejects.toMatchObject({ code: 'WAIVER_NEEDED' });
    expect((await approve(unsure, 'because')).approval?.golden).toEqual(figures);
    // With a new set all is as ever.
    await add(await writeDataset(join(folder, 'new'), { scratch: 1 }));
    await expect(approve(failed, 'because')).rejects.toMatchObject({ code: 'GOLDEN_DUE' });
  });

  test('judges, counts and comes back under the class that its own was merged into', async () => {
    const newClass = async (en: string) => (await world.call('classes.create', { names: { en, ja: '' } })).id;
    const [dent, pit, mark] = [await newClass('dent'), await newClass('pit'), await newClass('mark')];
    const scratch = (await world.call('classes.list', {})).find(({ names }) => names.en === 'scratch')!.id;
    await add(await writeDataset(join(folder, 'golden'), { ok: 1, scratch: 2, dent: 1 }));
    const { id } = await offered();
    await tryOn(id);
    await world.call('classes.merge', { from: scratch, into: pit });
    await world.call('classes.merge', { from: pit, into: mark });
    await world.call('classes.retire', { classId: dent });
    expect((await setNow())!.perClass).toContainEqual({ classId: mark, images: 2 });
    expect((await filling()).perClass).toContainEqual(expect.objectContaining({ classId: mark, golden: 2 }));
    // Another set than what was tried. The model still names the class of before.
    expect((await world.call('golden.gates', { candidateId: id })).due).toBe(true);
    world.trainer.judge = (sha) => ({ sha, verdict: 'ng', classId: scratch });
    expect(await tryOn(id)).toMatchObject({ rightClass: 2, overkill: { wrong: 1, parts: 1 } });

    expect(await world.call('golden.refresh', { stationId })).toEqual({ returned: 3, left: 1 });
    const { perClass } = await world.call('labels.summary', { stationId });
    expect(perClass).toContainEqual(expect.objectContaining({ classId: mark, labelled: 5 }));
    expect(perClass.some(({ classId }) => classId === scratch)).toBe(false);
  });

  test('is not taken away while it judges or an update waits', async () => {
    await add(await writeDataset(join(folder, 'golden'), { ok: 2 }));
    let go = (): void => {};
    world.trainer.hold = new Promise((resolve) => (go = resolve));
    const job = await world.call('knowledge.update', { stationId });
    await expect(world.call('golden.refresh', { stationId })).rejects.toMatchObject({ code: 'CONFLICT' });
    go();
    await world.done(job);
    expect(await world.call('golden.refresh', { stationId })).toEqual({ returned: 2, left: 0 });
  });
});

describe('the data that a knowledge was made of', () => {
  test('has an id that is the hash of its images and classes; equal data, equal id', async () => {
    const [first] = await world.call('knowledge.list', { stationId });
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    await world.done(await world.call('knowledge.update', { stationId }));
    const same = (await world.call('knowledge.show', { stationId }))!;
    expect(same.id).not.toBe(first!.id);
    expect(same.snapshotId).toBe(first!.snapshotId);
    const more = await writeDataset(join(folder, 'more'), { ok: 1 });
    await world.done(await world.call('import.start', { stationId, path: more, asLabels: true }));
    await world.done(await world.call('knowledge.update', { stationId }));
    const next = (await world.call('knowledge.show', { stationId }))!;
    expect(next.snapshotId).not.toBe(same.snapshotId);

    const file = readFileSync(join(world.home, 'knowledge', next.id, 'data.json'), 'utf8');
    expect(sha256(file)).toBe(next.snapshotId);
    const { images } = JSON.parse(file) as { images: [string, string][] };
    expect(images).toHaveLength(7);
    // Evidence of a model is never cleared away: every picture it was made of is marked to stay, and there.
    for (const [sha] of images)
      for (const end of ['png', 'keep'])
        expect(existsSync(join(world.home, 'images', sha.slice(0, 2), `${sha}.${end}`))).toBe(true);
  });
});
