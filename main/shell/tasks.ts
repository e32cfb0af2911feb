import { resolve } from 'node:path';
import { app } from 'electron';
import { isAppError, problemOf, type AppError } from '../contract/errors.ts';
import { events, methods } from '../contract/methods.ts';
import { printable } from '../contract/printable.ts';
import { createClient } from '../contract/rpc/client.ts';
import { createMemoryPair } from '../contract/rpc/memory.ts';
import { configFrom, passwordLine, reportOf, setUp, unattended } from '../host/config/set-up.ts';
import type { UpkeepDone } from '../host/control.ts';
import type { FileLogger } from '../host/log.ts';
import type { Supervisor } from '../host/supervisor.ts';
import { withUpkeep, type UpkeepOptions } from '../host/upkeep.ts';
import { soleTask, type Task } from './arguments.ts';

export interface TaskOptions extends UpkeepOptions {
  home: string;
  /** This start has the home to itself. */
  alone: boolean;
  /** Why nothing can be started at all; null: it can. */
  refusal: AppError | null;
  user: string | undefined;
  supervisor: Supervisor;
  log: FileLogger;
  /** The program was told to end. */
  signal: AbortSignal;
}

/**
 * What the installed program does without a window: what it did goes to standard output, what it refused to standard error. Ends supervisor and log.
 * @returns the exit status: 0 done; 1 not, or the home is not whole
 */
export async function runTask(tasks: readonly Task[], options: TaskOptions): Promise<number> {
  const { supervisor, log } = options;
  try {
    if (options.refusal !== null) throw options.refusal;
    const task = soleTask(tasks, options);
    await app.whenReady();
    const { whole, report } = await carryOut(task, options);
    process.stdout.write(`${printable(report)}\n`);
    return whole ? 0 : 1;
  } catch (error) {
    log.error('not done', { tasks, error });
    const said = isAppError(error) ? `${error.message} ${error.nextAction}` : problemOf(error);
    process.stderr.write(`${printable(said)}\n`);
    return 1;
  } finally {
    await supervisor.close();
    log.close();
  }
}

function carryOut(task: Task, options: TaskOptions): Promise<UpkeepDone> {
  if (task.option === '--setup') return setUpFrom(task.file, options);
  return withUpkeep(options, (upkeep) => {
    upkeep.on('upkeep.progressed', (line) => process.stderr.write(`${printable(line)}\n`));
    const { signal } = options;
    return task.option === '--restore'
      ? upkeep.call('upkeep.restore', { file: resolve(task.file) }, { signal })
      : upkeep.call('upkeep.check', { repair: task.repair }, { signal });
  });
}

/**
 * The installed program's `config apply`. Told to end before the first change it makes none; after it, it makes all of them: half a
 * configuration helps nobody.
 */
async function setUpFrom(file: string, { user, supervisor, signal }: TaskOptions): Promise<UpkeepDone> {
  // Before the core makes a data folder.
  const config = await configFrom(file);
  await supervisor.start();
  const [window, ours] = createMemoryPair();
  supervisor.attachWindow(window);
  const client = createClient<typeof methods, typeof events>(ours, { peer: 'core' });
  const done = await setUp(client, file, unattended(config, user), {
    signal,
    lost: (made) => process.stderr.write(`${passwordLine(made)}\n`),
  });
  client.close();
  return { whole: true, report: reportOf(done) };
}
