import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { renderPart } from '../e2e/fixtures/pictures.ts';
import { cli, type CliRun } from '../helpers/cli.ts';

const password = 'three blind measuring mice';
const PLANT = `mekiki: 1
language: ja
shifts: [5, 13, 21]
twoPersons: always
events: {kind: mqtt, address: 192.0.2.30, user: mekiki, password: {file: broker.txt}}
users:
  - {name: hana, role: supervisor}
  - {name: mio, role: supervisor, password: {environment: PASSWORD_OF_MIO}}
  - {name: ken, role: engineer, password: {file: ken.txt}}
  - {name: taro, role: technician}
  - {name: gone, role: operator, disabled: true}
stations:
  - name: Press 2
    golden: locked
    camera: {kind: folder, path: /var/parts, after: move, moveTo: /var/done}
    threads: 1
  - name: Press 1
    camera: {kind: gige, serial: "24001", exposureUs: 5000, trigger: {mode: 'on', source: Line1}}
    recipe: {rotation: 90, regions: [{x: 8, y: 8, width: 200, height: 100}]}
    criteria: {maxLatencyMsP99: 40}
    line: {trigger: {source: camera}, picture: {darkBelow: 20}}
    lineOutput: {kind: modbus-server, address: 192.0.2.10, peers: [192.0.2.20], addresses: {busy: 200}}
`;

interface Applied {
  changes: { path: string; from: unknown; to: unknown }[];
  untouched: { users: string[]; stations: string[] };
  oneTimePasswords: { name: string; password: string }[];
}

