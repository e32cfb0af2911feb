import { Menu, type BrowserWindow } from 'electron';
import type { ShellTexts } from './texts.ts';

export interface MenuActions {
  savePdf(): void;
  print(): void;
}

const STEP = 0.1;
const zoomBy = (window: BrowserWindow, step: number) => {
  const { webContents } = window;
  webContents.setZoomFactor(Math.min(3, Math.max(0.5, webContents.getZoomFactor() + step)));
};

/**
 * The menus of the window, behind the Alt key: the line's own buttons are on the page. There is no Edit menu (Chromium has its keys), and
 * in kiosk mode no menu at all, so that nobody leaves the program by it.
 */
export function setMenu(window: BrowserWindow, texts: ShellTexts, actions: MenuActions): void {
  if (window.isKiosk()) {
    Menu.setApplicationMenu(null);
    return;
  }
  Menu.setApplicationMenu(
    Menu.buildFromTemplate([
      {
        label: texts.file,
        submenu: [
          { id: 'save-pdf', label: texts.savePdf, accelerator: 'CommandOrControl+Shift+P', click: actions.savePdf },
          { id: 'print', label: texts.print, accelerator: 'CommandOrControl+P', click: actions.print },
          { type: 'separator' },
          // As by the window's own button: while a line runs, it is asked first.
          { label: texts.quit, accelerator: 'CommandOrControl+Q', click: () => window.close() },
        ],
      },
      {
        label: texts.view,
        submenu: [
          { label: texts.larger, accelerator: 'CommandOrControl+Plus', click: () => zoomBy(window, STEP) },
          { label: texts.smaller, accelerator: 'CommandOrControl+-', click: () => zoomBy(window, -STEP) },
          {
            label: texts.usualSize,
            accelerator: 'CommandOrControl+0',
            click: () => window.webContents.setZoomFactor(1),
          },
          { type: 'separator' },
          { role: 'togglefullscreen', label: texts.fullScreen, accelerator: 'F11' },
          { role: 'reload', label: texts.reload, accelerator: 'F5' },
        ],
      },
    ]),
  );
}
