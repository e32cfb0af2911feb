import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUNDLE_BYTES_AT_MOST } from '../../../main/contract/bundle.ts';
import {
  bundleToOpen,
  filesOfSecondStart,
  readArguments,
  soleTask,
  whyNoHome,
  type Task,
} from '../../../main/shell/arguments.ts';
import { writeLock } from '../../../main/store/home.ts';

describe('what the program is started with', () => {
  it('is read from among the switches of Chromium and the folder of `electron .`', () => {
    expect(
      readArguments(
        ['.', '--no-sandbox', '--remote-debugging-port=0', '--home', 'data.mekiki', '--kiosk', 'usb/line.mekiki'],
        '/media',
      ),
    ).toEqual({
      home: 'data.mekiki',
      demo: false,
      kiosk: true,
      tasks: [],
      user: undefined,
      keychain: false,
      files: [resolve('/media', 'usb/line.mekiki')],
    });
    // A value is no file, and neither is a switch, whatever it ends with.
    for (const argv of [
      [],
      ['x.txt'],
      ['--setup=a.mekiki'],
      ['--user', 'b.mekiki'],
      ['--strange=c.mekiki'],
      ['--home'],
    ])
      expect(readArguments(argv, '/media').files).toEqual([]);
    expect(readArguments(['--', '--kiosk.mekiki'], '/media')).toMatchObject({
      kiosk: false,
      files: [resolve('/media', '--kiosk.mekiki')],
    });
  });

  it('takes no folder for the usual one where --home names none', () => {
    for (const argv of [['--home'], ['--home='], ['--home', ''], ['--home', ' '], ['--home', '--check']])
      expect(whyNoHome(readArguments(argv, '/media')), argv.join(' ')).toMatchObject({ code: 'INVALID_INPUT' });
    for (const argv of [[], ['--home', 'data'], ['--check']])
      expect(whyNoHome(readArguments(argv, '/media'))).toBeNull();
  });

  it('asks for a set-up or a restore also where no file is named, and for a check', () => {
    const asked = (...argv: string[]) => readArguments(argv, '/media').tasks;
    for (const option of ['--setup', '--restore']) {
      for (const argv of [[option, 'plant.mekiki'], [`${option}=plant.mekiki`]])
        expect(asked(...argv)).toEqual([{ option, file: 'plant.mekiki' }]);
      for (const argv of [[option], ['--home', 'data', option], [`${option}=`]])
        expect(asked(...argv)).toEqual([{ option, file: '' }]);
    }
    expect(asked('--check')).toEqual([{ option: '--check', repair: false }]);
    expect(asked('--repair', '--check')).toEqual([{ option: '--check', repair: true }]);
    expect(asked('--home', 'data', '--repair')).toEqual([]);
  });

  it('never throws, and gives whole paths to bundles alone', () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom(
        '--',
        '-',
        '--home',
        '--home=',
        '--__proto__=x',
        '-kiosk',
        'a.mekiki',
        '..\\b.MEKIKI',
        '--=',
        '/',
      ),
    );
    fc.assert(
      fc.property(fc.array(word), (argv) => {
        for (const file of readArguments(argv, '/media').files) {
          expect(isAbsolute(file)).toBe(true);
          expect(file.toLowerCase().endsWith('.mekiki')).toBe(true);
        }
      }),
    );
  });
});

describe('what a second start hands over', () => {
  it('is a list of whole paths to bundles; anything else asks for the window alone', () => {
    const file = resolve('/media/a.mekiki');
    expect(filesOfSecondStart({ files: [file, ''] })).toEqual([]);
    expect(filesOfSecondStart({ files: [file, 'relative.mekiki', resolve('/etc/passwd')] })).toEqual([file]);
    expect(filesOfSecondStart({ files: [file], more: 1 })).toEqual([file]);
    fc.assert(
      fc.property(fc.anything(), (data) => {
        for (const given of filesOfSecondStart(data)) expect(isAbsolute(given)).toBe(true);
      }),
    );
    expect(filesOfSecondStart({ files: [`/${'a'.repeat(5000)}.mekiki`] })).toEqual([]);
    expect(filesOfSecondStart({ files: Array.from({ length: 1000 }, () => file) })).toEqual([]);
  });
});

describe('a task without a window', () => {
  it('is refused where no file is named, beside another one, and on a folder that is open, by whom', () => {
    const home = mkdtempSync(join(tmpdir(), 'mekiki-task-'));
    try {
      writeLock(home, new Date());
      const refusal = (alone: boolean, ...tasks: Task[]) => {
        return () => soleTask(tasks, { home, alone });
      };
      const [check, restore] = [
        { option: '--check', repair: true },
        { option: '--restore', file: 'backup' },
      ] as const;
      for (const task of [check, restore]) {
        expect(refusal(true, task)()).toBe(task);
        expect(refusal(false, task)).toThrow(
          expect.objectContaining({ code: 'HOME_IN_USE', details: { home, pid: process.pid } }),
        );
      }
      const refused: Task[][] = [
        [{ option: '--setup', file: '' }],
        [{ option: '--restore', file: '' }],
        [restore, check],
      ];
      for (const alone of [true, false])
        for (const tasks of refused)
          expect(refusal(alone, ...tasks)).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
    } finally {
      rmSync(home, { recursive: true });
    }
  });
});

describe('a bundle to open', () => {
  let folder: string;
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'mekiki-open-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is one file that is there and not too large', async () => {
    expect(await bundleToOpen([])).toBeNull();
    const file = join(folder, 'a.mekiki');
    writeFileSync(file, 'anything: the core reads it');
    expect(await bundleToOpen([file])).toBe(file);
    const link = join(folder, 'link.mekiki');
    symlinkSync(file, link);
    expect(await bundleToOpen([link])).toBe(link);
    await expect(bundleToOpen([file, link])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    const huge = join(folder, 'huge.mekiki');
    writeFileSync(huge, '');
    truncateSync(huge, BUNDLE_BYTES_AT_MOST + 1);
    await expect(bundleToOpen([huge])).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('too large') as unknown,
    });
  });

  it('is no folder, no device, and nothing that is not there', async () => {
    const inside = join(folder, 'folder.mekiki');
    mkdirSync(inside);
    const device = join(folder, 'device.mekiki');
    symlinkSync('/dev/zero', device);
    const loop = join(folder, 'loop.mekiki');
    symlinkSync(loop, loop);
    for (const file of [inside, device, loop, join(folder, 'none.mekiki'), '/nul\0byte.mekiki'])
      await expect(bundleToOpen([file])).rejects.toMatchObject({ name: 'AppError' });
    // It is there, and cannot be read.
    await expect(bundleToOpen([loop])).rejects.toMatchObject({ code: 'INVALID_INPUT', details: { what: loop } });
    await expect(bundleToOpen([join(folder, 'none.mekiki')])).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
