import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { fullDisk } from '../bench/faults/full-disk.ts';
import { killed } from '../bench/faults/kills.ts';
import { powerCuts } from '../bench/faults/power-cuts.ts';

/* A few of each of the faults that test/bench/faults.ts tries by the hundred. */

const can = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
const mayTrace = can('strace', '-o', '/dev/null', 'true');
const mayMount = process.platform === 'linux' && process.getuid?.() === 0 && can('unshare', '-m', 'true');

test('kill -9 leaves a home in which everything that was answered is whole', async () => {
  const { kills, wrong } = await killed({ kills: 4, seed: 11 });
  expect(wrong).toEqual([]);
  expect(kills).toBe(4);
});

test.skipIf(!mayTrace)('so does a power cut, whatever of the last writes it took', async () => {
  const { states, wrong, openChanges } = await powerCuts(1, 8, 40, 12);
  expect(wrong).toEqual([]);
  expect(states).toBeGreaterThan(20);
  // It was in the middle of something.
  expect(openChanges).toBeGreaterThan(1);
});

test.skipIf(!mayMount)('and a disk that is full is told as that', async () => {
  const { rounds, refused, wrong } = await fullDisk(2, 13);
  expect(wrong).toEqual([]);
  expect(rounds).toBe(2);
  expect(refused).toBeGreaterThan(0);
});
