import { access } from 'node:fs/promises';
import { AppError } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { Client, Disposer } from '../contract/rpc/api.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import { createClient } from '../contract/rpc/client.ts';
import { bridge, type Multiplexer } from '../contract/rpc/multiplex.ts';
import { createServer } from '../contract/rpc/server.ts';
import { imageFile } from '../store/images.ts';
import type { BackOff } from './back-off.ts';
import { createChildren, defaultEntries, type Children, type Entries } from './children.ts';
import { createFeeds, type Feeds } from './feeds.ts';
import { hostMethods, noEvents, processNameSchema, supervisorMethods } from './control.ts';
import { keepProcess } from './kept-process.ts';
import { keepThumbnails } from './kept-thumbnails.ts';
import type { Keychain, KeyPlace } from './sealed-secrets.ts';
import type { ChildSettings, SpawnPort } from './spawn.ts';

export interface SupervisorOptions {
  spawn: SpawnPort;
  settings: Omit<ChildSettings, 'name'>;
  log: Logger;
  entries?: Entries;
  /** Asked when the core first starts; absent: the core keeps secrets in files. What it throws, the core cannot start for. */
  keyPlace?: () => KeyPlace;
  backOff?: BackOff;
  graceMs?: number;
}

/**
 * Parent of core, line processes and trainer. Restarts what dies and relays channels between them; holds no database, no
 * model and no native addon, so that nothing of that can take it down.
 */
export interface Supervisor {
  /** Resolves when the core serves. @throws what the core cannot start for: HOME_IN_USE, DATABASE_CORRUPT … */
  start(): Promise<void>;
  readonly coreUp: boolean;
  /** Told each time the core serves (true) or is gone (false). */
  onCore(listener: (up: boolean) => void): Disposer;
  /** Joins a window to the core, with a session of its own; closed with the core, and at once while there is none. */
  attachWindow(window: Channel): void;
  /** @param width of the thumbnail; null: the file as stored. @throws NOT_FOUND, DISCONNECTED */
  readImage(sha: string, width: number | null): Promise<Uint8Array>;
  /** Lines whose camera a page reads. */
  readonly feeds: Feeds;
  processes(): { name: string; pid: number | undefined; state: string; restarts: number }[];
  /** Tells all children, waits, kills. Windows are closed with the core. */
  close(): Promise<void>;
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { spawn, settings, log, entries = defaultEntries(), keyPlace: findKeyPlace, ...kept } = options;
  let found: KeyPlace | undefined;
  const keyPlace = (): KeyPlace => (found ??= findKeyPlace?.() ?? { keychain: null, asked: false });
  const keychain = (): Keychain | null => keyPlace().keychain;
  const feeds = createFeeds(log);
  const onFeed = (stationId: string, channel: Channel) => feeds.offer(stationId, channel);
  const children: Children = createChildren({ spawn, settings, log, entries, onFeed, ...kept });
  const core = keepProcess({
    name: 'core',
    restart: 'always',
    log,
    ...kept,
    // The core asks for processes already while it starts.
    onChannel(name, channel) {
      if (name === 'supervisor') serveCore(channel);
      else if (processNameSchema.safeParse(name).success) void relay(name, channel);
      else channel.close();
    },
    spawn: () => spawn.spawn('core', entries.core, { ...settings, name: 'core' }),
  });
  let wire: Multiplexer | null = null;
  let host: Client<typeof hostMethods, typeof noEvents> | null = null;
  let closed = false;

  const serveCore = (channel: Channel) =>
    createServer({
      methods: supervisorMethods,
      events: noEvents,
      channel,
      session: null,
      log,
      handlers: {
        'processes.ensure': async ({ name }) => (await children.ensure(name), null),
        'processes.stop': async ({ name }) => (await children.stop(name), null),
        'processes.running': () => children.running(),
        'feeds.ticket': ({ stationId }) => feeds.ticket(stationId),
        'secrets.kept': () => ({ inKeychain: keychain() !== null, asked: keyPlace().asked }),
        async 'secrets.get'({ name }) {
          const value = (await keychain()?.get(name)) ?? null;
          return value === null ? null : Buffer.from(value).toString('base64');
        },
        async 'secrets.set'({ name, value }) {
          await keychain()?.set(name, Buffer.from(value, 'base64'));
          return null;
        },
      },
    });
  const relay = async (name: string, channel: Channel) => {
    try {
      const far = await children.connect(name);
      bridge(channel, far);
    } catch (error) {
      log.warn('no process to relay to', { name, error });
      channel.close();
    }
  };
  const adopt = (up: Multiplexer | null) => {
    wire = up;
    host = up ? createClient(up.open('host'), { peer: 'core' }) : null;
  };
  core.onChange((up) => {
    adopt(up);
    log.info(up ? 'core serves' : 'core is gone', { restarts: core.restarts });
  });

  return {
    async start() {
      await core.ensure();
    },
    get coreUp() {
      return wire !== null;
    },
    onCore: (listener) => core.onChange((up) => listener(up !== null)),
    attachWindow(window) {
      if (wire) bridge(window, wire.open('window'));
      else window.close();
    },
    readImage: keepThumbnails(
      async (sha, width) => {
        // A window that is still there would have a core started that nobody ends.
        if (closed) throw new AppError('DISCONNECTED', { peer: 'core' });
        await core.ensure();
        // Long: a window shows a refused picture as broken and does not ask again, a late one it just shows late.
        return (await host!.call('images.read', { sha, width }, { timeoutMs: 60_000 })).bytes;
      },
      (sha) =>
        access(imageFile(settings.home, sha)).then(
          () => true,
          () => false,
        ),
    ),
    feeds,
    processes: () =>
      [core, ...children.list()].map(({ name, pid, state, restarts }) => ({ name, pid, state, restarts })),
    async close() {
      closed = true;
      // The core first: it may still have something to tell its children.
      await core.stop();
      await children.close();
    },
  };
}
