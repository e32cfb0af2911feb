import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import { silentLog, type Logger } from '../../main/contract/log.ts';
import type { events, methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createLastingClient } from '../../main/contract/rpc/lasting-client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createForkSpawnPort } from '../../main/host/spawn.ts';
import { createSupervisor, type Supervisor, type SupervisorOptions } from '../../main/host/supervisor.ts';
import { alive } from '../helpers/alive.ts';
import { childSettings } from '../helpers/child-settings.ts';

const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}.ts`, import.meta.url));
const entries = { core: fixture('core'), line: fixture('line'), trainer: fixture('trainer') };

const eventually = async (look: () => boolean | Promise<boolean>) => {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    if (await look()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('did not happen within 60 s');
};

describe('supervisor', () => {
  let home: string;
  let supervisor: Supervisor;
  const make = (folder = 'home', more: Partial<SupervisorOptions> = {}) =>
    createSupervisor({
      spawn: createForkSpawnPort(),
      settings: { ...childSettings(join(home, folder)), logLevel: 'debug' },
      log: silentLog,
      entries,
      backOff: { firstMs: 50, maxMs: 200, stableMs: 60_000 },
      // Nothing here hangs: whoever closes in order is given the time.
      graceMs: 30_000,
      ...more,
    });
  const pidOf = (name: string) => supervisor.processes().find((p) => p.name === name)?.pid;
  const openWindow = async () => {
    if (!supervisor.coreUp) throw new AppError('DISCONNECTED', { peer: 'core' });
    const [near, far] = createMemoryPair();
    supervisor.attachWindow(far);
    return near;
  };
  const newWindow = async () => createClient<typeof methods, typeof events>(await openWindow());
  const coreLog = () => readFileSync(join(home, 'home/logs/core.log'), 'utf8');

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'mekiki-supervisor-'));
    supervisor = make();
  });
  afterEach(async () => {
    await supervisor.close();
    rmSync(home, { recursive: true });
  });

  test('a window reaches the core with a session of its own', async () => {
    await supervisor.start();
    const one = await newWindow();
    const two = await newWindow();
    await one.call('session.signIn', { name: 'Sato', password: 'x' });
    expect((await one.call('session.state', {})).user?.name).toBe('Sato');
    expect((await two.call('session.state', {})).user).toBeNull();
    expect((await two.call('session.state', {})).version).toBe('9.9.9');
    // Roles of the contract hold for each session.
    await expect(two.call('users.list', {})).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    expect(await one.call('users.list', {})).toEqual([]);
  });

  test('line and trainer are started through the supervisor, once, and answer through its relay', async () => {
    await supervisor.start();
    const window = await newWindow();
    const first = await window.call('line.status', { stationId: 'a' });
    const second = await window.call('line.status', { stationId: 'a' });
    const other = await window.call('line.status', { stationId: 'b' });
    expect([first.stationId, first.parts, second.parts, other.parts]).toEqual(['a', 1, 2, 1]);
    expect(first.droppedFrames).toBe(pidOf('line:a'));
    expect(other.droppedFrames).not.toBe(first.droppedFrames);
    expect((await window.call('parts.heatMap', { partId: 1 })).weights).toEqual([1, 2, 3]);
    expect(supervisor.processes().map((p) => p.name)).toEqual(['core', 'line:a', 'line:b', 'trainer']);
  });

  test('the core is killed: it comes back, the window reconnects, the line goes on and is taken up again', async () => {
    await supervisor.start();
    let reconnected = 0;
    const window = createLastingClient<typeof methods, typeof events>(openWindow, {
      reconnectedEvent: 'core.restarted',
      backOffMs: 20,
      waitMs: 60_000,
    });
    window.on('core.restarted', () => (reconnected += 1));
    const before = await window.call('line.status', { stationId: 'a' });
    const corePid = pidOf('core')!;
    const states: string[] = [];
    window.onState((state) => states.push(state));

    // It is back within a moment: who looks now and then may miss that it was gone.
    const gone = new Promise<void>((resolve) => supervisor.onCore((up) => !up && resolve()));
    process.kill(corePid, 'SIGKILL');
    await gone;
    const after = await window.call('line.status', { stationId: 'a' });
    // The same process, which counted on.
    expect(after.droppedFrames).toBe(before.droppedFrames);
    expect(after.parts).toBe(before.parts + 1);
    // The dead core's end was hung up on: one connection before, one now.
    expect([before.lostRecords, after.lostRecords]).toEqual([1, 1]);
    expect(pidOf('core')).not.toBe(corePid);
    expect(states[0]).toBe('lost');
    expect(states.at(-1)).toBe('open');
    await eventually(() => reconnected >= 1);
    await window.call('session.signIn', { name: 'Sato', password: 'x' });
    // What the restarted core learnt about running lines.
    expect((await window.call('users.list', {})).map((user) => user.id)).toEqual(['a']);
    window.close();
  });

  test('a line that is killed comes back by itself, with another pid; what was under way ends with DISCONNECTED', async () => {
    await supervisor.start();
    const window = await newWindow();
    const before = await window.call('line.status', { stationId: 'a' });
    process.kill(before.droppedFrames, 'SIGKILL');
    await eventually(() => pidOf('line:a') !== before.droppedFrames);
    await eventually(() => pidOf('line:a') !== undefined);
    const after = await window.call('line.status', { stationId: 'a' });
    expect(after.droppedFrames).toBe(pidOf('line:a'));
    expect(after.parts).toBe(1);
  });

  test('a trainer that dies at work fails that call alone, and is started anew when asked', async () => {
    await supervisor.start();
    const window = await newWindow();
    await window.call('parts.heatMap', { partId: 1 });
    const before = pidOf('trainer');
    await expect(window.call('parts.heatMap', { partId: 13 })).rejects.toMatchObject({ code: 'DISCONNECTED' });
    await eventually(() => pidOf('trainer') === undefined);
    expect((await window.call('parts.heatMap', { partId: 1 })).weights).toEqual([1, 2, 3]);
    expect(pidOf('trainer')).not.toBe(before);
  });

  test('a stopped line stays stopped until it is asked for', async () => {
    await supervisor.start();
    const window = await newWindow();
    const { droppedFrames: pid } = await window.call('line.stop', { stationId: 'a' });
    expect(alive(pid)).toBe(false);
    // Another one starts meanwhile, from nothing to its first answer.
    await window.call('line.status', { stationId: 'b' });
    expect(pidOf('line:a')).toBeUndefined();
    expect((await window.call('line.status', { stationId: 'a' })).droppedFrames).not.toBe(pid);
  });

  test('a core that crashes again and again is started with growing pauses', async () => {
    await supervisor.close();
    const times: number[] = [];
    const note = (message: string) => {
      if (message === 'started' || message === 'ended unasked') times.push(performance.now());
    };
    const log: Logger = { debug() {}, info: note, warn: note, error() {}, child: () => log };
    supervisor = make('home', { log });
    await supervisor.start();
    for (let n = 0; n < 4; n += 1) {
      const window = await newWindow();
      await window.call('session.signIn', { name: 'Sato', password: 'x' });
      await expect(window.call('backbones.list', {})).rejects.toMatchObject({ code: 'DISCONNECTED' });
      await eventually(() => supervisor.coreUp);
    }
    expect(supervisor.processes()[0]!.restarts).toBe(4);
    // started, ended, started, ended …: from each end to the next start.
    const pauses = [2, 4, 6, 8].map((i) => times[i]! - times[i - 1]!);
    // At once after the first; how late a busy machine is beyond these is its own affair.
    for (const [i, least] of [0, 50, 100, 200].entries()) expect(pauses[i]).toBeGreaterThanOrEqual(least - 2);
  });

  test('a core that cannot start says why, and is not tried again', async () => {
    await supervisor.close();
    supervisor = make('in-use');
    await expect(supervisor.start()).rejects.toMatchObject({ code: 'HOME_IN_USE', details: { pid: 4711 } });
    // Another one starts meanwhile, and serves.
    const other = make('home');
    try {
      await other.start();
      expect(supervisor.processes()[0]!.restarts).toBe(0);
      expect(pidOf('core')).toBeUndefined();
    } finally {
      await other.close();
    }
  });

  test('a core that dies at each start without a word is given up', async () => {
    await supervisor.close();
    supervisor = make('broken');
    await expect(supervisor.start()).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(supervisor.processes()[0]!.restarts).toBe(3);
  });

  test('an entry that does not exist is an error, not a hang', async () => {
    await supervisor.close();
    supervisor = make('home', { entries: { ...entries, core: fixture('no-such-file') } });
    await expect(supervisor.start()).rejects.toMatchObject({ code: 'DISCONNECTED' });
  });

  test('closing ends every child in order and leaves none behind', async () => {
    await supervisor.start();
    const window = await newWindow();
    await window.call('line.status', { stationId: 'a' });
    await window.call('parts.heatMap', { partId: 1 });
    const pids = supervisor.processes().map((p) => p.pid!);
    const closed = new Promise<void>((resolve) => window.onClose(resolve));
    await supervisor.close();
    await closed;
    expect(pids.map(alive)).toEqual([false, false, false]);
    expect(coreLog()).toContain('core closed in order');
  });

  test('a picture that is asked for while all is closed starts no core that nobody would end', async () => {
    await supervisor.start();
    const closed = supervisor.close();
    await expect(supervisor.readImage('a'.repeat(64), 320)).rejects.toMatchObject({ code: 'DISCONNECTED' });
    await closed;
    expect(supervisor.processes()).toMatchObject([{ name: 'core', pid: undefined, state: 'stopped' }]);
  });

  test('images come from the core; one that is missing is NOT_FOUND', async () => {
    await supervisor.start();
    const sha = 'a'.repeat(64);
    expect(new TextDecoder().decode(await supervisor.readImage(sha, 320))).toBe(`${sha} at 320`);
    await expect(supervisor.readImage('0'.repeat(64), null)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
