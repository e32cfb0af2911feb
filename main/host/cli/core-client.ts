import { join } from 'node:path';
import { AppError } from '../../contract/errors.ts';
import { events, methods } from '../../contract/methods.ts';
import { createClient } from '../../contract/rpc/client.ts';
import { createMemoryPair } from '../../contract/rpc/memory.ts';
import { createLogger } from '../log.ts';
import { createForkSpawnPort } from '../spawn.ts';
import { createSupervisor } from '../supervisor.ts';
import { programVersion } from '../version.ts';
import type { CoreClient } from './accounts.ts';
import type { Context } from './context.ts';

/**
 * Starts the core of the data folder as its own process, exactly as the window has it, runs `work` with a signed-out
 * connection to it, and ends everything again.
 * @throws HOME_IN_USE while a window is open on the same folder, and whatever the core cannot start for.
 */
export async function withCore<T>(
  context: Pick<Context, 'home' | 'threads' | 'signal'>,
  work: (client: CoreClient) => Promise<T>,
  options: { demo?: boolean } = {},
): Promise<T> {
  // A logger's file would make the folder before the core has decided whether it may.
  const log = createLogger({ process: 'cli', file: null, stderrLevel: 'error' });
  const supervisor = createSupervisor({
    spawn: createForkSpawnPort(),
    settings: {
      home: join(context.home),
      demo: options.demo === true,
      version: programVersion(),
      testRuntime: false,
      logLevel: 'info',
      stderrLevel: 'error',
      trainerThreads: context.threads,
    },
    log,
  });
  try {
    await supervisor.start();
    const [window, ours] = createMemoryPair();
    supervisor.attachWindow(window);
    const client = createClient<typeof methods, typeof events>(ours, { peer: 'core' });
    const lost = new Promise<never>((_, reject) => {
      client.onClose(() => reject(new AppError('DISCONNECTED', { peer: 'core' })));
    });
    try {
      return await Promise.race([work(client), lost]);
    } finally {
      lost.catch(() => {});
      client.close();
    }
  } finally {
    await supervisor.close();
    log.close();
  }
}
