import { join } from 'node:path';
import { AppError } from '../../contract/errors.ts';
import { events, methods } from '../../contract/methods.ts';
import type { Channel } from '../../contract/rpc/channel.ts';
import { createClient } from '../../contract/rpc/client.ts';
import { createMemoryPair } from '../../contract/rpc/memory.ts';
import { isFree } from '../../store/home.ts';
import { createLogger } from '../log.ts';
import { createForkSpawnPort } from '../spawn.ts';
import { createSupervisor } from '../supervisor.ts';
import { programVersion } from '../version.ts';
import type { CoreClient } from './accounts.ts';
import type { Context } from './context.ts';
import { connectServed } from './served-window.ts';

/**
 * Starts the core of the data folder as its own process, exactly as the window has it, runs `work` with a signed-out
 * connection to it, and ends everything again.
 * @param options.makes whether a folder that is none yet becomes one: a mistyped one would be taken for it, and block a restore
 * @throws HOME_EMPTY, HOME_IN_USE while a window is open on the same folder, whatever the core cannot start for, CANCELLED before any work
 */
export async function withCore<T>(
  context: Pick<Context, 'home' | 'threads' | 'signal'>,
  work: (client: CoreClient) => Promise<T>,
  options: { demo?: boolean; makes?: boolean } = {},
): Promise<T> {
  if (options.makes !== true && isFree(context.home)) throw new AppError('HOME_EMPTY', { home: context.home });
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
    context.signal.throwIfAborted();
    const [window, ours] = createMemoryPair();
    supervisor.attachWindow(window);
    return await talk(ours, work);
  } finally {
    await supervisor.close();
    log.close();
  }
}

/** The same with the core behind a window that is served on this PC: what it starts goes on there. @throws as connectServed */
export const withServed = async <T>(work: (client: CoreClient) => Promise<T>): Promise<T> =>
  talk(await connectServed(), work);

async function talk<T>(channel: Channel, work: (client: CoreClient) => Promise<T>): Promise<T> {
  const client = createClient<typeof methods, typeof events>(channel, { peer: 'core' });
  const lost = new Promise<never>((_, reject) => {
    client.onClose(() => reject(new AppError('DISCONNECTED', { peer: 'core' })));
  });
  try {
    return await Promise.race([work(client), lost]);
  } finally {
    lost.catch(() => {});
    client.close();
  }
}
