import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createContent } from './content.ts';
import { createLogger, type LogLevel } from './log.ts';
import { listen } from './server.ts';
import { createForkSpawnPort } from './spawn.ts';
import { createSupervisor, type Supervisor, type SupervisorOptions } from './supervisor.ts';
import { programVersion } from './version.ts';

export interface ServeOptions {
  home: string;
  /** On 127.0.0.1; 0: any free one. */
  port: number;
  demo: boolean;
  stderrLevel?: LogLevel | null;
  trainerThreads?: number;
  /** Folder of the built renderer; default: dist/renderer of this program. */
  rendererDir?: string;
  /** Tests run other entries and shorter pauses. */
  supervisor?: Partial<SupervisorOptions>;
}

export interface Serving {
  /** The address to open in a browser on this PC. */
  url: string;
  port: number;
  supervisor: Supervisor;
  close(): Promise<void>;
}

/**
 * Browser mode: supervisor, core, lines and trainer under plain Node, the window in a browser.
 * @throws PORT_IN_USE, and what the core cannot start for (HOME_IN_USE, DATABASE_CORRUPT …)
 */
export async function serve(options: ServeOptions): Promise<Serving> {
  const { home, port, demo, stderrLevel = 'warn', trainerThreads = 2 } = options;
  const rendererDir = options.rendererDir ?? fileURLToPath(new URL('../../dist/renderer', import.meta.url));
  const log = createLogger({
    process: 'supervisor',
    file: join(home, 'logs', 'supervisor.log'),
    stderrLevel,
    deferred: true,
  });
  const supervisor = createSupervisor({
    spawn: createForkSpawnPort(),
    settings: {
      home,
      demo,
      version: programVersion(),
      testRuntime: false,
      logLevel: 'info',
      stderrLevel,
      trainerThreads,
    },
    log,
    ...options.supervisor,
  });
  try {
    await supervisor.start();
    log.openFile();
    const server = await listen({
      port,
      log,
      coreUp: () => supervisor.coreUp,
      onWindow: (channel) => supervisor.attachWindow(channel),
      feed: (ticket) => supervisor.feeds.taker(ticket),
      content: (own) =>
        createContent({
          rendererDir,
          home,
          readImage: (sha, width) => supervisor.readImage(sha, width),
          coreUp: () => supervisor.coreUp,
          // A USB camera is read by the tab.
          camera: true,
          connect: `ws://127.0.0.1:${own} ws://localhost:${own}`,
        }),
    });
    log.info('serves windows', { port: server.port, demo });
    return {
      url: server.url,
      port: server.port,
      supervisor,
      async close() {
        await server.close();
        await supervisor.close();
        log.close();
      },
    };
  } catch (error) {
    await supervisor.close();
    log.close();
    throw error;
  }
}
