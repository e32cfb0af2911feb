import { rename, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { app, BrowserWindow, dialog, ipcMain } from 'electron';
import { z } from 'zod';
import { problemOf } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { CameraWindows } from './camera-windows.ts';
import { ORIGIN } from './security.ts';
import { tell } from './tell.ts';
import type { ShellTexts } from './texts.ts';

/*
 * What the page may ask of the desktop: a path that the user chooses, itself as a PDF, and which USB cameras there are. It gets a path, never a file: reading and
 * writing is the core's, by its own rules. The names of wire messages are in preload.ts.
 */

const request = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('open-file'),
    extension: z
      .string()
      .regex(/^[a-z0-9]{1,12}$/)
      .optional(),
  }),
  z.object({ kind: z.literal('open-folder') }),
  z.object({ kind: z.literal('save-file'), name: z.string().min(1).max(120) }),
  /** The bundle file that somebody opened with this program, once. */
  z.object({ kind: z.literal('opened-bundle') }),
  z.object({ kind: z.literal('save-pdf'), name: z.string().min(1).max(120) }),
  z.object({ kind: z.literal('video-devices') }),
  /** Its first screen that can be used has been drawn. Times of the page: when it was asked for, and when its code ran; ms since 1970. */
  z.object({ kind: z.literal('usable'), begunAt: z.number(), ranAt: z.number() }),
]);

/** A proposal only, and no way out of the folder that it is proposed in. */
const proposed = (name: string): string => join(app.getPath('documents'), basename(name).replace(/[<>:"|?*]/g, '-'));

/** Asks where, and writes the page there as A4. null: the user changed their mind. */
export async function savePageAsPdf(window: BrowserWindow, name: string, texts: ShellTexts): Promise<string | null> {
  const { canceled, filePath } = await dialog.showSaveDialog(window, {
    defaultPath: proposed(name.endsWith('.pdf') ? name : `${name}.pdf`),
    filters: [{ name: texts.pdf, extensions: ['pdf'] }],
  });
  if (canceled || !filePath) return null;
  const pdf = await window.webContents.printToPDF({
    pageSize: 'A4',
    printBackground: true,
    margins: { top: 0.4, bottom: 0.4, left: 0.4, right: 0.4 },
  });
  // An earlier one is there until this one is whole.
  const part = `${filePath}.part`;
  try {
    await writeFile(part, pdf);
    await rename(part, filePath);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  return filePath;
}

export interface PageAnswers {
  /** null: none, or the page has it already. */
  takeBundle(): string | null;
  /** The window can be used. */
  usable(page: { begunAt: number; ranAt: number }): void;
}

export function answerPage(
  texts: () => ShellTexts,
  cameras: CameraWindows,
  log: Logger,
  { takeBundle, usable }: PageAnswers,
): void {
  ipcMain.handle('page-request', async ({ sender, senderFrame }, asked: unknown): Promise<string | null> => {
    const window = BrowserWindow.fromWebContents(sender);
    const own = senderFrame?.parent === null && senderFrame.url.startsWith(`${ORIGIN}/`);
    const parsed = request.safeParse(asked);
    if (!own || window === null || !parsed.success) {
      log.warn('a request of the page was refused', { own, problem: parsed.error?.message });
      return null;
    }
    const { data } = parsed;
    try {
      switch (data.kind) {
        case 'open-file':
        case 'open-folder': {
          const { filePaths } = await dialog.showOpenDialog(window, {
            properties: [data.kind === 'open-file' ? 'openFile' : 'openDirectory'],
            ...(data.kind === 'open-file' &&
              data.extension !== undefined && { filters: [{ name: data.extension, extensions: [data.extension] }] }),
          });
          return filePaths[0] ?? null;
        }
        case 'save-file': {
          const { canceled, filePath } = await dialog.showSaveDialog(window, { defaultPath: proposed(data.name) });
          return canceled ? null : filePath;
        }
        case 'opened-bundle':
          return takeBundle();
        case 'save-pdf':
          return await savePageAsPdf(window, data.name, texts());
        case 'video-devices':
          return JSON.stringify(await cameras.devices());
        case 'usable':
          usable(data);
          return null;
      }
    } catch (error) {
      log.error('a request of the page failed', { kind: data.kind, error });
      void tell({ type: 'error', message: problemOf(error) });
      return null;
    }
  });
}
