import { mkdtempSync, readFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { videoDeviceSchema } from '../../main/contract/feed.ts';
import { buildRenderer } from './browser.ts';
import {
  connected,
  electronFolder,
  installShell,
  launchElectron,
  type ElectronApp,
  type InstalledShell,
} from './electron-app.ts';
import type { WindowClient } from './window-client.ts';

declare const client: WindowClient;
declare const desktop: (request: { kind: string }) => Promise<string | null>;

const PASSWORD = 'a password of hers';

/** The desktop reads a USB camera by a hidden window: Chromium's fake one, a line in a real utility process, core under MEKIKI_NODE. */
describe.skipIf(!electronFolder)('a USB camera (needs ELECTRON_OVERRIDE_DIST_PATH)', { timeout: 480_000 }, () => {
  let shell: InstalledShell;
  let app: ElectronApp;
  let home: string;

  beforeAll(async () => {
    // The camera's page as it is shipped; a small one is in the window's place.
    shell = await installShell('camera', { testRuntime: true }, async (renderer) =>
      cp(await buildRenderer(), renderer, { recursive: true }),
    );
  });
  afterAll(() => shell?.close());
  beforeEach(async () => {
    home = mkdtempSync(join(shell.folder, 'home-'));
    app = await launchElectron(shell.program, ['--inspect=0', '--home', home, '--use-fake-device-for-media-stream'], {
      DISPLAY: shell.display,
      HOME: shell.folder,
      MEKIKI_NODE: process.execPath,
    });
    await connected(app.page);
  });
  afterEach(() => app?.close());
  const windows = () =>
    app.inMain(
      `process.mainModule.require('electron').BrowserWindow.getAllWindows().map((w) => w.webContents.getURL())`,
    );

  test('it is listed for the page, which itself may use none; a line records its pictures, also after the hidden page crashed', async () => {
    const { page } = app;
    const refused = await page.evaluate(() =>
      navigator.mediaDevices.getUserMedia({ video: true }).then(
        () => 'granted',
        (error: Error) => error.name,
      ),
    );
    expect(refused).toBe('NotAllowedError');
    const listed = await page.evaluate(() => desktop({ kind: 'video-devices' }));
    const [device] = videoDeviceSchema.array().parse(JSON.parse(listed!));
    expect(device!.label).toMatch(/fake/);
    await expect.poll(windows).toEqual(['app://mekiki/']);

    const stationId = await page.evaluate(
      async ({ device, password }) => {
        await client.call('session.firstStart', { language: 'en', name: 'Hana', password });
        await client.call('session.signIn', { name: 'Hana', password });
        const [station] = await client.call('stations.list', {});
        const camera = { kind: 'usb' as const, ...device, width: 320, height: 240 };
        await client.call('stations.update', { stationId: station!.id, camera });
        await client.call('line.start', { stationId: station!.id });
        return station!.id;
      },
      { device: device!, password: PASSWORD },
    );
    const status = () => page.evaluate((id) => client.call('line.status', { stationId: id }), stationId);
    await expect.poll(async () => (await status()).parts).toBeGreaterThan(5);
    const [part] = await page.evaluate((id) => client.call('parts.recent', { stationId: id, limit: 1 }), stationId);
    expect([part!.width, part!.height]).toEqual([320, 240]);
    expect(await windows()).toContain('app://camera/');

    const cameraPage = `process.mainModule.require('electron').BrowserWindow.getAllWindows()
      .find((w) => w.webContents.getURL() === 'app://camera/').webContents`;
    const crash = async () => {
      // While it is loaded again there may be no process yet that could crash.
      const isThere = `!${cameraPage}.isCrashed() && !${cameraPage}.isLoading()`;
      await expect.poll(() => app.inMain(isThere), { timeout: 30_000 }).toBe(true);
      return (await app.inMain(`new Promise((gone) => {
        const page = ${cameraPage};
        page.once('render-process-gone', () => gone(Date.now()));
        page.forcefullyCrashRenderer();
      })`)) as number;
    };
    const goesOn = async () => {
      const before = (await status()).parts;
      await expect.poll(async () => (await status()).parts, { timeout: 60_000 }).toBeGreaterThan(before + 5);
      await expect.poll(async () => (await status()).problem).toBeNull();
    };
    await crash();
    await goesOn();

    // Again and again: each time it is left alone for longer, people hear of it, and it goes on when it is well again.
    // One that lived for half a minute, on a machine with other work, is a first one again.
    const inARow = () => Number(/.*"crashes":(\d+)/s.exec(readFileSync(join(home, 'logs/shell.log'), 'utf8'))![1]);
    let crashed = 0;
    do crashed = await crash();
    while (inARow() < 6);
    await expect
      .poll(async () => (await status()).problem)
      .toMatchObject({ code: 'CAMERA_LOST', message: expect.stringMatching(/crashed [6-9] times/) as unknown });
    await expect.poll(() => app.inMain(`${cameraPage}.isCrashed()`), { timeout: 30_000 }).toBe(false);
    expect(Date.now() - crashed).toBeGreaterThan(3_000);
    await goesOn();

    await page.evaluate((id) => client.call('line.stop', { stationId: id }), stationId);
    await expect.poll(windows).toEqual(['app://mekiki/']);
  });
});
