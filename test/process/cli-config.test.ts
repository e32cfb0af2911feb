import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect } from 'vitest';
import { renderPart } from '../e2e/fixtures/pictures.ts';
import { cli, commandLine, newCommandLine } from '../helpers/cli.ts';
import { smallDisk } from '../helpers/small-disk.ts';
import { story } from '../helpers/story.ts';

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
    criteria: {maxLatencyMsP99: 40, revalidateDays: 30}
    line: {trigger: {source: camera}, picture: {darkBelow: 20}}
    lineOutput: {kind: modbus-server, address: 192.0.2.10, peers: [192.0.2.20], addresses: {busy: 200}}
    retention: {okPictures: 500, otherPicturesDays: 180, recordsDays: 400}
`;

interface Applied {
  changes: { path: string; from: unknown; to: unknown }[];
  untouched: { users: string[]; stations: string[] };
  oneTimePasswords: { name: string; password: string }[];
}

const env = { MEKIKI_PASSWORD: password, PASSWORD_OF_MIO: 'green tea and rivets' };

/** An empty folder for the PC, and beside it what the file of the plant names. */
const begin = async () => {
  const pc = await newCommandLine(env);
  const at = (name: string): string => join(dirname(pc.home), name);
  await writeFile(at('plant.yaml'), PLANT);
  await writeFile(at('ken.txt'), 'copper and nine gaskets\n');
  await writeFile(at('broker.txt'), 'of the broker\n');
  for (const [name, defect] of [
    ['ok', 'none'],
    ['scratch', 'scratch'],
  ] as const) {
    await mkdir(at(`locked/${name}`), { recursive: true });
    for (const seed of [1, 2]) await writeFile(at(`locked/${name}/${seed}.png`), renderPart(defect, seed).bytes);
  }
  return {
    ...pc,
    at,
    /** The same PC, with other passwords. */
    as: (passwords: NodeJS.ProcessEnv) => commandLine(pc.home, passwords),
    async actions(): Promise<string[]> {
      const file = at(`audit-${Math.random()}.jsonl`);
      await pc.done('audit', 'export', file, '--user', 'hana');
      return (await readFile(file, 'utf8'))
        .trim()
        .split('\n')
        .flatMap((line) => (JSON.parse(line) as { action?: string }).action ?? []);
    },
  };
};

describe('a plant PC set up from one file', () => {
  const step = story(begin);

  step('check needs no data folder, and tells every problem', async ({ at }) => {
    const check = (file: string) => cli(['config', 'check', file, '--json'], env);
    const right = await check(at('plant.yaml'));
    expect(right.code, right.stdout).toBe(0);
    expect(right.json()).toMatchObject({ valid: true, problems: [] });
    await writeFile(at('wrong.yaml'), PLANT.replace('role: engineer', 'role: boss').replace('exposureUs', 'exposure'));
    const wrong = await check(at('wrong.yaml'));
    expect(wrong.code).toBe(1);
    expect(wrong.json()).toMatchObject({
      valid: false,
      problems: [{ path: 'users[2].role', line: 9 }],
      error: { code: 'CONFIG_INVALID' },
    });
  });

  step('a trial run of an empty folder tells what would be made, and makes no data folder', async (pc) => {
    const { changes } = await pc.done<Applied>('config', 'apply', pc.at('plant.yaml'), '--dry-run');
    expect(changes.map(({ path }) => path)).toEqual(expect.arrayContaining(['users["hana"]', 'stations["Press 1"]']));
    expect(existsSync(pc.home)).toBe(false);
  });

  step('what is known to fail is found before an empty folder is touched', async ({ at, as, failed }) => {
    const apply = ['config', 'apply', at('plant.yaml')];
    // A trial run too: what it passes, the other would refuse.
    for (const trial of [['--dry-run'], []]) {
      const missing = await as({ MEKIKI_PASSWORD: password }).failed(...apply, ...trial);
      expect(missing).toMatchObject({ code: 'CONFIG_INVALID' });
      expect(missing.message).toContain('users["mio"].password: PASSWORD_OF_MIO is not set');
      const nobody = await failed(...apply, ...trial, '--user', 'ken');
      expect(nobody.message).toContain('ken is not an enabled supervisor there');
    }
    await as({ ...env, PASSWORD_OF_MIO: 'password1' }).failed(...apply);
    expect((await failed('users', 'list')).code).toBe('HOME_EMPTY');
  });

  step('an empty folder becomes what the file says; a made password signs in', async ({ at, as, done, actions }) => {
    const applied = await done<Applied>('config', 'apply', at('plant.yaml'));
    expect(applied.oneTimePasswords.map(({ name }) => name)).toEqual(['taro']);
    expect(applied.untouched).toEqual({ users: [], stations: [] });
    const { stations } = await done<{ stations: { name: string; camera: object; criteria: object }[] }>(
      'stations',
      'list',
    );
    expect(stations.map(({ name }) => name).toSorted()).toEqual(['Press 1', 'Press 2']);
    expect(stations.find(({ name }) => name === 'Press 1')).toMatchObject({
      camera: { kind: 'gige', serial: '24001', exposureUs: 5000 },
      criteria: { maxLatencyMsP99: 40, maxEscape: 0.05, revalidateDays: 30 },
      lineOutput: { kind: 'modbus-server', addresses: { busy: 200 } },
    });
    // It was made by somebody else: first of all its owner changes it.
    const [{ password: made } = { password: '' }] = applied.oneTimePasswords;
    const queue = ['queue', 'list', '--station', 'Press 1', '--user', 'taro'];
    expect((await as({ MEKIKI_PASSWORD: made }).failed(...queue)).code).toBe('PASSWORD_DUE');
    const own = 'paper lantern and gears';
    await as({ MEKIKI_PASSWORD: made, MEKIKI_NEW_PASSWORD: own }).done('users', 'password', '--user', 'taro');
    await as({ MEKIKI_PASSWORD: own }).done(...queue);
    expect(await done('golden', 'show', '--station', 'Press 2')).toMatchObject({ golden: { images: 4 } });
    expect((await actions()).filter((action) => /^(golden|events|reports|retention)\./.test(action))).toEqual([
      'reports.setShifts',
      'events.set',
      'golden.add',
      'retention.set',
    ]);
    // It has a set, so new labels fill it on, until somebody says otherwise.
    const golden = (...words: string[]) => done('golden', ...words, '--station', 'Press 2', '--user', 'hana');
    expect(await golden('fill')).toMatchObject({ filling: { on: true } });
    expect(await golden('fill', 'off')).toMatchObject({ filling: { on: false } });
    expect(await golden('refresh')).toEqual({ returned: 4, left: 0 });
    expect(await done('golden', 'show', '--station', 'Press 2')).toEqual({ golden: null });
    expect(await golden('fill')).toMatchObject({ filling: { on: true } });
    expect((await actions()).filter((action) => action.startsWith('golden.'))).toEqual([
      'golden.add',
      'golden.setFilling',
      'golden.refresh',
    ]);
  });

  step(
    'applied again nothing changes; a changed value is shown, then changed, and audited under its method',
    async ({ at, done, actions }) => {
      const apply = ['config', 'apply', at('plant.yaml'), '--user', 'hana'];
      expect((await done<Applied>(...apply)).changes).toEqual([]);
      const before = await actions();
      await writeFile(at('plant.yaml'), PLANT.replace('5000', '6500'));
      const change = { path: 'stations["Press 1"].camera.exposureUs', from: 5000, to: 6500 };
      expect(await done(...apply, '--dry-run')).toMatchObject({ applied: false, changes: [change] });
      expect(await done(...apply)).toMatchObject({ applied: true, changes: [change] });
      const after = (await actions()).slice(before.length);
      // What nothing was changed by has left nothing but the signing in.
      expect(before.filter((action) => action.startsWith('stations.'))).toEqual([
        'stations.add',
        'stations.update',
        'stations.add',
      ]);
      expect(after.filter((action) => !/^(session|audit)\./.test(action))).toEqual(['stations.update']);
    },
  );

  step(
    'an account applies what its rights cover; what they do not is refused before anything is changed',
    async ({ at, as }) => {
      const engineer = as({ ...env, MEKIKI_PASSWORD: 'copper and nine gaskets' });
      const apply = ['config', 'apply', at('plant.yaml'), '--user', 'ken'];
      await writeFile(
        at('plant.yaml'),
        `${PLANT.replace('5000', '7000').replace('twoPersons: always', 'twoPersons: auto')}`,
      );
      expect((await engineer.failed(...apply)).code).toBe('NOT_ALLOWED');
      await writeFile(at('plant.yaml'), PLANT.replace('5000', '7000'));
      expect((await engineer.done<Applied>(...apply)).changes).toMatchObject([{ from: 6500, to: 7000 }]);
    },
  );

  step(
    'exported, applied to an empty folder and exported again, the file is the same',
    async ({ at, done, failed }) => {
      const other = commandLine(at('other'), env);
      const asHana = ['--user', 'hana'];
      await done('config', 'export', at('first.yaml'), ...asHana);
      expect((await failed('config', 'export', at('first.yaml'), ...asHana)).code).toBe('ALREADY_EXISTS');
      await other.done('config', 'apply', at('first.yaml'));
      for (const name of ['second.yaml', 'second.json']) await other.done('config', 'export', at(name), ...asHana);
      const first = await readFile(at('first.yaml'), 'utf8');
      expect(first).toContain('serial: "24001"');
      expect(first).toContain('shifts:\n  - 5\n  - 13\n  - 21\n');
      expect(first).not.toMatch(/password/i);
      expect(await readFile(at('second.yaml'), 'utf8')).toBe(first);
      expect(await done('config', 'apply', at('second.json'), ...asHana)).toMatchObject({ changes: [] });
    },
  );

  step('an export that its disk has no room for is told as that, and leaves no part of it', async ({ at, failed }) => {
    await mkdir(at('small'));
    const unmount = smallDisk(at('small'), '8k');
    if (unmount === null) return;
    try {
      await writeFile(at('small/filling'), Buffer.alloc(8192));
      const refused = await failed('config', 'export', at('small/plant.yaml'), '--user', 'hana');
      expect(refused.code).toBe('DISK_FULL');
      expect(existsSync(at('small/plant.yaml'))).toBe(false);
      const below = await failed('config', 'export', at('small/filling/plant.yaml'), '--user', 'hana');
      expect(below).toMatchObject({ code: 'INVALID_INPUT', message: expect.stringContaining('ENOTDIR') as unknown });
    } finally {
      unmount();
    }
  });
});
