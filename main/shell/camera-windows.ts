import { BrowserWindow, MessageChannelMain } from 'electron';
import { feedSaysSchema, type FeedAsk, type VideoDevice } from '../contract/feed.ts';
import { AppError } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import { createEmitterPortChannel } from '../contract/rpc/message-port.ts';
import type { Supervisor } from '../host/supervisor.ts';
import { CAMERA_ORIGIN, CONFINED } from './security.ts';

const LIST_MS = 15_000;

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

  /** @param onPage hears of each page that is there: the first, and one after a crash. */
  const openHidden = (onPage: (channel: Channel) => void): BrowserWindow => {
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
    webContents.on('did-finish-load', () => {
      channel?.close();
      const { port1, port2 } = new MessageChannelMain();
      channel = createEmitterPortChannel(port1, { wrapped: true });
      webContents.postMessage('feed', null, [port2]);
      onPage(channel);
    });
    webContents.on('render-process-gone', (_event, { reason, exitCode }) => {
      log.error('the page that reads a camera crashed', { reason, exitCode });
      channel?.close();
      if (reason !== 'clean-exit' && !window.isDestroyed()) webContents.reload();
    });
    void window.loadURL(`${CAMERA_ORIGIN}/`);
    return window;
  };

  const shut = (stationId: string) => {
    windows.get(stationId)?.destroy();
    windows.delete(stationId);
  };
  feeds.onWanted((stationId, wanted) => {
    shut(stationId);
    if (!wanted) return;
    log.info('a window reads a camera', { stationId });
    windows.set(
      stationId,
      openHidden((channel) => {
        if (!feeds.join(stationId, channel)) channel.close();
      }),
    );
  });

  return {
    async devices() {
      const { promise, resolve, reject } = Promise.withResolvers<VideoDevice[]>();
      const timer = setTimeout(
        () => reject(new AppError('TIMED_OUT', { what: 'the list of cameras', seconds: LIST_MS / 1000 })),
        LIST_MS,
      );
      const window = openHidden((channel) => {
        channel.onMessage((message) => {
          const says = feedSaysSchema.safeParse(message);
          if (says.success && 'devices' in says.data) resolve(says.data.devices);
          else if (says.success && 'lost' in says.data)
            reject(new AppError('CAMERA_LOST', { cameraId: 'USB', problem: says.data.lost.problem }));
        });
        channel.send({ list: true } satisfies FeedAsk);
      });
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
        window.destroy();
      }
    },
  };
}
