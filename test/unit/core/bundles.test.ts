import {
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeBundle, openBundle } from '../../../main/audit/bundle-file.ts';
import { createRootKey, hexOfKey, openRootKey, signBytes } from '../../../main/audit/keys.ts';
import { isTrusted } from '../../../main/audit/trusted.ts';
import type { Candidate, Gate } from '../../../main/contract/domain.ts';
import { PASSWORD, setUp, startWorld, writeDataset, type World } from './world.ts';

/* A model as one signed file: out of one home, into another. */

let here: World;
let there: World;
let file: string;
let stationId: string;
const worlds: World[] = [];
const open = async (options: Parameters<typeof startWorld>[0] = {}): Promise<World> => {
  const world = await startWorld(options);
  worlds.push(world);
  return world;
};

const approved = async (world: World, station: string): Promise<Candidate> => {
  const path = await writeDataset(join(world.home, '..', 'set'), { ok: 3, pit: 2 });
  await world.done(await world.call('import.start', { stationId: station, path, asLabels: true }));
  await world.done(await world.call('knowledge.update', { stationId: station }));
  await world.done(await world.call('candidates.create', { stationId: station }));
  const candidate = (await world.call('candidates.list', { stationId: station })).find(({ offered }) => offered)!;
  return world.call('candidates.approve', { candidateId: candidate.id, password: PASSWORD, meaning: 'good' });
};

beforeEach(async () => {
  here = await open();
  ({ stationId } = await setUp(here));
  there = await open();
  await setUp(there);
  file = join(here.home, '..', 'model.mekiki');
});
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

const exported = async (): Promise<{ candidate: Candidate; bytes: Buffer }> => {
  const candidate = await approved(here, stationId);
  await here.call('bundles.export', { candidateId: candidate.id, file });
  return { candidate, bytes: readFileSync(file) };
};

describe('a bundle file', () => {
  test('holds model, evidence, lineage and approval, and says who signed it', async () => {
    const { candidate, bytes } = await exported();
    const { manifest, approval, sha256 } = openBundle(bytes, file);
    expect(manifest).toMatchObject({
      candidateId: candidate.id,
      bundleSha256: candidate.bundleSha256,
      lineage: { knowledgeId: candidate.knowledgeId, dataSha256: candidate.evidence.dataSha256 },
      demo: false,
    });
    expect(approval).toMatchObject({ userName: 'sato', meaning: 'good' });
    expect(isTrusted(here.home, manifest)).toBe(true);
    expect(isTrusted(there.home, manifest)).toBe(false);
    const entry = (await here.call('audit.list', { limit: 1 })).entries[0];
    expect(entry).toMatchObject({ action: 'bundles.export', subject: candidate.id });
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    const [loop, none] = [`${file}.loop`, `${file}.none`];
    symlinkSync(loop, loop);
    await expect(here.call('bundles.verify', { file: loop })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(here.call('bundles.verify', { file: none })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('is refused after any change of one bit, any cut and any addition', async () => {
    const { bytes } = await exported();
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const altered = Buffer.from(bytes);
        altered[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => openBundle(altered, file)).toThrow(expect.objectContaining({ code: 'BUNDLE_ALTERED' }));
      }),
      { numRuns: 1500 },
    );
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), (length) => {
        expect(() => openBundle(bytes.subarray(0, length), file)).toThrow(
          expect.objectContaining({ code: 'BUNDLE_ALTERED' }),
        );
      }),
      { numRuns: 200 },
    );
    expect(() => openBundle(Buffer.concat([bytes, Buffer.from([0])]), file)).toThrow(/hash or signature/);
  });

  test('one that names no knowledge or no backbone is none: a home could not read its row again', async () => {
    const { bytes } = await exported();
    const { manifest, file: part } = openBundle(bytes, file);
    const files = (['model.onnx', 'model.json', 'evidence.json'] as const).map((name) => ({ name, bytes: part(name) }));
    const encode = (lineage: object) =>
      encodeBundle({ ...manifest, lineage: { ...manifest.lineage, ...lineage } }, files, () => Buffer.alloc(64));
    expect(encode({}).length).toBeGreaterThan(1000);
    expect(() => encode({ knowledgeId: '' })).toThrow(/knowledgeId/);
    expect(() => encode({ backboneId: '' })).toThrow(/backboneId/);
  });

  test('one whose evidence cannot be read says so before anybody takes it in', async () => {
    const { bytes } = await exported();
    const { manifest, file: part } = openBundle(bytes, file);
    const root = openRootKey(createRootKey());
    const files = (['model.onnx', 'model.json', 'evidence.json'] as const).map((name) => ({
      name,
      bytes: name === 'evidence.json' ? Buffer.from('{"gates": "of another version"}') : part(name),
    }));
    const about = { ...manifest, installation: hexOfKey(root.publicKey) };
    writeFileSync(
      file,
      encodeBundle(about, files, (body) => signBytes(body, root.privateKey)),
    );
    await there.call('bundles.trust', { key: about.installation });
    const [target] = await there.call('stations.list', {});
    const refused = { code: 'BUNDLE_ALTERED', details: { problem: 'its evidence cannot be read' } };
    await expect(there.call('bundles.verify', { file })).rejects.toMatchObject(refused);
    await expect(there.call('bundles.import', { stationId: target!.id, file })).rejects.toMatchObject(refused);
  });

  test('random bytes are refused, whatever they claim', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (noise, magic) => {
        const bytes = Buffer.concat([magic ? Buffer.from('MEKIKIB1') : Buffer.alloc(0), noise]);
        expect(() => openBundle(bytes, 'x')).toThrow(expect.objectContaining({ code: 'BUNDLE_ALTERED' }));
      }),
    );
  });

  test('an export replaces an export and no other file', async () => {
    const { candidate } = await exported();
    await here.call('bundles.export', { candidateId: candidate.id, file });
    const other = join(here.home, '..', 'notes.txt');
    writeFileSync(other, 'mine');
    await expect(here.call('bundles.export', { candidateId: candidate.id, file: other })).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    expect(readFileSync(other, 'utf8')).toBe('mine');
  });

  test('a folder that cannot take it is told as that', async () => {
    const { candidate } = await exported();
    for (const target of [join(here.home, '..', 'no such folder', 'x'), join(file, 'x')])
      await expect(here.call('bundles.export', { candidateId: candidate.id, file: target })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        details: { what: 'file' },
      });
    const folder = join(here.home, '..');
    await expect(here.call('bundles.export', { candidateId: candidate.id, file: folder })).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
  });

  test('what was altered in this home does not leave it under its name', async () => {
    const candidate = await approved(here, stationId);
    writeFileSync(join(here.home, 'bundles', candidate.id, 'model.onnx'), 'other');
    await expect(here.call('bundles.export', { candidateId: candidate.id, file })).rejects.toMatchObject({
      code: 'BUNDLE_ALTERED',
    });
  });
});

