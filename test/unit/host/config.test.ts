import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { FIRST_STATION, stationSchema, type Station } from '../../../main/contract/domain.ts';
import { silentLog } from '../../../main/contract/log.ts';
import { events, methods } from '../../../main/contract/methods.ts';
import { createClient } from '../../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../../main/contract/rpc/memory.ts';
import { configText } from '../../../main/host/config/home-state.ts';
import { planOf, type HomeState } from '../../../main/host/config/plan.ts';
import { passwordFrom } from '../../../main/host/config/password-source.ts';
import { keysAt, problemLine } from '../../../main/host/config/problems.ts';
import { readConfig } from '../../../main/host/config/read-config.ts';
import type { Config } from '../../../main/host/config/schema.ts';
import { configFrom, setUp, unattended } from '../../../main/host/config/set-up.ts';
import { serveWindow } from '../../../main/host/processes/core-serving.ts';
import { PASSWORD, startWorld } from '../core/world.ts';

const problemsOf = (text: string): string[] => {
  const read = readConfig(text);
  return 'problems' in read ? read.problems.map((problem) => problemLine('plant.yaml', problem)) : [];
};
const configOf = (text: string): Config => {
  const read = readConfig(text);
  if ('problems' in read) throw new Error(JSON.stringify(read.problems));
  return read.config;
};

