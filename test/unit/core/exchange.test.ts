import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Backbone } from '../../../main/contract/domain.ts';
import type { Session } from '../../../main/core/port.ts';
import { readExportHeader, type ExportHeader } from '../../../main/learning/knowledge-export.ts';
import { checkSums, exportKnowledge } from '../../../main/learning/sums.ts';
import { updateKnowledge } from '../../../main/learning/update.ts';
import { tryGolden } from '../../../main/compression/golden.ts';
import { compressStation } from '../../../main/compression/station.ts';
import { picture, writePicture, type Surface } from '../../numeric/learning/pictures.ts';
import { writeTinyBackbone } from '../../numeric/learning/tiny-backbone.ts';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

/* Knowledge between stations and between backbones: the real core and the real learner, in one process. */

let folder: string;
let backbones: Backbone[];
const worlds: World[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-exchange-'));
  backbones = [
    await writeTinyBackbone(join(folder, 'one.onnx'), { id: 'bb-one' }),
    await writeTinyBackbone(join(folder, 'two.onnx'), { id: 'bb-two', negative: true }),
  ];
});
afterEach(async () => {
  await Promise.all(worlds.splice(0).map((world) => world.close()));
  rmSync(folder, { recursive: true, force: true });
});

interface Place {
  world: World;
  stationId: string;
  technician: Session;
  /** Done once each, after what an update learns is read. */
  whileLearning: (() => void)[];
  /** Done before an update's answer is told. */
  afterLearning: () => Promise<void>;
}
/** @param home one that is there already */
const open = async (home?: string): Promise<Place> => {
  const whileLearning: Place['whileLearning'] = [];
  const place = { whileLearning, afterLearning: async () => {} } as unknown as Place;
  const world = await startWorld({
    ...(home !== undefined && { home }),
    backbones: {
      shipped: async () => backbones[0]!,
      earlier: async (id) => backbones.find((backbone) => backbone.id === id) ?? null,
      take: async () => backbones[1]!,
      read: async () => backbones[1]!,
    },
    trainer: {
      'trainer.update': async (input) => {
        for (const each of whileLearning.splice(0)) each();
        const learnt = await updateKnowledge(input);
        await place.afterLearning();
        return learnt;
      },
      'trainer.export': (input) => exportKnowledge(input),
      'trainer.check': (input) => checkSums(input),
      'trainer.compress': (input) => compressStation(input),
      'trainer.golden': (input) => tryGolden(input),
    },
  });
  worlds.push(world);
  place.world = world;
  if (home === undefined) return Object.assign(place, await setUp(world));
  const [station] = await world.call('stations.list', {});
  return Object.assign(place, { stationId: station!.id, technician: world.core.openSession() });
};
let seeds = 0;
const teach = async ({ world, stationId, technician }: Place, classes: Partial<Record<Surface, number>>) => {
  const path = join(folder, `set-${(seeds += 1)}`);
  for (const [surface, count] of Object.entries(classes)) {
    for (let i = 0; i < count; i += 1) {
      await writePicture(join(path, surface, `${i}.png`), picture(surface as Surface, 1000 * seeds + i));
    }
  }
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  await world.done(await world.call('knowledge.update', { stationId }, technician));
};
const counts = async ({ world, stationId }: Place) =>
  Object.fromEntries((await world.call('knowledge.show', { stationId }))!.classes.map((c) => [c.classId, c.labelled]));
const exportTo = async ({ world, stationId, technician }: Place, name: string): Promise<string> => {
  const file = join(folder, name);
  await world.done(await world.call('knowledge.export', { stationId, file }, technician));
  return file;
};
/** Gives the file another description. */
const describedAs = async (file: string, change: (header: ExportHeader) => object): Promise<void> => {
  const bytes = readFileSync(file);
  const { header, bodyAt } = await readExportHeader(file);
  const text = Buffer.from(JSON.stringify(change(header)));
  bytes.writeUInt32LE(text.byteLength, 8);
  writeFileSync(file, Buffer.concat([bytes.subarray(0, 12), text, bytes.subarray(bodyAt)]));
};
const take = async ({ world, stationId, technician }: Place, file: string) =>
  world.done(await world.call('knowledge.import', { stationId, file }, technician));

