import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { electronFolder, launchElectron, openDisplay, type ElectronApp } from './electron-app.ts';
import { networksCanBeMade, openClosedNetwork, packForTests, sizeOf, type ClosedNetwork } from './packed-program.ts';

const shots = process.env['MEKIKI_SCREENSHOTS'];

/** Process id of the child whose log has this name, as it told itself when it last started; undefined when it is gone. */
function pidOf(home: string, log: RegExp): number | undefined {
  const folder = join(home, 'logs');
  const file = readdirSync(folder).find((name) => log.test(name));
  if (file === undefined) return undefined;
  const pids = readFileSync(join(folder, file), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"message":"serves"'))
    .map((line) => (JSON.parse(line) as { pid: number }).pid);
  const pid = pids.at(-1);
  return pid !== undefined && existsSync(`/proc/${pid}`) ? pid : undefined;
}
const CORE = /^core\.log$/;
const LINE = /^line-.*\.log$/;

const closable = electronFolder !== undefined && networksCanBeMade();
/** Bytes. */
const LARGEST = 450e6;

/**
 * The whole program as it is packed for installation, in a real Electron: window, shell, core, line and trainer. Core and trainer
 * run under this Node (the test runtime), because an Electron that can be had for tests may have a Node too old for them; the
 * line is a real utility process. Where the account may make one, all of it runs in a network that leads nowhere.
 */
describe.skipIf(!electronFolder)('Mekiki in a real Electron (needs ELECTRON_OVERRIDE_DIST_PATH)', () => {
  let folder: string;
  let home: string;
  let display: Awaited<ReturnType<typeof openDisplay>>;
  let network: ClosedNetwork | undefined;
  let app: ElectronApp;
  const shoot = async (name: string) => {
    if (shots) await app.page.screenshot({ path: join(shots, `electron-${name}.png`) });
  };
  const partsShown = () =>
    app.page.evaluate(() =>
      Number(document.querySelector('[data-testid=count-parts]')?.textContent?.replaceAll(',', '') ?? 'NaN'),
    );

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-electron-'));
    home = join(folder, 'home');
    if (shots) mkdirSync(shots, { recursive: true });
    display = await openDisplay();
    if (closable) network = await openClosedNetwork();
    const program = await packForTests(join(folder, 'program'));
    const env = { DISPLAY: display.display, MEKIKI_NODE: process.execPath };
    app = await launchElectron(program, ['--home', home], env, network);
  }, 240_000);
  afterAll(async () => {
    await app?.close();
    await network?.close();
    await display.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('the window opens on the first-start page, served by a core under the Node of the test runtime', async () => {
    await app.page.waitForSelector('[data-screen=first-start]', { timeout: 30_000 });
    await shoot('first-start');
    expect(readFileSync(`/proc/${pidOf(home, CORE)}/cmdline`, 'utf8').split('\0')[0]).toBe(process.execPath);
  });

  test('the demo is made: learnt, compressed and approved by processes of this program; its line shows parts', async () => {
    await app.page.click('[data-testid=try-demo]');
    await app.page.waitForSelector('[data-testid=job], [data-screen=live]', { timeout: 30_000 });
    await shoot('demo-starts');
    await app.page.waitForSelector('[data-testid=app-shell] [data-screen=live]', { timeout: 280_000 });
    await app.page.waitForSelector('[data-testid=active-model]:not([data-model=""])', { timeout: 280_000 });
    // The demo may have started its line already.
    const start = app.page.locator('[data-testid=start-line]');
    if (await start.isVisible()) await start.click();
    await expect.poll(partsShown, { timeout: 30_000 }).toBeGreaterThan(2);
    await shoot('live');
    expect(pidOf(home, LINE)).toBeDefined();
  }, 350_000);

  test('the core is killed: the same line goes on, the same window comes back to the live view', async () => {
    const line = pidOf(home, LINE);
    const core = pidOf(home, CORE)!;
    process.kill(core, 'SIGKILL');
    await expect.poll(() => pidOf(home, CORE) ?? core, { timeout: 20_000 }).not.toBe(core);
    await app.page.waitForSelector('[data-testid=app-shell] [data-screen=live]');
    await app.page.waitForSelector('[data-testid=connection-banner]', { state: 'detached', timeout: 20_000 });
    expect(pidOf(home, LINE)).toBe(line);
    const before = await partsShown();
    await expect.poll(partsShown, { timeout: 20_000 }).toBeGreaterThan(before);
    await shoot('live-after-restart');
  });

  test('the program is not larger than it may be', () => {
    expect(sizeOf(join(folder, 'program'))).toBeLessThan(LARGEST);
  });

  test.skipIf(!closable)('nothing was sent to any address but loopback (needs network namespaces)', () => {
    expect(network!.sentOut()).toBe(0);
  });

  test('quitting ends core, line and trainer in order', async () => {
    const logs = join(home, 'logs');
    const pids = readdirSync(logs).flatMap((name) => pidOf(home, new RegExp(`^${name}$`)) ?? []);
    expect(pids.length).toBeGreaterThanOrEqual(2);
    await app.close();
    expect(app.process.exitCode).toBe(0);
    // A utility process is reported as gone a moment before the system has cleared it away.
    await expect.poll(() => pids.filter((pid) => existsSync(`/proc/${pid}`)), { timeout: 5000 }).toEqual([]);
    for (const name of readdirSync(logs)) {
      const last = readFileSync(join(logs, name), 'utf8').trim().split('\n').slice(-3).join('\n');
      expect([name, last]).toEqual([name, expect.not.stringContaining('did not end in order')]);
    }
  });
});
