import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silentLog } from '../../../main/contract/log.ts';
import type { Channel } from '../../../main/contract/rpc/channel.ts';
import { createMemoryPair } from '../../../main/contract/rpc/memory.ts';
import { createMultiplexer } from '../../../main/contract/rpc/multiplex.ts';
import type { ChildSays } from '../../../main/host/control.ts';
import { keepProcess } from '../../../main/host/kept-process.ts';

const START_MS = 60_000;

/** What a process says to its supervisor; no process is started. */
const kept = () => {
  const control: Channel[] = [];
  let crash = () => {};
  const killed: string[] = [];
  const child = keepProcess({
    name: 'core',
    restart: 'always',
    log: silentLog,
    startMs: START_MS,
    spawn() {
      const [ours, theirs] = createMemoryPair();
      control.push(createMultiplexer(theirs, 'child').open('control'));
      let exited: (exit: { code: number | null; signal: string | null }) => void = () => {};
      crash = () => exited({ code: 1, signal: null });
      return {
        pid: control.length,
        channel: ours,
        kill(signal) {
          killed.push(signal);
          exited({ code: null, signal });
        },
        onExit(listener) {
          exited = listener;
          return () => {};
        },
      };
    },
  });
  const say = (message: ChildSays) => {
    control.at(-1)!.send(message);
    return vi.advanceTimersByTimeAsync(0);
  };
  return { child, say, killed, crash: () => crash() };
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('one that reads a large home at its start is waited for, and no longer once that is over', async () => {
  const { child, say, killed } = kept();
  const wire = child.ensure();
  await say({ busy: true });
  await vi.advanceTimersByTimeAsync(20 * START_MS);
  expect(killed).toEqual([]);
  await say({ busy: false });
  await vi.advanceTimersByTimeAsync(START_MS - 1);
  expect(killed).toEqual([]);
  await say({ ready: true });
  await wire;
  expect(child.restarts).toBe(0);
  await vi.advanceTimersByTimeAsync(2 * START_MS);
  expect(killed).toEqual([]);
});

test('one that says nothing more after that, or nothing at all, is killed', async () => {
  const { child, say, killed } = kept();
  child.ensure().catch(() => {});
  await say({ busy: true });
  await say({ busy: false });
  await vi.advanceTimersByTimeAsync(START_MS);
  expect(killed).toEqual(['SIGKILL']);
  // The next one, which is started at once.
  await vi.advanceTimersByTimeAsync(1.5 * START_MS);
  expect(killed).toEqual(['SIGKILL', 'SIGKILL']);
});

test('one that lived long is started at once when it crashes, though the clock was set back meanwhile', async () => {
  const { child, say, crash } = kept();
  const started = async () => {
    const wire = child.ensure();
    await vi.advanceTimersByTimeAsync(0);
    await say({ ready: true });
    await wire;
  };
  await started();
  crash();
  await started();
  await vi.advanceTimersByTimeAsync(60_000);
  vi.setSystemTime(Date.now() - 3_600_000);
  crash();
  await vi.advanceTimersByTimeAsync(0);
  expect(child.pid).toBe(3);
});