describe('a corrected label', () => {
  test('is un-learnt exactly by the next update: as if it had been right from the start, and back again', async () => {
    const files = (['plain', 'stripes', 'dots'] as const).flatMap((surface, s) =>
      [0, 1, 2, 3].map((i) => ({ surface, name: `${i}.png`, pixels: picture(surface, 100 * s + i) })),
    );
    let moved = '';
    /** @param wrong the class that the last picture of dots is labelled as */
    const taught = async (wrong: Surface): Promise<Place> => {
      const place = await open();
      const path = join(folder, `as-${wrong}`);
      for (const [i, { surface, name, pixels }] of files.entries()) {
        const last = i === files.length - 1;
        moved = (await writePicture(join(path, last ? wrong : surface, last ? 'last.png' : name), pixels)).sha;
      }
      const { world, stationId, technician } = place;
      await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
      return place;
    };
    const headAfterUpdate = async ({ world, stationId, technician }: Place): Promise<Buffer> => {
      const { result } = await world.done(await world.call('knowledge.update', { stationId }, technician));
      return readFileSync(join(world.home, 'knowledge', result[0]!, 'head.f64'));
    };
    const right = await headAfterUpdate(await taught('dots'));
    const place = await taught('stripes');
    const { world, stationId, technician } = place;
    const wrong = await headAfterUpdate(place);
    expect(wrong.equals(right)).toBe(false);

    const labelled = await world.call('labels.list', { stationId, classId: 'c-stripes' }, technician);
    const partIds = labelled.filter(({ imageSha }) => imageSha === moved).map(({ partId }) => partId);
    expect(partIds).toHaveLength(1);
    await world.call('labels.create', { partIds, classId: 'c-dots' }, technician);
    expect(await world.call('labels.summary', { stationId })).toMatchObject({ fresh: 1 });
    expect((await headAfterUpdate(place)).equals(right)).toBe(true);
    await world.call('labels.undo', { stationId }, technician);
    expect((await headAfterUpdate(place)).equals(wrong)).toBe(true);
    // Sent back, it teaches nothing at all; given back, the same as before.
    await world.call('labels.leaveOut', { partIds, toQueue: true }, technician);
    expect(await world.call('labels.summary', { stationId })).toMatchObject({ takenAway: true });
    await headAfterUpdate(place);
    expect(await counts(place)).toEqual({ 'c-dots': 3, 'c-plain': 4, 'c-stripes': 4 });
    await world.call('labels.undo', { stationId }, technician);
    expect((await headAfterUpdate(place)).equals(wrong)).toBe(true);
    expect((await world.done(await world.call('knowledge.check', { stationId }, technician))).result).toEqual([]);
  });
});

