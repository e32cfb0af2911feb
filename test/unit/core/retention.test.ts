import { existsSync, mkdtempSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { silentLog } from '../../../main/contract/log.ts';
import { retentionSchema, type Retention } from '../../../main/contract/retention.ts';
import type { CoreContext } from '../../../main/core/context.ts';
import type { Session } from '../../../main/core/port.ts';
import { createReportService } from '../../../main/core/reports.ts';
import { createRetentionService, type RetentionService } from '../../../main/core/retention.ts';
import { sweepHome } from '../../../main/core/sweep.ts';
import { checkDatabase, picturesOf } from '../../../main/store/check.ts';
import { nodeFiles, type FilePort } from '../../../main/store/files.ts';
import { databaseFile } from '../../../main/store/home.ts';
import { openStore, type Store } from '../../../main/store/open.ts';
import type { NewPart } from '../../../main/store/parts.ts';
import { newJudgement, newPart, newStation } from '../../store/examples.ts';
import { setUp, startWorld } from './world.ts';

const DAY = 86_400_000;
const START = Date.parse('2026-01-01T00:00:00.000Z');
const supervisor = { user: { id: 'u-1', name: 'sato', role: 'supervisor' } } as Session;
const dayOf = (day: number): string => new Date(START + day * DAY).toISOString();

let base: string;
let store: Store;
let service: RetentionService;
let day: number;
let busy: boolean;
let reconfigured: string[];
let seq: number;

const open = async (files: FilePort = nodeFiles) => {
  store = await openStore({ home: join(base, 'home'), demo: false, now, files });
  await sweepHome(store, silentLog);
  const context = { store, log: silentLog, now, emit: () => {} } as unknown as CoreContext;
  service = createRetentionService(context, {
    jobs: { busy: () => busy },
    lines: { reconfigure: async (id) => void reconfigured.push(id) },
  });
};
const now = () => new Date(START + day * DAY);
/** As a kill leaves it: nothing is ended in order but the connection. */
const die = async () => {
  await service.close();
  store.close();
};
/** Rows of other services, written while nobody has the home. */
const edit = async (sql: string) => {
  await die();
  const db = new Sqlite(databaseFile(join(base, 'home')));
  db.exec(sql);
  db.close();
  await open();
};
const keep = (change: Partial<Retention>, stationId = 'st-1') =>
  service.handlers['retention.set']({ stationId, retention: retentionSchema.parse(change) }, supervisor, signal);
const { signal } = new AbortController();
const preview = (change: Partial<Retention>) =>
  service.handlers['retention.preview'](
    { stationId: 'st-1', retention: retentionSchema.parse(change) },
    supervisor,
    signal,
  );

/** A part with a picture of its own that lies on the disk, stored on that day. */
const add = async (
  at: number,
  verdict: 'ok' | 'ng' | 'unsure' = 'ng',
  change: Partial<NewPart> & { picture?: string } = {},
): Promise<{ id: number; sha: string }> => {
  const { picture, ...rest } = change;
  seq += 1;
  const number = rest.origin === 'import' ? 0 : seq;
  const sha = await store.images.put(Buffer.from(picture ?? `picture ${seq}`));
  const id = store.transaction(() =>
    store.parts.insert(
      newPart({
        seq: number,
        at: dayOf(at),
        imageSha: sha,
        judgement: newJudgement({ verdict, classId: 'ok' }),
        ...rest,
      }),
    ),
  );
  return { id, sha };
};
const lies = (sha: string): boolean => existsSync(store.images.pathOf(sha));
const entries = (action: string) =>
  store.audit
    .list({ limit: 1000 })
    .filter((each) => each.action === action)
    .map(({ details, user, subject }) => ({ user, subject, ...details }));

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'mekiki-retention-'));
  day = 100;
  busy = false;
  reconfigured = [];
  seq = 0;
  await open();
  store.stations.insert(newStation(), now());
  store.stations.insert(newStation({ id: 'st-2', name: 'Line 2' }), now());
  await edit(`
    INSERT INTO users (id, name, name_key, role, public_key, locked_private_key, certificate, created_at)
      VALUES ('u-1', 'sato', 'sato', 'supervisor', 'p', 'l', '{}', '${dayOf(0)}');
    INSERT INTO classes (id, name_en, name_ja, is_ok, color, position, created_at) VALUES ('ok', 'OK', '良品', 1, 1, 1, '${dayOf(0)}');
    INSERT INTO knowledge (id, station_id, backbone_id, created_at, classes, lambda, balancing, seconds, position)
      VALUES ('k-1', 'st-1', 'bb-1', '${dayOf(0)}', '[]', 1, 0, 1, 1);`);
});
afterEach(async () => {
  await die();
  rmSync(base, { recursive: true, force: true });
});

