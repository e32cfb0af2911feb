import { AppError } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { Disposer } from '../contract/rpc/api.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import { createMultiplexer, type Multiplexer } from '../contract/rpc/multiplex.ts';
import { createPauses, type BackOff } from './back-off.ts';
import { childSaysSchema, type ParentSays } from './control.ts';
import type { SpawnedProcess } from './spawn.ts';

export interface KeptProcessOptions {
  name: string;
  spawn(): SpawnedProcess;
  /** `always`: started again when it dies. `on-demand`: when it is asked for the next time. */
  restart: 'always' | 'on-demand';
  log: Logger;
  /** Channels that the child opens, beside `control`; also before it says that it listens. */
  onChannel?(name: string, channel: Channel): void;
  backOff?: BackOff;
  /** From being told to stop until being killed. */
  graceMs?: number;
  /** From being started until it says that it listens, without what it says that it is busy for; then it is killed and counts as crashed. */
  startMs?: number;
}

/** A process that has never listened is given up after so many tries: something is wrong with the installation. */
const FIRST_TRIES = 4;

export type ProcessState = 'stopped' | 'starting' | 'up' | 'waiting';

/** One child that is wanted to run: starts, watches, restarts with growing pauses, stops. */
export interface KeptProcess {
  readonly name: string;
  readonly pid: number | undefined;
  readonly state: ProcessState;
  /** How often it was started again after a crash. */
  readonly restarts: number;
  /**
   * Its wire, as soon as it listens.
   * @throws what the child said it cannot start for; DISCONNECTED when it died before it listened and is not restarted, or is stopped.
   */
  ensure(): Promise<Multiplexer>;
  /** Told each time it listens, and each time it is gone (null). */
  onChange(listener: (wire: Multiplexer | null) => void): Disposer;
  /** Tells it, waits, kills it. Resolves when it is gone. */
  stop(): Promise<void>;
}

interface Waiter {
  resolve(wire: Multiplexer): void;
  reject(error: AppError): void;
}

export function keepProcess(options: KeptProcessOptions): KeptProcess {
  const { name, restart, graceMs = 8000, startMs = 60_000 } = options;
  const log = options.log.child({ child: name });
  const waiters = new Set<Waiter>();
  const listeners = new Set<(wire: Multiplexer | null) => void>();
  let state: ProcessState = 'stopped';
  let child: SpawnedProcess | null = null;
  let wire: Multiplexer | null = null;
  let tellStop: () => void = () => {};
  const pauses = createPauses(options.backOff);
  let pause = 0;
  let restarts = 0;
  let everUp = false;
  let tries = 0;
  let stopping: Promise<void> | null = null;
  /** How often it was told to stop. */
  let stops = 0;
  let timer: NodeJS.Timeout | undefined;

  const settle = (act: (waiter: Waiter) => void) => {
    const all = [...waiters];
    waiters.clear();
    for (const waiter of all) act(waiter);
  };
  const announce = (up: Multiplexer | null) => {
    for (const listener of listeners) listener(up);
  };

  const mayTryAgain = (failure: AppError | null, wasUp: boolean): boolean => {
    // Who asks between the crash and its being noticed waits for a new one.
    if (restart === 'on-demand') return wasUp && waiters.size > 0;
    // One that ran before is tried until it runs again; one that never did and says why would only say it again.
    return everUp || (failure === null && tries < FIRST_TRIES);
  };
  const start = () => {
    state = 'starting';
    tries += 1;
    const startedAt = performance.now();
    const spawned = options.spawn();
    const opened = createMultiplexer(spawned.channel, 'parent');
    let failure: AppError | null = null;
    let wasUp = false;
    child = spawned;
    log.info('started', { pid: spawned.pid });
    let deadline: NodeJS.Timeout | undefined;
    const expectIt = () => {
      deadline = setTimeout(() => {
        log.error('does not answer; killed', { afterMs: startMs });
        spawned.kill('SIGKILL');
      }, startMs);
    };
    expectIt();

    opened.onOpen((channelName, channel) => {
      if (channelName !== 'control') return options.onChannel?.(channelName, channel);
      tellStop = () => channel.send({ stop: true } satisfies ParentSays);
      channel.onMessage((message) => {
        const said = childSaysSchema.safeParse(message);
        if (!said.success) return log.warn('unknown message on control');
        clearTimeout(deadline);
        if ('busy' in said.data) {
          if (!said.data.busy) expectIt();
          return;
        }
        if ('failed' in said.data) {
          failure = AppError.fromWire(said.data.failed);
          return;
        }
        if (stopping) return;
        state = 'up';
        wasUp = true;
        wire = opened;
        everUp = true;
        settle((waiter) => waiter.resolve(opened));
        announce(opened);
      });
    });

    // The wire goes before the exit is told; without it the process is of no use, and should be ending.
    let slow: NodeJS.Timeout | undefined;
    opened.onClose(() => {
      if (state === 'up') state = 'waiting';
      if (wire) announce((wire = null));
      slow = setTimeout(() => spawned.kill('SIGKILL'), graceMs);
    });
    spawned.onExit((exit) => {
      clearTimeout(deadline);
      opened.close();
      clearTimeout(slow);
      child = null;
      tellStop = () => {};
      state = 'stopped';
      if (stopping) return;
      log.warn('ended unasked', { pid: spawned.pid, ...exit, problem: failure?.message });
      pause = pauses.afterCrash(performance.now() - startedAt);
      if (mayTryAgain(failure, wasUp)) return startLater();
      const reason = failure ?? new AppError('DISCONNECTED', { peer: name });
      tries = 0;
      settle((waiter) => waiter.reject(reason));
    });
  };
  const startLater = () => {
    state = 'waiting';
    timer = setTimeout(() => {
      restarts += 1;
      start();
    }, pause);
  };

  const end = async () => {
    clearTimeout(timer);
    const gone = child;
    if (gone) {
      const exited = new Promise<void>((resolve) => gone.onExit(() => resolve()));
      const term = setTimeout(() => gone.kill('SIGTERM'), graceMs);
      const kill = setTimeout(() => gone.kill('SIGKILL'), graceMs + 1000);
      try {
        tellStop();
        if (state !== 'up') gone.kill('SIGTERM');
        await exited;
      } finally {
        // Also where it could not be told: it may be wanted again before they are up.
        clearTimeout(term);
        clearTimeout(kill);
      }
    }
    state = 'stopped';
    pause = 0;
    pauses.reset();
    tries = 0;
    everUp = false;
    settle((waiter) => waiter.reject(new AppError('DISCONNECTED', { peer: name })));
    log.info('stopped');
  };

  return {
    name,
    get pid() {
      return child?.pid;
    },
    get state() {
      return state;
    },
    get restarts() {
      return restarts;
    },
    async ensure() {
      const before = stops;
      // Nothing is waited for where nothing ends: who stops it in the same tick has to find what this starts.
      while (stopping) await stopping;
      if (stops !== before) throw new AppError('DISCONNECTED', { peer: name });
      if (wire) return wire;
      const up = new Promise<Multiplexer>((resolve, reject) => waiters.add({ resolve, reject }));
      if (state === 'stopped') {
        // After a crash of a process that is started on demand, the pause applies to the one who asks.
        if (pause > 0) startLater();
        else start();
      }
      return up;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    stop() {
      stops += 1;
      stopping ??= end().finally(() => {
        stopping = null;
      });
      return stopping;
    },
  };
}
