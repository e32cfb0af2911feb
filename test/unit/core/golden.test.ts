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
import { PASSWORD, setUp, startWorld, writeDataset, type World } from './world.ts';

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
      world.call('labels.create', { partIds, classId: 'ok' }),
      world.call('labels.leaveOut', { partIds, toQueue: true }),
    ])
      await expect(correction).rejects.toMatchObject({ code: 'GOLDEN_IMAGE' });
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