const label = (sha: string, partId: number) =>
  store.labels.set({
    stationId: 'st-1',
    imageSha: sha,
    classId: 'ok',
    boxes: [],
    partId,
    userId: 'u-1',
    at: dayOf(1),
    learntClassId: null,
    confirmed: false,
  });
const act = (kind: 'label' | 'skip', part: { id: number; sha: string }) =>
  store.labels.recordAction({
    userId: 'u-1',
    at: dayOf(1),
    kind,
    classId: null,
    changes: [{ partId: part.id, stationId: 'st-1', imageSha: part.sha, labelBefore: null, queueStateBefore: 'open' }],
  });

describe('pictures of parts that are not ok', () => {
  test('stay for good unless days are set; then the old ones go, and their records stay', async () => {
    const old = await add(10);
    const doubtful = await add(20, 'unsure');
    const good = await add(10, 'ok');
    const fresh = await add(80);
    await service.clean();
    expect([old, doubtful, fresh].map(({ sha }) => lies(sha))).toEqual([true, true, true]);
    await keep({ otherPicturesDays: 30 });
    await service.clean();
    expect([old, doubtful, good, fresh].map(({ sha }) => lies(sha))).toEqual([false, false, true, true]);
    expect(store.parts.get(old.id)).toMatchObject({ imageSha: null, judgement: { verdict: 'ng' } });
    expect(entries('retention.clean')).toEqual([
      {
        user: 'system',
        subject: 'st-1',
        pictures: 2,
        records: 0,
        oldest: dayOf(10),
        newest: dayOf(20),
        otherPicturesDays: 30,
        recordsDays: null,
      },
    ]);
    await die();
    const file = databaseFile(store.home);
    expect(checkDatabase(file)).toEqual([]);
    const known = [];
    for await (const { sha } of picturesOf(file, store.home)) known.push(sha);
    expect(known).toEqual([good.sha, fresh.sha].toSorted());
    await open();
  });

  test('what anybody needs stays: labelled, queued, golden, learnt, in a study or evidence, imported, alarmed, elsewhere', async () => {
    const parts: Record<string, { id: number; sha: string }> = {};
    for (const name of 'labelled queued golden learnt studied shown snapshot alarmed decided'.split(' '))
      parts[name] = await add(5, 'unsure', { picture: name });
    const imported = await add(5, 'unsure', { picture: 'imported' });
    await add(6, 'unsure', { picture: 'imported', origin: 'import' });
    const elsewhere = await add(5, 'ng', { picture: 'elsewhere' });
    await add(5, 'ng', { picture: 'elsewhere', stationId: 'st-2' });
    const again = await add(5, 'ng', { picture: 'again' });
    await add(99, 'ng', { picture: 'again' });
    const skipped = await add(5, 'unsure', { picture: 'skipped' });
    label(parts['labelled']!.sha, parts['labelled']!.id);
    store.queue.put(parts['queued']!.id, 'st-1', 'novel', 1, null);
    store.golden.add(
      'st-1',
      [{ sha: parts['golden']!.sha, classId: 'ok', width: 8, height: 8, look: null, label: null }],
      {
        userName: 'sato',
        at: dayOf(1),
      },
    );
    store.features.insert('bb-1', parts['learnt']!.sha, 'v', 0);
    store.alarms.raise({
      stationId: 'st-1',
      modelId: 'm-1',
      measure: 'novelty',
      at: dayOf(5),
      partId: parts['alarmed']!.id,
    });
    act('label', parts['decided']!);
    store.queue.put(skipped.id, 'st-1', 'novel', 1, null);
    store.queue.setState(skipped.id, 'skipped');
    act('skip', skipped);
    mkdirSync(join(store.home, 'knowledge', 'k-1'), { recursive: true });
    writeFileSync(join(store.home, 'knowledge', 'k-1', 'data.json'), JSON.stringify([[parts['snapshot']!.sha, 'ok']]));
    await edit(`
      INSERT INTO candidates (id, station_id, state, created_at, knowledge_id, backbone_id, strategy, precision, ratio, input_size,
        bundle_sha256, offered, recommended, reason, evidence, shadow, position)
        VALUES ('m-1', 'st-1', 'candidate', '', 'k-1', 'bb-1', 'none', 'fp32', 1, 32, '', 1, 1, 'r', '{}',
          '{"examples":[{"imageSha":"${parts['shown']!.sha}"}]}', 1);
      INSERT INTO studies VALUES ('s-1', 'st-1', 'n', '', 'u-1', 2, NULL);
      INSERT INTO study_parts VALUES ('s-1', ${parts['studied']!.id}, '${parts['studied']!.sha}', 'ok', 'u-1');`);
    await keep({ otherPicturesDays: 30, recordsDays: 30 });
    await service.clean();
    const stays = [...Object.entries(parts), ['imported', imported] as const, ['elsewhere', elsewhere] as const];
    expect(stays.filter(([, { sha }]) => !lies(sha)).map(([name]) => name)).toEqual([]);
    expect(stays.filter(([, { id }]) => store.parts.find(id) === null).map(([name]) => name)).toEqual([]);
    expect(lies(again.sha)).toBe(true);
    // Nobody labelled it; an undo of the skip would open an item without a picture.
    expect([lies(skipped.sha), store.queue.state(skipped.id)]).toEqual([false, null]);
    expect(store.labels.openActions('u-1', 10).map(({ kind }) => kind)).toEqual(['label']);
  });

  test('a job has the pictures to itself: cleaning stops before its next step and goes on after it', async () => {
    const old = await add(10);
    busy = true;
    await keep({ otherPicturesDays: 30 });
    await service.clean();
    expect(lies(old.sha)).toBe(true);
    busy = false;
    await service.clean();
    expect(lies(old.sha)).toBe(false);
  });
});

