import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { activeFileName, activeFolder } from '../../main/audit/activation.ts';
import { AppError } from '../../main/contract/errors.ts';
import { lineRecordSchema, MOST_WAITING_RECORDS } from '../../main/contract/line.ts';
import { lineStatusSchema } from '../../main/contract/domain.ts';
import { openSpool } from '../../main/inspection/spool.ts';
import { encodePng } from '../../main/vision/decode.ts';
import { spoolRecord } from '../helpers/spool-record.ts';
import { createLineHome, lineStation, listenedLine, STATION, until, type LineHome } from './line-home.ts';

let at: LineHome;
let ends: (() => Promise<void>)[] = [];
beforeEach(async () => {
  at = await createLineHome();
});
afterEach(async () => {
  for (const end of ends) await end();
  ends = [];
  at[Symbol.dispose]();
});
const open = () => {
  const made = listenedLine();
  ends.push(() => made.line.dispose());
  return made;
};
const simulated = (over: object = {}) =>
  lineStation({ kind: 'simulated', partsPerMinute: 1800, width: 128, height: 128, ...over });
const grey = (value: number, side = 64) =>
  encodePng({ width: side, height: side, channels: 1, data: new Uint8Array(side * side).fill(value) });

test('the simulated line: verdicts with their pictures, in order, in the spool before anyone hears of them', async () => {
  const line = open();
  const bundle = await at.bundle('m-1');
  // Slow enough that a busy machine gives up no picture: two seconds of them may wait to be stored.
  const station = simulated({ partsPerMinute: 240 });
  expect(lineStatusSchema.parse(await line.configure(at.home, station, bundle))).toMatchObject({
    state: 'stopped',
    modelId: 'm-1',
    problem: null,
  });
  await line.start();
  await until('12 parts are recorded', () => line.records.length >= 12);
  const status = await line.stop();
  expect(status).toMatchObject({ state: 'stopped', camera: 'off', lostRecords: 0 });
  expect(line.records.map((r) => r.seq)).toEqual(line.records.map((_, i) => i + 1));
  expect(status.parts).toBe(line.records.length);
  expect(status.ok + status.ng + status.unsure).toBe(status.parts);
  const [first] = line.records;
  expect(lineRecordSchema.parse(first).judgement).toMatchObject({ modelId: 'm-1', errorCode: null });
  expect(first!.judgement.latencyMs).toBeGreaterThan(0);
  for (const { imageSha } of line.records) {
    const file = readFileSync(join(at.home, 'images', imageSha!.slice(0, 2), `${imageSha}.png`));
    expect(createHash('sha256').update(file).digest('hex')).toBe(imageSha);
  }
  const spooled = readFileSync(join(at.home, 'spool', 'st-1.ndjson'), 'utf8');
  expect(spooled.match(/"seq":/g)).toHaveLength(line.records.length);
  expect(line.states.some((s) => s.state === 'running' && s.camera === 'well')).toBe(true);
});

/** What a line recorded while its core was away. */
const recordedBefore = (parts: number) => {
  using spool = openSpool({ dir: join(at.home, 'spool'), stationId: STATION, acknowledged: 0 });
  for (let seq = 1; seq <= parts; seq += 1) spool.append(spoolRecord(seq));
};

test('a core that was away for longer is told no more at a time than can wait in it, and the rest when it asks again', async () => {
  const last = MOST_WAITING_RECORDS + 1_000;
  recordedBefore(last);
  const line = open();
  await line.configure(at.home, simulated(), null);
  const told = line.records.length;
  // One more at least: the core knows by it that there are others.
  expect(told).toBeGreaterThan(MOST_WAITING_RECORDS);
  expect(told).toBeLessThan(last);
  await line.configure(at.home, simulated(), null, MOST_WAITING_RECORDS);
  expect(line.records.slice(0, told).map(({ seq }) => seq)).toEqual(Array.from({ length: told }, (_, i) => i + 1));
  expect(line.records.slice(told).map(({ seq }) => seq)).toEqual(
    Array.from({ length: last - MOST_WAITING_RECORDS }, (_, i) => MOST_WAITING_RECORDS + 1 + i),
  );
});

test('a core that was away for long is told again in short steps, between the parts, and what is new after it', async () => {
  const old = 5_000;
  recordedBefore(old);
  const line = open();
  const bundle = await at.bundle('m-1');
  await line.configure(at.home, simulated(), bundle);
  expect(line.records).toHaveLength(old);
  await line.start();
  await until('parts', () => line.records.length >= old + 2);
  const before = line.records.length;
  /** In which this thread was free while records were told again. */
  let turns = 0;
  let looks = true;
  const look = () => {
    if (line.records.length > before && line.records.at(-1)!.seq < old) turns += 1;
    if (looks) setImmediate(look);
  };
  look();
  await line.configure(at.home, simulated(), bundle);
  looks = false;
  expect(turns).toBeGreaterThan(5);
  await until('newer parts', () => line.records.at(-1)!.seq > before + 5);
  const told = line.records.slice(before).map(({ seq }) => seq);
  // What came before the line was asked.
  const again = told.slice(told.indexOf(1));
  expect(again).toEqual(again.map((_, i) => i + 1));
});