describe('knowledge by file', () => {
  test('a newer file of a station replaces its earlier one; the same one twice is refused', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 4, stripes: 4 });
    await teach(there, { plain: 3, dots: 3 });
    const first = await exportTo(there, 'first');
    await take(here, first);
    expect(await counts(here)).toEqual({ 'c-dots': 3, 'c-plain': 7, 'c-stripes': 4 });
    await expect(take(here, first)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await teach(there, { dots: 2 });
    await take(here, await exportTo(there, 'second'));
    // Written again over itself, and over nothing else.
    await exportTo(there, 'second');
    writeFileSync(join(folder, 'mine'), 'of somebody');
    await expect(exportTo(there, 'mine')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    const late = join(folder, 'late');
    there.whileLearning.push(() => writeFileSync(late, 'of somebody'));
    const { world: other, stationId: from, technician: exporter } = there;
    const before = await other.call('knowledge.update', { stationId: from }, exporter);
    const waits = await other.call('knowledge.export', { stationId: from, file: late }, exporter);
    await other.done(before);
    await expect(other.done(waits)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    expect(readFileSync(late, 'utf8')).toBe('of somebody');
    expect(await counts(here)).toEqual({ 'c-dots': 5, 'c-plain': 7, 'c-stripes': 4 });
    // A class that nobody here has labels of any more goes with what the file says of it, and stays away.
    const { world, stationId, technician } = here;
    await world.done(await world.call('knowledge.forgetClass', { stationId, classId: 'c-plain' }, technician));
    expect(await counts(here)).toEqual({ 'c-dots': 5, 'c-stripes': 4 });
    await teach(here, { stripes: 1 });
    expect(await counts(here)).toEqual({ 'c-dots': 5, 'c-stripes': 5 });
    // A class that came with it is an entry of its own.
    const { entries } = await here.world.call('audit.list', {});
    expect(entries.find(({ action, subject }) => action === 'classes.create' && subject === 'c-dots')?.user).toBe(
      here.technician.user!.name,
    );
    // Killed while one file took the place of another: the next start has one of the two, and nothing beside it.
    const added = join(here.world.home, 'knowledge', 'added', here.stationId, 'bb-one');
    const [name] = readdirSync(added);
    await here.world.core.close();
    renameSync(join(added, name!), join(added, `${name}.before`));
    for (const end of ['.new', '.new.0a.tmp', '.0b.tmp']) writeFileSync(join(added, `${name}${end}`), 'half');
    await here.world.reopen();
    expect(readdirSync(added)).toEqual([name]);
  });

  test('a power cut while a file is being learnt leaves nothing of it, and the one before it', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 4, stripes: 4 });
    await teach(there, { plain: 3, dots: 3 });
    const first = await exportTo(there, 'first');
    await teach(there, { dots: 2 });
    const second = await exportTo(there, 'second');
    /** By somebody who signs in after a start. */
    const updated = async (place: Place): Promise<Place> => {
      const { world, stationId } = place;
      const session = world.core.openSession();
      await world.call('session.signIn', { name: 'tanaka', password: PASSWORD }, session);
      await world.done(await world.call('knowledge.update', { stationId }, session));
      return place;
    };
    /** What the next start and the next update find of a home whose power goes while it learns. */
    const cut = async (file: string) => {
      const copy = `${here.world.home}-${basename(file)}`;
      here.whileLearning.push(() => cpSync(here.world.home, copy, { recursive: true }));
      await take(here, file);
      return counts(await updated(await open(copy)));
    };
    expect(await cut(first)).toEqual({ 'c-plain': 4, 'c-stripes': 4 });
    expect(await counts(here)).toEqual({ 'c-dots': 3, 'c-plain': 7, 'c-stripes': 4 });
    expect(await cut(second)).toEqual({ 'c-dots': 3, 'c-plain': 7, 'c-stripes': 4 });
    expect(await counts(here)).toEqual({ 'c-dots': 5, 'c-plain': 7, 'c-stripes': 4 });
    await here.world.reopen();
    expect(await counts(await updated(here))).toEqual({ 'c-dots': 5, 'c-plain': 7, 'c-stripes': 4 });
  });

  test('a file whose import cannot be noted is not learnt, and the one before it stays', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 4, stripes: 4 });
    await teach(there, { plain: 3, dots: 3 });
    await take(here, await exportTo(there, 'first'));
    await teach(there, { dots: 2 });
    const second = await exportTo(there, 'second');
    const edit = async (sql: string): Promise<void> => {
      await here.world.core.close();
      const db = new Sqlite(join(here.world.home, 'mekiki.sqlite'));
      db.exec(sql);
      db.close();
      await here.world.reopen();
    };
    const refuse = `BEFORE INSERT ON audit WHEN NEW.action = 'knowledge.import' BEGIN SELECT RAISE(ABORT, 'no room'); END`;
    await edit(`CREATE TRIGGER not_noted ${refuse}`);
    await expect(take(here, second)).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await counts(here)).toEqual({ 'c-dots': 3, 'c-plain': 7, 'c-stripes': 4 });
    await edit('DROP TRIGGER not_noted');
    await take(here, second);
    expect(await counts(here)).toEqual({ 'c-dots': 5, 'c-plain': 7, 'c-stripes': 4 });
  });

  test('candidates know what a file brought, by the classes of today, and move on as bundles', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 12, stripes: 12 });
    await teach(there, { plain: 3, dots: 12, scratch: 2 });
    await take(here, await exportTo(there, 'dots'));
    const { world, stationId, technician } = here;
    // The newest knowledge still tells the two apart.
    await world.call('classes.merge', { from: 'c-scratch', into: 'c-plain' }, technician);
    await world.done(await world.call('candidates.create', { stationId, timeBudgetS: 10 }, technician));
    const candidates = await world.call('candidates.list', { stationId });
    const { id } = candidates.find(({ strategy, precision }) => strategy === 'none' && precision === 'fp32')!;
    const whole = await world.call('candidates.show', { candidateId: id });
    expect(whole.evidence.sumsOfOthers).toMatchObject({
      classes: [
        { classId: 'c-dots', parts: 12, here: 0 },
        { classId: 'c-plain', parts: 5, here: 12 },
      ],
      map: null,
    });
    expect(whole.evidence.perClass.map(({ classId, n }) => [classId, n])).toEqual([
      ['c-dots', 0],
      ['c-plain', 12],
      ['c-stripes', 12],
    ]);
    const file = join(folder, 'model.mekiki');
    await world.call('bundles.export', { candidateId: whole.id, file });
    const { installation } = await there.world.call('bundles.verify', { file });
    await there.world.call('bundles.trust', { key: installation });
    const taken = await there.world.call('bundles.import', { stationId: there.stationId, file });
    expect(taken.evidence).toEqual(whole.evidence);

    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const today = { 'c-dots': 12, 'c-plain': 17, 'c-stripes': 12 };
    expect(await counts(here)).toEqual(today);
    const { header } = await readExportHeader(await exportTo(here, 'all'));
    expect(Object.fromEntries(header.classes.map(({ classId, count }) => [classId, count]))).toEqual(today);
  });

  test('a demo and a real data folder learn nothing from each other', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 3, stripes: 3 });
    await teach(there, { plain: 3, dots: 3 });
    const real = await exportTo(here, 'real');
    const mark = join(there.world.home, 'mekiki.json');
    writeFileSync(mark, readFileSync(mark, 'utf8').replace('"demo": false', '"demo": true'));
    await there.world.reopen();
    const demo = { ...there, technician: there.world.core.openSession() };
    await there.world.call('session.signIn', { name: 'tanaka', password: PASSWORD }, demo.technician);
    const made = await exportTo(demo, 'demo');
    const classes = await here.world.call('classes.list', {});
    for (const [place, file, state] of [
      [here, made, 'made in a demo'],
      [demo, real, 'made in a real data folder'],
    ] as const)
      await expect(take(place, file)).rejects.toMatchObject({ code: 'CONFLICT', details: { what: file, state } });
    expect(await here.world.call('classes.list', {})).toEqual(classes);
  });

  test('images that would count twice are refused: own ones that come back, and those of a third station in two files', async () => {
    const [a, b, c] = [await open(), await open(), await open()];
    await teach(a, { plain: 3, stripes: 3 });
    await teach(b, { plain: 3, dots: 3 });
    await teach(c, { plain: 3, scratch: 3 });
    const ofA = await exportTo(a, 'a');
    await expect(take(a, ofA)).rejects.toMatchObject({ code: 'CONFLICT' });
    await take(b, ofA);
    const ofAandB = await exportTo(b, 'a-and-b');
    await expect(take(a, ofAandB)).rejects.toMatchObject({ code: 'CONFLICT' });
    await take(c, ofAandB);
    const before = await counts(c);
    expect(before).toMatchObject({ 'c-plain': 9 });
    await expect(take(c, ofA)).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await counts(c)).toEqual(before);
  });

  test('a file that says it comes from a place outside its folder is no such file', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 3, stripes: 3 });
    await teach(there, { plain: 3, dots: 3 });
    const file = await exportTo(there, 'hostile');
    const bytes = readFileSync(file);
    const at = bytes.indexOf(`"station":"${there.stationId}"`);
    expect(at).toBeGreaterThan(0);
    bytes.write('"station":"../../../a"', at, 'utf8');
    writeFileSync(file, bytes);
    await expect(take(here, file)).rejects.toMatchObject({ code: 'KNOWLEDGE_UNREADABLE' });
  });

  test('nor is one that names no station and takes a place for its hash: it would lie with what another station learns', async () => {
    const here = await open();
    await teach(here, { plain: 3, stripes: 3 });
    const added = join(here.world.home, 'knowledge', 'added');
    for (const bodySha256 of ['../../another/bb-one/x', join(folder, 'outside')]) {
      const file = await exportTo(here, 'hostile');
      await describedAs(file, (header) => ({ ...header, source: undefined, bodySha256 }));
      await expect(take(here, file)).rejects.toMatchObject({ code: 'KNOWLEDGE_UNREADABLE' });
      rmSync(file);
    }
    expect(existsSync(added) ? readdirSync(added, { recursive: true }) : []).toEqual([]);
    expect(existsSync(join(folder, 'outside.knowledge'))).toBe(false);
  });

  test('a class whose id this home could not read again is not taken in', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 3, stripes: 3 });
    await teach(there, { plain: 3, dots: 3 });
    const file = await exportTo(there, 'long');
    await describedAs(file, ({ classes, ...header }) => ({
      ...header,
      classes: classes.map((each) => (each.classId === 'c-dots' ? { ...each, classId: `c-${'x'.repeat(100)}` } : each)),
    }));
    await expect(take(here, file)).rejects.toMatchObject({ code: 'KNOWLEDGE_UNREADABLE' });
    expect(await here.world.call('classes.list', {})).toHaveLength(3);
  });

  test('what is no knowledge file, or a damaged one, is named and changes nothing', async () => {
    const [here, there] = [await open(), await open()];
    await teach(here, { plain: 3, stripes: 3 });
    await teach(there, { plain: 3, dots: 3 });
    const file = await exportTo(there, 'whole');
    const whole = readFileSync(file);
    const before = await here.world.call('knowledge.show', { stationId: here.stationId });
    const flipped = Buffer.from(whole);
    flipped[flipped.length - 100]! ^= 1;
    for (const [bytes, code, problem] of [
      [Buffer.alloc(0), 'KNOWLEDGE_UNREADABLE', /empty/],
      [Buffer.from('two classes of dents, I think'), 'KNOWLEDGE_UNREADABLE', /beginning/],
      [whole.subarray(0, 6), 'KNOWLEDGE_UNREADABLE', /beginning/],
      [whole.subarray(0, 40), 'KNOWLEDGE_UNREADABLE', /cut short/],
      [whole.subarray(0, whole.length - 8), 'KNOWLEDGE_UNREADABLE', /bytes/],
      [flipped, 'BUNDLE_ALTERED', /hash/],
    ] as const) {
      writeFileSync(file, bytes);
      await expect(take(here, file)).rejects.toMatchObject({ code, message: expect.stringMatching(problem) });
      expect(await here.world.call('knowledge.show', { stationId: here.stationId })).toEqual(before);
    }
    if (process.platform !== 'win32') {
      const pipe = join(folder, 'pipe');
      execFileSync('mkfifo', [pipe]);
      for (const [path, problem] of [
        [pipe, 'it is no file'],
        [folder, 'it is a folder'],
      ] as const)
        await expect(take(here, path)).rejects.toMatchObject({ code: 'KNOWLEDGE_UNREADABLE', details: { problem } });
    }
    // Two ids for one name, here or in the file itself: nobody could tell which of them is meant.
    const rename = (classId: string, name: string) =>
      there.world.call('classes.rename', { classId, names: { en: name, ja: name } }, there.technician);
    await teach(there, { scratch: 2 });
    await rename('c-dots', 'Kerb');
    await rename('c-scratch', 'Kert');
    await exportTo(there, 'named');
    const named = readFileSync(join(folder, 'named'), 'latin1');
    const alike = join(folder, 'alike');
    writeFileSync(alike, named.replaceAll('"Kert"', '"kERB"'), 'latin1');
    const made = await here.world.call('classes.create', { names: { en: 'ＫＥＲＢ', ja: '' } }, here.technician);
    const classes = await here.world.call('classes.list', {});
    const refused = { code: 'ALREADY_EXISTS', message: expect.stringMatching(/kerb/i) };
    await expect(take(here, join(folder, 'named'))).rejects.toMatchObject(refused);
    const other = { classId: made.id, names: { en: 'Other', ja: '' } };
    const renamed = await here.world.call('classes.rename', other, here.technician);
    await expect(take(here, alike)).rejects.toMatchObject(refused);
    expect(await here.world.call('classes.list', {})).toEqual(
      classes.map((each) => (each.id === made.id ? renamed : each)),
    );
    // None of them stays behind: the next update is as good as the last.
    await teach(here, { plain: 1 });
    expect(await counts(here)).toEqual({ 'c-plain': 4, 'c-stripes': 3 });
  });
});

