import { constants, setPriority } from 'node:os';
import type { EventOf } from '../../contract/rpc/api.ts';
import { createServer, type Server } from '../../contract/rpc/server.ts';
import { trainerEvents, trainerMethods } from '../../contract/trainer.ts';
import { runChild } from './child.ts';

type Progress = EventOf<typeof trainerEvents, 'trainer.progressed'>;

/**
 * The trainer process: features, knowledge, compression. It has the lowest priority, owns no data, and may be killed at any
 * time. Modules are loaded by the first call that needs them: a process that was only started costs next to nothing.
 */
void runChild(async ({ settings, wire, log }) => {
  try {
    setPriority(constants.priority.PRIORITY_LOW);
  } catch (error) {
    // Learning would then compete with inspection for the processor; it is still right.
    log.warn('priority not lowered', { error });
  }
  const servers = new Set<Server<typeof trainerEvents>>();
  const onProgress = (progress: Progress) => {
    for (const server of servers) server.emit('trainer.progressed', progress);
  };
  wire.onOpen((_name, channel) => {
    const server = createServer({
      methods: trainerMethods,
      events: trainerEvents,
      channel,
      session: null,
      log,
      handlers: {
        'trainer.update': async (input, _session, signal) =>
          (await import('../../learning/update.ts')).updateKnowledge(input, { signal, onProgress }),
        'trainer.export': async (input, _session, signal) =>
          (await import('../../learning/sums.ts')).exportKnowledge(input, { signal }),
        'trainer.check': async (input, _session, signal) =>
          (await import('../../learning/sums.ts')).checkSums(input, { signal }),
        'trainer.compress': async (input, _session, signal) =>
          (await import('../../compression/station.ts')).compressStation(input, {
            signal,
            onProgress,
            onProblem: (problem) => log.warn('what the search measures is not kept', { problem }),
          }),
        'trainer.features': async (input, _session, signal) => {
          const { featuresOf } = await import('../../learning/update.ts');
          const { features } = await featuresOf(input, { signal, onProgress });
          return { features: Float32Array.from(features) };
        },
        'trainer.shadow': async (input, _session, signal) =>
          (await import('../../compression/shadow.ts')).runShadow(input, { signal, onProgress }),
        'trainer.weigh': async (input, _session, signal) =>
          (await import('../../compression/shadow.ts')).weighBundle(input, { signal }),
        'trainer.golden': async (input, _session, signal) =>
          (await import('../../compression/golden.ts')).tryGolden(input, { signal, onProgress }),
        'trainer.goldenShare': async (input, _session, signal) =>
          (await import('../../compression/golden.ts')).shareGolden(input, { signal }),
        'trainer.recheck': async (input, _session, signal) =>
          (await import('../../compression/recheck.ts')).recheckBundle(input, { signal }),
        'trainer.heatMap': async (input, _session, signal) =>
          (await import('../../learning/heat-map.ts')).heatMapOf(input, { threads: settings.trainerThreads, signal }),
      },
    });
    servers.add(server);
    channel.onClose(() => servers.delete(server));
  });
  return async () => {};
});