test('without a model, and with one that nobody approved, every part is unsure', async () => {
  const line = open();
  await line.configure(at.home, simulated(), null);
  await line.start();
  await until('parts', () => line.records.length >= 3);
  expect(line.records.every((r) => r.judgement.unsureReason === 'no-model')).toBe(true);
  const loose = await at.bundle('m-loose', { approve: false });
  await expect(line.activate(loose)).rejects.toMatchObject({ code: 'NOT_APPROVED' });
  const elsewhere = await at.bundle('m-elsewhere', { stationId: 'st-2' });
  await expect(line.activate(elsewhere)).rejects.toMatchObject({ code: 'NOT_APPROVED' });
  const told = await line.configure(at.home, simulated(), loose);
  expect(told.problem).toMatchObject({ code: 'NOT_APPROVED' });
  const before = line.records.length;
  await until('more parts', () => line.records.length >= before + 3);
  expect(line.records.every((r) => r.judgement.verdict === 'unsure')).toBe(true);
});

test('hot swap between two parts; an altered bundle leaves the old model running, and is refused at the next start', async () => {
  const line = open();
  const [one, two] = [await at.bundle('m-1'), await at.bundle('m-2')];
  await line.configure(at.home, simulated({ partsPerMinute: 3000 }), one);
  await line.start();
  await until('parts', () => line.records.length >= 10);
  const altered = await at.bundle('m-3');
  appendFileSync(join(altered, 'model.onnx'), '\0');
  await expect(line.activate(altered)).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
  expect(line.status().modelId).toBe('m-1');
  await line.activate(two);
  await until('parts of the new model', () => line.records.filter((r) => r.judgement.modelId === 'm-2').length >= 10);
  const models = line.records.map((r) => r.judgement.modelId);
  expect(models.indexOf('m-2')).toBeGreaterThan(9);
  expect(models.lastIndexOf('m-1')).toBe(models.indexOf('m-2') - 1);
  expect(line.records.every((r) => r.judgement.errorCode === null)).toBe(true);
  await line.stop();
  writeFileSync(join(two, 'model.json'), readFileSync(join(two, 'model.json'), 'utf8').replace('0.6', '0.1'));
  expect(await line.start()).toMatchObject({ modelId: null, problem: { code: 'BUNDLE_ALTERED' } });
});

test('a retired model inspects no more, whoever asks for it: at an exchange, at set-up, at start', async () => {
  const line = open();
  const [retired, active] = [await at.bundle('m-1'), await at.bundle('m-2')];
  at.activate(STATION, 'm-2');
  await line.configure(at.home, simulated(), active);
  await line.start();
  await until('parts', () => line.records.length >= 3);
  await expect(line.activate(retired)).rejects.toMatchObject({ code: 'NOT_APPROVED' });
  expect(line.status().modelId).toBe('m-2');
  await line.stop();

  // A supervisor activates the other one, and nothing that the core says afterwards brings the first back.
  at.activate(STATION, 'm-1');
  expect(await line.start()).toMatchObject({ modelId: null, problem: { code: 'NOT_APPROVED' } });
  expect(await line.configure(at.home, simulated(), active)).toMatchObject({ modelId: null });
  await line.stop();
  expect(await line.configure(at.home, simulated(), retired)).toMatchObject({ modelId: 'm-1', problem: null });

  const file = join(activeFolder(at.home), activeFileName(STATION));
  const signed = readFileSync(file, 'utf8');
  for (const forged of [signed.replaceAll('m-1', 'm-2'), signed.replace('"by": "Sato"', '"by": "Mori"'), '{}', '']) {
    writeFileSync(file, forged);
    for (const bundle of [active, retired])
      expect(await line.configure(at.home, simulated(), bundle)).toMatchObject({
        modelId: null,
        problem: { code: 'NOT_APPROVED' },
      });
  }
  rmSync(file);
  expect(await line.configure(at.home, simulated(), active)).toMatchObject({ problem: { code: 'NOT_APPROVED' } });
});