describe('knowledge of a station of the same home', () => {
  const another = async (place: Place, name: string): Promise<Place> => {
    const camera = (await place.world.call('stations.list', {}))[0]!.camera;
    const { id } = await place.world.call('stations.add', { name, camera });
    return { ...place, stationId: id };
  };
  /** A second station of the home that has learnt such pictures; `folder` of them. */
  const beside = async (here: Place, classes: Partial<Record<Surface, number>>) => {
    const place = await another(here, 'Second');
    await teach(place, classes);
    return { ...place, folder: join(folder, `set-${seeds}`) };
  };
  const merge = async ({ world, stationId, technician }: Place, { stationId: fromStationId }: Place) =>
    world.done(await world.call('knowledge.merge', { stationId, fromStationId }, technician));
  const update = async ({ world, stationId, technician }: Place) =>
    world.done(await world.call('knowledge.update', { stationId }, technician));
  /** Some pictures of a class alone, in a folder of their own. */
  const some = (from: string, surface: Surface, names: string[]): string => {
    const path = join(folder, `some-${(seeds += 1)}`);
    for (const name of names) cpSync(join(from, surface, `${name}.png`), join(path, surface, `${name}.png`));
    return path;
  };
  const label = async ({ world, stationId, technician }: Place, path: string) =>
    world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  const fileOf = ({ world, stationId }: Place, from: Place) =>
    join(world.home, 'knowledge', 'added', stationId, 'bb-one', `station-${from.stationId}.knowledge`);

  test('a picture that is labelled here after the merge is learnt once, and a file for others says nothing of pictures', async () => {
    const here = await open();
    await teach(here, { plain: 4, stripes: 4 });
    const there = await beside(here, { plain: 3, dots: 4 });
    await merge(here, there);
    expect(await counts(here)).toEqual({ 'c-dots': 4, 'c-plain': 7, 'c-stripes': 4 });
    const before = (await readExportHeader(fileOf(here, there))).header;
    expect(before.images).toHaveLength(7);

    await label(here, some(there.folder, 'dots', ['0', '1']));
    // Before an export too: their features are there already.
    const { header } = await readExportHeader(await exportTo(here, 'both'));
    expect(header.classes.map(({ classId, count }) => [classId, count])).toEqual([
      ['c-dots', 4],
      ['c-plain', 7],
      ['c-stripes', 4],
    ]);
    expect(header.images).toBeUndefined();
    await update(here);
    expect(await counts(here)).toEqual({ 'c-dots': 4, 'c-plain': 7, 'c-stripes': 4 });
    const after = (await readExportHeader(fileOf(here, there))).header;
    expect(after.images).toEqual(before.images!.filter((sha) => after.images!.includes(sha)));
    expect(after.images).toHaveLength(5);
    const trail = join(folder, 'trail.jsonl');
    await here.world.call('audit.export', { file: trail });
    const entries = readFileSync(trail, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { action: string; details: unknown });
    // Whoever labelled them there has labelled for this model: four eyes go by it.
    const learnt = entries.findLast(({ action }) => action === 'knowledge.update')!.details as { labelledBy: object };
    expect(Object.values(learnt.labelledBy)).toEqual([15]);
    expect(entries.filter(({ action }) => action === 'knowledge.takeOut').map(({ details }) => details)).toEqual([
      { fromStationId: there.stationId, before: 7, left: 5 },
    ]);
    // All of them: nothing is left of the file.
    await label(here, there.folder);
    await update(here);
    expect(await counts(here)).toEqual({ 'c-dots': 4, 'c-plain': 7, 'c-stripes': 4 });
    expect(readdirSync(join(fileOf(here, there), '..'))).toEqual([]);
  });

  test('whoever labelled what was merged counts for it, also when the labels are taken away there', async () => {
    const here = await open();
    await teach(here, { plain: 4, stripes: 4 });
    const there = await another(here, 'Second');
    await teach({ ...there, technician: here.world.session }, { plain: 6, dots: 6 });
    await merge(here, there);
    const { world, stationId, technician } = here;
    const labels = await world.call('labels.list', { stationId: there.stationId });
    await world.call('labels.leaveOut', { partIds: labels.map(({ partId }) => partId) });
    await update(here);
    expect(await counts(here)).toEqual({ 'c-dots': 6, 'c-plain': 10, 'c-stripes': 4 });
    await world.done(await world.call('candidates.create', { stationId, timeBudgetS: 10 }, technician));
    const [candidate] = await world.call('candidates.list', { stationId });
    expect((await world.call('candidates.labelledBy', { candidateId: candidate!.id })).people).toEqual([
      { name: 'sato', parts: 12 },
      { name: 'tanaka', parts: 8 },
    ]);
  });

  test('a file that was merged before files named their pictures is written again, whatever backbone the other has now', async () => {
    const here = await open();
    await teach(here, { plain: 4, stripes: 4 });
    const there = await beside(here, { plain: 3, dots: 4 });
    await merge(here, there);
    const file = fileOf(here, there);
    const { images: _, ...header } = (await readExportHeader(file)).header;
    const bytes = readFileSync(file);
    const text = Buffer.from(JSON.stringify(header));
    const { bodyAt } = await readExportHeader(file);
    bytes.writeUInt32LE(text.byteLength, 8);
    writeFileSync(file, Buffer.concat([bytes.subarray(0, 12), text, bytes.subarray(bodyAt)]));
    await here.world.call('stations.update', { stationId: there.stationId, backboneId: 'bb-two' });
    await label(here, some(there.folder, 'dots', ['2']));
    await update(here);
    expect(await counts(here)).toEqual({ 'c-dots': 4, 'c-plain': 7, 'c-stripes': 4 });
    expect((await readExportHeader(file)).header.images).toHaveLength(6);
  });

  test('pictures that two others have are learnt once; views that are not learnt anew are named and not lost', async () => {
    const here = await open();
    await teach(here, { plain: 4, stripes: 4 });
    const there = await beside(here, { plain: 3, dots: 4 });
    await merge(here, there);
    const third = await another(here, 'Third');
    await label(third, there.folder);
    await teach(third, { dots: 1 });
    await merge(here, third);
    expect(await counts(here)).toEqual({ 'c-dots': 5, 'c-plain': 7, 'c-stripes': 4 });

    const { recipe } = (await here.world.call('stations.list', {})).find(({ id }) => id === there.stationId)!;
    await here.world.call('stations.update', {
      stationId: there.stationId,
      recipe: { ...recipe, rotation: 90 },
    });
    await label(here, some(there.folder, 'dots', ['0']));
    await expect(update(here)).rejects.toMatchObject({
      code: 'CONFLICT',
      details: { what: 'knowledge of station Second', needed: 'an update of station Second first' },
    });
    expect((await readExportHeader(fileOf(here, there))).header.images).toHaveLength(7);
  });

  test('a golden picture never teaches: neither by a merge nor afterwards, and what was learnt with it is a leak', async () => {
    const here = await open();
    const { world, stationId, technician } = here;
    await teach(here, { plain: 12, stripes: 12 });
    const there = await beside(here, { plain: 3, dots: 12 });
    const golden = async (path: string) => world.done(await world.call('golden.add', { stationId, path }));
    await golden(some(there.folder, 'dots', ['0']));
    await merge(here, there);
    expect(await counts(here)).toEqual({ 'c-dots': 11, 'c-plain': 15, 'c-stripes': 12 });

    await golden(some(there.folder, 'dots', ['1', '2']));
    await world.done(await world.call('candidates.create', { stationId, timeBudgetS: 10 }, technician));
    const [candidate] = await world.call('candidates.list', { stationId });
    expect(candidate!.evidence.sumsOfOthers).toMatchObject({
      unlisted: 0,
      classes: [
        { classId: 'c-dots', parts: 9, here: 0 },
        { classId: 'c-plain', parts: 3, here: 12 },
      ],
    });
    expect(candidate!.evidence.basis).not.toContain('by file');
    // The knowledge that it is of had learnt two of the three.
    await world.done(await world.call('candidates.golden', { candidateId: candidate!.id }, technician));
    const judged = await world.call('candidates.show', { candidateId: candidate!.id });
    expect(judged.golden).toMatchObject({ leaks: 2, images: 1 });
    await update(here);
    expect(await counts(here)).toEqual({ 'c-dots': 9, 'c-plain': 15, 'c-stripes': 12 });
  });

  test('look-alikes of what another station taught teach here too, and do not judge', async () => {
    const here = await open();
    const { world, stationId } = here;
    await teach(here, { stripes: 2, scratch: 2 });
    const there = await beside(here, { plain: 13, dots: 2 });
    await merge(here, there);
    const brighter = async (n: number, to: string) => {
      const image = picture('plain', 1000 * seeds + n);
      await writePicture(join(folder, to, 'plain', `${n}.png`), { ...image, data: image.data.map((v) => v + 9) });
    };
    for (let n = 0; n < 12; n += 1) await brighter(n, 'to-label');
    await brighter(12, 'to-judge');
    await label(here, join(folder, 'to-label'));
    await world.call('golden.setFilling', { stationId, on: true });
    await update(here);
    expect(await counts(here)).toEqual({ 'c-dots': 2, 'c-plain': 25, 'c-scratch': 2, 'c-stripes': 2 });
    const path = join(folder, 'to-judge');
    const { skipped } = await world.done(await world.call('golden.add', { stationId, path }));
    expect(skipped).toMatchObject([{ code: 'GOLDEN_LEAK' }]);
    expect(await world.call('golden.show', { stationId })).toBeNull();
  });

  test('comes by a merge and not by a file', async () => {
    const here = await open();
    await teach(here, { plain: 4, stripes: 4 });
    const there = await beside(here, { plain: 3, dots: 4 });
    await expect(take(here, await exportTo(there, 'own'))).rejects.toMatchObject({
      code: 'CONFLICT',
      details: { what: 'knowledge of station Second', needed: 'a merge with that station, without a file' },
    });
    // A station without a label of its own learns from it as well.
    const bare = await another(here, 'Third');
    const summary = () => here.world.call('labels.summary', { stationId: bare.stationId });
    expect(await summary()).toMatchObject({ canLearn: false });
    await merge(bare, there);
    expect(await summary()).toMatchObject({ fresh: 0, canLearn: true });
  });
});

