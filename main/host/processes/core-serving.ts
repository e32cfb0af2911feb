import type { camerasEvents, camerasMethods } from '../../contract/cameras.ts';
import { AppError } from '../../contract/errors.ts';
import type { Logger } from '../../contract/log.ts';
import type { lineEvents, lineMethods } from '../../contract/line.ts';
import { events, methods, type EventName, type EventPayload } from '../../contract/methods.ts';
import { createAuthorize } from '../../contract/rpc/authorize.ts';
import type { Channel } from '../../contract/rpc/channel.ts';
import { createClient } from '../../contract/rpc/client.ts';
import type { Multiplexer } from '../../contract/rpc/multiplex.ts';
import { createServer } from '../../contract/rpc/server.ts';
import type { trainerEvents, trainerMethods } from '../../contract/trainer.ts';
import { createFileSecretStore } from '../../core/home-keys.ts';
import type { Core, CoreOptions, Processes } from '../../core/port.ts';
import { linesOf } from '../children.ts';
import { hostMethods, noEvents, supervisorMethods } from '../control.ts';

/** The core's processes where it is itself a child: asked of the supervisor, which relays the channels. */
export function relayedProcesses(wire: Multiplexer): Processes {
  const supervisor = createClient<typeof supervisorMethods, typeof noEvents>(wire.open('supervisor'), {
    peer: 'supervisor',
  });
  const connect = async (name: string): Promise<Channel> => {
    await supervisor.call('processes.ensure', { name });
    return wire.open(name);
  };
  return {
    async line(stationId) {
      const name = `line:${stationId}`;
      return createClient<typeof lineMethods, typeof lineEvents>(await connect(name), { peer: name });
    },
    async trainer() {
      return createClient<typeof trainerMethods, typeof trainerEvents>(await connect('trainer'), { peer: 'trainer' });
    },
    async cameras() {
      return createClient<typeof camerasMethods, typeof camerasEvents>(await connect('cameras'), { peer: 'cameras' });
    },
    async stop(name) {
      await supervisor.call('processes.stop', { name });
    },
    feedTicket: (stationId) => supervisor.call('feeds.ticket', { stationId }),
    async runningLines() {
      return linesOf(await supervisor.call('processes.running', {}));
    },
  };
}

/**
 * Secrets that the supervisor keeps in the system's keychain; a home whose key lies in a file keeps it there. Without `secrets`: no keychain, files are for
 * the core to choose. NO_KEYCHAIN, KEY_SEALED.
 */
export async function relayedSecrets(
  wire: Multiplexer,
  home: string,
  log: Logger,
): Promise<Pick<CoreOptions, 'secrets' | 'keychainAsked'>> {
  const supervisor = createClient<typeof supervisorMethods, typeof noEvents>(wire.open('supervisor'), {
    peer: 'supervisor',
  });
  const { inKeychain, asked: keychainAsked } = await supervisor.call('secrets.kept', {});
  if (!inKeychain) return { keychainAsked };
  const files = createFileSecretStore(home, log);
  const secrets = {
    async get(name: string) {
      const kept = await supervisor.call('secrets.get', { name }).catch((cause: unknown) => {
        const problem = 'the keychain of this account does not open it';
        throw new AppError('KEY_SEALED', { home, name, problem }, { cause });
      });
      return kept === null ? files.get(name) : Buffer.from(kept, 'base64');
    },
    async set(name: string, value: Uint8Array) {
      await supervisor.call('secrets.set', { name, value: Buffer.from(value).toString('base64') });
    },
  };
  return { secrets, keychainAsked };
}

/** Serves one window: a session of its own, the methods of its roles, the events that concern it. */
export function serveWindow(core: Core, channel: Channel, log: Logger): void {
  const session = core.openSession();
  const server = createServer({
    methods,
    events,
    handlers: core.handlers,
    channel,
    session,
    authorize: createAuthorize(methods),
    log: log.child({ session: session.id }),
  });
  const dispose = core.subscribe((event) => {
    if (event.sessionId !== null && event.sessionId !== session.id) return;
    server.emit(event.name, event.payload as EventPayload<EventName>);
  });
  channel.onClose(() => {
    dispose();
    core.closeSession(session);
  });
}

/** Serves the supervisor, which fetches images for the HTTP listener and the app:// protocol. */
export function serveHost(core: Core, channel: Channel, log: Logger): void {
  createServer({
    methods: hostMethods,
    events: noEvents,
    channel,
    session: null,
    log,
    handlers: {
      'images.read': async ({ sha, width }) => ({ bytes: Uint8Array.from(await core.readImage(sha, width)) }),
    },
  });
}
