import { app } from 'electron';
import { isAppError, problemOf } from '../contract/errors.ts';
import { events, methods } from '../contract/methods.ts';
import { createClient } from '../contract/rpc/client.ts';
import { createMemoryPair } from '../contract/rpc/memory.ts';
import { configFrom, passwordLine, refuseSetUp, reportOf, setUp, unattended } from '../host/config/set-up.ts';
import type { FileLogger } from '../host/log.ts';
import type { Supervisor } from '../host/supervisor.ts';

export interface SetUpOptions {
  home: string;
  /** This start has the home to itself. */
  alone: boolean;
  user: string | undefined;
  supervisor: Supervisor;
  log: FileLogger;
  /** The program was told to end. */
  signal: AbortSignal;
}

/**
 * The installed program's `config apply`: what it did goes to standard output, what it refused to standard error. Ends supervisor and log.
 * Told to end before the first change it makes none; after it, it makes all of them: half a configuration helps nobody.
 * @returns the exit status
 */
export async function setUpFrom(
  file: string,
  { user, supervisor, log, signal, ...place }: SetUpOptions,
): Promise<number> {
  try {
    refuseSetUp(file, place);
    await app.whenReady();
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
    process.stdout.write(`${reportOf(done)}\n`);
    return 0;
  } catch (error) {
    log.error('not set up', { error });
    process.stderr.write(`${isAppError(error) ? `${error.message} ${error.nextAction}` : problemOf(error)}\n`);
    return 1;
  } finally {
    await supervisor.close();
    log.close();
  }
}
