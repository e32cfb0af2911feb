import { AppError } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import type { Multiplexer } from '../contract/rpc/multiplex.ts';
import type { BackOff } from './back-off.ts';
import { keepProcess, type KeptProcess } from './kept-process.ts';
import { entryFile, type ChildSettings, type SpawnPort } from './spawn.ts';

/** Files that children run; tests put their own. */
export interface Entries {
  core: string;
  line: string;
  trainer: string;
}
export const defaultEntries = (): Entries => ({
  core: entryFile('core'),
  line: entryFile('line'),
  trainer: entryFile('trainer'),
});

export interface ChildrenOptions {
  spawn: SpawnPort;
  settings: Omit<ChildSettings, 'name'>;
  log: Logger;
  entries?: Entries;
  backOff?: BackOff;
  graceMs?: number;
  /** A line's camera is read by a page: a channel for its pictures. */
  onFeed?(stationId: string, channel: Channel): void;
}

/** Line processes and the trainer: started when asked for, lines restarted when they die. */
export interface Children {
  /** Resolves when the process listens. `trainer`, `cameras` or `line:<stationId>`. @throws DISCONNECTED when it cannot be started */
  ensure(name: string): Promise<void>;
  /** A new connection to a process that runs. */
  connect(name: string): Promise<Channel>;
  stop(name: string): Promise<void>;
  /** Names of what is wanted and not stopped. */
  running(): string[];
  list(): KeptProcess[];
  close(): Promise<void>;
}

export function createChildren({
  spawn,
  settings,
  log,
  entries = defaultEntries(),
  onFeed,
  ...kept
}: ChildrenOptions): Children {
  const processes = new Map<string, KeptProcess>();
  /** Those of them that were told to stop. */
  const ending = new Map<string, Promise<void>>();
  /** How often each was told to stop. */
  const stops = new Map<string, number>();
  let closed = false;

  const of = (name: string): KeptProcess => {
    if (closed) throw new AppError('DISCONNECTED', { peer: name });
    const known = processes.get(name);
    if (known) return known;
    const isLine = name.startsWith('line:');
    const made = keepProcess({
      name,
      log,
      ...kept,
      // The work of the others is asked for anew by whoever wanted it; a line has to run whether or not anybody asks.
      restart: isLine ? 'always' : 'on-demand',
      onChannel(opened, channel) {
        if (isLine && opened === 'feed' && onFeed) onFeed(name.slice('line:'.length), channel);
        else channel.close();
      },
      // What looks for cameras is the line's entry in another role: both bring the code that speaks to cameras.
      spawn: () => spawn.spawn(name, name === 'trainer' ? entries.trainer : entries.line, { ...settings, name }),
    });
    processes.set(name, made);
    return made;
  };
  const ensure = async (name: string): Promise<Multiplexer> => {
    // One that ends leaves the list: started again, it would be a process that nobody stops.
    const before = stops.get(name);
    while (ending.has(name)) await ending.get(name)!.catch(() => {});
    // Whoever said so last is heard.
    if (stops.get(name) !== before) throw new AppError('DISCONNECTED', { peer: name });
    return of(name).ensure();
  };
  const end = async (name: string): Promise<void> => {
    try {
      await processes.get(name)?.stop();
      // Not one that could not be stopped: it is tried again, at the latest when all are closed.
      processes.delete(name);
    } finally {
      ending.delete(name);
    }
  };

  return {
    async ensure(name) {
      await ensure(name);
    },
    async connect(name) {
      return (await ensure(name)).open('core');
    },
    stop(name) {
      stops.set(name, (stops.get(name) ?? 0) + 1);
      const ended = ending.get(name) ?? end(name);
      ending.set(name, ended);
      return ended;
    },
    running: () => [...processes.values()].filter((p) => p.state !== 'stopped').map((p) => p.name),
    list: () => [...processes.values()],
    async close() {
      closed = true;
      await Promise.all([...processes.values()].map((kept) => kept.stop()));
      processes.clear();
    },
  };
}

/** Station ids of the line processes among process names. */
export const linesOf = (names: readonly string[]): string[] =>
  names.filter((name) => name.startsWith('line:')).map((name) => name.slice('line:'.length));
