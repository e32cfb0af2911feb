import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { app, Menu, protocol, type BrowserWindow } from 'electron';
import { AppError, errorText, isAppError, problemOf } from '../contract/errors.ts';
import { createContent, type Content } from '../host/content.ts';
import { homeFolder } from '../host/home-folder.ts';
import { createLogger } from '../host/log.ts';
import { keyPlaceOf } from '../host/sealed-secrets.ts';
import { createForkSpawnPort, type SpawnPort } from '../host/spawn.ts';
import { createSupervisor } from '../host/supervisor.ts';
import { programVersion } from '../host/version.ts';
import { bundleToOpen, filesOfSecondStart, readArguments, whyNoHome, type SecondStart } from './arguments.ts';
import { keepCameraWindows } from './camera-windows.ts';
import { askBeforeClosing } from './close-question.ts';
import { setMenu } from './menu.ts';
import { answerPage, savePageAsPdf } from './page-requests.ts';
import { systemCipher } from './keychain.ts';
import { whyNotKept } from './profile.ts';
import { keepOffline, lockDown } from './security.ts';
import { reached, startTimes } from './start-times.ts';
import { tell } from './tell.ts';
import { shellTexts } from './texts.ts';
import { createUtilitySpawnPort } from './utility-spawn.ts';
import { watchCore, type CoreWatch } from './watch-core.ts';
import { brokerPorts, openWindow } from './window.ts';

/* The desktop program: Electron's main process is the supervisor and owns the one window. */

const asked = readArguments(process.argv.slice(1), process.cwd());
const { demo, kiosk } = asked;
const home = homeFolder(asked.home);
const log = createLogger({ process: 'shell', file: join(home, 'logs', 'shell.log'), deferred: true });

/**
 * A Node that runs core and trainer, in builds made with --test-runtime alone: for an Electron whose own Node is too old for
 * them. Lines stay utility processes. In any other build the variable is not even read: it would be code execution by
 * environment variable.
 */
const testNode = __TEST_RUNTIME__ ? process.env['MEKIKI_NODE'] : undefined;
const utility = createUtilitySpawnPort();

const spawn: SpawnPort = {
  spawn: (name, entry, ...rest) =>
    testNode === undefined || name.startsWith('line:')
      ? utility.spawn(name, entry, ...rest)
      : // That Node cannot read archives: what it runs lies beside the archive (test/e2e/packed-program.ts).
        createForkSpawnPort({ execPath: testNode }).spawn(
          name,
          entry.replace('app.asar', 'app.asar.unpacked'),
          ...rest,
        ),
};
const settings = {
  home,
  demo,
  version: programVersion(),
  testRuntime: __TEST_RUNTIME__,
  logLevel: 'info',
  stderrLevel: 'warn',
  trainerThreads: 2,
} as const;
const supervisor = createSupervisor({
  spawn,
  settings,
  log,
  keyPlace: () => keyPlaceOf(home, { asked: asked.keychain, cipher: systemCipher() }),
});

async function refuseToStart(error: unknown): Promise<void> {
  // Closed before the core served: that it does not serve any more is no failure, and the words would hold up the end.
  if (ending) return;
  const known = isAppError(error);
  log.error('cannot start', { error });
  await tell({
    type: 'error',
    message: known ? error.message : 'Mekiki cannot start',
    detail: known ? error.nextAction : `${problemOf(error)}\n\n${join(home, 'logs')}`,
  });
  app.exit(1);
}