describe('a configuration file', () => {
  test('each problem is told with file, line, place, what it is and what to do', () => {
    expect(
      problemsOf(`mekiki: 1
users:
  - {name: hana, role: boss}
stations:
  - name: A
    camera: {kind: gige, serial: 24001}
  - name: ""
    camera: {kind: firewire}
    threads: 0.5
    lineOutput: {kind: modbus-client, address: plc}
    colour: red
  - {}
`),
    ).toEqual([
      'plant.yaml:3 users[0].role: it is "boss". Give one of operator, technician, supervisor, engineer, auditor.',
      'plant.yaml:6 stations[0].camera.serial: it is 24001. Give text in quotes.',
      'plant.yaml:7 stations[1].name: it is empty. Give at least 1 character.',
      'plant.yaml:8 stations[1].camera.kind: it is "firewire". Give one of simulated, folder, gige, usb.',
      'plant.yaml:9 stations[1].threads: it is 0.5. Give a whole number.',
      'plant.yaml:10 stations[1].lineOutput.address: it is "plc". Give an IPv4 address or an IPv6 address.',
      'plant.yaml:11 stations[1].colour: there is no such key. Known here: name, camera, recipe, criteria, backbone, threads, line, lineOutput, retention, golden.',
      'plant.yaml:12 stations[2].name: it is missing. Add text in quotes.',
      'plant.yaml:12 stations[2].camera: it is missing. Add a group of keys.',
    ]);
  });

  test.each([
    ['{enviroment: A}', 'Give the key environment or the key file.'],
    ['{environment: A, file: b}', 'Give it without file or it without environment.'],
  ])('where a password comes from is asked for by its keys, never as text: %s', (source, next) => {
    expect(problemsOf(`mekiki: 1\nusers: [{name: a, role: operator, password: ${source}}]\n`)).toEqual([
      `plant.yaml:2 users[0].password: it is a group of keys. ${next}`,
    ]);
  });

  test('an account that nobody could sign in to is not made', () => {
    for (const name of ['a\\0b', 'a\\nb', 'a\\u2028b', 'a\\u200bb'])
      expect(problemsOf(`mekiki: 1\nusers: [{name: "${name}", role: operator}]\n`)).toEqual([
        'plant.yaml:2 users[0].name: it holds a character that nobody sees. Correct it.',
      ]);
  });

  test('a value that JSON has no word for is told as it is written', () => {
    expect(problemsOf('mekiki: 1\nshifts: [.nan]\n')).toEqual(['plant.yaml:2 shifts[0]: it is NaN. Give a number.']);
  });

  test('a misspelt key deep in a camera is not passed over, and the keys of its own kind are named', () => {
    expect(
      problemsOf('{"mekiki": 1, "stations": [{"name": "A", "camera": {"kind": "folder", "path": "/p", "poll": 5}}]}'),
    ).toEqual([
      'plant.yaml:1 stations[0].camera.poll: there is no such key. Known here: kind, path, after, moveTo, pollMs.',
    ]);
  });

  test('what cannot be together is found: names, cameras, ports, the register map, relative folders', () => {
    const station = (name: string, rest: string) => `  - {name: ${name}, ${rest}}\n`;
    expect(
      problemsOf(
        `mekiki: 1\nusers: [{name: hana, role: engineer}, {name: Hana, role: engineer}]\nstations:\n` +
          station('A', 'camera: {kind: gige, serial: "1"}, lineOutput: {kind: modbus-server}') +
          station('B', 'camera: {kind: gige, serial: "1"}, lineOutput: {kind: modbus-server}') +
          station(
            'C',
            'camera: {kind: folder, path: parts}, lineOutput: {kind: modbus-client, address: 10.0.0.1, addresses: {nope: 3}}',
          ) +
          station(
            'A',
            "camera: {kind: folder, path: 'D:\\parts'}, lineOutput: {kind: modbus-client, address: 10.0.0.1, writeCoilsAt: 0}",
          ) +
          station('D', "camera: {kind: folder, path: 'd:/parts/'}") +
          station('E', 'camera: {kind: folder, path: /parts}') +
          station('F', 'camera: {kind: folder, path: /other/../parts/}'),
      ),
    ).toEqual([
      'plant.yaml:2 users[1].name: users[0].name has the same name. Give another one, or take one of them out.',
      'plant.yaml:7 stations[3].name: stations[0].name has the same name. Give another one, or take one of them out.',
      'plant.yaml:5 stations[1].camera: stations[0].camera has the same camera. Give another one, or take one of them out.',
      'plant.yaml:8 stations[4].camera: stations[3].camera has the same camera. Give another one, or take one of them out.',
      'plant.yaml:10 stations[6].camera: stations[5].camera has the same camera. Give another one, or take one of them out.',
      'plant.yaml:5 stations[1].lineOutput: stations[0].lineOutput has the same address and port. Give another one, or take one of them out.',
      'plant.yaml:6 stations[2].camera.path: "parts" is relative. Give the whole path.',
      'plant.yaml:6 stations[2].lineOutput.addresses: there is no signal "nope". See the register map: lineio map.',
      'plant.yaml:7 stations[3].lineOutput.addresses: coil 0 is read from the PLC, too. See the register map: lineio map.',
    ]);
  });

  test('a certificate of the right form that cannot be read is found, too', () => {
    const broker = (base64: string) =>
      `mekiki: 1\nevents:\n  kind: mqtt\n  address: 192.0.2.30\n  tls: {ca: "-----BEGIN CERTIFICATE-----${base64}-----END CERTIFICATE-----"}\n`;
    expect(problemsOf(broker('AAAA'))).toEqual([
      expect.stringMatching(
        /^plant\.yaml:5 events\.tls\.ca: a certificate cannot be read: .+\. Give the certificate of/,
      ),
    ]);
  });

  test('broken YAML, keys given twice and files that unfold without end are refused with their line', () => {
    expect(problemsOf('mekiki: 1\nusers: [')[0]).toMatch(/^plant\.yaml:2: .+ Correct the YAML or JSON there\.$/);
    expect(problemsOf('mekiki: 1\nmekiki: 1\n')).toEqual([
      'plant.yaml:2: Map keys must be unique. Correct the YAML or JSON there.',
    ]);
    const bomb = [
      'a: &a [1]',
      ...[...'bcdefghij'].map((c, i) => `${c}: &${c} [${`*${'abcdefghij'[i]},`.repeat(9)}]`),
    ].join('\n');
    expect(problemsOf(bomb)[0]).toContain('Write the values out');
    expect(problemsOf('x'.repeat(1_000_001))[0]).toContain('more than 1000000 characters');
    expect(problemsOf('')).toHaveLength(1);
  });

  test('no text makes the reader throw', () => {
    const words = fc.constantFrom(
      'mekiki: 1',
      'users:',
      '- ',
      'stations:',
      '  ',
      '{',
      '}',
      '[',
      ']',
      '&a',
      '*a',
      '<<:',
      '__proto__:',
      '"',
      '!!js',
      '\n',
      ': ',
      'name',
      'null',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(words).map((list) => list.join('')),
        ),
        (text) => void readConfig(text),
      ),
    );
    fc.assert(
      fc.property(
        fc.jsonValue(),
        (value) => void readConfig(JSON.stringify({ mekiki: 1, users: value, stations: value })),
      ),
    );
  });

  test('what is written is read back the same, as YAML and as JSON', () => {
    const config = configOf(
      'mekiki: 1\nusers: [{name: "on", role: engineer}]\nstations: [{name: "0x10", camera: {kind: gige, serial: "007", trigger: {mode: on}}, lineOutput: {kind: modbus-server, addresses: {busy: 200}}}]',
    );
    for (const format of ['yaml', 'json'] as const) expect(configOf(configText(config, format))).toEqual(config);
  });
});

