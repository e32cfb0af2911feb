import { app, session } from 'electron';
import type { Logger } from '../contract/log.ts';

export const ORIGIN = 'app://mekiki';
/** Of the hidden pages that read USB cameras: another origin than the window's, because it alone may use them. */
export const CAMERA_ORIGIN = 'app://camera';

/** What every page of the program runs under (Electron security checklist, items 2 to 4 and 6). */
export const CONFINED = {
  sandbox: true,
  contextIsolation: true,
  nodeIntegration: false,
  webSecurity: true,
  spellcheck: false,
} as const;

const isOf = (origin: string, url: string): boolean => url === origin || url.startsWith(`${origin}/`);
const isOwn = (url: string): boolean => isOf(ORIGIN, url) || isOf(CAMERA_ORIGIN, url);

/**
 * Chromium's own errands (spelling dictionaries above all, seen at every start) end here: nothing is looked up, no proxy is
 * searched for. To be called before the program is ready; `--host-resolver-rules` leaves addresses in figures alone.
 */
export function keepOffline(): void {
  for (const [name, value] of [
    ['host-resolver-rules', 'MAP * ~NOTFOUND'],
    ['disable-background-networking', ''],
    ['disable-component-update', ''],
    ['no-proxy-server', ''],
  ] as const)
    app.commandLine.appendSwitch(name, value);
}

/**
 * What a page may not do, whatever it contains: leave the program, open windows, ask for devices, speak to any network.
 * (Electron security checklist, items 5, 7, 11 to 15; the content policy comes with each answer of the app:// protocol.)
 */
export function lockDown(log: Logger): void {
  app.on('web-contents-created', (_event, contents) => {
    contents.on('will-navigate', (event, url) => {
      if (isOwn(url)) return;
      event.preventDefault();
      log.warn('navigation refused', { url });
    });
    contents.on('will-attach-webview', (event) => event.preventDefault());
    contents.setWindowOpenHandler(({ url }) => {
      log.warn('new window refused', { url });
      return { action: 'deny' };
    });
  });
  const pages = session.defaultSession;
  pages.setSpellCheckerEnabled(false);
  // Pictures for the camera's page; no sound, and nothing for the window's page.
  pages.setPermissionRequestHandler((_contents, permission, decide, details) =>
    decide(
      permission === 'media' &&
        isOf(CAMERA_ORIGIN, details.requestingUrl) &&
        'mediaTypes' in details &&
        details.mediaTypes?.join() === 'video',
    ),
  );
  pages.setPermissionCheckHandler(
    (_contents, permission, origin, { mediaType }) =>
      permission === 'media' && isOf(CAMERA_ORIGIN, origin) && mediaType === 'video',
  );
  pages.setDevicePermissionHandler(() => false);
  // The program needs no network; blob: and data: are pictures that the page itself made.
  pages.webRequest.onBeforeRequest(({ url }, decide) =>
    decide({ cancel: !(isOwn(url) || /^(blob:app:\/\/mekiki\/|data:image\/|devtools:)/.test(url)) }),
  );
}
