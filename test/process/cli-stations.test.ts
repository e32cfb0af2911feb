import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli, commandLine, newCommandLine } from '../helpers/cli.ts';
import { writeParts } from '../helpers/parts-on-disk.ts';
import { story } from '../helpers/story.ts';

const entry = fileURLToPath(new URL('../../main/host/cli/main.ts', import.meta.url));
const password = { MEKIKI_PASSWORD: 'correct horse battery', MEKIKI_NEW_PASSWORD: 'correct horse battery' };
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-stations-'));
  await writeParts(join(folder, 'labelled'), { perClass: 20, size: 64, classes: ['ok', 'scratch', 'pit'] });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Line {
  stationId: string;
  state: string;
  parts: number;
  unsure: number;
}
interface Report {
  from: string;
  to: string;
  hours: { at: string; unsure: number }[];
  file: string | null;
}
interface Told {
  study: { id: string; name: string; parts: number; goodParts: number; rounds: number; closedAt: string | null };
  report: { raters: unknown[] } | null;
}
interface Waiting {
  total: number;
  parts: { partId: number }[];
}

const isThere = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );
const partsIn = ({ hours }: Report): number => hours.reduce((sum, { unsure }) => sum + unsure, 0);

describe('a station on the command line', () => {
  const begin = async () => ({ ...(await newCommandLine(password)), parts: 0, alarms: [] as number[] });
  const step = story(begin);

  step('its line inspects until the time is over, and tells what it counted', async (world) => {
    const { done, home } = world;
    await done('init', '--user', 'hana');
    const ended = await done<Line>('line', 'start', '--seconds', '6');
    // Without a model all are unsure, and kept.
    expect(ended).toMatchObject({ state: 'running', unsure: ended.parts });
    expect(ended.parts).toBeGreaterThan(0);
    world.parts = ended.parts;
    const trail = join(folder, `trail-${Math.random()}.jsonl`);
    await done('audit', 'export', trail);
    const acts = (await readFile(trail, 'utf8')).split('\n').filter((line) => line.includes('"line.'));
    expect(acts.map((line) => /"line\.\w+"/.exec(line)![0])).toEqual(['"line.start"', '"line.stop"']);
    const text = await cli(['line', 'status', '--home', home]);
    expect(text.stdout).toMatch(/: stopped; 0 parts/);
  });

  step(
    'reports count it, by the hour, as JSON and as a file for a spreadsheet',
    async ({ done, misused, parts, home }) => {
      const csv = join(folder, 'week.csv');
      const week = await done<Report>('reports', 'summary', '--out', csv);
      // What was under way when the line stopped is counted too.
      expect(partsIn(week)).toBeGreaterThanOrEqual(parts);
      expect(Date.parse(week.to) - Date.parse(week.from)).toBe(7 * 24 * 3_600_000);
      expect(week.file).toBe(csv);
      const lines = (await readFile(csv, 'utf8')).replace('\uFEFF', '').split('\r\n');
      expect(lines[0]).toBe('hour,parts,OK,NG,unsure');
      const { at, unsure } = week.hours[0]!;
      expect(lines[1]).toBe(`${at},${unsure},0,0,${unsure}`);
      expect(lines).toContain('escape,0,0,0,1');
      const json = join(folder, 'range.json');
      const range = ['--from', '2026-01-01T00:30Z', '--to', '2026-01-03T05:10Z'];
      const { file, ...told } = await done<Report>('reports', 'summary', ...range, '--out', json);
      expect(told).toMatchObject({ from: '2026-01-01T00:00:00.000Z', to: '2026-01-03T06:00:00.000Z', hours: [] });
      expect(JSON.parse(await readFile(file!, 'utf8'))).toEqual(told);
      for (const wrong of [
        ['--out', 'week.txt'],
        ['--from', '2026-01-01'],
        ['--to', '2026-01-01'],
        ['--from', '2026-01-02', '--to', '2026-01-02'],
        ['--from', '2025-01-01', '--to', '2026-02-06'],
        ['--from', '2026-02-01', '--to', '2026-02-30'],
      ])
        expect((await misused('reports', 'summary', ...wrong)).code).toBe('INVALID_INPUT');
      const five = await cli(['reports', 'summary', '--from', '5', '--to', '2026-01-03', '--home', home]);
      expect([five.code, five.stderr]).toEqual([2, expect.stringContaining('no time')]);
    },
  );

  step('alarms are listed, and acknowledged once', async (world) => {
    const { done, failed, misused, home } = world;
    const { stationId } = await done<Line>('line', 'status');
    const database = new DatabaseSync(join(home, 'mekiki.sqlite'), { enableForeignKeyConstraints: false });
    const raise = database.prepare(
      'insert into alarms (station_id, model_id, measure, at, part_id) values (?, ?, ?, ?, ?)',
    );
    world.alarms = ['novelty', 'margin'].map((measure) =>
      Number(raise.run(stationId, 'm-1', measure, '2026-05-01T06:00:00.000Z', 1).lastInsertRowid),
    );
    database.close();
    const [first, second] = world.alarms as [number, number];
    const ids = async (...options: string[]) =>
      (await done<{ alarms: { id: number }[] }>('alarms', 'list', ...options)).alarms.map(({ id }) => id);
    expect(await ids()).toEqual([second, first]);
    expect(await done('alarms', 'acknowledge', String(first))).toMatchObject({
      id: first,
      measure: 'novelty',
      acknowledged: { by: 'hana' },
    });
    expect(await ids('--open')).toEqual([second]);
    expect((await failed('alarms', 'acknowledge', '99')).code).toBe('NOT_FOUND');
    expect((await misused('alarms', 'acknowledge', 'novelty')).code).toBe('INVALID_INPUT');
  });

  step('a second person labels blind', async ({ done, failed, misused }) => {
    await done('import', join(folder, 'labelled'), '--as-labels');
    await done('users', 'add', 'mio', '--role', 'technician');
    const mio = ['--user', 'mio'];
    // Whoever labelled them gives no second opinion.
    expect(await done<Waiting>('second-labels', 'list', '--user', 'hana')).toMatchObject({ total: 0, parts: [] });
    const { total, parts } = await done<Waiting>('second-labels', 'list', '--limit', '2', ...mio);
    expect([total, parts.length]).toEqual([60, 2]);
    const [one, other] = parts.map(({ partId }) => String(partId)) as [string, string];
    const give = (part: string, name: string) => ['second-labels', 'give', part, name, ...mio];
    const { firstClassName } = await done<{ firstClassName: string }>(...give(one, 'scratch'));
    const agreed = firstClassName === 'scratch' ? 1 : 0;
    expect((await failed(...give(one, 'scratch'))).code).toBe('CONFLICT');
    expect((await failed(...give(other, 'no-such-class'))).code).toBe('NOT_FOUND');
    expect((await misused(...give('other', 'pit'))).code).toBe('INVALID_INPUT');
    expect(await done('second-labels', 'agreement', ...mio)).toMatchObject({
      waiting: 59,
      same: { count: agreed, of: 1 },
    });
  });

  step('a study is drawn, shown by its name, and closed with a report', async ({ done, failed }) => {
    const hana = ['--user', 'hana'];
    const made = await done<Told>('studies', 'create', 'May', '--parts', '40', '--rounds', '1', ...hana);
    expect(made).toMatchObject({ study: { name: 'May', parts: 40, goodParts: 20, rounds: 1 }, report: null });
    const { studies } = await done<{ studies: Told['study'][] }>('studies', 'list');
    expect(studies.map(({ id }) => id)).toEqual([made.study.id]);
    expect(await done<Told>('studies', 'show', 'May')).toEqual(made);
    const closed = await done<Told>('studies', 'close', 'May', ...hana);
    expect(closed.study.closedAt).not.toBeNull();
    expect(closed.report!.raters).toEqual(expect.any(Array));
    expect(await done<Told>('studies', 'show', made.study.id)).toEqual(closed);
    expect((await failed('studies', 'show', 'June')).code).toBe('NOT_FOUND');
  });
});

