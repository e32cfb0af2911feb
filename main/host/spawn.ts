import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Disposer } from '../contract/rpc/api.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import { createIpcChannel } from '../contract/rpc/message-port.ts';

/**
 * What a child is started with beside this process's environment. glibc gives each thread an arena of its own, and a line has a dozen threads that
 * allocate pictures: two arenas hold 23 of 277 MB less after some minutes (development figures). Other systems do not read it.
 */
export const environmentOf = (name: string): Record<string, string> =>
  name.startsWith('line:') ? { MALLOC_ARENA_MAX: '2' } : {};

/** How children are made: child_process.fork under plain Node, utilityProcess in the shell. Only the supervisor has one. */
export interface SpawnPort {
  spawn(name: string, entry: string, settings: ChildSettings): SpawnedProcess;
}

export interface SpawnedProcess {
  readonly pid: number | undefined;
  readonly channel: Channel;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Told once, after the process ended. */
  onExit(listener: (exit: { code: number | null; signal: string | null }) => void): Disposer;
}

/** What a child is started with; its last argument, as JSON. */
export const childSettingsSchema = z.object({
  /** core, upkeep, trainer, cameras or line:<stationId>. */
  name: z.string(),
  home: z.string(),
  demo: z.boolean(),
  version: z.string(),
  testRuntime: z.boolean(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']),
  stderrLevel: z.enum(['debug', 'info', 'warn', 'error']).nullable(),
  /** Threads that the trainer may use. */
  trainerThreads: z.number().int().min(1),
});
export type ChildSettings = z.infer<typeof childSettingsSchema>;

/** Folder of the bundles from the program's root; set by main/host/build/build.mjs, absent in the source tree. */
declare const __BUNDLE__: string | undefined;

/** The file of a process entry: main/host/processes/<name>.ts in the source tree, <bundle>/processes/<name>.mjs in a build. */
export function entryFile(kind: 'core' | 'line' | 'trainer'): string {
  const place =
    typeof __BUNDLE__ === 'undefined' ? `main/host/processes/${kind}.ts` : `${__BUNDLE__}/processes/${kind}.mjs`;
  return fileURLToPath(new URL(`../../${place}`, import.meta.url));
}

/**
 * @param execPath the Node to run children under; default: this one.
 */
export function createForkSpawnPort({ execPath = process.execPath }: { execPath?: string } = {}): SpawnPort {
  return {
    spawn(name, entry, settings) {
      const child = fork(entry, [JSON.stringify(settings)], {
        execPath,
        env: { ...process.env, ...environmentOf(name) },
        execArgv: [],
        serialization: 'advanced',
        // stdout belongs to the command line's JSON: what a child or its native libraries print goes to stderr.
        stdio: ['ignore', process.stderr.fd, process.stderr.fd, 'ipc'],
      });
      const channel = createIpcChannel(child);
      // 'error' when the process could not be started at all: there is no 'exit' then.
      let failedToStart = false;
      const listeners = new Set<(exit: { code: number | null; signal: string | null }) => void>();
      const ended = (code: number | null, signal: string | null) => {
        if (failedToStart) return;
        failedToStart = child.pid === undefined;
        for (const listener of listeners) listener({ code, signal });
        listeners.clear();
        channel.close();
      };
      child.on('exit', ended);
      child.on('error', () => {
        if (child.pid === undefined) ended(null, null);
      });
      return {
        pid: child.pid,
        channel,
        kill: (signal) => void child.kill(signal),
        onExit(listener) {
          listeners.add(listener);
          return () => void listeners.delete(listener);
        },
      };
    },
  };
}
