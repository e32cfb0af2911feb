import { dialog, type BrowserWindow } from 'electron';
import type { ShellTexts } from './texts.ts';

export interface CloseQuestion {
  /** Lines that run now. */
  running(): number;
  texts(): ShellTexts;
}

/**
 * Closing the window ends the program and with it every line: while one runs, whoever does it is asked first. The question waits without holding up the
 * supervisor. A signal of the system ends the program without it.
 */
export function askBeforeClosing(window: BrowserWindow, { running, texts }: CloseQuestion): void {
  let asking = false;
  let sure = false;
  const ask = async (): Promise<void> => {
    const { lineRuns, closingStops, stay, stopAndQuit } = texts();
    const { response } = await dialog.showMessageBox(window, {
      type: 'warning',
      title: 'Mekiki',
      message: lineRuns,
      detail: closingStops,
      buttons: [stay, stopAndQuit],
      defaultId: 0,
      cancelId: 0,
      noLink: true,
    });
    sure = response === 1;
    if (sure) window.close();
  };
  window.on('close', (event) => {
    if (sure || running() === 0) return;
    event.preventDefault();
    if (asking) return;
    asking = true;
    void ask().finally(() => (asking = false));
  });
}
