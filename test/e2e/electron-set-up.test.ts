import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { electronFolder, installShell, startElectron, type InstalledShell } from './electron-app.ts';

const PEOPLE = 12;
type Three = [string, string, string];

/** The shell as it ships, told to end while it applies a configuration; core under MEKIKI_NODE. */
describe.skipIf(!electronFolder)(
  'a set-up that is told to end (needs ELECTRON_OVERRIDE_DIST_PATH)',
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
    const setUp = (node = process.execPath) => {
      const file = join(shell.folder, 'plant.yaml');
      const people = Array.from({ length: PEOPLE }, (_, i) => `{name: person ${i}, role: engineer}`);
      writeFileSync(file, `mekiki: 1\nusers: [{name: hana, role: supervisor}, ${people.join(', ')}]\n`);
      return startElectron(shell.program, ['--home', home, '--setup', file], {
        DISPLAY: shell.display,
        HOME: shell.folder,
        MEKIKI_NODE: node,
        MEKIKI_PASSWORD: 'three blind measuring mice',
      });
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

    test('before the first change: none is made, and its status says so', async () => {
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

    test('in the midst of them: all are made', async () => {
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
    });
  },
);
