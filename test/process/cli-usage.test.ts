import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { EXIT } from '../../main/host/cli/output.ts';
import { cli, commandLine, newCommandLine } from '../helpers/cli.ts';

const entry = fileURLToPath(new URL('../../main/host/cli/main.ts', import.meta.url));

/* Wrong calls, whether commander can tell or the command alone: one exit status, and with --json one document with the reason. */

test('an argument that says nothing is wrong usage, before anything is opened or asked for', async () => {
  await using at = await newCommandLine({});
  for (const args of [
    ['knowledge', 'forget'],
    ['knowledge', 'forget', 'sha', '--class', 'scratch'],
    ['knowledge', 'forget', 'sha', '--image', 'another'],
    ['activate', 'm-1', '--at', 'teatime'],
    // What Date would take for a time in 2001, and for 2 March.
    ['activate', 'm-1', '--at', '5'],
    ['activate', 'm-1', '--at', '2027-02-30T22:00'],
    ['users', 'add', 'mio', '--role', 'king'],
    ['camera', 'features', '127.0.0.9', '--set', 'Gain'],
    ['lineio', 'map', '--lay', 'lot'],
    // Beyond what a station may have.
    ['lineio', 'map', '--lay', 'lot=1001'],
  ]) {
    expect(await at.misused(...args), args.join(' ')).toMatchObject({ code: 'INVALID_INPUT' });
  }
});

test.each([
  [['init', '--user', 'hana', '--language', 'jp'], 'Allowed choices are en, ja'],
  [['backup', 'a.mekiki-backup', '--station', 'First'], "unknown option '--station'"],
  [['stations', 'add', 'Second', '--station', 'First'], "unknown option '--station'"],
  // A candidate is of its own station, and a class of all: another one that is named would change nothing.
  [['activate', 'm-1', '--station', 'Second'], "unknown option '--station'"],
  [['approve', 'm-1', '--meaning', 'seen', '--station', 'Second'], "unknown option '--station'"],
  [['reject', 'm-1', '--reason', 'seen', '--station', 'Second'], "unknown option '--station'"],
  [['candidates', 'recheck', 'm-1', '--station', 'Second'], "unknown option '--station'"],
  [['golden', 'try', 'm-1', '--station', 'Second'], "unknown option '--station'"],
  [['knowledge', 'retire', 'pit', '--station', 'Second'], "unknown option '--station'"],
])('%j is refused', async (args, why) => {
  await using at = await newCommandLine({});
  expect(await cli([...args, '--home', at.home])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining(why) as unknown,
  });
});

test('a data folder that the core refuses is told in one line, without a log beside it', async () => {
  const refused = await cli(['init', '--user', 'hana', '--home', '/dev/null'], { MEKIKI_PASSWORD: 'three blind mice' });
  expect(refused).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^The data folder \/dev\/null cannot be written: .*\n$/) as unknown,
  });
});

test.each([
  [['simulate', 'gige'], ['512x512']],
  [
    ['bench', 'compress'],
    ['none,pre-prune,post-prune,distill', '0.25,0.4,0.54,0.7'],
  ],
])('the help of %s shows defaults as they would be typed', async (command, defaults) => {
  const help = (await cli([...command, '--help'])).stdout.replaceAll(/\s+/g, ' ');
  for (const value of defaults) expect(help).toContain(`(default: ${value})`);
});

test('an account, a station or a new password that has to be given is not guessed', async () => {
  const signer = { MEKIKI_PASSWORD: 'correct horse battery' };
  await using at = await newCommandLine(signer);
  await at.done('init', '--user', 'hana');
  await at.done('stations', 'add', 'Second');
  expect((await at.misused('knowledge', 'show')).message).toContain('--station');
  expect((await at.failed('knowledge', 'show', '--station', 'Third')).code).toBe('NOT_FOUND');
  const database = new DatabaseSync(join(at.home, 'mekiki.sqlite'));
  const modelOf = (condition: string) =>
    database.exec(`update stations set active_model_id = 'm-1' where ${condition}`);
  modelOf("name = 'Second'");
  expect((await at.failed('inspect', at.home)).code).not.toBe('NO_ACTIVE_MODEL');
  modelOf('true');
  database.close();
  expect((await at.misused('inspect', at.home)).message).toContain('--station');
  // Nor does an account get the password of who signs in because nothing else was given, and nobody is asked where nobody is.
  for (const [args, variable] of [
    [['users', 'add', 'mio', '--role', 'operator'], 'MEKIKI_NEW_PASSWORD'],
    [['users', 'password'], 'MEKIKI_NEW_PASSWORD'],
    [['users', 'code', 'u-1'], 'MEKIKI_CODE'],
    [['users', 'recover', 'mio'], 'MEKIKI_RECOVERY_CODE'],
  ] as const)
    expect(await at.failed(...args)).toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining(`set ${variable}`) as unknown,
    });
  const mios = commandLine(at.home, { ...signer, MEKIKI_NEW_PASSWORD: 'another horse' });
  await mios.done('users', 'add', 'mio', '--role', 'operator');
  expect((await at.misused('update')).message).toContain('--user');
  expect((await at.failed('update', '--user', 'mio')).code).toBe('WRONG_PASSWORD');
});

