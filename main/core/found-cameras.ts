import type { FoundCamera } from '../contract/domain.ts';
import type { CoreContext, HandlersOf } from './context.ts';

/**
 * Looks for cameras in a process of its own: answers from the network are read there, not beside the database. It ends with the last
 * question that it was asked.
 */
export const createFoundCameras = ({
  processes,
  log,
}: Pick<CoreContext, 'processes' | 'log'>): { handlers: HandlersOf<'cameras.find'> } => {
  let asking = 0;
  let ending: Promise<void> = Promise.resolve();

  const find = async (addresses: string[], signal: AbortSignal): Promise<FoundCamera[]> => {
    asking += 1;
    try {
      await ending;
      const cameras = await processes.cameras();
      try {
        return await cameras.call('cameras.find', { addresses }, { signal });
      } finally {
        cameras.close?.();
      }
    } finally {
      asking -= 1;
      if (asking === 0) {
        ending = processes
          .stop('cameras')
          .catch((error: unknown) => log.warn('the search for cameras did not end', { error }));
      }
    }
  };
  return { handlers: { 'cameras.find': ({ addresses }, _session, signal) => find(addresses, signal) } };
};
