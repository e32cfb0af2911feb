import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { WebSocket } from 'ws';
import { chromium, type Browser, type Page } from 'playwright-core';
import { problemOf } from '../../main/contract/errors.ts';
// A build script, plain JavaScript: it has to run before anything is built.
import { buildProcesses } from '../../main/host/build/build.mjs';

/** Folder of an Electron for tests; without it the tests that need one are skipped by name. */
export const electronFolder = process.env['ELECTRON_OVERRIDE_DIST_PATH'];
export const electronFile = join(electronFolder ?? '', 'electron');

/**
 * A display of its own: DISPLAY if there is one, else a fresh Xvfb. `--no-sandbox` is the harness's: it runs as root.
 */
export async function openDisplay(): Promise<{ display: string; close(): Promise<void> }> {
  const given = process.env['DISPLAY'];
  if (given) return { display: given, close: async () => {} };
  const xvfb = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1600x1000x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const [number] = (await once(xvfb.stdio[3] as Readable, 'data')) as [Buffer];
  return {
    display: `:${String(number).trim()}`,
    async close() {
      xvfb.kill();
      if (xvfb.exitCode === null) await once(xvfb, 'exit');
    },
  };
}

/**
 * A program folder as an installation lays it out: Electron with resources/app that starts `main`. (An Electron that is given
 * a folder on its command line may load it after `ready`, too late to register a scheme.) Hard links: no copy of 250 MB.
 */
export function installProgram(into: string, main: string): string {
  try {
    execFileSync('cp', ['-al', electronFolder!, into]);
  } catch {
    cpSync(electronFolder!, into, { recursive: true });
  }
  const app = join(into, 'resources', 'app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{"name": "mekiki", "productName": "Mekiki", "main": "index.cjs"}');
  writeFileSync(join(app, 'index.cjs'), `require(${JSON.stringify(main)});\n`);
  return join(into, 'electron');
}

export interface InstalledShell {
  /** The test's own, for data folders too. */
  folder: string;
  program: string;
  /** The bundle of the main process. */
  main: string;
  display: string;
  /** After the program has ended. */
  close(): Promise<void>;
}

/**
 * The shell as it ships around a page as small as can be (fixtures/page.ts), laid out as a program, with a display to run on.
 * @param buildMore into the folder of the page, before it
 */
export async function installShell(
  name: string,
  options: Omit<NonNullable<Parameters<typeof buildProcesses>[0]>, 'bundle' | 'renderer'>,
  buildMore: (renderer: string) => Promise<unknown> = async () => {},
): Promise<InstalledShell> {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  // Not under dist: the program may be packed meanwhile, and what packs it looks at all that lies there.
  const bundle = `node_modules/.cache/mekiki-shell/${name}-${process.pid}`;
  const renderer = join(root, bundle, 'renderer');
  const main = join(root, bundle, 'shell/main.cjs');
  const folder = mkdtempSync(join(tmpdir(), `mekiki-${name}-`));
  const { display, close: closeDisplay } = await openDisplay();
  await buildProcesses({ ...options, bundle, renderer: `${bundle}/renderer` });
  await buildMore(renderer);
  await build({
    entryPoints: [fileURLToPath(new URL('./fixtures/page.ts', import.meta.url))],
    outfile: join(renderer, 'page.js'),
    bundle: true,
    format: 'esm',
    logLevel: 'error',
  });
  writeFileSync(
    join(renderer, 'index.html'),
    '<!doctype html><title>x</title><body><h1>A page</h1><script type="module" src="/page.js"></script>',
  );
  return {
    folder,
    program: installProgram(join(folder, 'program'), main),
    main,
    display,
    async close() {
      await closeDisplay();
      rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
      rmSync(join(root, bundle), { recursive: true, force: true });
    },
  };
}

/** ms. Waits of a program that starts, on a machine with other work. */
const STARTING = 60_000;

/** Attaching hangs for good now and then while Electron opens its window: it is tried anew, soon at first, then as patiently as a busy machine needs. */
async function attach(address: string): Promise<Browser> {
  for (let timeout = 3000; ; timeout *= 2) {
    try {
      return await chromium.connectOverCDP(address, { timeout });
    } catch (error) {
      if (timeout > 30_000) throw error;
    }
  }
}