test('a line that ends in fault has failed: its problem is the answer', async () => {
  await using own = await newCommandLine(password);
  await own.done('init', '--user', 'hana');
  const watched = join(folder, 'watched');
  await cp(join(folder, 'labelled', 'ok'), watched, { recursive: true });
  const { stationId } = await own.done<Line>('line', 'status');
  await own.done('stations', 'set', stationId, '--folder', watched);
  const ended = own.failed('line', 'start', '--seconds', '12');
  const taken = async () => {
    while (!(await isThere(join(own.home, 'spool', `${stationId}.taken`)))) await sleep(100);
    await rm(watched, { recursive: true });
  };
  const [problem] = await Promise.all([ended, taken()]);
  expect(problem.code).toBe('CAMERA_LOST');
}, 120_000);

test('a line whose core is lost ends, and does not wait for its time', async () => {
  await using own = await newCommandLine(password);
  await own.done('init', '--user', 'hana');
  const started = spawn(process.execPath, [entry, 'line', 'start', '--home', own.home, '--json'], {
    env: { ...process.env, ...password },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(started, 'exit');
  let said = '';
  started.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await once(started.stderr, 'data');
  const children = (await readFile(`/proc/${started.pid}/task/${started.pid}/children`, 'utf8')).trim().split(' ');
  const commands = await Promise.all(children.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8')));
  process.kill(Number(children[commands.findIndex((command) => command.includes('core'))]), 'SIGKILL');
  expect((await ended)[0]).toBe(1);
  expect(JSON.parse(said)).toMatchObject({ error: { code: 'DISCONNECTED' } });
}, 120_000);

test('a line that is started at a served window goes on there, until it is stopped', async () => {
  await using own = await newCommandLine(password);
  await own.done('init', '--user', 'hana');
  const served = spawn(process.execPath, [entry, 'serve', '--json', '--home', own.home], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(served, 'exit');
  try {
    const [printed] = (await once(served.stdout, 'data')) as [Buffer];
    const { url } = JSON.parse(String(printed)) as { url: string };
    const at = commandLine(own.home, { ...password, MEKIKI_SERVED: url });
    // The data folder itself is taken.
    expect((await at.failed('line', 'start', '--seconds', '1')).code).toBe('HOME_IN_USE');
    expect(await at.done<Line>('line', 'start', '--served')).toMatchObject({ state: 'running' });
    let status = await at.done<Line>('line', 'status', '--served');
    for (let i = 0; i < 60 && status.parts === 0; i++) {
      await sleep(500);
      status = await at.done<Line>('line', 'status', '--served');
    }
    expect(status.state).toBe('running');
    expect(status.parts).toBeGreaterThan(0);
    expect(await at.done<Line>('line', 'stop', '--served')).toMatchObject({ state: 'stopped' });
    expect(partsIn(await at.done<Report>('reports', 'summary', '--served'))).toBeGreaterThan(0);

    const wrong = commandLine(own.home, { MEKIKI_SERVED: url.replace(/token=.*/, 'token=guessed') });
    expect((await wrong.failed('line', 'status', '--served')).code).toBe('DISCONNECTED');
    const far = commandLine(own.home, { MEKIKI_SERVED: 'http://192.0.2.1/?token=x' });
    expect((await far.misused('line', 'status', '--served')).code).toBe('INVALID_INPUT');
    expect((await own.misused('line', 'status', '--served')).message).toContain('MEKIKI_SERVED');
    expect((await at.misused('line', 'start', '--served', '--seconds', '3')).code).toBe('INVALID_INPUT');
  } finally {
    served.kill('SIGTERM');
    await ended;
  }
}, 300_000);
