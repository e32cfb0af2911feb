import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { problemOf } from '../../main/contract/errors.ts';
import { DEPENDS } from '../../main/host/build/deb.mjs';
import { story } from '../helpers/story.ts';
import { go, testId } from './browser.ts';
import { approveAndActivate, doJob, signInAs, submitAnother, untilQueued } from './demo.ts';
import { electronFolder, launchElectron, openDisplay, type ElectronApp } from './electron-app.ts';
import {
  installForTests,
  networksCanBeMade,
  openClosedNetwork,
  sizeOf,
  type ClosedNetwork,
  type InstalledProgram,
} from './packed-program.ts';

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
  let display: Awaited<ReturnType<typeof openDisplay>>;
  let network: ClosedNetwork | undefined;
  let installed: InstalledProgram;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-electron-'));
    if (shots) mkdirSync(shots, { recursive: true });
    display = await openDisplay();
    if (closable) network = await openClosedNetwork();
    installed = await installForTests(join(folder, 'program'));
  });
  afterAll(async () => {
    await network?.close();
    await display.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The program on an empty data folder. */
  const begin = async () => {
    const home = mkdtempSync(join(folder, 'home-'));
    // A screen of its own, too: a second try is none on one that hangs.
    await using opened = new AsyncDisposableStack();
    const screen = opened.adopt(await openDisplay(), (one) => one.close());
    const env = { DISPLAY: screen.display, MEKIKI_NODE: process.execPath };
    const app = await launchElectron(installed.executable, ['--home', home], env, network);
    opened.defer(() => app.close());
    const kept = opened.move();
    return { home, app, [Symbol.asyncDispose]: () => kept.disposeAsync() };
  };
  const step = story(begin);
  const shoot = async ({ page }: ElectronApp, name: string) => {
    if (shots) await page.screenshot({ path: join(shots, `electron-${name}.png`) });
  };
  const partsShown = ({ page }: ElectronApp) =>
    page.evaluate(() =>
      Number(document.querySelector('[data-testid=count-parts]')?.textContent?.replaceAll(',', '') ?? 'NaN'),
    );

  step(
    'the window opens on the first-start page, served by a core under the Node of the test runtime',
    async ({ home, app }) => {
      await app.page.waitForSelector('[data-screen=first-start]').catch((cause: unknown) => {
        const log = readFileSync(join(home, 'logs/shell.log'), 'utf8');
        throw new Error(`${problemOf(cause)}\n${app.output()}\n${log}`, { cause });
      });
      await shoot(app, 'first-start');
      expect(readFileSync(`/proc/${pidOf(home, CORE)}/cmdline`, 'utf8').split('\0')[0]).toBe(process.execPath);
      // When it could be used stands in the log, after all that it had to wait for.
      const told = () =>
        readFileSync(join(home, 'logs/shell.log'), 'utf8')
          .split('\n')
          .find((line) => line.includes('the window can be used'));
      await expect.poll(told).toBeDefined();
      const { afterMs } = JSON.parse(told()!) as { afterMs: Record<string, number> };
      const steps = ['loaded', 'ready', 'window', 'pageBegun', 'pageRan', 'coreServes', 'usable'];
      expect(Object.keys(afterMs)).toEqual(expect.arrayContaining(steps));
      expect(Math.max(...Object.values(afterMs))).toBe(afterMs['usable']);
    },
  );

  step(
    'the demo is made: learnt, compressed and approved by processes of this program; its line shows parts',
    async ({ home, app }) => {
      await app.page.click('[data-testid=try-demo]');
      await app.page.waitForSelector('[data-testid=job], [data-screen=live]');
      await shoot(app, 'demo-starts');
      await app.page.waitForSelector('[data-testid=app-shell] [data-screen=live]', { timeout: 280_000 });
      await app.page.waitForSelector('[data-testid=active-model]:not([data-model=""])', { timeout: 280_000 });
      // The demo may have started its line already.
      const start = app.page.locator('[data-testid=start-line]');
      if (await start.isVisible()) await start.click();
      await expect.poll(() => partsShown(app)).toBeGreaterThan(2);
      await shoot(app, 'live');
      expect(pidOf(home, LINE)).toBeDefined();
    },
  );

  step(
    'the core is killed: the same line goes on, the same window comes back to the live view',
    async ({ home, app }) => {
      const line = pidOf(home, LINE);
      const core = pidOf(home, CORE)!;
      process.kill(core, 'SIGKILL');
      await expect.poll(() => pidOf(home, CORE) ?? core).not.toBe(core);
      await app.page.waitForSelector('[data-testid=app-shell] [data-screen=live]');
      await app.page.waitForSelector('[data-testid=connection-banner]', { state: 'detached' });
      expect(pidOf(home, LINE)).toBe(line);
      const before = await partsShown(app);
      await expect.poll(() => partsShown(app)).toBeGreaterThan(before);
      await shoot(app, 'live-after-restart');
    },
  );

  step(
    'by hand: parts are labelled and learnt, another candidate is submitted, signed and activated, and inspects',
    async ({ app }) => {
      const { page } = app;
      const active = () => page.getAttribute(testId('active-model'), 'data-model');
      const before = await active();
      await signInAs(page, 'technician');
      // Two parts of the strip go into the queue, whatever is in it already.
      for (const place of [3, 8]) {
        await page.click(`${testId('strip-part')} >> nth=${place}`);
        await page.click(testId('to-queue'));
      }
      await untilQueued(page, 2);
      await go(page, 'label');
      await page.waitForSelector(testId('queue-row'));
      await page.keyboard.press('1');
      await page.keyboard.press('1');
      await go(page, 'learn');
      await page.waitForSelector(`${testId('fresh-labels')}:not([data-fresh="0"])`);
      await doJob(page, () => page.click(testId('update-knowledge')), 120_000);
      await submitAnother(page, [before]);
      await signInAs(page, 'supervisor');
      await go(page, 'approve');
      await shoot(app, 'approve');
      await approveAndActivate(page);
      await go(page, 'live');
      await expect.poll(active).not.toBe(before);
      const shown = await partsShown(app);
      await expect.poll(() => partsShown(app)).toBeGreaterThan(shown);
      await page.waitForSelector('[data-verdict="ok"], [data-verdict="ng"], [data-verdict="unsure"]');
    },
  );

  step('quitting ends core, line and trainer in order', async ({ home, app }) => {
    const logs = join(home, 'logs');
    const pids = readdirSync(logs).flatMap((name) => pidOf(home, new RegExp(`^${name}$`)) ?? []);
    expect(pids.length).toBeGreaterThanOrEqual(2);
    await app.close();
    expect(app.process.exitCode).toBe(0);
    // A utility process is reported as gone a moment before the system has cleared it away.
    await expect.poll(() => pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    for (const name of readdirSync(logs)) {
      const last = readFileSync(join(logs, name), 'utf8').trim().split('\n').slice(-3).join('\n');
      expect([name, last]).toEqual([name, expect.not.stringContaining('did not end in order')]);
    }
  });

  test('the program is not larger than it may be', () => {
    expect(sizeOf(installed.folder)).toBeLessThan(LARGEST);
  });

  test.skipIf(!closable)('nothing was sent to any address but loopback (needs network namespaces)', () => {
    expect(network!.sentOut()).toBe(0);
  });

  test('the installed program sets an empty folder up from a file, without a window', async () => {
    const own = mkdtempSync(join(folder, 'set-up-'));
    const file = join(own, 'plant.yaml');
    writeFileSync(
      file,
      'mekiki: 1\nusers: [{name: hana, role: supervisor}, {name: ken, role: engineer}]\nstations: [{name: Press 1, camera: {kind: folder, path: /var/parts}}]\n',
    );
    const run = (...args: string[]) =>
      spawnSync(installed.executable, ['--no-sandbox', '--home', join(own, 'home'), '--setup', ...args], {
        encoding: 'utf8',
        timeout: 120_000,
        env: {
          ...process.env,
          DISPLAY: display.display,
          MEKIKI_NODE: process.execPath,
          MEKIKI_PASSWORD: 'three blind measuring mice',
        },
      });
    const first = run(file);
    expect(first.status, first.stderr).toBe(0);
    expect(first.stdout).toMatch(/stations\["Press 1"\]\.camera .*"path":"\/var\/parts"/);
    expect(first.stdout).toMatch(/Password of ken, shown once/);
    const again = run(file);
    expect(again.status, again.stderr).toBe(0);
    expect(again.stdout).toContain('Nothing to change.');
    writeFileSync(file, 'mekiki: 1\nstations: [{name: Press 1, camera: {kind: firewire}}]\n');
    const wrong = run(file);
    expect(wrong.status).toBe(1);
    expect(wrong.stderr).toContain(
      'stations[0].camera.kind: it is "firewire". Give one of simulated, folder, gige, usb.',
    );
  }, 400_000);

  test('the Debian package says what it needs, brings its sandbox, and leaves nothing behind (needs dpkg and root)', (context) => {
    if (installed.debian === null) return context.skip();
    const { folder: system, executable } = installed;
    // A try before this one may have removed it.
    if (!existsSync(executable)) installed.debian.install();
    // The libraries that Electron is linked with, each by the package that it came with here.
    const libraries = execFileSync('ldd', [executable], { encoding: 'utf8' }).matchAll(/=> (\/\S+)/g);
    const named = DEPENDS.flatMap((entry) => entry.split('|').map((name) => name.trim().split(' ')[0]!));
    const electronNeeds = new Set(
      execFileSync('readelf', ['-d', executable], { encoding: 'utf8' }).match(/(?<=NEEDED.*\[)[^\]]+/g),
    );
    const needed = [...libraries]
      .map(([, path]) => path!)
      .filter((path) => electronNeeds.has(basename(path)) && !path.startsWith(system));
    // Merged /usr: the database may have either path. All in one call: it reads all that is installed each time.
    const paths = needed.flatMap((path) => ['', '/usr'].map((before) => before + path.replace(/^\/usr/, '')));
    const { stdout } = spawnSync('dpkg', ['--search', ...paths], { encoding: 'utf8' });
    const owners = stdout.split('\n').filter((line) => /^\S+: \//.test(line));
    expect(owners).not.toEqual([]);
    for (const owner of owners) expect(named, owner).toContain(owner.split(':')[0]);
    expect((statSync(join(dirname(executable), 'chrome-sandbox')).mode & 0o7777).toString(8)).toBe('4755');
    expect(readlinkSync(join(system, 'usr/bin/mekiki'))).toBe('/opt/mekiki/mekiki');
    installed.debian.remove();
    for (const gone of ['opt', 'usr']) expect(existsSync(join(system, gone)), gone).toBe(false);
  });
});