describe('another backbone', () => {
  test('learns from all labels with the next update; what was learnt with the first is there again when it comes back', async () => {
    const place = await open();
    const { world, stationId, technician } = place;
    await teach(place, { plain: 5, stripes: 5 });
    const first = (await world.call('knowledge.show', { stationId }))!;
    await world.call('stations.update', { stationId, backboneId: 'bb-two' });
    await expect(world.call('stations.update', { stationId, backboneId: 'bb-none' })).rejects.toMatchObject({
      code: 'BACKBONE_MISSING',
    });
    // The newest knowledge is of the first one: no model can be made of it.
    const job = await world.call('candidates.create', { stationId }, technician);
    await expect(world.done(job)).rejects.toMatchObject({ code: 'KNOWLEDGE_OF_OTHER_BACKBONE' });

    await teach(place, { dots: 5 });
    const second = (await world.call('knowledge.show', { stationId }))!;
    expect([first.backboneId, second.backboneId]).toEqual(['bb-one', 'bb-two']);
    expect(second.classes).toHaveLength(3);

    await world.call('stations.update', { stationId, backboneId: 'bb-one' });
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const third = (await world.call('knowledge.show', { stationId }))!;
    const fresh = await open();
    // The same pictures in one go, by somebody who never had the second backbone: the same to the last bit.
    const path = join(folder, `set-${seeds - 1}`);
    await fresh.world.done(
      await fresh.world.call('import.start', { stationId: fresh.stationId, path, asLabels: true }, fresh.technician),
    );
    await fresh.world.done(
      await fresh.world.call(
        'import.start',
        { stationId: fresh.stationId, path: join(folder, `set-${seeds}`), asLabels: true },
        fresh.technician,
      ),
    );
    await fresh.world.done(
      await fresh.world.call('knowledge.update', { stationId: fresh.stationId }, fresh.technician),
    );
    const other = (await fresh.world.call('knowledge.show', { stationId: fresh.stationId }))!;
    const headOf = (home: string, id: string) => readFileSync(join(home, 'knowledge', id, 'head.f64'));
    expect(headOf(world.home, third.id).equals(headOf(fresh.world.home, other.id))).toBe(true);
  });
});