describe('records', () => {
  test('old ones go with the pictures that nobody else names; counts, numbering and the trail stay', async () => {
    const old = await add(10, 'ok');
    const kept = await add(11, 'ng');
    const fresh = await add(90, 'ok');
    store.stations.setAcknowledged('st-1', 3);
    await keep({ recordsDays: 60 });
    await service.clean();
    expect([old, kept, fresh].map(({ id }) => store.parts.find(id)?.id)).toEqual([undefined, kept.id, fresh.id]);
    expect([old, kept, fresh].map(({ sha }) => lies(sha))).toEqual([false, true, true]);
    expect(() => store.parts.get(old.id)).toThrow(expect.objectContaining({ code: 'NO_LONGER_KEPT' }));
    expect(() => store.parts.get(99)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect([store.stations.acknowledged('st-1'), store.stations.lostRecords('st-1')]).toEqual([3, 0]);
    const summary = (from: number, to: number) =>
      createReportService({ store } as unknown as CoreContext).handlers['reports.summary'](
        { stationId: 'st-1', from: dayOf(from), to: dayOf(to) },
        supervisor,
        signal,
      );
    const year = await summary(0, 100);
    expect(year.hours.reduce((n, { ok, ng }) => n + ok + ng, 0)).toBe(3);
    expect([year.removedUntil, (await summary(12, 100)).removedUntil]).toEqual([dayOf(10), null]);
    expect(entries('retention.clean')).toMatchObject([
      { pictures: 0, records: 1, oldest: dayOf(10), newest: dayOf(10) },
    ]);
  });

  test('of an ng part go once its picture may', async () => {
    const old = await add(10, 'ng');
    await keep({ recordsDays: 60, otherPicturesDays: 60 });
    await service.clean();
    expect(store.parts.find(old.id)).toBeNull();
    expect(entries('retention.clean')).toMatchObject([{ pictures: 1, records: 1 }]);
  });

  test('those that the charts of the model compare with stay', async () => {
    const before = await add(10, 'ok');
    const first = await add(11, 'ok');
    store.alarms.setMonitor('st-1', { modelId: 'm-1', firstPartId: first.id, seen: 1, levels: {} });
    await keep({ recordsDays: 60 });
    await service.clean();
    expect([before, first].map(({ id }) => store.parts.find(id)?.id)).toEqual([undefined, first.id]);
  });

  test('many go in small steps, and the write-ahead log stays small', async () => {
    for (let n = 0; n < 10; n += 1)
      store.transaction(() => {
        for (let i = 0; i < 200; i += 1) {
          seq += 1;
          store.parts.insert(
            newPart({ seq, at: dayOf(1), imageSha: null, judgement: newJudgement({ verdict: 'ok' }) }),
          );
        }
      });
    await keep({ recordsDays: 60 });
    await service.clean();
    expect(store.retention.count('records', 'st-1', 0, 10)).toEqual({ count: 0, last: null });
    expect(statSync(`${databaseFile(store.home)}-wal`).size).toBeLessThan(8 * 1024 * 1024);
  });

  const addMany = (count: number, at: number) =>
    store.transaction(() => {
      for (let n = 0; n < count; n += 1) {
        seq += 1;
        store.parts.insert(newPart({ seq, at: dayOf(at), imageSha: null, judgement: newJudgement({ verdict: 'ok' }) }));
      }
    });

  test.each([1, 3_000])('%i between, of a clock that was ahead, hold up none', async (count) => {
    const first = await add(10, 'ok');
    addMany(count, 3000);
    const behind = await add(10, 'ok');
    const young = await add(90, 'ok');
    await keep({ recordsDays: 60 });
    await service.clean();
    expect([first, behind, young].map(({ id }) => store.parts.find(id)?.id)).toEqual([undefined, undefined, young.id]);
    expect(store.retention.count('records', 'st-1', 0, 10_000).count).toBe(count + 1);
  });

  test('of a clock that was set back are as young as those before them', async () => {
    const first = await add(10, 'ok');
    addMany(3_000, 90);
    const back = await add(-3000, 'ok');
    await keep({ recordsDays: 60 });
    await service.clean();
    expect([first, back].map(({ id }) => store.parts.find(id)?.id)).toEqual([undefined, back.id]);
  });
});

describe('a kill', () => {
  test.each([0, 1, 2, 3])(
    'after %i files: the next start finds the others, and the trail has one entry',
    async (after) => {
      const all = [];
      for (let n = 0; n < 4; n += 1) all.push(await add(10 + n));
      await die();
      let gone = 0;
      await open({
        ...nodeFiles,
        async remove(path) {
          if (path.endsWith('.png') && gone++ >= after) throw new Error('the power is gone');
          await nodeFiles.remove(path);
        },
      });
      await keep({ otherPicturesDays: 30 });
      await service.clean();
      expect(all.filter(({ sha }) => lies(sha)).length).toBe(4 - after);
      expect(entries('retention.clean')).toEqual([]);
      await die();
      await open();
      expect(all.map(({ sha }) => lies(sha))).toEqual([false, false, false, false]);
      await service.clean();
      expect(entries('retention.clean')).toMatchObject([{ pictures: 4, oldest: dayOf(10), newest: dayOf(13) }]);
      expect(store.retention.toRemove(10)).toEqual([]);
    },
  );

  test('before the commit leaves row and file', async () => {
    const old = await add(10);
    await keep({ otherPicturesDays: 30 });
    expect(() =>
      store.transaction(() => {
        store.retention.removePicture(old.sha);
        throw new Error('the power is gone');
      }),
    ).toThrow();
    expect([lies(old.sha), store.parts.get(old.id).imageSha]).toEqual([true, old.sha]);
  });

  test('a picture that came again since keeps its file', async () => {
    const old = await add(10, 'ng', { picture: 'twice' });
    store.transaction(() => store.retention.removePicture(old.sha));
    const again = await add(100, 'ng', { picture: 'twice' });
    await die();
    await open();
    expect([again.sha, lies(again.sha)]).toEqual([old.sha, true]);
  });
});

describe('a clock that leapt', () => {
  test('removes nothing for a day', async () => {
    await keep({ otherPicturesDays: 30 });
    await service.clean();
    const part = await add(100);
    day = 4000;
    await service.clean();
    day = 4000.5;
    await service.clean();
    expect(lies(part.sha)).toBe(true);
    day = 4001.1;
    await service.clean();
    expect(lies(part.sha)).toBe(false);
  });

  test('and was set right again removes nothing by mistake', async () => {
    await keep({ otherPicturesDays: 30 });
    await service.clean();
    const part = await add(100);
    day = 4000;
    await service.clean();
    day = 101;
    await service.clean();
    day = 102.1;
    await service.clean();
    expect(lies(part.sha)).toBe(true);
    day = 108;
    const old = await add(60);
    await service.clean();
    expect(lies(old.sha)).toBe(false);
  });
});

describe('a picture that many parts share', () => {
  const share = async () => {
    const { sha } = await add(10, 'ng', { picture: 'a camera that stands still' });
    await edit(`
      WITH RECURSIVE c(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM c WHERE i <= 2500)
      INSERT INTO parts (station_id, origin, seq, at, image_sha, width, height, verdict, judgement, notes)
        SELECT 'st-1', 'line', i, '${dayOf(10)}', '${sha}', 8, 8, 'ng', '{}', '[]' FROM c`);
    return sha;
  };

  test('goes step by step, and counts once', async () => {
    const sha = await share();
    const steps = vi.spyOn(store.retention, 'removePicture');
    await keep({ otherPicturesDays: 30 });
    await service.clean();
    expect(steps.mock.results.map(({ value }) => value as boolean)).toEqual([false, false, true]);
    expect(lies(sha)).toBe(false);
    expect(entries('retention.clean')).toMatchObject([{ pictures: 1, records: 0 }]);
  });

  test('stays once somebody labels one of them meanwhile', async () => {
    const sha = await share();
    const { removePicture } = store.retention;
    vi.spyOn(store.retention, 'removePicture').mockImplementation((imageSha) => {
      setImmediate(() => label(sha, 2_500));
      return removePicture(imageSha);
    });
    await keep({ otherPicturesDays: 30 });
    await service.clean();
    expect(lies(sha)).toBe(true);
    expect(store.retention.pictured('st-1', 2_499, 10).map(({ imageSha }) => imageSha)).toEqual([sha, sha]);
    expect(entries('retention.clean')).toEqual([]);
  });
});

describe('the setting', () => {
  test('reaches the line, running or started later; only a supervisor changes it', async () => {
    const world = await startWorld();
    try {
      const { stationId, technician } = await setUp(world);
      const set = (okPictures: number, session?: Session) =>
        world.call('retention.set', { stationId, retention: { okPictures } }, session);
      await expect(set(300, technician)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
      await set(300);
      await world.call('line.start', { stationId });
      await set(400);
      const kept = world.lines.get(stationId)!.configured.map(({ keepOkImages }) => keepOkImages);
      expect(kept).toEqual([300, 400]);
    } finally {
      await world.close();
    }
  });

  test('tells what it would remove, and removes as much', async () => {
    for (let n = 0; n < 3; n += 1) await add(10, 'ng', { picture: 'x'.repeat(1000 + n) });
    await add(90, 'ng');
    for (let n = 0; n < 120; n += 1) await add(10, 'ok');
    const told = await preview({ okPictures: 100, otherPicturesDays: 30, recordsDays: 40 });
    expect(told.okPictures).toMatchObject({ count: 120, goes: { count: 20 } });
    expect(told.otherPictures).toMatchObject({ count: 4, goes: { count: 3 } });
    expect(told.otherPictures.bytes).toBeGreaterThan(3000);
    expect(told.records).toMatchObject({ count: 124, goes: { count: 123 } });
    expect(told.records.goes.bytes).toBeGreaterThan(123 * 300);
    await keep({ okPictures: 100, otherPicturesDays: 30, recordsDays: 40 });
    await service.clean();
    expect(entries('retention.clean')).toMatchObject([{ pictures: 3, records: 123 }]);
    expect((await preview({})).records.count).toBe(1);
  });

  test('looks for pictures of good parts without holding up others, however many have none', async () => {
    await add(10, 'ok');
    await edit(`
      WITH RECURSIVE c(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM c WHERE i < 50000)
      INSERT INTO parts (station_id, origin, seq, at, width, height, verdict, judgement, notes)
        SELECT 'st-1', 'line', i, '${dayOf(20)}', 8, 8, 'ok', '{}', '[]' FROM c`);
    seq = 50_000;
    await add(21, 'ok', { picture: 'x'.repeat(1001) });
    const spans = vi.spyOn(store.retention, 'okPictures');
    const { okPictures } = await preview({});
    expect(okPictures).toMatchObject({ count: 2, goes: { count: 0 } });
    expect(okPictures.bytes).toBe(1001 + 'picture 1'.length);
    expect(spans.mock.calls.map(([, after, last]) => last - after)).toEqual([20_000, 20_000, 20_000]);
  });

  test('is an entry of the trail once it is another, and the line hears how many pictures to keep', async () => {
    const get = () => service.handlers['retention.get']({ stationId: 'st-1' }, supervisor, signal);
    expect(await get()).toEqual({
      retention: { okPictures: 2000, otherPicturesDays: null, recordsDays: null },
      removedUntil: null,
    });
    await keep({ okPictures: 500 });
    await keep({ okPictures: 500 });
    await keep({ okPictures: 500, recordsDays: 90 });
    expect((await get()).retention).toEqual({ okPictures: 500, otherPicturesDays: null, recordsDays: 90 });
    expect(reconfigured).toEqual(['st-1']);
    expect(entries('retention.set')).toMatchObject([
      { user: 'sato', subject: 'st-1', before: { recordsDays: null }, after: { recordsDays: 90 } },
      { before: { okPictures: 2000 }, after: { okPictures: 500 } },
    ]);
    await expect(keep({}, 'nowhere')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test.each([{ okPictures: 99 }, { otherPicturesDays: 0 }, { recordsDays: 29 }, { recordsDays: 40_000 }])(
    'refuses %o',
    (change) => expect(retentionSchema.safeParse(change).success).toBe(false),
  );
});
