import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  connected,
  electronFolder,
  installShell,
  launchElectron,
  startElectron,
  type ElectronApp,
  type InstalledShell,
} from './electron-app.ts';
import type { WindowClient } from './window-client.ts';

declare const client: WindowClient;
declare const opened: string[];
declare const desktop: (request: { kind: string; name?: string }) => Promise<string | null>;

/** What the shell takes over from the desktop: place of the window, menus, dialogs, PDF, notifications, sleep, kiosk. */
describe.skipIf(!electronFolder)('the desktop (needs ELECTRON_OVERRIDE_DIST_PATH)', { timeout: 600_000 }, () => {
  let shell: InstalledShell;
  let app: ElectronApp;
  /** Of this try alone. */
  let home: string;
  const env = () => ({ DISPLAY: shell.display, HOME: shell.folder });
  /** Until the page has loaded, and the core serves it. */
  const launch = async (...args: string[]) => {
    app = await launchElectron(shell.program, ['--inspect=0', '--home', home, ...args], env());
    await connected(app.page);
    await expect.poll(() => ask('window.webContents.isLoading()')).toBe(false);
    await expect.poll(log).toContain('the core serves');
    return app;
  };
  /** An expression over `window`, the one window, and `electron`. */
  const ask = (expression: string) =>
    app.inMain(
      `(async () => { const electron = process.mainModule.require('electron'); ` +
        `const [window] = electron.BrowserWindow.getAllWindows(); return ${expression}; })()`,
    );
  const log = () => readFileSync(join(home, 'logs', 'shell.log'), 'utf8');
  const coreLog = () => readFileSync(join(home, 'logs', 'core.log'), 'utf8');
  /** The shell looks at the core over a connection of its own: until it has seen the line. */
  const startLine = () =>
    expect
      .poll(async () => {
        await app.page.evaluate(() => client.call('line.start', { stationId: 'a' }));
        return log();
      })
      .toContain('the display stays on while a line runs');

  beforeAll(async () => {
    shell = await installShell('desktop', { entries: 'test/process/fixtures' });
  });
  beforeEach(() => {
    home = mkdtempSync(join(shell.folder, 'home-'));
  });
  afterEach(async () => app?.close());
  afterAll(() => shell?.close());

  test('place, size and zoom of the window are as they were when it was closed', async () => {
    await launch();
    await ask('(window.setBounds({ x: 40, y: 60, width: 1100, height: 700 }), window.webContents.setZoomFactor(1.3))');
    await expect.poll(() => ask('window.getNormalBounds().width')).toBe(1100);
    await app.close();
    await launch();
    await expect.poll(() => ask('window.getNormalBounds()')).toMatchObject({ width: 1100, height: 700 });
    await expect.poll(() => ask('Math.round(10 * window.webContents.getZoomFactor())')).toBe(13);
    expect(await ask('[window.isKiosk(), window.isFullScreen()]')).toEqual([false, false]);
  });

  test('a place beyond every display, or a broken note of it, opens in sight', async () => {
    await launch();
    const kept = String(await ask(`electron.app.getPath('userData')`));
    await app.close();
    for (const note of [
      '{',
      '{"bounds":{"x":90000,"y":-5000,"width":9000,"height":9000},"maximized":false,"fullScreen":false,"zoom":1}',
    ]) {
      writeFileSync(join(kept, 'window.json'), note);
      await launch();
      const [bounds, area] = (await ask('[window.getBounds(), electron.screen.getPrimaryDisplay().workArea]')) as {
        x: number;
        y: number;
        width: number;
        height: number;
      }[];
      expect(bounds!.x).toBeGreaterThanOrEqual(area!.x);
      expect(bounds!.x + bounds!.width).toBeLessThanOrEqual(area!.x + area!.width);
      await app.close();
    }
  });

  test('the page becomes a PDF file where the user wants it, from the page and from the menu', async () => {
    await launch();
    const answer = (file: string | null) =>
      ask(
        `void (electron.dialog.showSaveDialog = async (_, { defaultPath }) => ({ canceled: ${file === null}, ` +
          `filePath: ${JSON.stringify(file ?? '')}, asked: (globalThis.asked = defaultPath) }))`,
      );
    const file = join(home, 'report.pdf');
    await answer(file);
    expect(await app.page.evaluate(() => desktop({ kind: 'save-pdf', name: '../../Report: week' }))).toBe(file);
    expect(readFileSync(file).subarray(0, 5).toString()).toBe('%PDF-');
    // A proposal stays in the folder that it is proposed in, and is a name that every system takes.
    expect(String(await ask('globalThis.asked'))).toMatch(/[/\\]Report- week\.pdf$/);
    await answer(null);
    expect(await app.page.evaluate(() => desktop({ kind: 'save-pdf', name: 'x' }))).toBeNull();
    const fromMenu = join(home, 'menu.pdf');
    await answer(fromMenu);
    await ask(`void electron.Menu.getApplicationMenu().getMenuItemById('save-pdf').click()`);
    await expect.poll(() => existsSync(fromMenu)).toBe(true);
  });

  test('a path is chosen in the system’s own dialog; a request that is none is refused', async () => {
    await launch();
    await ask(
      `void (electron.dialog.showOpenDialog = async (_, { properties }) => ({ canceled: false, filePaths: ['/chosen/' + properties[0]] }))`,
    );
    expect(await app.page.evaluate(() => desktop({ kind: 'open-file' }))).toBe('/chosen/openFile');
    expect(await app.page.evaluate(() => desktop({ kind: 'open-folder' }))).toBe('/chosen/openDirectory');
    expect(await app.page.evaluate(() => desktop({ kind: 'run-program', name: '/bin/sh' }))).toBeNull();
    await expect.poll(log).toContain('a request of the page was refused');
  });

  test('a bundle that is opened is handed to the page, at the start and while the program runs; nothing else is', async () => {
    const [first, second, third] = ['first', 'second', 'third'].map((name) => join(home, `${name}.mekiki`));
    for (const file of [first, second]) writeFileSync(file!, 'a bundle');
    await launch(first!);
    await expect.poll(() => app.page.evaluate(() => opened)).toEqual([first]);
    await ask(
      `void (globalThis.told = [], electron.dialog.showMessageBox = async (_, { message }) => void globalThis.told.push(message))`,
    );
    const again = (...args: string[]) => startElectron(shell.program, ['--home', home, ...args], env()).ended;
    expect(await again(second!)).toBe(0);
    await expect.poll(() => app.page.evaluate(() => opened)).toEqual([first, second]);
    expect(await again(third!)).toBe(0);
    await expect.poll(() => ask('globalThis.told')).toEqual([expect.stringContaining('third.mekiki')]);
    expect(await again(first!, second!)).toBe(0);
    await expect.poll(() => ask('globalThis.told.length')).toBe(2);
    // Asked for twice, told once: a page that is loaded anew opens no old file.
    expect(await app.page.evaluate(() => desktop({ kind: 'opened-bundle' }))).toBeNull();
    expect(await app.page.evaluate(() => opened)).toEqual([first, second]);
  });

  test('the display stays on while a line runs, and an alarm is told by the system', async () => {
    await launch();
    await ask(
      `void (globalThis.shown = [], electron.Notification.prototype.show = function () { globalThis.shown.push([this.title, this.body]); })`,
    );
    await startLine();
    expect(await ask('electron.powerSaveBlocker.isStarted(0) || electron.powerSaveBlocker.isStarted(1)')).toBe(true);
    if (await ask('electron.Notification.isSupported()'))
      await expect
        .poll(() => ask('globalThis.shown'))
        .toEqual([['The line has changed', 'a: more unusual parts than before. Look at it under Live.']]);
    await app.page.evaluate(() => client.call('line.stop', { stationId: 'a' }));
    await expect.poll(log).toContain('the display may sleep');
    expect(await ask('electron.powerSaveBlocker.isStarted(0) || electron.powerSaveBlocker.isStarted(1)')).toBe(false);
  });

  test('closing the window while a line runs is asked about, and holds nothing up meanwhile', async () => {
    await launch();
    await ask(
      `void (globalThis.asked = [], electron.dialog.showMessageBox = (_, { message }) => ` +
        `(globalThis.asked.push(message), new Promise((resolve) => (globalThis.answer = (response) => resolve({ response })))))`,
    );
    await startLine();
    await ask('window.close()');
    await expect.poll(() => ask('globalThis.asked')).toEqual(['A line is running.']);
    // The question stands, and the line is spoken to all the same.
    expect(await app.page.evaluate(() => client.call('line.status', { stationId: 'a' }))).toMatchObject({
      stationId: 'a',
    });
    await ask('globalThis.answer(0)');
    await ask('window.close()');
    await expect.poll(() => ask('globalThis.asked.length')).toBe(2);
    // After the answer to this very request.
    await ask('void setTimeout(() => globalThis.answer(1), 0)');
    expect(await app.ended).toBe(0);
  });

  test('closing the window ends the program when its children have ended in order, and a start meanwhile does not disturb it', async () => {
    home = mkdtempSync(join(shell.folder, 'ends-slowly-'));
    await launch();
    await ask('void setTimeout(() => window.close(), 0)');
    await expect.poll(coreLog).toContain('takes its time');
    const again = startElectron(shell.program, ['--home', home], env());
    expect(await again.ended).toBe(0);
    expect(coreLog()).not.toContain('core closed in order');
    expect(await app.ended).toBe(0);
    expect(coreLog()).toContain('core closed in order');
    expect(app.output()).not.toMatch(/destroyed/);
  });

  test('a page that crashed is loaded again', async () => {
    await launch();
    await app.page.evaluate(() => Object.assign(globalThis, { before: true }));
    await ask('window.webContents.forcefullyCrashRenderer()');
    await expect.poll(log).toContain('the page crashed');
    await expect
      .poll(async () =>
        (await ask('window.webContents.isCrashed()'))
          ? null
          : // What is asked of a page that is just being loaded may stay without an answer.
            ask(
              `Promise.race([window.webContents.executeJavaScript('typeof client + typeof before'), ` +
                `new Promise((resolve) => setTimeout(resolve, 2000, null))])`,
            ),
      )
      .toBe('objectundefined');
  });

  test('a kiosk fills the screen and offers no menu; the place of the window is not touched by it', async () => {
    await launch('--kiosk');
    expect(await ask('[window.isKiosk(), electron.Menu.getApplicationMenu()]')).toEqual([true, null]);
    const kept = String(await ask(`electron.app.getPath('userData')`));
    await app.close();
    expect(readdirSync(kept)).not.toContain('window.json');
  });
});
