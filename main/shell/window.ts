import { app, BrowserWindow, ipcMain, MessageChannelMain, screen, type WebContents } from 'electron';
import type { Logger } from '../contract/log.ts';
import { createEmitterPortChannel } from '../contract/rpc/message-port.ts';
import type { Supervisor } from '../host/supervisor.ts';
import { CONFINED, ORIGIN } from './security.ts';
import { fitBounds, keepWindowState, readWindowState } from './window-bounds.ts';

export interface WindowOptions {
  preload: string;
  /** DEMO and test builds are named here, where no page can hide it. */
  title: string;
  devTools: boolean;
  /** The whole screen, and no way out of it but the end of the program. */
  kiosk: boolean;
  /** Where place and size are kept. */
  stateFile: string;
  log: Logger;
}

const FIRST_SIZE = { width: 1440, height: 900 };

export function openWindow({ preload, title, devTools, kiosk, stateFile, log }: WindowOptions): BrowserWindow {
  const kept = readWindowState(stateFile);
  const areas = [screen.getPrimaryDisplay(), ...screen.getAllDisplays()].map(({ workArea }) => workArea);
  // A first window lies in the middle: beyond every display it cannot be as it was.
  const bounds = fitBounds(kept?.bounds ?? { x: Number.MIN_SAFE_INTEGER, y: 0, ...FIRST_SIZE }, areas);
  const window = new BrowserWindow({
    ...bounds,
    kiosk,
    fullscreen: kept?.fullScreen ?? false,
    minWidth: 1024,
    minHeight: 640,
    title,
    show: false,
    // --bg of the dark theme: no white flash before the first paint.
    backgroundColor: '#0f1317',
    autoHideMenuBar: true,
    webPreferences: {
      preload,
      ...CONFINED,
      devTools,
      // The page's code is compiled at the first start and kept (main.ts, codeCache), not at the third, as for a page that may never come again.
      v8CacheOptions: 'bypassHeatCheck',
    },
  });
  window.on('page-title-updated', (event) => event.preventDefault());
  window.once('ready-to-show', () => {
    if (kept?.maximized) window.maximize();
    window.show();
  });
  let loaded = false;
  window.webContents.once('did-finish-load', () => {
    window.webContents.setZoomFactor(kept?.zoom ?? 1);
    loaded = true;
  });
  // What a kiosk looks like is decided at its start, not by the last one.
  const keep = () => {
    if (kiosk || window.isDestroyed()) return;
    const state = {
      bounds: window.getNormalBounds(),
      maximized: window.isMaximized(),
      fullScreen: window.isFullScreen(),
      // A program that ends while its page still loads has not zoomed it yet.
      zoom: loaded ? window.webContents.getZoomFactor() : (kept?.zoom ?? 1),
    };
    if (!keepWindowState(stateFile, state)) log.warn('the place of the window was not kept', { file: stateFile });
  };
  window.on('close', keep);
  // The program may end without closing its window first (main.ts).
  app.once('before-quit', keep);
  keepPageAlive(window, log);
  void window.loadURL(`${ORIGIN}/`);
  return window;
}

/** ms. A page that crashed is loaded again at once; one that does so again and again waits longer each time, for the processor is the line's. */
const PAUSES = [0, 1_000, 5_000, 30_000];
/** ms without a crash after which the next one is the first again. */
const CALM = 120_000;
/** ms that a page may give no sign of life. */
const HANGS = 20_000;

/** Nobody at a line presses F5: a page that crashed, or answers no more, is loaded again. */
function keepPageAlive(window: BrowserWindow, log: Logger): void {
  const contents = window.webContents;
  let crashes = 0;
  let lastCrash = -Infinity;
  let hanging: ReturnType<typeof setTimeout> | undefined;
  contents.on('render-process-gone', (_event, { reason, exitCode }) => {
    clearTimeout(hanging);
    log.error('the page crashed', { reason, exitCode });
    if (reason === 'clean-exit') return;
    crashes = performance.now() - lastCrash > CALM ? 0 : crashes + 1;
    lastCrash = performance.now();
    setTimeout(
      () => {
        if (!window.isDestroyed()) contents.reload();
      },
      PAUSES[Math.min(crashes, PAUSES.length - 1)],
    );
  });
  window.on('unresponsive', () => {
    log.warn('the page gives no sign of life');
    clearTimeout(hanging);
    hanging = setTimeout(() => contents.forcefullyCrashRenderer(), HANGS);
  });
  window.on('responsive', () => clearTimeout(hanging));
  window.on('closed', () => clearTimeout(hanging));
}

/** Hands a port to each page that asks, now or as soon as the core serves; each port is a window of its own to the core. */
export function brokerPorts(supervisor: Supervisor): void {
  /** With what takes each out when it is closed. */
  const waiting = new Map<WebContents, () => void>();
  const hand = (contents: WebContents) => {
    const { port1, port2 } = new MessageChannelMain();
    supervisor.attachWindow(createEmitterPortChannel(port1, { wrapped: true }));
    contents.postMessage('port', null, [port2]);
  };
  ipcMain.on('port-wanted', ({ sender, senderFrame }) => {
    if (senderFrame?.parent !== null || !senderFrame.url.startsWith(`${ORIGIN}/`)) return;
    if (supervisor.coreUp) return hand(sender);
    if (waiting.has(sender)) return;
    const gone = () => void waiting.delete(sender);
    waiting.set(sender, gone);
    sender.once('destroyed', gone);
  });
  supervisor.onCore((up) => {
    if (!up) return;
    for (const [contents, gone] of waiting) {
      // A core that starts again for months would leave one each time.
      contents.off('destroyed', gone);
      hand(contents);
    }
    waiting.clear();
  });
}