test('events that are to be encrypted are not sent in clear', async () => {
  await using at = await newCommandLine({ MEKIKI_PASSWORD: 'correct horse battery' });
  await at.done('init', '--user', 'hana');
  const broker = ['events', 'set', '--address', '127.0.0.1', '--server-name', 'broker.plant'];
  expect((await at.misused(...broker)).message).toContain('--ca');
  expect((await at.misused(...broker, '--no-tls')).message).toContain("option '--no-tls' cannot be used with");
});

test.each([
  [
    ['learn', 'set', '--tasks', 'many'],
    "option '--tasks <n>' argument 'many' is invalid. give a whole number from 1 to 10000",
  ],
  [['learn', 'set', '--task'], "unknown option '--task' (Did you mean --tasks?)"],
  [['learn', 'set', '--method', 'best'], "option '--method <name>' argument 'best' is invalid"],
  [['candidates', 'create', '--budget', 'long'], "option '--budget <name>' argument 'long' is invalid"],
  [['stations', 'add', 'S', '--surface', 'wood'], "option '--surface <name>' argument 'wood' is invalid"],
  [['stations', 'add', 'S', '--folder', ''], "option '--folder <dir>' argument '' is invalid. name a folder"],
  [
    ['stations', 'add', 'S', '--folder', 'x', '--camera', '1'],
    "option '--camera <serial>' cannot be used with option '--folder <dir>'",
  ],
  [
    ['bundle', 'export', '--active', '--candidate', 'm-1', '--out', 'x'],
    "option '--candidate <id>' cannot be used with option '--active'",
  ],
  [
    ['bundle', 'export', '--candidate', 'm-1', '--station', 'Second', '--out', 'x'],
    "option '--candidate <id>' cannot be used with option '--station <id>'",
  ],
  [['events', 'set', '--ca', 'ca.pem', '--no-tls'], "option '--no-tls' cannot be used with option '--ca <file>'"],
  [
    ['events', 'set', '--address', 'broker'],
    "option '--address <ip>' argument 'broker' is invalid. give an IP address",
  ],
  [
    ['cameras', '--address', '127.0.0.1', 'camera'],
    "option '--address <ip...>' argument 'camera' is invalid. give an IPv4 address",
  ],
  [['learn'], "missing required argument 'dir'"],
  [['anomaly', 'set'], "required option '--ok-class <name>' not specified"],
  [['learnt', 'set'], "unknown command 'learnt' (Did you mean learn?)"],
  [['users'], 'a command is missing'],
  [['import', ''], 'argument 1 names nothing'],
  [['label', 'a.png', ' '], 'argument 2 names nothing'],
  [['stations', 'set', '', '--max-escape', '0.5'], 'argument 1 names nothing'],
  [['bundle', 'export', '--candidate', '', '--out', 'x'], "option '--candidate <id>' names nothing"],
  [['compress', 'set', '--out', '--resume'], "option '--out <dir>' names nothing"],
  [
    ['restore', 'a', '--home', '--threads', '2'],
    "option '--home <dir>' argument '--threads' is invalid. name a folder",
  ],
  [['stations', 'list', '--home', ''], "option '--home <dir>' argument '' is invalid. name a folder"],
  [[], 'a command is missing'],
])('%s: the parser refuses it as a command does', async (args, problem) => {
  const { code, stderr, json } = await cli([...args, '--json']);
  expect(code).toBe(2);
  expect(json()).toMatchObject({
    error: { code: 'INVALID_INPUT', message: expect.stringContaining(`command line is not valid: ${problem}`) },
  });
  expect(stderr).toContain('Usage: mekiki');
  const plain = await cli(args);
  expect(plain).toMatchObject({ code: 2, stdout: '', stderr });
});

test('help that is asked for is no failure', async () => {
  const { code, stdout, stderr } = await cli(['learn', '--help', '--json']);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain('Usage: mekiki learn');
});

test.skipIf(!existsSync('/dev/full'))('a result that its disk does not take is told, and is no success', async () => {
  const full = openSync('/dev/full', 'w');
  const child = spawn(process.execPath, [entry, '--help'], { stdio: ['ignore', full, 'pipe'] });
  closeSync(full);
  let told = '';
  child.stderr!.on('data', (text) => (told += String(text)));
  const [code] = (await once(child, 'close')) as [number];
  expect([code, told]).toEqual([EXIT.failed, expect.stringMatching(/^The disk of standard output is full\..*\n$/)]);
});

test('a certificate that is there and cannot be read is not told as one that is away', async () => {
  await using at = await newCommandLine({});
  const folder = dirname(at.home);
  expect((await at.failed('events', 'set', '--ca', folder)).message).toContain('EISDIR');
  expect((await at.failed('events', 'set', '--ca', join(folder, 'none'))).code).toBe('NOT_FOUND');
});

test.skipIf(process.platform === 'win32')('without a place for temporary files it says so', async () => {
  await using at = await newCommandLine({ TMPDIR: '/dev/null/none' });
  const file = join(dirname(at.home), 'plant.yaml');
  await writeFile(file, 'mekiki: 1\n');
  expect(await at.failed('config', 'apply', file, '--dry-run')).toMatchObject({
    code: 'INVALID_INPUT',
    message: expect.stringContaining('the folder for temporary files is not valid: ENOTDIR') as unknown,
  });
});

test.skipIf(process.platform === 'win32')('a result that nobody reads ends the command without a word', async () => {
  const child = spawn(process.execPath, [entry, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let told = '';
  child.stderr.on('data', (text) => (told += String(text)));
  expect([await once(child, 'close'), told]).toEqual([[EXIT.unread, null], '']);
});
