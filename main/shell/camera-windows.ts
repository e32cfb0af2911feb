import { BrowserWindow, MessageChannelMain } from 'electron';
import { feedSaysSchema, type FeedAsk, type FeedSays, type VideoDevice } from '../contract/feed.ts';
import { AppError } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import { createMemoryPair } from '../contract/rpc/memory.ts';
import { createEmitterPortChannel } from '../contract/rpc/message-port.ts';
import { createPauses } from '../host/back-off.ts';
import type { Supervisor } from '../host/supervisor.ts';
import { CAMERA_ORIGIN, CONFINED } from './security.ts';

const LIST_MS = 15_000;
/** A page that crashed so often in a row is told to people: one crash passes by itself. */
const TOLD_CRASHES = 3;

interface Watcher {
  /** Hears of each page that is there: the first, and one after a crash. */
  onPage(channel: Channel): void;
  /** The page is gone, and loaded again after the pause. @param crashes in a row */
  onCrash?(crashes: number, pauseMs: number): void;
}

export interface CameraWindows {
  /** USB cameras of this PC. @throws TIMED_OUT */
  devices(): Promise<VideoDevice[]>;
}

/** One hidden window for each line whose USB camera has to be read; its page may use cameras, and nothing else. */
export function keepCameraWindows(
  feeds: Supervisor['feeds'],
  { preload, log }: { preload: string; log: Logger },
): CameraWindows {
  const windows = new Map<string, BrowserWindow>();

  const openHidden = ({ onPage, onCrash }: Watcher): BrowserWindow => {
    const window = new BrowserWindow({
      show: false,
      width: 320,
      height: 240,
      webPreferences: {
        preload,
        ...CONFINED,
        devTools: false,
        // Nobody ever sees it: it must work all the same.
        backgroundThrottling: false,
      },
    });
    const { webContents } = window;
    let channel: Channel | null = null;
    const pauses = createPauses();
    let loadedAt = performance.now();
    const reload = () => {
      if (window.isDestroyed()) return;
      loadedAt = performance.now();
      webContents.reload();
    };
    webContents.on('did-finish-load', () => {
      channel?.close();
      const { port1, port2 } = new MessageChannelMain();
      channel = createEmitterPortChannel(port1, { wrapped: true });
      webContents.postMessage('feed', null, [port2]);
      onPage(channel);
    });
    webContents.on('render-process-gone', (_event, { reason, exitCode }) => {
      channel?.close();
      if (reason === 'clean-exit') return;
      const pauseMs = pauses.afterCrash(performance.now() - loadedAt);
      log.error('the page that reads a camera crashed', { reason, exitCode, crashes: pauses.crashes, pauseMs });
      onCrash?.(pauses.crashes, pauseMs);
      setTimeout(reload, pauseMs);
    });
    void window.loadURL(`${CAMERA_ORIGIN}/`);
    return window;
  };

  const shut = (stationId: string) => {
    windows.get(stationId)?.destroy();
    windows.delete(stationId);
  };
  /** Speaks for a page that is not there: the line hears why. @returns what takes its place again */
  const standIn = (stationId: string, problem: string): (() => void) => {
    const [ours, lines] = createMemoryPair();
    if (feeds.join(stationId, lines)) ours.send({ lost: { reason: 'device', problem } } satisfies FeedSays);
    return () => lines.close();
  };
  const watcherOf = (stationId: string): Watcher => {
    let giveWay = () => {};
    return {
      onPage(channel) {
        giveWay();
        if (!feeds.join(stationId, channel)) channel.close();
      },
      onCrash(crashes, pauseMs) {
        if (crashes < TOLD_CRASHES) return;
        // It may have crashed before it was there.
        giveWay();
        const next = `the page that reads it crashed ${crashes} times, the next try is in ${pauseMs / 1000} s`;
        giveWay = standIn(stationId, next);
      },
    };
  };
  feeds.onWanted((stationId, wanted) => {
    shut(stationId);
    if (!wanted) return;
    log.info('a window reads a camera', { stationId });
    windows.set(stationId, openHidden(watcherOf(stationId)));
  });

  return {
    async devices() {
      const { promise, resolve, reject } = Promise.withResolvers<VideoDevice[]>();
      const timer = setTimeout(
        () => reject(new AppError('TIMED_OUT', { what: 'the list of cameras', seconds: LIST_MS / 1000 })),
        LIST_MS,
      );
      const onPage = (channel: Channel) => {
        channel.onMessage((message) => {
          const says = feedSaysSchema.safeParse(message);
          if (says.success && 'devices' in says.data) resolve(says.data.devices);
          else if (says.success && 'lost' in says.data)
            reject(new AppError('CAMERA_LOST', { cameraId: 'USB', problem: says.data.lost.problem }));
        });
        channel.send({ list: true } satisfies FeedAsk);
      };
      const window = openHidden({ onPage });
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
        window.destroy();
      }
    },
  };
}
