import { runChild } from './child.ts';
import { relayedProcesses, relayedSecrets, serveHost, serveWindow } from './core-serving.ts';

/** The core process: the database, the users, the audit trail, every service behind the contract. */
void runChild(async ({ settings, wire, log }) => {
  // Imported here, so that a native addon that does not load is told as a failure to start.
  const { startCore } = await import('../../core/start.ts');
  const secrets = await relayedSecrets(wire, settings.home, log);
  const core = await startCore({
    ...(secrets !== null && { secrets }),
    home: settings.home,
    demo: settings.demo,
    version: settings.version,
    testRuntime: settings.testRuntime,
    trainerThreads: settings.trainerThreads,
    log,
    processes: relayedProcesses(wire),
  });
  wire.onOpen((name, channel) => {
    if (name === 'window') serveWindow(core, channel, log);
    else if (name === 'host') serveHost(core, channel, log);
    else channel.close();
  });
  return () => core.close();
});
