import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { asAppError, isAppError } from '../../contract/errors.ts';
import { createIpcChannel, createEmitterPortChannel, type EmitterPort } from '../../contract/rpc/message-port.ts';
import { createMultiplexer, type Multiplexer } from '../../contract/rpc/multiplex.ts';
import type { Channel } from '../../contract/rpc/channel.ts';
import { parentSaysSchema, UPKEEP, type ChildSays } from '../control.ts';
import { createLogger, type FileLogger } from '../log.ts';
import { childSettingsSchema, type ChildSettings } from '../spawn.ts';

/** What core, line and trainer have in common: a wire to the supervisor, a log, an orderly end. */
export interface Child {
  settings: ChildSettings;
  wire: Multiplexer;
  log: FileLogger;
  /** Does what takes as long as the home is large, during the start: the supervisor does not take this process for hung meanwhile. */
  busy<T>(work: () => Promise<T>): Promise<T>;
}

/** Wire of a forked process, or of an Electron utility process. */
function parentChannel(): Channel {
  const { parentPort } = process as unknown as { parentPort?: EmitterPort };
  return parentPort ? createEmitterPortChannel(parentPort, { wrapped: true }) : createIpcChannel(process);
}

/** A file name for the log of `line:<stationId>`: an id may hold anything but a slash. */
const logFile = (home: string, name: string) => join(home, 'logs', `${name.replace(/[^\w-]/g, '-')}.log`);

/**
 * Runs a child process: `serve` sets it up and gives what ends it. Ends when told, on SIGTERM, and when the supervisor is
 * gone, so that nothing is left behind. A failure to start is told to the supervisor in words.
 */
export async function runChild(serve: (child: Child) => Promise<() => Promise<void>>): Promise<void> {
  const settings = childSettingsSchema.parse(JSON.parse(process.argv.at(-1) ?? ''));
  const file = logFile(settings.home, settings.name);
  const log = createLogger({
    process: settings.name,
    file,
    level: settings.logLevel,
    stderrLevel: settings.stderrLevel,
    deferred: true,
  });
  const wire = createMultiplexer(parentChannel(), 'child');
  const control = wire.open('control');
  const say = (message: ChildSays) => control.send(message);

  const busy: Child['busy'] = async (work) => {
    say({ busy: true });
    // The message leaves before this thread does nothing else.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      return await work();
    } finally {
      say({ busy: false });
    }
  };

  let end: () => Promise<void> = async () => {};
  let ending = false;
  const stop = async (why: string, code: number) => {
    if (ending) return;
    ending = true;
    log.info('ends', { why });
    try {
      await end();
    } catch (error) {
      log.error('did not end in order', { error });
    }
    log.close();
    process.exit(code);
  };
  process.on('SIGTERM', () => void stop('SIGTERM', 0));
  // Ctrl-C reaches the whole group; the supervisor decides when its children end.
  process.on('SIGINT', () => {});
  process.on('uncaughtException', (error) => {
    log.error('uncaught', { error });
    process.exit(70);
  });
  control.onMessage((message) => {
    if (parentSaysSchema.safeParse(message).success) void stop('told', 0);
  });
  wire.onClose(() => void stop('supervisor is gone', 0));

  try {
    end = await serve({ settings, wire, log, busy });
  } catch (error) {
    // A refusal is told in words by whoever asked for the start: on a terminal they are not to drown in this.
    log[isAppError(error) ? 'warn' : 'error']('cannot start', { error });
    if (existsSync(dirname(file))) log.openFile();
    say({ failed: asAppError(error, settings.name).toWire(settings.name) });
    // Time for the message to leave; the supervisor has heard by then, or is gone.
    setTimeout(() => void stop('cannot start', 1), 100);
    return;
  }
  // A folder that is to be restored may not be there, and is not made for a log.
  if (settings.name !== UPKEEP) log.openFile();
  say({ ready: true });
  log.info('serves', { pid: process.pid, node: process.versions.node });
}