let folder: string;
let home: string;
const at = (name: string): string => join(folder, name);
const env = { MEKIKI_PASSWORD: password, PASSWORD_OF_MIO: 'green tea and rivets' };
const run = (args: string[], with_: NodeJS.ProcessEnv = env): Promise<CliRun> => cli([...args, '--json'], with_);
const done = async <T>(args: string[], with_: NodeJS.ProcessEnv = env): Promise<T> => {
  const result = await run(args, with_);
  expect(result.code, `${args.join(' ')}: ${result.stdout}${result.stderr}`).toBe(0);
  return result.json() as T;
};
const failed = async (args: string[], with_: NodeJS.ProcessEnv = env): Promise<{ code: string; message: string }> => {
  const result = await run(args, with_);
  expect(result.code, `${args.join(' ')}: ${result.stdout}${result.stderr}`).toBe(1);
  return (result.json() as { error: { code: string; message: string } }).error;
};
const actions = async (): Promise<string[]> => {
  const file = at(`audit-${Math.random()}.jsonl`);
  await done(['audit', 'export', file, '--home', home, '--user', 'hana']);
  return (await readFile(file, 'utf8'))
    .trim()
    .split('\n')
    .flatMap((line) => (JSON.parse(line) as { action?: string }).action ?? []);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-config-'));
  home = at('home');
  await writeFile(at('plant.yaml'), PLANT);
  await writeFile(at('ken.txt'), 'copper and nine gaskets\n');
  await writeFile(at('broker.txt'), 'of the broker\n');
  for (const [name, defect] of [
    ['ok', 'none'],
    ['scratch', 'scratch'],
  ] as const) {
    await mkdir(join(folder, 'locked', name), { recursive: true });
    for (const seed of [1, 2])
      await writeFile(join(folder, 'locked', name, `${seed}.png`), renderPart(defect, seed).bytes);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a plant PC set up from one file', { timeout: 180_000 }, () => {
  test('check needs no data folder, and tells every problem', async () => {
    expect(await done(['config', 'check', at('plant.yaml')])).toMatchObject({ valid: true, problems: [] });
    await writeFile(at('wrong.yaml'), PLANT.replace('role: engineer', 'role: boss').replace('exposureUs', 'exposure'));
    const wrong = await run(['config', 'check', at('wrong.yaml')]);
    expect(wrong.code).toBe(1);
    expect(wrong.json()).toMatchObject({
      valid: false,
      problems: [{ path: 'users[2].role', line: 9 }],
      error: { code: 'CONFIG_INVALID' },
    });
  });

  test('what is known to fail is found before an empty folder is touched', async () => {
    const missing = await failed(['config', 'apply', at('plant.yaml'), '--home', home], { MEKIKI_PASSWORD: password });
    expect(missing).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(missing.message).toContain('users["mio"].password: PASSWORD_OF_MIO is not set');
    await failed(['config', 'apply', at('plant.yaml'), '--home', home], { ...env, PASSWORD_OF_MIO: 'password1' });
    expect((await failed(['users', 'list', '--home', home])).code).toBe('HOME_EMPTY');
  });

  let taro = '';
  test('an empty folder becomes what the file says; a made password signs in', async () => {
    const applied = await done<Applied>(['config', 'apply', at('plant.yaml'), '--home', home]);
    expect(applied.oneTimePasswords.map(({ name }) => name)).toEqual(['taro']);
    expect(applied.untouched).toEqual({ users: [], stations: [] });
    taro = applied.oneTimePasswords.find(({ name }) => name === 'taro')!.password;
    const { stations } = await done<{ stations: { name: string; camera: object; criteria: object }[] }>([
      'stations',
      'list',
      '--home',
      home,
    ]);
    expect(stations.map(({ name }) => name).toSorted()).toEqual(['Press 1', 'Press 2']);
    expect(stations.find(({ name }) => name === 'Press 1')).toMatchObject({
      camera: { kind: 'gige', serial: '24001', exposureUs: 5000 },
      criteria: { maxLatencyMsP99: 40, maxEscape: 0.05 },
      lineOutput: { kind: 'modbus-server', addresses: { busy: 200 } },
    });
    // It was made by somebody else: first of all its owner changes it.
    const queue = ['queue', 'list', '--home', home, '--station', 'Press 1', '--user', 'taro'];
    expect((await failed(queue, { MEKIKI_PASSWORD: taro })).code).toBe('PASSWORD_DUE');
    const own = 'paper lantern and gears';
    await done(['users', 'password', '--home', home, '--user', 'taro'], {
      MEKIKI_PASSWORD: taro,
      MEKIKI_NEW_PASSWORD: own,
    });
    await done(queue, { MEKIKI_PASSWORD: own });
    expect(await done(['golden', 'show', '--home', home, '--station', 'Press 2'])).toMatchObject({
      golden: { images: 4 },
    });
    expect((await actions()).filter((action) => /^(golden|events|reports)\./.test(action))).toEqual([
      'reports.setShifts',
      'events.set',
      'golden.add',
    ]);
  });

  test('applied again nothing changes; a changed value is shown, then changed, and audited under its method', async () => {
    const apply = ['config', 'apply', at('plant.yaml'), '--home', home, '--user', 'hana'];
    expect((await done<Applied>(apply)).changes).toEqual([]);
    const before = await actions();
    await writeFile(at('plant.yaml'), PLANT.replace('5000', '6500'));
    const change = { path: 'stations["Press 1"].camera.exposureUs', from: 5000, to: 6500 };
    expect(await done([...apply, '--dry-run'])).toMatchObject({ applied: false, changes: [change] });
    expect(await done(apply)).toMatchObject({ applied: true, changes: [change] });
    const after = (await actions()).slice(before.length);
    // What nothing was changed by has left nothing but the signing in.
    expect(before.filter((action) => action.startsWith('stations.'))).toEqual([
      'stations.add',
      'stations.update',
      'stations.add',
    ]);
    expect(after.filter((action) => !/^(session|audit)\./.test(action))).toEqual(['stations.update']);
  });

  test('an account applies what its rights cover; what they do not is refused before anything is changed', async () => {
    const engineer = { ...env, MEKIKI_PASSWORD: 'copper and nine gaskets' };
    const apply = ['config', 'apply', at('plant.yaml'), '--home', home, '--user', 'ken'];
    await writeFile(
      at('plant.yaml'),
      `${PLANT.replace('5000', '7000').replace('twoPersons: always', 'twoPersons: auto')}`,
    );
    expect((await failed(apply, engineer)).code).toBe('NOT_ALLOWED');
    await writeFile(at('plant.yaml'), PLANT.replace('5000', '7000'));
    expect((await done<Applied>(apply, engineer)).changes).toMatchObject([{ from: 6500, to: 7000 }]);
  });

  test('exported, applied to an empty folder and exported again, the file is the same', async () => {
    const other = at('other');
    await done(['config', 'export', at('first.yaml'), '--home', home, '--user', 'hana']);
    expect((await failed(['config', 'export', at('first.yaml'), '--home', home, '--user', 'hana'])).code).toBe(
      'ALREADY_EXISTS',
    );
    await done(['config', 'apply', at('first.yaml'), '--home', other]);
    await done(['config', 'export', at('second.yaml'), '--home', other, '--user', 'hana']);
    await done(['config', 'export', at('second.json'), '--home', other, '--user', 'hana']);
    const first = await readFile(at('first.yaml'), 'utf8');
    expect(first).toContain('serial: "24001"');
    expect(first).toContain('shifts:\n  - 5\n  - 13\n  - 21\n');
    expect(first).not.toMatch(/password/i);
    expect(await readFile(at('second.yaml'), 'utf8')).toBe(first);
    expect(await done<Applied>(['config', 'apply', at('second.json'), '--home', home, '--user', 'hana'])).toMatchObject(
      { changes: [] },
    );
  });
});
