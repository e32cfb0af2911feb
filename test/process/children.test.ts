import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '../../main/contract/log.ts';
import { createChildren, type Children } from '../../main/host/children.ts';
import { createForkSpawnPort, type SpawnPort } from '../../main/host/spawn.ts';
import { alive } from '../helpers/alive.ts';
import { childSettings } from '../helpers/child-settings.ts';

const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}.ts`, import.meta.url));

let home: string;
let children: Children;
let pids: number[];
/** Thrown by the next `kill` of a child. */
let refuseKill: Error | null;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'mekiki-children-'));
  pids = [];
  refuseKill = null;
  const fork = createForkSpawnPort();
  const spawn: SpawnPort = {
    spawn(...what) {
      const spawned = fork.spawn(...what);
      pids.push(spawned.pid!);
      return {
        ...spawned,
        kill(name) {
          const refused = refuseKill;
          refuseKill = null;
          if (refused) throw refused;
          return spawned.kill(name);
        },
      };
    },
  };
  children = createChildren({
    spawn,
    settings: childSettings(home),
    log: silentLog,
    entries: { core: fixture('core'), line: fixture('line'), trainer: fixture('trainer') },
    graceMs: 30_000,
  });
});
afterEach(async () => {
  await children.close();
  for (const pid of pids) if (alive(pid)) process.kill(pid, 'SIGKILL');
  rmSync(home, { recursive: true });
});

test('a process that is asked for while it ends is started anew, once, and ends with the others', async () => {
  await children.ensure('line:a');
  const stopped = children.stop('line:a');
  // Twice told, it ends once.
  const again = children.stop('line:a');
  const [, channel] = await Promise.all([children.ensure('line:a'), children.connect('line:a'), stopped, again]);
  expect(children.running()).toEqual(['line:a']);
  expect(children.list().map(({ pid }) => pid)).toEqual(pids.slice(1));
  expect(pids.map(alive)).toEqual([false, true]);
  channel.close();
  await children.close();
  expect(pids.map(alive)).toEqual([false, false]);
});

test('one that ends when all are closed is not started again', async () => {
  await children.ensure('line:a');
  void children.stop('line:a');
  const asked = children.ensure('line:a');
  const closed = children.close();
  await expect(asked).rejects.toMatchObject({ code: 'DISCONNECTED' });
  await closed;
  expect(pids.map(alive)).toEqual([false]);
});

test('one that was stopped, or never ran, is stopped at once', async () => {
  await children.stop('line:a');
  await children.ensure('line:a');
  await children.stop('line:a');
  await children.stop('line:a');
  expect(children.list()).toEqual([]);
});

test('one that is asked for and stopped in one tick is gone', async () => {
  const asked = children.ensure('line:a');
  const stopped = children.stop('line:a');
  await expect(asked).rejects.toMatchObject({ code: 'DISCONNECTED' });
  await stopped;
  expect(children.list()).toEqual([]);
  expect(pids.some(alive)).toBe(false);
});

test('who stops it last is heard, also while it ends', async () => {
  await children.ensure('line:a');
  const first = children.stop('line:a');
  const asked = children.ensure('line:a');
  const last = children.stop('line:a');
  await expect(asked).rejects.toMatchObject({ code: 'DISCONNECTED' });
  await Promise.all([first, last]);
  expect(children.list()).toEqual([]);
  expect(pids.map(alive)).toEqual([false]);
});

test('one that the system does not let end is not given up: it can be asked for, and stopped again', async () => {
  refuseKill = new Error('EPERM');
  // Stopped before it listens: by a signal.
  const asked = children.ensure('line:a');
  await expect(children.stop('line:a')).rejects.toThrow('EPERM');
  await asked;
  expect(children.running()).toEqual(['line:a']);
  await children.stop('line:a');
  expect(children.list()).toEqual([]);
  expect(pids.map(alive)).toEqual([false]);
});
