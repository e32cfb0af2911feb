import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AppError } from '../../../main/contract/errors.ts';
import { MOST_WAITING_RECORDS } from '../../../main/contract/line.ts';
import type { Session } from '../../../main/core/port.ts';
import { newJudgement } from '../../store/examples.ts';
import { lineRecord, PASSWORD, setUp, startWorld, until, writeDataset, writePicture, type World } from './world.ts';

let world: World;
let clock = new Date('2026-01-01T00:00:00.000Z');
beforeEach(async () => {
  clock = new Date('2026-01-01T00:00:00.000Z');
  world = await startWorld({ now: () => clock });
});
afterEach(async () => {
  vi.useRealTimers();
  await world.close();
});

interface LabelInTrail {
  part: number;
  image: string | null;
  before: string | null;
  after: string | null;
}
/** What the trail tells of labels, from an export of it. */
const labelsInTrail = async () => {
  const file = join(world.home, '..', 'trail.jsonl');
  await world.call('audit.export', { file });
  return readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(1, -1)
    .map((line) => JSON.parse(line) as { user: string; action: string; details: { labels: LabelInTrail[] } })
    .filter(({ action }) => action.startsWith('labels.'))
    .map(({ user, action, details: { labels } }) => ({ user, action, labels }));
};

describe('people', () => {
  test('first start makes supervisor, station and the class ok; a second one is refused', async () => {
    expect(await world.call('session.state', {})).toMatchObject({
      firstStart: true,
      user: null,
      demo: false,
      demoAccounts: [],
    });
    const state = await world.call('session.firstStart', { language: 'ja', name: '佐藤', password: PASSWORD });
    expect(state).toMatchObject({ firstStart: false, language: 'ja', user: { name: '佐藤', role: 'supervisor' } });
    expect(await world.call('stations.list', {})).toMatchObject([
      { name: 'ライン 1', backboneId: 'bb-test', activeModelId: null },
    ]);
    expect(await world.call('classes.list', {})).toMatchObject([{ id: 'ok', isOk: true, hotKey: '1' }]);
    await expect(
      world.call('session.firstStart', { language: 'en', name: 'mallory', password: PASSWORD }),
    ).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test('a wrong password and an unknown name look the same; after five the name waits, longer each time', async () => {
    await setUp(world);
    const session = world.core.openSession();
    const signIn = (name: string, password: string) => world.call('session.signIn', { name, password }, session);
    await expect(signIn('nobody', 'x')).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    for (let i = 0; i < 5; i += 1)
      await expect(signIn('SATO', 'wrong')).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    await expect(signIn('sato', PASSWORD)).rejects.toMatchObject({
      code: 'TOO_MANY_ATTEMPTS',
      details: { seconds: 10 },
    });
    clock = new Date(clock.getTime() + 11_000);
    await expect(signIn('sato', 'wrong')).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    await expect(signIn('sato', PASSWORD)).rejects.toMatchObject({
      code: 'TOO_MANY_ATTEMPTS',
      details: { seconds: 20 },
    });
    clock = new Date(clock.getTime() + 21_000);
    expect((await signIn('sato', PASSWORD)).user?.name).toBe('sato');
  });

  test('roles are checked on every call, and a disabled account is out at once', async () => {
    const { stationId, technician } = await setUp(world);
    const nobody = world.core.openSession();
    await expect(world.call('queue.list', { stationId }, nobody)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    await expect(world.call('audit.list', {}, technician)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    await world.call('queue.list', { stationId }, technician);
    const users = await world.call('users.list', {});
    const disabled = users.find((user) => user.name === 'tanaka')!;
    await world.call('users.disable', { userId: disabled.id });
    await expect(world.call('queue.list', { stationId }, technician)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    await expect(world.call('session.signIn', { name: 'tanaka', password: PASSWORD })).rejects.toMatchObject({
      code: 'WRONG_PASSWORD',
    });
    const supervisor = users.find((user) => user.role === 'supervisor')!;
    await expect(world.call('users.disable', { userId: supervisor.id })).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test('names are one whatever their width and case; raw input is parsed in the core too', async () => {
    await setUp(world);
    await expect(
      world.call('users.add', { name: 'ＴＡＮＡＫＡ', role: 'operator', password: PASSWORD }),
    ).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await expect(world.call('users.add', { name: 'x', role: 'operator', password: 'short' })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });

  test('no password reaches the log, the audit trail or the database', async () => {
    await setUp(world);
    await world.call('session.signIn', { name: 'sato', password: 'a-wrong-secret' }).catch(() => {});
    const audit = await world.call('audit.list', {});
    await world.core.close();
    const { readFileSync } = await import('node:fs');
    const everything = `${JSON.stringify(world.log)}${JSON.stringify(audit)}${readFileSync(join(world.home, 'mekiki.sqlite'), 'latin1')}`;
    expect(everything).not.toContain(PASSWORD);
    expect(everything).not.toContain('a-wrong-secret');
  });

  test('events of a session reach that session', async () => {
    await setUp(world);
    world.events.length = 0;
    const other = world.core.openSession();
    await world.call('session.signIn', { name: 'tanaka', password: PASSWORD }, other);
    expect(world.events.filter((event) => event.name === 'session.changed').map((event) => event.sessionId)).toEqual([
      other.id,
    ]);
  });
});

describe('the line', () => {
  let stationId: string;
  beforeEach(async () => {
    ({ stationId } = await setUp(world));
    await world.call('line.start', { stationId });
  });
  const line = () => world.lines.get(stationId)!;

  test('records are stored, told and acknowledged; what is sent again is stored once', async () => {
    line().emit([lineRecord(1), lineRecord(2)]);
    await until(() => line().acknowledged.includes(2));
    line().emit([lineRecord(1), lineRecord(2), lineRecord(3)]);
    await until(() => line().acknowledged.includes(3));
    expect((await world.call('parts.recent', { stationId })).map((part) => part.seq)).toEqual([3, 2, 1]);
    expect(world.events.filter((event) => event.name === 'parts.inspected')).toHaveLength(3);
    expect(await world.call('parts.recent', { stationId, verdict: 'ng' })).toEqual([]);
  });

  test('a hole in the numbering is counted as lost records and survives a restart', async () => {
    line().emit([lineRecord(1), lineRecord(5)]);
    await until(() => line().acknowledged.includes(5));
    expect((await world.call('line.status', { stationId })).lostRecords).toBe(3);
    await world.reopen();
    expect((await world.call('line.status', { stationId })).lostRecords).toBe(3);
    expect(line().configured.at(-1)?.acknowledged).toBe(5);
  });

  test('a lost line process is taken up again, told where to go on, and started', async () => {
    line().emit([lineRecord(1)]);
    await until(() => line().acknowledged.includes(1));
    const before = line();
    before.die();
    await until(() => line() !== before && line().state === 'running');
    expect(line().configured.at(-1)?.acknowledged).toBe(1);
    expect(
      world.events.some((event) => event.name === 'line.changed' && event.payload.problem?.code === 'DISCONNECTED'),
    ).toBe(true);
  });

  test('a part that comes before those that are sent again makes no hole and pushes none of them out', async () => {
    line().emit([lineRecord(1)]);
    await until(() => line().acknowledged.includes(1));
    line().resend = [lineRecord(4), lineRecord(2), lineRecord(3)];
    line().die();
    await until(() => line().acknowledged.includes(4));
    expect((await world.call('parts.recent', { stationId })).map((part) => part.seq)).toEqual([4, 3, 2, 1]);
    expect((await world.call('line.status', { stationId })).lostRecords).toBe(0);
  });

  test('others are answered while what a line recorded in a long outage is stored', async () => {
    line().emit([lineRecord(1)]);
    await until(() => line().acknowledged.includes(1));
    line().resend = Array.from({ length: 6_000 }, (_, i) => lineRecord(2 + i));
    line().die();
    const newest = async () => (await world.call('parts.recent', { stationId, limit: 1 }))[0]!.seq;
    const seen = new Set<number>();
    while (!line().acknowledged.includes(6_001)) {
      seen.add(await newest());
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect([...seen].filter((seq) => seq > 1 && seq < 6_001).length).toBeGreaterThan(2);
    expect((await world.call('line.status', { stationId })).lostRecords).toBe(0);
    expect(await newest()).toBe(6_001);
  });

  test('a full disk loses no record that the spool holds, whatever fails before there is room again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    // The disk is full for what is as wide as this.
    const width = 9999;
    await world.core.close();
    const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
    db.exec(
      `CREATE TRIGGER full BEFORE INSERT ON parts WHEN NEW.width = ${width} BEGIN SELECT RAISE(ABORT, 'no room'); END`,
    );
    db.close();
    await world.reopen();
    const logged = (text: string) => world.log.filter((entry) => entry.text.includes(text)).length;
    const problem = async () => (await world.call('line.status', { stationId })).problem?.code;
    const full = new AppError('DISK_FULL', { path: world.home });
    const retried = () => vi.advanceTimersByTime(2_000);

    // A new record waits before older ones, and they are more than may wait.
    line().emit([lineRecord(3, { width })]);
    await expect.poll(() => logged('could not be stored')).toBe(1);
    line().emit(Array.from({ length: 20_000 }, (_, i) => lineRecord(1 + i)));
    // Answered behind them.
    await world.call('line.trigger', { stationId });
    for (const times of [1, 2]) {
      line().refuse = { 'line.configure': full };
      retried();
      await expect.poll(() => logged('not asked to send again')).toBe(times);
    }

    line().refuse = { 'line.configure': full, 'line.start': new AppError('CAMERA_BUSY', { cameraId: 'ST-02' }) };
    line().die();
    await expect.poll(problem).toBe('DISK_FULL');
    line().resend = [lineRecord(1), lineRecord(2), lineRecord(3)];
    retried();
    await expect.poll(problem).toBe('CAMERA_BUSY');
    expect(line().acknowledged).toContain(3);
    retried();
    await expect.poll(() => line().state).toBe('running');
    expect((await world.call('parts.recent', { stationId })).map((part) => part.seq)).toEqual([3, 2, 1]);
    expect((await world.call('line.status', { stationId })).lostRecords).toBe(0);
  });

  test('what comes while a line is asked to send again makes no hole, also where it refuses that', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const logged = (text: string) => world.log.filter((entry) => entry.text.includes(text)).length;
    let release = () => {};
    line().hold = new Promise((resolve) => (release = resolve));
    line().refuse = { 'line.configure': new AppError('DISK_FULL', { path: world.home }) };
    // More than may wait: the core asks for them again.
    line().emit(Array.from({ length: MOST_WAITING_RECORDS + 1 }, (_, i) => lineRecord(1 + i)));
    // Answered behind that question.
    await world.call('line.trigger', { stationId });
    line().emit([lineRecord(MOST_WAITING_RECORDS + 2)]);
    await world.call('line.trigger', { stationId });
    release();
    line().hold = null;
    await expect.poll(() => logged('not asked to send again')).toBe(1);
    line().resend = [1, 2, 3].map((seq) => lineRecord(seq));
    vi.advanceTimersByTime(2_000);
    await expect.poll(() => line().acknowledged).toContain(3);
    expect((await world.call('line.status', { stationId })).lostRecords).toBe(0);
    expect((await world.call('parts.recent', { stationId })).map((part) => part.seq)).toEqual([3, 2, 1]);
  });

  test('a line whose camera is away while the core starts anew is one that was started', async () => {
    line().state = 'fault';
    await world.reopen();
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    const before = line();
    before.die();
    await until(() => line() !== before && line().state === 'running');
    await world.call('line.stop', { stationId });
    expect((await world.call('audit.list', { limit: 1 })).entries[0]).toMatchObject({
      user: 'sato',
      action: 'line.stop',
    });
  });

  test('a stopped line stays stopped when its process ends', async () => {
    await world.call('line.stop', { stationId });
    const before = line();
    before.die();
    await until(() => world.events.at(-1)?.name === 'line.changed');
    // Another line is connected, set up and started meanwhile.
    const other = await world.call('stations.add', { name: 'Line 2', camera: { kind: 'simulated' } });
    await world.call('line.start', { stationId: other.id });
    expect(line()).toBe(before);
  });

  test('a line that is stopped while Start still connects it does not run, nor is its failure shown', async () => {
    const settled = async (start: Promise<unknown>) => {
      const stopped = await world.call('line.stop', { stationId });
      return [await start.catch((error: unknown) => error), stopped, await world.call('line.status', { stationId })];
    };
    const standing = { state: 'stopped', problem: null };
    const end = async () => {
      world.events.length = 0;
      line().die();
      await until(() => world.events.at(-1)?.name === 'line.changed');
    };
    await world.call('line.stop', { stationId });
    await end();
    // Its process is not there yet.
    expect(await settled(world.call('line.start', { stationId }))).toMatchObject([standing, standing, standing]);
    expect(line().state).toBe('stopped');

    // It is there, and told what to do.
    for (const refused of [undefined, new AppError('DISK_FULL', { path: world.home })]) {
      const before = line();
      const { promise, resolve } = Promise.withResolvers<void>();
      before.hold = promise;
      await end();
      const start = world.call('line.start', { stationId });
      await until(() => line() !== before);
      if (refused) line().refuse = { 'line.configure': refused };
      setTimeout(resolve, 20);
      expect(await settled(start)).toMatchObject([refused ? { code: 'DISK_FULL' } : standing, standing, standing]);
      expect(line().state).toBe('stopped');
      line().hold = null;
    }
    expect(world.log.filter(({ level }) => level === 'error')).toEqual([]);

    // What was pressed last holds.
    const before = line();
    const { promise, resolve } = Promise.withResolvers<void>();
    before.hold = promise;
    const first = world.call('line.start', { stationId });
    await until(() => line() !== before);
    const pressed = [first, world.call('line.stop', { stationId }), world.call('line.start', { stationId })];
    resolve();
    await Promise.all(pressed);
    expect(line().state).toBe('running');
    expect(await world.call('line.status', { stationId })).toMatchObject({ state: 'running' });
  });

  test('a line that runs and could not be taken up by the core ends when it is stopped', async () => {
    line().refuse = { 'line.configure': new AppError('DISK_FULL', { path: world.home }) };
    await world.reopen();
    expect(await world.call('line.status', { stationId })).toMatchObject({ state: 'fault' });
    expect(line().state).toBe('running');
    expect(await world.call('line.stop', { stationId })).toMatchObject({ state: 'stopped', problem: null });
    expect(line().state).toBe('stopped');
  });

  test('a line that hangs while the core starts anew keeps no window waiting, and is taken up when it answers', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const shown = () => world.call('line.status', { stationId });
    const reopen = async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const before = line();
      before.holds['line.status'] = promise;
      const opened = world.reopen();
      await expect.poll(() => line() !== before).toBe(true);
      vi.advanceTimersByTime(10_000);
      await opened;
      await world.call('session.signIn', { name: 'sato', password: PASSWORD });
      line().holds = {};
      expect(await shown()).toMatchObject({ state: 'fault', problem: { code: 'TIMED_OUT' } });
      return resolve;
    };
    const answer = await reopen();
    const configured = line().configured.length;
    answer();
    await expect.poll(shown).toMatchObject({ state: 'running', problem: null });
    expect(line().configured.length).toBe(configured + 1);

    // What is pressed before it answers holds; it ends by it, for it hears nothing.
    const late = await reopen();
    expect(await world.call('line.stop', { stationId })).toMatchObject({ state: 'stopped', problem: null });
    late();
    expect((await world.call('audit.list', { limit: 1 })).entries[0]).toMatchObject({ action: 'line.stop' });
    await world.call('line.start', { stationId });
    expect(await shown()).toMatchObject({ state: 'running' });
  });

  test('the last parts of a line that refuses a change and stands are stored', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    line().hold = promise;
    line().refuse = {
      'line.configure': new AppError('CAMERA_CONFIG', { cameraId: 'Line 1', problem: 'no such device' }),
    };
    const changing = world.call('stations.update', { stationId, threads: 3 });
    line().emit([lineRecord(1), lineRecord(2)]);
    resolve();
    await expect(changing).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
    expect((await world.call('parts.recent', { stationId })).map(({ seq }) => seq)).toEqual([2, 1]);
  });

  test('a line that hangs is stopped all the same, and can be started again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const before = line();
    before.holds['line.stop'] = new Promise(() => {});
    const stopping = world.call('line.stop', { stationId });
    await expect.poll(() => vi.getTimerCount()).toBeGreaterThan(0);
    vi.advanceTimersByTime(40_000);
    expect(await stopping).toMatchObject({ state: 'stopped', problem: null });
    expect(before.state).toBe('stopped');
    before.holds = {};
    expect(await world.call('line.start', { stationId })).toMatchObject({ state: 'running' });
    expect(line()).not.toBe(before);
  });

  test('a change of the camera is taken over by a running line; a new name does not stop it', async () => {
    await world.call('stations.update', { stationId, name: 'Press 4' });
    expect(line().configured).toHaveLength(1);
    await world.call('stations.update', { stationId, camera: { kind: 'folder', path: '/in' } });
    expect(line().configured).toHaveLength(2);
    expect(line().configured[1]?.station.camera).toMatchObject({ kind: 'folder', path: '/in' });
    // After what time a part counts as late is told by the criteria.
    const [station] = await world.call('stations.list', {});
    await world.call('stations.update', { stationId, criteria: { ...station!.criteria, maxLatencyMsP99: 120 } });
    expect(line().configured[2]?.station.criteria).toMatchObject({ maxLatencyMsP99: 120 });
    expect(line().state).toBe('running');
  });

  test('unsure parts come into the queue by usefulness, with the reason; sent ones first', async () => {
    const unsure = (seq: number, change: Parameters<typeof newJudgement>[0]) =>
      lineRecord(seq, { judgement: newJudgement(change) });
    line().emit([
      unsure(1, { unsureReason: 'low-margin', margin: 0.8 }),
      unsure(2, { unsureReason: 'low-margin', margin: 0.05 }),
      unsure(3, { unsureReason: 'novel', novelty: 5 }),
      lineRecord(4),
      unsure(5, { unsureReason: 'no-model', modelId: null }),
    ]);
    await until(() => line().acknowledged.includes(5));
    const [ok] = await world.call('parts.recent', { stationId, verdict: 'ok' });
    await world.call('parts.toQueue', { partId: ok!.id });
    const { total, items } = await world.call('queue.list', { stationId });
    expect(total).toBe(4);
    expect(items.map((item) => [item.part.seq, item.reason])).toEqual([
      [4, 'sent'],
      [3, 'novel'],
      [2, 'low-margin'],
      [1, 'low-margin'],
    ]);
  });
});

describe('labels', () => {
  let stationId: string;
  let technician: Session;
  let partIds: number[];
  beforeEach(async () => {
    ({ stationId, technician } = await setUp(world));
    const folder = join(world.home, '..', 'loose');
    mkdirSync(folder);
    for (let n = 0; n < 4; n += 1) await writePicture(join(folder, `${n}.png`));
    await world.done(await world.call('import.start', { stationId, path: folder, asLabels: false }, technician));
    partIds = (await world.call('queue.list', { stationId }, technician)).items.map((item) => item.part.id);
  });

  test('label, relabel, skip; undo takes them back one by one, each person their own', async () => {
    const [a, b, c] = partIds as [number, number, number];
    const pit = await world.call('classes.create', { names: { en: 'Pit', ja: '' } }, technician);
    await world.call('labels.create', { partIds: [a, b], classId: 'ok' }, technician);
    await world.call('labels.create', { partIds: [a], classId: pit.id }, technician);
    await world.call('queue.skip', { partId: c }, technician);
    expect((await world.call('audit.list', { limit: 1 })).entries[0]).toMatchObject({
      user: 'tanaka',
      action: 'queue.skip',
      subject: (await world.call('parts.get', { partId: c })).imageSha,
    });
    await world.call('labels.create', { partIds: [partIds[3]!], classId: 'ok' });
    expect(await world.call('queue.count', { stationId })).toEqual({ total: 0 });

    expect(await world.call('labels.undo', {}, technician)).toEqual({ partIds: [c], left: 0 });
    expect(await world.call('queue.count', { stationId })).toEqual({ total: 1 });
    await world.call('labels.undo', {}, technician);
    expect((await world.call('parts.get', { partId: a })).label?.classId).toBe('ok');
    expect(await world.call('labels.undo', {}, technician)).toEqual({ partIds: [a, b], left: 0 });
    expect((await world.call('parts.get', { partId: a })).label).toBeNull();
    expect(await world.call('labels.undo', {}, technician)).toEqual({ partIds: [], left: 0 });
    expect(await world.call('queue.count', { stationId })).toEqual({ total: 3 });
    // The trail tells of each what it was before and after, and of which picture.
    const image = async (partId: number) => (await world.call('parts.get', { partId })).imageSha;
    const [shaA, shaB, shaD] = [await image(a), await image(b), await image(partIds[3]!)];
    const label = (part: number, sha: string | null, before: string | null, after: string | null): LabelInTrail => ({
      part,
      image: sha,
      before,
      after,
    });
    expect((await labelsInTrail()).map(({ action, labels }) => [action, labels])).toEqual([
      ['labels.create', [label(a, shaA, null, 'ok'), label(b, shaB, null, 'ok')]],
      ['labels.create', [label(a, shaA, 'ok', pit.id)]],
      ['labels.create', [label(partIds[3]!, shaD, null, 'ok')]],
      ['labels.undo', []],
      ['labels.undo', [label(a, shaA, pit.id, 'ok')]],
      ['labels.undo', [label(a, shaA, 'ok', null), label(b, shaB, 'ok', null)]],
    ]);
  });

  test('the history names what can be taken back; several steps go at once, and no further', async () => {
    const [a, b, c, d] = partIds as [number, number, number, number];
    const pit = await world.call('classes.create', { names: { en: 'Pit', ja: '' } }, technician);
    await world.call('labels.create', { partIds: [a], classId: 'ok' }, technician);
    await world.call('labels.create', { partIds: [b, c], classId: pit.id }, technician);
    await world.call('queue.skip', { partId: d }, technician);
    const history = await world.call('labels.history', { stationId }, technician);
    expect(history.map(({ kind, classId, parts }) => [kind, classId, parts.map(({ partId }) => partId)])).toEqual([
      ['skip', null, [d]],
      ['label', pit.id, [b, c].sort((x, y) => x - y)],
      ['label', 'ok', [a]],
    ]);
    // Somebody else's history is not this one.
    expect(await world.call('labels.history', { stationId })).toEqual([]);
    await expect(world.call('labels.undo', { downTo: history[1]!.undoId })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const { partIds: back } = await world.call('labels.undo', { downTo: history[1]!.undoId }, technician);
    expect(new Set(back)).toEqual(new Set([b, c, d]));
    expect((await world.call('parts.get', { partId: b })).label).toBeNull();
    expect((await world.call('parts.get', { partId: a })).label?.classId).toBe('ok');
    expect(await world.call('labels.history', { stationId }, technician)).toHaveLength(1);
    await expect(world.call('labels.undo', { downTo: history[1]!.undoId }, technician)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('look-alikes are grouped in the background once somebody looks; numbers of an earlier ranking group nothing', async () => {
    const grouped = async () => {
      for (;;) {
        const { items } = await world.call('queue.list', { stationId }, technician);
        if (items.every((item) => item.groupId !== null)) return items;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    await until(() => world.events.some((event) => event.name === 'queue.changed' && event.payload.total === 4));
    const items = await grouped();
    expect(items.map((item) => item.groupSize)).toEqual([2, 2, 2, 2]);
    // One of each group comes before the second of either.
    expect(new Set(items.slice(0, 2).map((item) => item.groupId)).size).toBe(2);
    // What is taken back at once is the group that it was.
    const pair = items.filter(({ groupId }) => groupId === 2).map(({ part }) => part.id);
    const sizes = async () =>
      (await world.call('queue.list', { stationId }, technician)).items
        .filter(({ part }) => pair.includes(part.id))
        .map(({ groupId, groupSize }) => [groupId, groupSize]);
    await world.call('labels.create', { partIds: pair, classId: 'ok' }, technician);
    await world.call('labels.undo', {}, technician);
    expect(await sizes()).toEqual([
      [2, 2],
      [2, 2],
    ]);
    // Others have got its number meanwhile.
    await world.call('labels.create', { partIds: pair, classId: 'ok' }, technician);
    const folder = join(world.home, '..', 'more');
    mkdirSync(folder);
    for (let n = 0; n < 4; n += 1) await writePicture(join(folder, `${n}.png`));
    await world.done(await world.call('import.start', { stationId, path: folder, asLabels: false }, technician));
    expect((await grouped()).map((item) => item.groupSize)).toEqual([3, 3, 3, 3, 3, 3]);
    await world.call('labels.undo', {}, technician);
    expect(await sizes()).toEqual([
      [null, 1],
      [null, 1],
    ]);
  });

  test('class names: what could leave its place is refused; ids stay when names change', async () => {
    for (const en of ['../x', 'a/b', '..', '.hidden', 'a\u0000b', '   ', '???']) {
      await expect(world.call('classes.create', { names: { en, ja: '' } }, technician)).rejects.toMatchObject({
        code: 'BAD_CLASS_NAME',
      });
    }
    const made = await world.call('classes.create', { names: { en: 'Deep scratch', ja: '深い傷' } }, technician);
    expect(made).toMatchObject({ id: 'c-deep-scratch', hotKey: '2' });
    await expect(world.call('classes.create', { names: { en: '深い傷', ja: '' } }, technician)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    expect(
      (await world.call('classes.rename', { classId: made.id, names: { en: 'Gouge', ja: '深い傷' } }, technician)).id,
    ).toBe('c-deep-scratch');
    expect((await world.call('classes.create', { names: { en: 'Deep scratch', ja: '' } }, technician)).id).toBe(
      'c-deep-scratch-2',
    );
  });

  test('a class gets another name in one language or both; key and the other name stay, and the trail tells of it', async () => {
    const { id, hotKey } = await world.call('classes.create', { names: { en: 'Pit', ja: '' } }, technician);
    const rename = (names: { en?: string; ja?: string }) =>
      world.call('classes.rename', { classId: id, names }, technician);
    expect(await rename({ ja: '打痕' })).toMatchObject({ names: { en: 'Pit', ja: '打痕' }, hotKey });
    expect(await rename({ en: 'Dent' })).toMatchObject({ id, names: { en: 'Dent', ja: '打痕' }, hotKey });
    // Nothing to say, nothing to note.
    await rename({ en: 'Dent' });
    const entries = (await world.call('audit.list', {})).entries.filter(({ action }) => action === 'classes.rename');
    expect(entries.map(({ user, subject }) => [user, subject])).toEqual([
      ['tanaka', id],
      ['tanaka', id],
    ]);
    expect((await rename({ en: '' })).names).toEqual({ en: '打痕', ja: '打痕' });
    await expect(rename({ en: 'OK' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await expect(rename({ en: '../x' })).rejects.toMatchObject({ code: 'BAD_CLASS_NAME' });
  });
});

describe('import', () => {
  test('bad files are skipped by name, contradictions named, clutter ignored, the rest taken in once', async () => {
    const { stationId, technician } = await setUp(world);
    const path = await writeDataset(join(world.home, '..', 'set'), { good: 2, 'キズ 大': 2 });
    writeFileSync(join(path, 'good', 'empty.png'), '');
    writeFileSync(join(path, 'good', 'notes.txt'), 'not a picture');
    writeFileSync(join(path, 'good', 'Thumbs.db'), 'clutter');
    mkdirSync(join(path, '…'));
    await writePicture(join(path, '…', 'x.png'));
    const { copyFileSync } = await import('node:fs');
    copyFileSync(join(path, 'good', '0.png'), join(path, 'キズ 大', 'same.png'));
    const job = await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
    expect(job.step.details).toMatchObject({ imported: 4, skipped: 4, total: 8 });
    expect(job.skipped?.map(({ file, code }) => [file, code])).toEqual([
      ['good/empty.png', 'IMAGE_UNREADABLE'],
      ['good/notes.txt', 'IMAGE_UNREADABLE'],
      ['…/x.png', 'BAD_CLASS_NAME'],
      ['キズ 大/same.png', 'CONTRADICTING_LABELS'],
    ]);
    expect((await world.call('labels.summary', { stationId })).perClass).toEqual([
      { classId: 'c-キズ-大', labelled: 2, fresh: 2 },
      { classId: 'ok', labelled: 2, fresh: 2 },
    ]);
    // One entry per label, beside it: an import that is cut off has labelled all the same.
    expect((await labelsInTrail()).map(({ user, labels }) => [user, labels.map(({ after }) => after)])).toEqual([
      ['tanaka', ['ok']],
      ['tanaka', ['ok']],
      ['tanaka', ['c-キズ-大']],
      ['tanaka', ['c-キズ-大']],
    ]);
    const again = await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
    expect(again.result).toEqual(job.result);
    expect(again.step.details).toMatchObject({ imported: 4, relabelled: 0 });
    // The same pictures under another name: their labels move, and it is said of how many.
    const moved = join(path, '..', 'moved');
    mkdirSync(moved);
    cpSync(join(path, 'good'), join(moved, 'キズ 大'), { recursive: true });
    const labelledOtherwise = await world.call('import.start', { stationId, path: moved, asLabels: true }, technician);
    expect((await world.done(labelledOtherwise)).step.details).toMatchObject({ imported: 2, relabelled: 2 });
    await expect(
      world.call('import.start', { stationId, path: join(path, 'nowhere'), asLabels: true }, technician),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    mkdirSync(join(path, 'none'));
    await expect(
      world.call('import.start', { stationId, path: join(path, 'none'), asLabels: true }, technician),
    ).rejects.toMatchObject({ code: 'DATASET_EMPTY' });
  });
});

test('what is labelled so already is not labelled again by an import: marks, and who gave it, stay', async () => {
  const { stationId, technician } = await setUp(world);
  const path = await writeDataset(join(world.home, '..', 'set'), { good: 1, pit: 1 });
  const take = async () =>
    world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  await take();
  const labels = () => world.call('labels.list', { stationId });
  const pit = (await labels()).find(({ classId }) => classId !== 'ok')!;
  const boxes = [{ x: 1, y: 2, width: 3, height: 4 }];
  await world.call('labels.create', { partIds: [pit.partId], classId: pit.classId, boxes });
  const before = await labels();
  expect(before).toContainEqual(expect.objectContaining({ classId: pit.classId, boxes, userName: 'sato' }));
  await writePicture(join(path, 'pit', 'new.png'));
  expect((await take()).step.details).toMatchObject({ imported: 3, relabelled: 0 });
  const after = await labels();
  expect(after).toHaveLength(3);
  expect(after).toEqual(expect.arrayContaining(before));
});

describe('images', () => {
  test('are read by hash, whole or small; anything else is not found', async () => {
    const { stationId, technician } = await setUp(world);
    const path = join(world.home, '..', 'one.png');
    await writePicture(path);
    const job = await world.done(await world.call('import.start', { stationId, path, asLabels: false }, technician));
    const part = await world.call('parts.get', { partId: Number(job.result[0]) });
    expect((await world.core.readImage(part.imageSha!, null)).subarray(1, 4)).toEqual(Buffer.from('PNG'));
    expect((await world.core.readImage(part.imageSha!, 4)).length).toBeGreaterThan(0);
    await expect(world.core.readImage('../../secrets/root.key', null)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