describe('the recompute check', () => {
  test('finds nothing in sums that were added to and taken from', async () => {
    const place = await open();
    const { world, stationId, technician } = place;
    await teach(place, { plain: 40, stripes: 5 });
    await teach(place, { plain: 3 });
    const [label] = await world.call('labels.list', { stationId, classId: 'c-plain' }, technician);
    await world.done(await world.call('knowledge.forget', { stationId, imageSha: label!.imageSha }, technician));
    const { result } = await world.done(await world.call('knowledge.check', { stationId }, technician));
    expect(result).toEqual([]);
  });

  test('is refused where there is nothing that it could compare', async () => {
    const place = await open();
    const { world, stationId, technician } = place;
    const check = async () => world.done(await world.call('knowledge.check', { stationId }, technician));
    await expect(check()).rejects.toMatchObject({ code: 'NO_KNOWLEDGE' });
    await teach(place, { plain: 3, stripes: 3 });
    expect((await check()).result).toEqual([]);
    const [station] = await world.call('stations.list', {});
    await world.call('stations.update', { stationId, recipe: { ...station!.recipe, rotation: 90 } });
    await expect(check()).rejects.toMatchObject({ code: 'CONFLICT' });
    await world.call('stations.update', { stationId, backboneId: 'bb-two' });
    await expect(check()).rejects.toMatchObject({ code: 'KNOWLEDGE_OF_OTHER_BACKBONE' });
  });

  test('finds nothing where an update was cancelled after its sums, and the frames were turned since', async () => {
    const place = await open();
    const { world, stationId, technician } = place;
    const path = join(folder, 'first');
    for (const [surface, count] of [
      ['plain', 4],
      ['stripes', 40],
    ] as const)
      for (let i = 0; i < count; i += 1)
        await writePicture(join(path, surface, `${i}.png`), picture(surface, 5000 + i));
    await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
    const learnt = Promise.withResolvers<void>();
    place.afterLearning = () => {
      learnt.resolve();
      return new Promise(() => {});
    };
    const job = await world.call('knowledge.update', { stationId }, technician);
    await learnt.promise;
    await world.call('jobs.cancel', { jobId: job.id }, technician);
    expect((await world.done(job)).state).toBe('cancelled');
    place.afterLearning = async () => {};
    const [station] = await world.call('stations.list', {});
    const recipe = { ...station!.recipe, rotation: 90 as const };
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    await world.call('stations.update', { stationId, recipe });
    await world.done(await world.call('knowledge.update', { stationId }, technician));
    const { result } = await world.done(await world.call('knowledge.check', { stationId }, technician));
    expect(result).toEqual([]);
  });
});
