import { BrowserWindow, ipcMain, MessageChannelMain, type WebContents } from 'electron';
import type { Logger } from '../contract/log.ts';
import { createEmitterPortChannel } from '../contract/rpc/message-port.ts';
import type { Supervisor } from '../host/supervisor.ts';
import { ORIGIN } from './security.ts';

export interface WindowOptions {
  preload: string;
  /** DEMO and test builds are named here, where no page can hide it. */
  title: string;
  devTools: boolean;
  log: Logger;
}

export function openWindow({ preload, title, devTools, log }: WindowOptions): BrowserWindow {
  const window = new BrowserWindow({
    width: 1440,
    height: 900,
    minWidth: 1024,
    minHeight: 640,
    title,
    show: false,
    // --bg of the dark theme: no white flash before the first paint.
    backgroundColor: '#0f1317',
    autoHideMenuBar: true,
    webPreferences: {
      preload,
      sandbox: true,
      contextIsolation: true,
      nodeIntegration: false,
      webSecurity: true,
      spellcheck: false,
      devTools,
    },
  });
  window.on('page-title-updated', (event) => event.preventDefault());
  window.once('ready-to-show', () => window.show());
  window.webContents.on('render-process-gone', (_event, { reason, exitCode }) => {
    log.error('the page crashed', { reason, exitCode });
    if (reason !== 'clean-exit' && !window.isDestroyed()) window.webContents.reload();
  });
  void window.loadURL(`${ORIGIN}/`);
  return window;
}

/** Hands a port to each page that asks, now or as soon as the core serves; each port is a window of its own to the core. */
export function brokerPorts(supervisor: Supervisor): void {
  const waiting = new Set<WebContents>();
  const hand = (contents: WebContents) => {
    const { port1, port2 } = new MessageChannelMain();
    supervisor.attachWindow(createEmitterPortChannel(port1, { wrapped: true }));
    contents.postMessage('port', null, [port2]);
  };
  ipcMain.on('port-wanted', ({ sender, senderFrame }) => {
    if (senderFrame?.parent !== null || !senderFrame.url.startsWith(`${ORIGIN}/`)) return;
    if (supervisor.coreUp) return hand(sender);
    if (waiting.has(sender)) return;
    waiting.add(sender);
    sender.once('destroyed', () => waiting.delete(sender));
  });
  supervisor.onCore((up) => {
    if (!up) return;
    for (const contents of waiting) hand(contents);
    waiting.clear();
  });
}
