import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { alive } from '../helpers/alive.ts';
import { listeningPorts } from '../helpers/listening.ts';
import type { WindowClient } from './window-client.ts';
import {
  connected,
  electronFolder,
  installShell,
  launchElectron,
  startElectron,
  type ElectronApp,
  type InstalledShell,
} from './electron-app.ts';

declare const client: WindowClient;
declare const imageUrl: (sha: string, width?: number) => string;
/** What the page's policy refused in the test of it. */
declare const violations: string[];

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==',
  'base64',
);
const sha = 'ab'.padEnd(64, '1');

/**
 * The shell as it ships, in a real Electron, around processes of a few methods: core, line and trainer are real utility
 * processes here. electron.test.ts runs the program itself.
 */
describe.skipIf(!electronFolder)(
  'shell in a real Electron (needs ELECTRON_OVERRIDE_DIST_PATH)',
  { timeout: 480_000 },
  () => {
    let shell: InstalledShell;
    let app: ElectronApp;
    let page: Page;
    const startOn = (home: string, more: Record<string, string> = {}) =>
      [
        shell.program,
        ['--use-fake-device-for-media-stream', '--home', home],
        { DISPLAY: shell.display, ...more },
      ] as const;
    /** On a data folder of its own, ended with the block. */
    const launchAnother = async (env: Record<string, string> = {}) => {
      const other = await launchElectron(...startOn(mkdtempSync(join(shell.folder, 'home-')), env));
      const disposable = Object.assign(other, { [Symbol.asyncDispose]: () => other.close() });
      await connected(other.page).catch(async (error: unknown) => {
        await other.close();
        throw error;
      });
      return disposable;
    };
    const state = (of: Page) => of.evaluate(() => client.call('session.state', {}));

    beforeAll(async () => {
      shell = await installShell('shell', { entries: 'test/process/fixtures' });
      mkdirSync(join(shell.folder, 'home/images/ab'), { recursive: true });
      writeFileSync(join(shell.folder, `home/images/ab/${sha}.png`), PNG);
      app = await launchElectron(...startOn(join(shell.folder, 'home')));
      page = app.page;
      await connected(page);
    });
    afterAll(async () => {
      await app?.close();
      await shell?.close();
    });

    test('the page reaches the core over its port, and line and trainer behind it', async () => {
      expect(await state(page)).toMatchObject({ firstStart: false, testRuntime: false });
      const line = await page.evaluate(() => client.call('line.status', { stationId: 'a' }));
      expect(line.stationId).toBe('a');
      expect((await page.evaluate(() => client.call('parts.heatMap', { partId: 1 }))).weights).toEqual([1, 2, 3]);
      const refused = page.evaluate(() => client.call('users.list', {}));
      await expect(refused).rejects.toThrow(/needs the role/);
    });

    test.skipIf(process.platform !== 'linux')(
      'no process of it opens a port, but that of the debugger which the tests ask for',
      async () => {
        await page.evaluate(() => client.call('line.status', { stationId: 'a' }));
        await page.evaluate(() => client.call('parts.heatMap', { partId: 1 }));
        const asked = Number(new URL(/DevTools listening on (ws:\S+)/.exec(app.output())![1]!).port);
        expect(listeningPorts(app.process.pid!)).toEqual([asked]);
        // A port that is opened is seen.
        const server = createServer().listen(0, '127.0.0.1');
        await once(server, 'listening');
        expect(listeningPorts(process.pid)).toContain((server.address() as AddressInfo).port);
        server.close();
      },
    );

    test('the page has neither Node nor Electron, and runs isolated', async () => {
      const found = await page.evaluate(() =>
        ['require', 'process', 'module', 'Buffer', 'ipcRenderer', 'electron'].filter((name) => name in globalThis),
      );
      expect(found).toEqual([]);
    });

    test('images come under app://, thumbnails from the core', async () => {
      const size = await page.evaluate(async (name) => {
        const image = new Image();
        image.src = imageUrl(name);
        await image.decode();
        return [image.naturalWidth, image.src];
      }, sha);
      expect(size).toEqual([1, `app://mekiki/image/${sha}`]);
      expect(await page.evaluate(async (name) => (await fetch(imageUrl(name, 320))).text(), sha)).toBe(`${sha} at 320`);
      const missing = await page.evaluate(async () => (await fetch('/image/../../mekiki.sqlite')).status);
      expect(missing).toBe(404);
    });

    test('the policy holds: no inline script, no eval, no other network, no frame', async () => {
      const outcome = await page.evaluate(async () => {
        const violations: string[] = [];
        Object.assign(globalThis, { violations });
        document.addEventListener('securitypolicyviolation', (event) => violations.push(event.effectiveDirective));
        const inline = document.createElement('script');
        inline.textContent = 'globalThis.ran = true';
        document.body.append(inline);
        // From a timer: what the debugger itself evaluates may use eval.
        const evaluated = await new Promise<boolean>((resolve) =>
          setTimeout(() => {
            try {
              new Function('return 1')();
              resolve(true);
            } catch {
              resolve(false);
            }
          }),
        );
        const fetched = await fetch('http://127.0.0.1:9/').then(
          () => true,
          () => false,
        );
        const frame = document.createElement('iframe');
        frame.src = 'app://mekiki/';
        document.body.append(frame);
        return { ran: 'ran' in globalThis, evaluated, fetched };
      });
      expect(outcome).toEqual({ ran: false, evaluated: false, fetched: false });
      await expect
        .poll(() => page.evaluate(() => violations))
        .toEqual(expect.arrayContaining(['connect-src', 'frame-src', 'script-src-elem']));
    });

    test('the page cannot leave, open windows, or ask for a device', async () => {
      const before = page.url();
      expect(await page.evaluate(() => window.open('https://example.com/'))).toBeNull();
      expect(await page.evaluate(() => window.open('app://mekiki/'))).toBeNull();
      await page.evaluate(() => void (location.href = 'file:///etc/passwd'));
      expect(page.url()).toBe(before);
      await page.evaluate(() => void (location.href = 'https://example.com/'));
      // Asked in turn: the file was refused before it.
      await expect
        .poll(() => readFileSync(join(shell.folder, 'home/logs/shell.log'), 'utf8'))
        .toMatch(/navigation refused.*example\.com/);
      expect(page.url()).toBe(before);
      const asked = await page.evaluate(async () => ({
        notifications: await Notification.requestPermission(),
        camera: await navigator.mediaDevices.getUserMedia({ video: true }).then(
          () => 'given',
          (error: DOMException) => error.name,
        ),
      }));
      expect(asked).toEqual({ notifications: 'denied', camera: 'NotAllowedError' });
      // Still the same, working page.
      expect((await state(page)).version).toMatch(/^\d/);
    });

    test('the core is killed: the window stays, reconnects to a new core, and is told to refetch', async () => {
      const before = await page.evaluate(() => client.call('line.status', { stationId: 'a' }));
      await page.evaluate(() => client.call('session.signIn', { name: 'Sato', password: 'x' }));
      // The fixture's core ends itself on this call.
      await expect(page.evaluate(() => client.call('backbones.list', {}))).rejects.toThrow(/lost/);
      // A call waits ten seconds for a core that is being started; a busy machine may need more.
      await connected(page);
      const after = await page.evaluate(() => client.call('line.status', { stationId: 'a' }));
      expect(after.droppedFrames).toBe(before.droppedFrames);
      expect(after.parts).toBe(before.parts + 1);
      expect((await state(page)).user).toBeNull();
      await page.waitForFunction(() => (globalThis as unknown as { restarted(): number }).restarted() >= 1);
    });

    test('a second start on the same folder ends at once, one on another folder runs beside', async () => {
      expect(await startElectron(...startOn(join(shell.folder, 'home'))).ended).toBe(0);
      await using other = await launchAnother();
      expect((await state(other.page)).firstStart).toBe(false);
    });

    test('a set-up of a folder that is open, or of no file, is refused in words', async () => {
      const setUp = async (home: string, ...file: string[]) => {
        const [program, args, env] = startOn(home);
        const { ended, output } = startElectron(program, [...args, '--setup', ...file], env);
        return { status: await ended, output: output() };
      };
      const inUse = await setUp(join(shell.folder, 'home'), 'plant.yaml');
      expect(inUse.status).toBe(1);
      expect(inUse.output).toMatch(/The data folder .* is in use by process \d+\. Close the other Mekiki/);
      const none = await setUp(mkdtempSync(join(shell.folder, 'home-')));
      expect(none.status).toBe(1);
      expect(none.output).toContain('--setup is not valid: it names no file.');
    });

    test('MEKIKI_NODE is ignored: nothing of it runs in a build without --test-runtime', async () => {
      const trap = join(shell.folder, 'trap');
      writeFileSync(trap, `#!/bin/sh\ntouch ${join(shell.folder, 'trapped')}\n`, { mode: 0o755 });
      {
        await using other = await launchAnother({ MEKIKI_NODE: trap });
        expect((await state(other.page)).testRuntime).toBe(false);
      }
      expect(existsSync(join(shell.folder, 'trapped'))).toBe(false);
      // The name is not even in the bundle.
      expect(readFileSync(shell.main, 'utf8').includes('MEKIKI_NODE')).toBe(false);
    });

    test('a core that cannot start ends the program with its words', async () => {
      const failed = startElectron(...startOn(mkdtempSync(join(shell.folder, 'in-use-'))));
      try {
        await expect.poll(() => failed.output(), { timeout: 60_000 }).toContain('HOME_IN_USE');
        // A dialog with the words is open by now, which nobody closes here: it holds up no end that the system asks for.
        await after(1000);
        failed.process.kill('SIGTERM');
        expect(await Promise.race([failed.ended, after(30_000, 'still there')])).toBe(0);
      } finally {
        failed.process.kill('SIGKILL');
        await failed.ended;
      }
    });

    test('closed before the core serves, the program ends by itself, without a dialog', async () => {
      const starting = startElectron(...startOn(mkdtempSync(join(shell.folder, 'never-serves-'))));
      try {
        await expect.poll(() => starting.output(), { timeout: 60_000 }).toContain('never serves');
        starting.process.kill('SIGTERM');
        expect(await Promise.race([starting.ended, after(30_000, 'still there')])).toBe(0);
        expect(starting.output()).not.toContain('cannot start');
      } finally {
        starting.process.kill('SIGKILL');
        await starting.ended;
      }
    });

    test('quitting ends every child', async () => {
      await using other = await launchAnother();
      const line = await other.page.evaluate(() => client.call('line.status', { stationId: 'a' }));
      await other.close();
      expect(other.process.exitCode).toBe(0);
      // The fixture tells its pid in this field; the system may take a moment to reap it.
      await expect.poll(() => alive(line.droppedFrames)).toBe(false);
    });
  },
);
