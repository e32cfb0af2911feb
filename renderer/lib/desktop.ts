/*
 * What only the desktop shell can do: native file dialogs, and the page as a PDF file. In a browser `desktop` is null, and screens ask for
 * a path as text, or print. The other side is main/shell/preload.ts.
 */

export type DesktopRequest =
  | { kind: 'open-file'; extension?: string }
  | { kind: 'open-folder' }
  | { kind: 'opened-bundle' }
  | { kind: 'save-file'; name: string }
  | { kind: 'save-pdf'; name: string }
  /** USB cameras, as JSON (contract/feed.ts): this page itself may use none. */
  | { kind: 'video-devices' }
  /** When the page was asked for and when its code ran, ms since 1970. */
  | { kind: 'usable'; begunAt: number; ranAt: number };

/** null: the user chose nothing. */
export type Desktop = (request: DesktopRequest) => Promise<string | null>;

function createDesktop(): Desktop {
  let last = 0;
  return (request) =>
    new Promise((resolve) => {
      const id = (last += 1);
      const answered = ({ source, data }: MessageEvent<{ type?: unknown; id?: unknown; value?: unknown } | null>) => {
        if (source !== window || data?.type !== 'mekiki-answer' || data.id !== id) return;
        window.removeEventListener('message', answered);
        resolve(typeof data.value === 'string' ? data.value : null);
      };
      window.addEventListener('message', answered);
      window.postMessage({ type: 'mekiki-request', id, request }, location.origin);
    });
}

export const desktop: Desktop | null = location.protocol === 'app:' ? createDesktop() : null;

const ranAt = performance.timeOrigin + performance.now();

/** Tells the desktop that what is on the screen can be used, once that has been drawn. */
export function tellUsable(): void {
  // The frame is drawn right after its callbacks, and timers come after the drawing.
  requestAnimationFrame(() =>
    setTimeout(() => void desktop?.({ kind: 'usable', begunAt: performance.timeOrigin, ranAt })),
  );
}

/** The page as a document: a PDF file in the shell, the browser's print dialog elsewhere. @returns the file, if one was written */
export async function printPage(name: string): Promise<string | null> {
  if (desktop !== null) return desktop({ kind: 'save-pdf', name });
  window.print();
  return null;
}

/** Tells each bundle file that somebody opened with the program (a double click, the command line), now and later. */
export function watchOpenedBundles(opened: (file: string) => void): void {
  if (desktop === null) return;
  const ask = async () => {
    const file = await desktop({ kind: 'opened-bundle' });
    if (file !== null) opened(file);
  };
  window.addEventListener('message', ({ source, data }: MessageEvent<{ type?: unknown } | null>) => {
    if (source === window && data?.type === 'mekiki-bundle-opened') void ask();
  });
  void ask();
}
