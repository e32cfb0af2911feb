import type { FoundCamera } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';

/**
 * Looks for cameras in a process of its own: answers from the network are read there, not beside the database. It ends with the last
 * question that it was asked.
 */
export const createFoundCameras = ({
  processes,
  log,
  store,
}: Pick<CoreContext, 'processes' | 'log' | 'store'>): { handlers: HandlersOf<'cameras.find' | 'cameras.feed'> } => {
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
  return {
    handlers: {
      'cameras.find': ({ addresses }, _session, signal) => find(addresses, signal),
      async 'cameras.feed'({ stationId }, session) {
        const { camera } = store.stations.get(stationId);
        // Where a camera is only being set up, the station may still have another one.
        const ticket = await processes.feedTicket(stationId);
        if (ticket === null) {
          const needed = 'a USB camera that a line or its setting up wants, and no page reads';
          throw new AppError('CONFLICT', { what: 'the camera', state: camera.kind, needed });
        }
        // Whose browser the pictures of the parts come from.
        store.transaction(() =>
          store.audit.append({ user: actor(session), action: 'cameras.feed', subject: stationId, details: {} }),
        );
        return { ticket };
      },
    },
  };
};