async function run(): Promise<void> {
  await app.whenReady();
  reached('ready');
  // First of all: the core starts in its own process while the window is made in this one, which gets its port when the core serves.
  const serving = supervisor.start();
  serving.catch(() => {});
  lockDown(log);
  const served = {
    rendererDir: fileURLToPath(new URL(`../../${__RENDERER__}`, import.meta.url)),
    home,
    readImage: (sha: string, width: number) => supervisor.readImage(sha, width),
    coreUp: () => supervisor.coreUp,
  };
  const hosts: Record<string, Content> = {
    mekiki: createContent(served),
    camera: createContent({ ...served, camera: true, page: '/camera.html' }),
  };
  protocol.handle('app', async (request) => {
    const url = new URL(request.url);
    const content = Object.hasOwn(hosts, url.host) ? hosts[url.host] : undefined;
    if (!content || request.method !== 'GET') return new Response(null, { status: 403 });
    const { status, headers, body } = await content(url);
    return new Response(typeof body === 'string' ? body : new Uint8Array(body), { status, headers });
  });
  brokerPorts(supervisor);

  const title = ['Mekiki', ...(demo ? ['DEMO'] : []), ...(__TEST_RUNTIME__ ? ['TEST RUNTIME'] : [])].join(' · ');
  const open = (): BrowserWindow =>
    openWindow({
      preload: fileURLToPath(new URL(`../../${__BUNDLE__}/shell/preload.cjs`, import.meta.url)),
      title,
      devTools: __TEST_RUNTIME__ || !app.isPackaged,
      kiosk,
      stateFile: join(app.getPath('userData'), 'window.json'),
      log,
    });
  const window = open();
  reached('window');
  window.once('show', () => reached('shown'));
  // Windows that read cameras are no reason to stay.
  window.on('closed', () => app.quit());
  askBeforeClosing(window, { running: () => watch?.running ?? 0, texts: () => texts() });
  const toFront = () => {
    // Asked for while the program waits for its children, after the window.
    if (window.isDestroyed()) return;
    if (window.isMinimized()) window.restore();
    window.focus();
  };
  const texts = () => shellTexts(watch?.language ?? 'en');
  const showMenu = () =>
    setMenu(window, texts(), {
      savePdf: () =>
        void savePageAsPdf(window, 'Mekiki', texts()).catch((error: unknown) => {
          log.error('the page was not saved', { error });
          void tell({ type: 'error', message: problemOf(error) });
        }),
      print: () => window.webContents.print(),
    });
  showMenu();
  const cameras = keepCameraWindows(supervisor.feeds, {
    preload: fileURLToPath(new URL(`../../${__BUNDLE__}/shell/camera-preload.cjs`, import.meta.url)),
    log,
  });
  /** The bundle that somebody opened and the page has not asked for yet. */
  let opened: string | null = null;
  const openBundle = async (files: readonly string[]) => {
    try {
      const file = await bundleToOpen(files);
      if (file === null) return;
      opened = file;
      log.info('a bundle was opened', { file });
      window.webContents.send('bundle-opened');
    } catch (error) {
      log.warn('a bundle was not opened', { files, error });
      const { message, nextAction } = isAppError(error)
        ? errorText(error.code, error.details, watch?.language ?? 'en')
        : { message: problemOf(error), nextAction: '' };
      await tell({ type: 'warning', message, detail: nextAction });
    }
  };
  answerPage(texts, cameras, log, {
    takeBundle() {
      const file = opened;
      opened = null;
      return file;
    },
    usable({ begunAt, ranAt }) {
      reached('pageBegun', begunAt);
      reached('pageRan', ranAt);
      if (reached('usable')) log.info('the window can be used', { afterMs: startTimes() });
    },
  });
  app.on('second-instance', (_event, _argv, _folder, data) => {
    toFront();
    if (!window.isDestroyed()) void openBundle(filesOfSecondStart(data));
  });
  void openBundle(asked.files);
  try {
    await serving;
    reached('coreServes');
    log.openFile();
    log.info('the core serves', { electron: process.versions['electron'], testRuntime: __TEST_RUNTIME__ });
    const watching = watchCore({ supervisor, log, onLanguage: showMenu, onNotification: toFront });
    watch = watching;
    window.on('focus', () => watching.refresh());
  } catch (error) {
    await refuseToStart(error);
  }
}

let watch: CoreWatch | null = null;
let ending = false;
const taskEnd = new AbortController();
app.on('before-quit', (event) => {
  // Every time: a window that closes asks twice, once by itself and once as the last one, and whoever waits asks again. Let through, it would cut off
  // children that are still ending.
  event.preventDefault();
  if (ending) return;
  // It ends by itself, with a status that says whether the task was done.
  if (asked.tasks.length > 0) return taskEnd.abort(new AppError('CANCELLED'));
  ending = true;
  void supervisor.close().finally(() => {
    log.close();
    app.exit(0);
  });
});
app.on('window-all-closed', () => app.quit());

reached('loaded');
keepOffline();
// Before the program is ready: else Electron makes its own menu first.
Menu.setApplicationMenu(null);
// The lock is one per data folder: two stations' folders may be open side by side.
const profile = join(
  app.getPath('appData'),
  'Mekiki Window',
  createHash('sha256').update(home).digest('hex').slice(0, 12),
);
app.setPath('userData', profile);
// Children compile their code once, and not at each start. Beside Chromium's own caches of compiled code, not in the data folder: what lies here is believed.
process.env['NODE_COMPILE_CACHE'] = join(profile, 'Compile Cache');
protocol.registerSchemesAsPrivileged([
  { scheme: 'app', privileges: { standard: true, secure: true, supportFetchAPI: true, codeCache: true } },
]);
const refusal = whyNoHome(asked) ?? whyNotKept(profile);
const alone = refusal === null && app.requestSingleInstanceLock({ files: [...asked.files] } satisfies SecondStart);
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => app.quit());
if (asked.tasks.length > 0)
  // Loaded here: what reads configurations is no part of opening a window.
  void import('./tasks.ts')
    .then(({ runTask }) =>
      runTask(asked.tasks, {
        home,
        alone,
        refusal,
        user: asked.user,
        supervisor,
        spawn,
        settings,
        log,
        signal: taskEnd.signal,
      }),
    )
    .catch((error: unknown) => {
      process.stderr.write(`${problemOf(error)}\n`);
      return 1;
    })
    .then((code) => app.exit(code));
else if (refusal !== null) void app.whenReady().then(() => refuseToStart(refusal));
else if (alone) run().catch(refuseToStart);
else app.exit(0);
