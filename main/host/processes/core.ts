import { isAppError } from '../../contract/errors.ts';
import { UPKEEP } from '../control.ts';
import { runChild } from './child.ts';
import { relayedProcesses, relayedSecrets, serveHost, serveWindow } from './core-serving.ts';

/**
 * The core process: the database, the users, the audit trail, every service behind the contract. By the name of `upkeep` it opens no home,
 * and restores or checks one.
 */
void runChild(async ({ settings, wire, log, busy }) => {
  if (settings.name === UPKEEP) {
    const { serveUpkeep } = await import('./upkeep-serving.ts');
    serveUpkeep(wire, settings.home, log);
    return async () => {};
  }
  // Imported here, so that a native addon that does not load is told as a failure to start.
  // The supervisor answers while they are loaded: it may be busy with its window.
  const [secrets, { startCore }, { createRepairMode }] = await Promise.all([
    relayedSecrets(wire, settings.home, log),
    import('../../core/start.ts'),
    import('../../core/repair-mode.ts'),
  ]);
  const core = await startCore({
    ...secrets,
    home: settings.home,
    demo: settings.demo,
    version: settings.version,
    testRuntime: settings.testRuntime,
    trainerThreads: settings.trainerThreads,
    log,
    processes: relayedProcesses(wire),
    opening: busy,
  }).catch((error: unknown) => {
    // The window can show what is damaged, and have it repaired; a new core starts after that.
    if (!isAppError(error, 'DATABASE_CORRUPT')) throw error;
    log.error('the database is damaged: served for its repair alone', { error });
    return createRepairMode(error, {
      home: settings.home,
      log,
      onRepaired: () => setTimeout(() => process.exit(0), 200),
    });
  });
  wire.onOpen((name, channel) => {
    if (name === 'window') serveWindow(core, channel, log);
    else if (name === 'host') serveHost(core, channel, log);
    else channel.close();
  });
  return () => core.close();
});
