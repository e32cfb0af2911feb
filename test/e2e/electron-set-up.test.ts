import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandLine } from '../helpers/cli.ts';
import { ruinPage } from '../helpers/ruin.ts';
import { electronFolder, installShell, startElectron, type InstalledShell } from './electron-app.ts';

const PEOPLE = 12;
type Three = [string, string, string];

const password = 'three blind measuring mice';

/** The shell as it ships, without a window: told to end while it applies a configuration, and restoring; core under MEKIKI_NODE. */
describe.skipIf(!electronFolder)(
  'a task without a window (needs ELECTRON_OVERRIDE_DIST_PATH)',
  { timeout: 480_000 },
  () => {
    let shell: InstalledShell;
    let home: string;
    beforeAll(async () => {
      shell = await installShell('set-up', { testRuntime: true });
    });
    afterAll(() => shell?.close());

    const folder = () => {
      home = join(mkdtempSync(join(shell.folder, 'set-up-')), 'home');
    };
    const run = (args: string[], node = process.execPath, env: Record<string, string> = {}) =>
      startElectron(shell.program, ['--home', home, ...args], {
        DISPLAY: shell.display,
        HOME: shell.folder,
        MEKIKI_NODE: node,
        MEKIKI_PASSWORD: password,
        ...env,
      });
    const setUp = (node?: string) => {
      const file = join(shell.folder, 'plant.yaml');
      const people = Array.from({ length: PEOPLE }, (_, i) => `{name: person ${i}, role: engineer}`);
      writeFileSync(file, `mekiki: 1\nusers: [{name: hana, role: supervisor}, ${people.join(', ')}]\n`);
      return run(['--setup', file], node);
    };
    const accounts = (): number => {
      const file = join(home, 'mekiki.sqlite');
      if (!existsSync(file)) return 0;
      using db = Object.assign(new Database(file, { readonly: true }), {
        [Symbol.dispose]() {
          db.close();
        },
      });
      return db.prepare("select count(*) from sqlite_master where name = 'users'").pluck().get() === 0
        ? 0
        : (db.prepare('select count(*) from users').pluck().get() as number);
    };

    test('a set-up told to end before the first change: none is made, and its status says so', async () => {
      folder();
      // A core that waits at its door until the signal is given.
      const [node, asked, open] = ['node', 'asked', 'open'].map((name) => join(dirname(home), name)) as Three;
      const gate = ['#!/bin/sh', `touch '${asked}'`, `while [ ! -e '${open}' ]; do sleep .05; done`];
      writeFileSync(node, [...gate, `exec '${process.execPath}' "$@"`, ''].join('\n'), { mode: 0o755 });
      const started = setUp(node);
      await expect.poll(() => existsSync(asked), { timeout: 60_000 }).toBe(true);
      started.process.kill('SIGTERM');
      writeFileSync(open, '');
      expect(await started.ended, started.output()).toBe(1);
      expect(started.output()).toContain('Cancelled.');
      expect(accounts()).toBe(0);
    });

    test('a set-up told to end in the midst of its changes: all are made, and restored elsewhere from a backup', async () => {
      folder();
      const started = setUp();
      // The database is the core's alone until it ends; the first supervisor leaves this file when twelve accounts are still to be made.
      const founded = () => existsSync(join(home, 'trust', 'founder.json'));
      await expect.poll(founded, { timeout: 60_000, interval: 5 }).toBe(true);
      expect(started.output()).not.toContain('changes made');
      started.process.kill('SIGTERM');
      expect(await started.ended, started.output()).toBe(0);
      expect(started.output()).toContain(`${PEOPLE} changes made.`);
      expect(accounts()).toBe(PEOPLE + 1);

      const file = join(dirname(home), 'a.mekiki-backup');
      await commandLine(home, { MEKIKI_PASSWORD: password }).done('backup', file, '--user', 'hana');
      home = join(dirname(home), 'again');
      const restored = run(['--restore', file]);
      expect(await restored.ended, restored.output()).toBe(0);
      expect(restored.output()).toContain(`${home} is as it was at `);
      expect(accounts()).toBe(PEOPLE + 1);
      ruinPage(join(home, 'mekiki.sqlite'), 'audit');
      const read = run(['--check']);
      expect(await read.ended, read.output()).toBe(1);
      expect(read.output()).toContain('The database is damaged: ');
    });

    test('a task where there is no display, as the README has it for a remote shell', async () => {
      folder();
      const read = run(['--ozone-platform=headless', '--check'], process.execPath, {
        DISPLAY: '',
        WAYLAND_DISPLAY: '',
      });
      expect(await read.ended, read.output()).toBe(1);
      expect(read.output()).toContain('does not exist. Check the name');
    });

    test('a task on a folder whose name is empty does not go to the usual one', async () => {
      folder();
      const read = run(['--home', '', '--check']);
      expect(await read.ended, read.output()).toBe(1);
      expect(read.output()).toContain('--home is not valid: it names no folder.');
    });

    test('an account whose folder cannot be written is told so, and not that the data folder is open', async () => {
      folder();
      // Nobody makes a folder there, root included.
      const nowhere = { XDG_CONFIG_HOME: '/proc/mekiki' };
      const read = run(['--check'], process.execPath, nowhere);
      expect(await read.ended, read.output()).toBe(1);
      expect(read.output()).toContain('The folder /proc/mekiki/Mekiki Window/');
      const window = run([], process.execPath, nowhere);
      try {
        await expect.poll(() => window.output(), { timeout: 60_000 }).toContain('PROFILE_NOT_WRITABLE');
      } finally {
        // A dialog with the words is open by now, which nobody closes here.
        window.process.kill('SIGKILL');
        await window.ended;
      }
    });
  },
);