export interface StartedElectron {
  process: ChildProcess;
  /** What it printed so far. */
  output(): string;
  /** Its exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>;
}

/**
 * A program that nobody looks into: one that ends by itself, or shows nothing but a dialog.
 * @param how `debugged: false` opens no port for a debugger, as in a plant
 */
export function startElectron(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
  { prefix = [], debugged = true }: { prefix?: readonly string[] | undefined; debugged?: boolean } = {},
): StartedElectron {
  const [command, ...before] = [...prefix, program];
  // Without a graphics card Electron's first attempt at one ends, and the window gets another renderer: where a debugger attaches meanwhile, on a busy machine, both hang.
  const debuggers = debugged ? ['--remote-debugging-port=0', '--disable-gpu'] : [];
  // What Chromium keeps beside a data folder goes with that, not into the account of who runs the tests.
  const home = args[args.indexOf('--home') + 1];
  const beside = args.includes('--home') ? { XDG_CONFIG_HOME: join(home!, '..', 'config') } : {};
  const child = spawn(command!, [...before, '--no-sandbox', ...debuggers, ...args], {
    // As on a plant PC: packages that keep quiet where CI is set shall show what they do elsewhere.
    env: { ...process.env, CI: undefined, ...beside, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const from of [child.stdout!, child.stderr!]) from.on('data', (chunk: Buffer) => (output += String(chunk)));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  ended.catch(() => {});
  return { process: child, output: () => output, ended };
}

/** Asked to end, and made to where it does not. */
export async function endElectron({ process: child, ended }: StartedElectron): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const limit = setTimeout(() => child.kill('SIGKILL'), STARTING);
  await ended;
  clearTimeout(limit);
}

export interface ElectronApp extends StartedElectron {
  page: Page;
  /**
   * Runs an expression in Electron's main process, where `require` is at hand, and gives its (awaited) value. Needs `--inspect=0` among
   * the arguments, which an installed program ignores (fuses).
   */
  inMain(expression: string): Promise<unknown>;
  close(): Promise<void>;
}

/** Until a program says where its debugger listens. @throws what it printed, when it ends before, or does not */
function debuggerOf({ process: child, output, ended }: StartedElectron): Promise<string> {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`Electron opened no debugger:\n${output()}`)), STARTING);
    const look = () => {
      const found = /DevTools listening on (ws:\S+)/.exec(output());
      if (!found) return;
      clearTimeout(limit);
      child.stderr!.off('data', look);
      resolve(found[1]!);
    };
    child.stderr!.on('data', look);
    ended.then((code) => {
      clearTimeout(limit);
      reject(new Error(`Electron ended with ${code}:\n${output()}`));
    }, reject);
  });
}

/** The small page (fixtures/page.ts) has been handed its port: the core serves. */
export const connected = (page: Page): Promise<unknown> =>
  page.waitForFunction(() => (globalThis as { client?: { state: string } }).client?.state === 'open');

/** Starts a program and attaches to its page; ends it where that fails. */
export async function launchElectron(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
  network?: { prefix: string[]; bridge(port: number): Promise<number> },
): Promise<ElectronApp> {
  const started = startElectron(program, args, env, { prefix: network?.prefix });
  const { output } = started;
  let browser: Browser;
  let page: Page;
  try {
    const inside = new URL(await debuggerOf(started));
    if (network) inside.port = String(await network.bridge(Number(inside.port)));
    browser = await attach(inside.href);
    const context = browser.contexts()[0]!;
    context.setDefaultTimeout(STARTING);
    page = context.pages()[0] ?? (await context.waitForEvent('page'));
  } catch (cause) {
    started.process.kill('SIGKILL');
    throw new Error(`${problemOf(cause)}\n${output()}`, { cause });
  }
  return {
    ...started,
    page,
    async inMain(expression) {
      const main = /Debugger listening on (ws:\S+)/.exec(output())?.[1];
      if (main === undefined) throw new Error('started without --inspect=0');
      const socket = new WebSocket(main);
      await once(socket, 'open');
      try {
        socket.send(
          JSON.stringify({
            id: 1,
            method: 'Runtime.evaluate',
            params: { expression, includeCommandLineAPI: true, awaitPromise: true, returnByValue: true },
          }),
        );
        const [answer] = (await once(socket, 'message')) as [Buffer];
        const { result, exceptionDetails } = (
          JSON.parse(String(answer)) as {
            result: { result: { value?: unknown }; exceptionDetails?: { exception?: { description?: string } } };
          }
        ).result;
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? 'failed in the main process');
        return result.value;
      } finally {
        socket.close();
      }
    },
    async close() {
      await endElectron(started);
      // After the program: the debugger's own goodbye to a page that is open may take half a minute.
      await browser.close().catch(() => {});
    },
  };
}