describe('files as Windows saves them', () => {
  let at: string;
  beforeAll(() => {
    at = mkdtempSync(join(tmpdir(), 'mekiki-text-'));
  });
  afterAll(() => rmSync(at, { recursive: true }));
  const saved = (bytes: Uint8Array): string => {
    const file = join(at, 'saved.txt');
    writeFileSync(file, bytes);
    return file;
  };
  const marked = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le');
  const ways: [string, (text: string) => Uint8Array][] = [
    ['UTF-8', (text) => Buffer.from(text)],
    ['UTF-8 with a byte order mark', (text) => Buffer.from(`\ufeff${text}`)],
    ['UTF-16', marked],
    ['UTF-16 of the other order', (text) => marked(text).swap16()],
  ];
  const password = (bytes: Uint8Array) => passwordFrom(join(at, 'plant.yaml'), 'p', { file: saved(bytes) });

  test.each(ways)('%s is read, without a mark', async (_way, encode) => {
    expect(password(encode('銅 and nine gaskets\r\n'))).toBe('銅 and nine gaskets');
    const text = 'mekiki: 1\r\nusers: [{name: 花, role: engineer}]\r\n';
    expect(await configFrom(saved(encode(text)))).toMatchObject({ users: [{ name: '花' }] });
  });

  test.each([
    ['another encoding', Buffer.from([0x93, 0xba, 0x82, 0xcc]), 'is not UTF-8 text. Save it as UTF-8.'],
    ['UTF-16 without its mark', Buffer.from('nine gaskets', 'utf16le'), 'holds a control character. Save it as UTF-8'],
  ])('%s is refused, and not taken for a password that nobody can type', async (_what, bytes, told) => {
    expect(() => password(bytes)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(told) as string }),
    );
    await expect(configFrom(saved(bytes))).rejects.toThrow();
  });

  test('a variable that holds more than a line is refused as well', () => {
    vi.stubEnv('PASSWORD_OF_HANA', 'nine gaskets\r');
    expect(() => passwordFrom('plant.yaml', 'p', { environment: 'PASSWORD_OF_HANA' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
    vi.unstubAllEnvs();
  });
});

test('whatever can be changed at a station can be said in a file', () => {
  const known = Object.keys(methods['stations.update'].input.shape).filter((key) => key !== 'stationId');
  const named = keysAt(['stations', 0], {}).map((key) => (key === 'backbone' ? 'backboneId' : key));
  // The golden set is the station's, and what is kept how long; both have methods of their own.
  expect(named.toSorted()).toEqual([...known, 'golden', 'retention'].toSorted());
});

describe('the plan', () => {
  const station = (name: string, rest: Partial<Station> = {}): Station =>
    stationSchema.parse({
      id: `st-${name}`,
      name,
      camera: { kind: 'simulated' },
      recipe: {},
      criteria: {},
      backboneId: 'shipped',
      activeModelId: null,
      ...rest,
    });
  const home = (rest: Partial<HomeState> = {}): HomeState => ({
    language: 'en',
    shifts: [6, 14, 22],
    twoPersons: 'auto',
    users: [{ id: 'u-1', name: 'hana', role: 'supervisor', disabled: false }],
    stations: [],
    unused: null,
    backbones: ['shipped'],
    events: null,
    golden: new Set(),
    retention: new Map(),
    ...rest,
  });

  test('only what differs is changed, each value by its path, and only it is sent', () => {
    const config = configOf(
      'mekiki: 1\nstations: [{name: A, camera: {kind: simulated, seed: 3}, criteria: {maxEscape: 0.05}, threads: 4}]',
    );
    const plan = planOf(config, home({ stations: [station('A')] }));
    if ('problems' in plan) throw new Error('refused');
    expect(plan.steps).toHaveLength(1);
    expect(plan.steps[0]).toMatchObject({ method: 'stations.update', stationId: 'st-A', set: { threads: 4 } });
    expect(plan.steps[0]!.changes).toEqual([
      { path: 'stations["A"].camera.seed', from: 1, to: 3 },
      { path: 'stations["A"].threads', from: 2, to: 4 },
    ]);
    expect(plan.untouched).toEqual({ users: ['hana'], stations: [] });
  });

  test('the days until a model is to be looked at again are whole ones, 0 for never', () => {
    const stationOf = (criteria: string) =>
      `mekiki: 1\nstations: [{name: A, camera: {kind: simulated}, criteria: ${criteria}}]\n`;
    const plan = planOf(configOf(stationOf('{revalidateDays: 0}')), home({ stations: [station('A')] }));
    expect('steps' in plan && plan.steps[0]!.changes).toEqual([
      { path: 'stations["A"].criteria.revalidateDays', from: 90, to: 0 },
    ]);
    expect(problemsOf(stationOf('{revalidateDays: -1}'))).toEqual([
      'plant.yaml:2 stations[0].criteria.revalidateDays: it is -1. Give at least 0.',
    ]);
    expect(problemsOf(stationOf('{revalidateDays: 1.5}'))).toEqual([
      'plant.yaml:2 stations[0].criteria.revalidateDays: it is 1.5. Give a whole number.',
    ]);
  });

  test('the hours of the shifts are set where they differ, and refused where they are none', () => {
    const stepsFor = (shifts: string) => {
      const plan = planOf(configOf(`mekiki: 1\nshifts: ${shifts}\n`), home());
      return 'steps' in plan && plan.steps;
    };
    expect(stepsFor('[6, 14, 22]')).toEqual([]);
    expect(stepsFor('[7, 19]')).toEqual([
      {
        method: 'reports.setShifts',
        starts: [7, 19],
        changes: [{ path: 'shifts', from: [6, 14, 22], to: [7, 19] }],
      },
    ]);
    expect(problemsOf('mekiki: 1\nshifts: [14, 6]\n')).toEqual([
      'plant.yaml:2 shifts: shifts begin at different hours, named in order. Correct it.',
    ]);
    expect(problemsOf('mekiki: 1\nshifts: [6, 24]\n')).toEqual(['plant.yaml:2 shifts[1]: it is 24. Give at most 23.']);
  });

  test('how long a station keeps things is set where it differs, also at one that is made', () => {
    const config = (retention: string) =>
      configOf(`mekiki: 1\nstations: [{name: A, camera: {kind: simulated}, retention: ${retention}}]`);
    const stepsFor = (retention: string, there: Partial<HomeState>) => {
      const plan = planOf(config(retention), home(there));
      return 'steps' in plan && plan.steps.filter(({ method }) => method === 'retention.set');
    };
    const kept = { okPictures: 2000, otherPicturesDays: null, recordsDays: null };
    const there = { stations: [station('A')], retention: new Map([['st-A', { ...kept, recordsDays: 365 }]]) };
    expect(stepsFor('{recordsDays: 365}', there)).toEqual([]);
    expect(stepsFor('{}', {})).toEqual([]);
    expect(stepsFor('{recordsDays: 90}', there)).toEqual([
      {
        method: 'retention.set',
        stationId: 'st-A',
        name: 'A',
        retention: { ...kept, recordsDays: 90 },
        changes: [{ path: 'stations["A"].retention.recordsDays', from: 365, to: 90 }],
      },
    ]);
    expect(stepsFor('{otherPicturesDays: 30}', {})).toMatchObject([{ stationId: null, name: 'A' }]);
    expect(
      problemsOf('mekiki: 1\nstations: [{name: A, camera: {kind: simulated}, retention: {recordsDays: 7}}]'),
    ).toEqual(['plant.yaml:2 stations[0].retention.recordsDays: it is 7. Give at least 30.']);
    expect(
      problemsOf('mekiki: 1\nstations: [{name: A, camera: {kind: simulated}, retention: {days: 7}}]'),
    ).toHaveLength(1);
  });

  test('an account keeps its role, and stays disabled; an unknown backbone is refused', () => {
    const config = configOf(
      stringify({
        mekiki: 1,
        users: [
          { name: 'HANA', role: 'engineer' },
          { name: 'old', role: 'operator' },
        ],
        stations: [{ name: 'A', camera: { kind: 'simulated' }, backbone: 'big' }],
      }),
    );
    const old = { id: 'u-2', name: 'old', role: 'operator', disabled: true } as const;
    const plan = planOf(config, home({ users: [...home().users, old] }));
    expect('problems' in plan && plan.problems.map(({ path }) => path)).toEqual([
      'users[0].role',
      'users[1].disabled',
      'stations[0].backbone',
    ]);
  });

  test('the station of a new home takes the place of the first one of the file, unless one has its name', () => {
    const made = station('Line 1');
    const methodsFor = (names: string[]) => {
      const config = configOf(
        stringify({ mekiki: 1, stations: names.map((name) => ({ name, camera: { kind: 'simulated' } })) }),
      );
      const plan = planOf(config, home({ stations: [made], unused: made }));
      return 'steps' in plan && plan.steps.map(({ method }) => method);
    };
    expect(methodsFor(['A', 'B'])).toEqual(['stations.update', 'stations.add']);
    expect(methodsFor(['A', 'Line 1'])).toEqual(['stations.add']);
    expect(methodsFor([])).toEqual([]);
  });
});

const hana = { user: 'hana', askPassword: async () => PASSWORD };
const plant = (station: string) =>
  `mekiki: 1\nlanguage: ja\nusers: [{name: hana, role: supervisor}]\nstations: [${station}]\n`;

test('a set-up that failed on an empty folder is taken up by the next one; a station that is set up is left alone', async () => {
  const world = await startWorld();
  try {
    const [window, ours] = createMemoryPair();
    const { core, home } = world;
    serveWindow(core, window, silentLog);
    const client = createClient<typeof methods, typeof events>(ours, { peer: 'core' });
    const apply = (station: string) => {
      const file = join(home, '..', 'plant.yaml');
      writeFileSync(file, plant(station));
      const signIn = () => client.call('session.signIn', { name: 'hana', password: PASSWORD });
      return setUp(client, file, { ...hana, signIn }, { lost: () => {} });
    };
    const names = async () => (await client.call('stations.list', {})).map(({ name }) => name);
    // A folder that the core refuses, since it is its own.
    await expect(apply(`{name: Press 1, camera: {kind: folder, path: '${home}'}}`)).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
    expect(await names()).toEqual([FIRST_STATION.ja]);
    const { untouched } = await apply('{name: Press 1, camera: {kind: simulated}}');
    expect(untouched).toEqual({ users: [], stations: [] });
    expect(await names()).toEqual(['Press 1']);
    await apply('{name: Press 2, camera: {kind: simulated}}');
    expect((await names()).toSorted()).toEqual(['Press 1', 'Press 2']);
    // Found before the station is made, and told in words of whoever wrote the file.
    await expect(apply('{name: Press 3, golden: nowhere, camera: {kind: simulated}}')).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: {
        problems: expect.stringContaining('stations["Press 3"].golden: there is no folder nowhere. ') as string,
      },
    });
    expect((await names()).toSorted()).toEqual(['Press 1', 'Press 2']);
    client.close();
  } finally {
    await world.close();
  }
});

test('nobody is asked for the password of a set-up without a window: MEKIKI_PASSWORD has it', async () => {
  const { askPassword } = unattended(configOf('mekiki: 1'), 'hana');
  try {
    vi.stubEnv('MEKIKI_PASSWORD', '');
    const problem = expect.stringContaining('for hana; set MEKIKI_PASSWORD');
    await expect(askPassword('hana')).rejects.toMatchObject({ code: 'INVALID_INPUT', details: { problem } });
    vi.stubEnv('MEKIKI_PASSWORD', 'three blind measuring mice');
    expect(await askPassword('hana')).toBe('three blind measuring mice');
  } finally {
    vi.unstubAllEnvs();
  }
});