test('the watched folder: verdicts by content, error records told once, numbering goes on after a restart', async () => {
  const folder = join(at.home, 'in');
  mkdirSync(folder);
  const bundle = await at.bundle('m-1');
  const station = lineStation({ kind: 'folder', path: folder, pollMs: 50 });
  writeFileSync(join(folder, '部品 1.png'), await grey(128));
  writeFileSync(join(folder, 'part 2.png'), await grey(200));
  writeFileSync(join(folder, 'part 3.png'), await grey(255));
  writeFileSync(join(folder, 'readme.txt'), 'not a picture');
  const line = open();
  await line.configure(at.home, station, bundle);
  await line.start();
  await until('four records', () => line.records.length >= 4);
  // A file is taken after two polls: the others have been looked at again by then, and are not told twice.
  writeFileSync(join(folder, 'part 4.png'), await grey(129));
  await until('a later one', () => line.records.length >= 5);
  expect(line.records).toHaveLength(5);
  const by = new Map(
    line.records
      .slice(0, 4)
      .map((r) => [`${r.judgement.verdict} ${r.judgement.unsureReason ?? r.judgement.classId}`, r]),
  );
  expect([...by.keys()].sort()).toEqual(['ng bright', 'ok ok', 'unsure error', 'unsure novel']);
  expect(by.get('unsure error')).toMatchObject({
    width: 0,
    imageSha: null,
    judgement: { errorCode: 'IMAGE_UNREADABLE' },
  });
  expect(by.get('unsure error')!.notes[0]).toBe('readme.txt');
  line.acknowledge(2);
  await line.stop();
  await ends.pop()!();

  const again = open();
  const done = join(at.home, 'done');
  const moving = lineStation({ kind: 'folder', path: folder, pollMs: 50, after: 'move', moveTo: done });
  // The core has stored two; the rest is sent again, and nothing is inspected twice.
  expect((await again.configure(at.home, moving, bundle, 2)).lostRecords).toBe(0);
  expect(again.records.map((r) => r.seq)).toEqual([3, 4, 5]);
  expect(again.records.map((r) => r.imageSha)).toEqual(line.records.slice(2).map((r) => r.imageSha));
  await again.start();
  // It cannot be moved away.
  rmSync(done, { recursive: true });
  writeFileSync(done, '');
  writeFileSync(join(folder, 'part 5.png'), await grey(20));
  await until('the new file', () => again.records.length >= 4);
  expect(again.records[3]).toMatchObject({ seq: 6, judgement: { verdict: 'ng', classId: 'dark' } });
  await until('what is wrong with it is shown', () => again.status().problem?.code === 'CAMERA_CONFIG');

  rmSync(folder, { recursive: true });
  await until('the camera is lost', () => again.status().camera === 'fault');
  expect(again.status()).toMatchObject({ state: 'fault', problem: { code: 'CAMERA_LOST' } });
  mkdirSync(folder);
  await until('the camera is back', () => again.status().camera === 'well');
  expect(again.status()).toMatchObject({ state: 'running', problem: null });
});

test('a camera that cannot work is refused at start, and the line can be started after the correction', async () => {
  const line = open();
  const file = join(at.home, 'mekiki.json');
  await line.configure(at.home, lineStation({ kind: 'folder', path: file }), null);
  await expect(line.start()).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
  expect(line.status()).toMatchObject({ state: 'stopped', problem: { code: 'CAMERA_CONFIG' } });
  await line.configure(at.home, simulated(), null);
  await line.start();
  await until('parts', () => line.records.length > 0);
  expect(line.status().problem).toBeNull();
});

test('a full picture folder does not touch the verdicts: no picture, and the problem is shown', async () => {
  const line = open();
  // A file where the folder has to be: what a refusing disk looks like.
  writeFileSync(join(at.home, 'images'), '');
  await line.configure(at.home, simulated(), await at.bundle('m-1'));
  await line.start();
  await until('parts', () => line.records.length >= 5);
  expect(line.records.every((r) => r.imageSha === null && r.judgement.errorCode === null)).toBe(true);
  expect(line.status().problem).not.toBeNull();
});

test('that no picture is to be stored is shown for as long as that holds, whatever was under way', async () => {
  const line = open();
  await line.configure(at.home, simulated({ partsPerMinute: 3000, width: 256, height: 256 }), null);
  await line.start();
  const refused = new AppError('DISK_LOW', { path: at.home, free: 1, what: 'no picture is stored' });
  for (let n = 0; n < 8; n += 1) {
    const before = line.records.length;
    await until('pictures are stored', () => line.records.slice(before).some(({ imageSha }) => imageSha !== null));
    await line.refusePictures(refused);
    const from = line.records.length;
    await until('parts without', () => line.records.slice(from + 4).some(({ imageSha }) => imageSha === null));
    expect(line.status().problem).toMatchObject({ code: 'DISK_LOW' });
    await line.refusePictures(null);
    expect(line.status().problem).toBeNull();
  }
});

test('of ok pictures the last ones stay, and those the core wants kept', async () => {
  const folder = join(at.home, 'in');
  mkdirSync(folder);
  const line = open();
  const station = lineStation({ kind: 'folder', path: folder, pollMs: 50 });
  await line.configure(at.home, station, await at.bundle('m-1'), 0, 2);
  await line.start();
  const shas: string[] = [];
  for (const [i, value] of [128, 129, 127, 126, 230].entries()) {
    writeFileSync(join(folder, `${i}.png`), await grey(value, 40));
    await until(`part ${i}`, () => line.records.length > i);
    shas.push(line.records[i]!.imageSha!);
    if (i === 0) writeFileSync(join(at.home, 'images', shas[0]!.slice(0, 2), `${shas[0]}.keep`), '');
  }
  const there = shas.map((sha) => existsSync(join(at.home, 'images', sha.slice(0, 2), `${sha}.png`)));
  expect(line.records.map((r) => r.judgement.verdict)).toEqual(['ok', 'ok', 'ok', 'ok', 'ng']);
  expect(there).toEqual([true, false, true, true, true]);
  expect(readdirSync(join(at.home, 'spool'))).toContain('st-1.taken');
});