describe('in another home', () => {
  test('a class whose name is taken there by another is not added, nor is the model', async () => {
    const { bytes } = await exported();
    const [target] = await there.call('stations.list', {});
    await there.call('bundles.trust', { key: openBundle(bytes, file).manifest.installation, name: 'line A' });
    const own = await there.call('classes.create', { names: { en: 'hole', ja: '穴' } });
    await there.call('classes.rename', { classId: own.id, names: { en: 'Pit' } });
    const before = await there.call('classes.list', {});
    const take = () => there.call('bundles.import', { stationId: target!.id, file });
    await expect(take()).rejects.toMatchObject({ code: 'ALREADY_EXISTS', message: expect.stringMatching(/pit/i) });
    expect(await there.call('classes.list', {})).toEqual(before);
    expect(await there.call('candidates.list', { stationId: target!.id })).toEqual([]);
    expect(readdirSync(join(there.home, 'bundles'))).toEqual([]);
    // Said which name; under another one there is room for it.
    await there.call('classes.rename', { classId: own.id, names: { en: 'hole' } });
    await take();
    expect((await there.call('classes.list', {})).map(({ id }) => id)).toEqual([
      ...before.map(({ id }) => id),
      'c-pit',
    ]);
  });

  test('it is taken from a trusted installation only, and inspects only after an approval there', async () => {
    const { candidate, bytes } = await exported();
    const [target] = await there.call('stations.list', {});
    const take = () => there.call('bundles.import', { stationId: target!.id, file });
    await expect(take()).rejects.toMatchObject({ code: 'NOT_TRUSTED' });
    const { manifest } = openBundle(bytes, file);
    await there.call('bundles.trust', { key: manifest.installation, name: 'line A' });
    const taken = await take();
    expect(taken).toMatchObject({
      state: 'candidate',
      stationId: target!.id,
      origin: { candidateId: candidate.id, approvedBy: 'sato', installation: manifest.installation },
    });
    expect((await there.call('classes.list', {})).map(({ id }) => id)).toContain('c-pit');
    await expect(there.call('models.activate', { candidateId: taken.id })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
    await there.call('candidates.approve', { candidateId: taken.id, password: PASSWORD, meaning: 'also here' });
    expect((await there.call('models.activate', { candidateId: taken.id })).active.id).toBe(taken.id);
    await expect(take()).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    // The file as it came stays beside it, as proof.
    expect(readFileSync(join(there.home, 'bundles', taken.id, 'origin.mekiki')).equals(bytes)).toBe(true);
    await there.reopen();
    expect((await there.call('candidates.show', { candidateId: taken.id })).state).toBe('active');
  });

  test('it is looked at by whoever may import it, which takes nothing and trusts nobody', async () => {
    const { candidate, bytes } = await exported();
    const about = await there.call('bundles.verify', { file });
    expect(about).toMatchObject({
      valid: true,
      trusted: false,
      candidateId: candidate.id,
      approval: { userName: 'sato' },
      classes: expect.arrayContaining(['c-pit']),
    });
    const [target] = await there.call('stations.list', {});
    expect(await there.call('candidates.list', { stationId: target!.id })).toEqual([]);
    await there.call('bundles.trust', { key: about.installation });
    expect((await there.call('bundles.verify', { file })).trusted).toBe(true);
    bytes[bytes.length >> 1]! ^= 4;
    writeFileSync(file, bytes);
    await expect(there.call('bundles.verify', { file })).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
    for (const other of [there.home, '/dev/zero', join(there.home, 'none')])
      await expect(there.call('bundles.verify', { file: other })).rejects.toMatchObject({ name: 'AppError' });
    await expect(there.call('bundles.verify', { file }, there.core.openSession())).rejects.toMatchObject({
      code: 'NOT_ALLOWED',
    });
  });

  test('what it does on this PC is measured when it comes, shown, audited, and decides whether it may inspect', async () => {
    const { candidate, bytes } = await exported();
    const [target] = await there.call('stations.list', {});
    await there.call('bundles.trust', { key: openBundle(bytes, file).manifest.installation });
    const gate = (name: string, outcome: Gate['outcome']): Gate => ({
      name,
      limit: 'limit',
      measured: 'found',
      bound: null,
      outcome,
      missing: 0,
    });
    const measured = (outcome: Gate['outcome']): World['trainer']['recheck'] => ({
      environment: { cpu: 'this one', onnxruntime: 'test', threads: 1 },
      pictures: 0,
      parity: { images: 8, equal: outcome === 'pass' ? 8 : 7, maxLogitDifference: 0 },
      latencyMsP50: 7,
      latencyMsP99: 9,
      gates: [gate('parity', outcome), gate('latency', 'pass')],
    });
    await there.call('stations.update', { stationId: target!.id, threads: 3 });
    there.trainer.recheck = measured('fail');
    const taken = await there.call('bundles.import', { stationId: target!.id, file });
    // Beside what the other PC measured, which stays as it was signed.
    expect(taken.recheck).toMatchObject({ latencyMsP50: 7, environment: { cpu: 'this one' } });
    expect(taken.evidence).toEqual(candidate.evidence);
    await there.call('candidates.approve', { candidateId: taken.id, password: PASSWORD, meaning: 'also here' });
    const activate = () => there.call('models.activate', { candidateId: taken.id });
    await expect(activate()).rejects.toMatchObject({
      code: 'OTHER_ON_THIS_PC',
      details: { model: taken.id, gates: 'parity found (limit)' },
    });
    expect((await there.call('stations.list', {}))[0]!.activeModelId).toBeNull();
    const actions = async () =>
      (await there.call('audit.list', { limit: 50 })).entries.filter(({ action }) => action === 'candidates.recheck');
    expect((await actions()).map(({ subject }) => subject)).toEqual([taken.id, taken.id]);
    expect(there.trainer.rechecks).toMatchObject([
      { measuredOn: [], threads: 3 },
      { measuredOn: [], threads: 3 },
    ]);
    // As good as promised after all: it inspects, and is not measured here again.
    there.trainer.recheck = measured('pass');
    expect((await activate()).active.recheck).toMatchObject({ parity: { images: 8, equal: 8 } });
    there.trainer.recheck = null;
    await activate();
    expect(there.trainer.rechecks.at(-1)!.measuredOn).toEqual([{ cpu: 'this one', onnxruntime: 'test', threads: 1 }]);
    await there.reopen();
    expect((await there.call('candidates.show', { candidateId: taken.id })).recheck).toMatchObject({ latencyMsP99: 9 });
  });

  test('that it could not be measured when it came does not lose it', async () => {
    const { bytes } = await exported();
    const [target] = await there.call('stations.list', {});
    await there.call('bundles.trust', { key: openBundle(bytes, file).manifest.installation });
    there.trainer.crash = true;
    const taken = await there.call('bundles.import', { stationId: target!.id, file });
    expect(taken.recheck).toBeUndefined();
    expect(there.log.some(({ level, text }) => level === 'warn' && text.includes('not measured'))).toBe(true);
    await there.call('candidates.approve', { candidateId: taken.id, password: PASSWORD, meaning: 'also here' });
    there.trainer.crash = true;
    await expect(there.call('models.activate', { candidateId: taken.id })).rejects.toMatchObject({
      code: 'TRAINER_FAILED',
    });
    expect((await there.call('models.activate', { candidateId: taken.id })).active.id).toBe(taken.id);
  });

  test('a key that was written into the list by hand counts for nothing', async () => {
    const { bytes } = await exported();
    const { manifest } = openBundle(bytes, file);
    await there.call('bundles.trust', { key: 'a'.repeat(64), name: 'x' });
    const list = join(there.home, 'trust', 'installations.json');
    writeFileSync(list, readFileSync(list, 'utf8').replace('a'.repeat(64), manifest.installation));
    expect(isTrusted(there.home, manifest)).toBe(false);
    expect(statSync(list).size).toBeGreaterThan(0);
  });

  test('two windows at once: a file is taken in once, and trust that one takes away is not back by what the other gives', async () => {
    const { bytes } = await exported();
    const { manifest } = openBundle(bytes, file);
    await there.call('bundles.trust', { key: manifest.installation });
    const [target] = await there.call('stations.list', {});
    const take = () => there.call('bundles.import', { stationId: target!.id, file });
    const taken = await Promise.allSettled([take(), take()]);
    expect(taken.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(await there.call('candidates.list', { stationId: target!.id })).toHaveLength(1);
    await Promise.all([
      there.call('bundles.distrust', { key: manifest.installation }),
      there.call('bundles.trust', { key: 'a'.repeat(64), name: 'x' }),
      there.call('bundles.trust', { key: 'a'.repeat(64), name: 'x' }),
    ]);
    const { installations } = await there.call('bundles.trusted', {});
    expect(installations.map(({ key }) => key)).toEqual(['a'.repeat(64)]);
  });

  test('a list that cannot be read for a moment is not written anew without those in it', async () => {
    const { bytes } = await exported();
    const { manifest } = openBundle(bytes, file);
    await there.call('bundles.trust', { key: manifest.installation });
    const list = join(there.home, 'trust', 'installations.json');
    renameSync(list, `${list}.kept`);
    mkdirSync(list);
    expect(isTrusted(there.home, manifest)).toBe(false);
    // Empty, the folder does not keep a file from taking its name on every system.
    writeFileSync(join(list, 'x'), '');
    await expect(there.call('bundles.trust', { key: 'a'.repeat(64), name: 'x' })).rejects.toThrow(/EISDIR/);
    rmSync(list, { recursive: true });
    renameSync(`${list}.kept`, list);
    await there.call('bundles.trust', { key: 'a'.repeat(64), name: 'x' });
    expect((await there.call('bundles.trusted', {})).installations).toHaveLength(2);
    const { entries } = await there.call('audit.list', {});
    expect(entries.filter(({ action }) => action === 'bundles.trust')).toHaveLength(2);
  });

  test('nobody is trusted without an entry of the trail', async () => {
    const { bytes } = await exported();
    const { manifest } = openBundle(bytes, file);
    await there.core.close();
    const db = new Sqlite(join(there.home, 'mekiki.sqlite'));
    db.exec(
      `CREATE TRIGGER cut BEFORE INSERT ON audit WHEN NEW.action = 'bundles.trust' BEGIN SELECT RAISE(ABORT, 'no room'); END`,
    );
    db.close();
    await there.reopen();
    await there.call('session.signIn', { name: 'sato', password: PASSWORD });
    await expect(there.call('bundles.trust', { key: manifest.installation })).rejects.toThrow('no room');
    expect(isTrusted(there.home, manifest)).toBe(false);
  });

  test('taking trust away works at once', async () => {
    const { bytes } = await exported();
    const { manifest } = openBundle(bytes, file);
    await there.call('bundles.trust', { key: manifest.installation });
    expect(isTrusted(there.home, manifest)).toBe(true);
    await there.call('bundles.distrust', { key: manifest.installation });
    expect(isTrusted(there.home, manifest)).toBe(false);
  });

  test('what a demo signed is never trusted, even when its key is in the list', async () => {
    const { bytes } = await exported();
    const { manifest } = openBundle(bytes, file);
    await there.call('bundles.trust', { key: manifest.installation });
    expect(isTrusted(there.home, { ...manifest, demo: true })).toBe(false);
  });

  test('a demo takes no model of a real data folder, whoever is trusted', async () => {
    const { bytes } = await exported();
    await there.call('bundles.trust', { key: openBundle(bytes, file).manifest.installation });
    const mark = join(there.home, 'mekiki.json');
    writeFileSync(mark, readFileSync(mark, 'utf8').replace('"demo": false', '"demo": true'));
    await there.reopen();
    await there.call('session.signIn', { name: 'sato', password: PASSWORD });
    const [target] = await there.call('stations.list', {});
    await expect(there.call('bundles.import', { stationId: target!.id, file })).rejects.toMatchObject({
      code: 'CONFLICT',
      details: { what: file, state: 'made in a real data folder', needed: 'what a demo has made' },
    });
  });
});
