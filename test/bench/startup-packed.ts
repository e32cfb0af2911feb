import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  electronFolder,
  endElectron,
  installProgram,
  launchElectron,
  openDisplay,
  startElectron,
  type StartedElectron,
} from '../e2e/electron-app.ts';
import { installForTests } from '../e2e/packed-program.ts';
import { record, spread } from './record.ts';

/*
 * From the start of the packed program in a real Electron to a usable window: a new data folder, then the same again. The program tells itself, in its log, when its page has
 * drawn what can be used. Where this account may, the files are dropped from the page cache before each new folder, as after switching the PC on; else both are warm, and it
 * says so. Core and trainer under a plain Node (test runtime).
 * Beside it, in the same rounds: the same with a debugger attached that waits for the screen, as tests do; and the least program that Electron can start (bare-electron/).
 * Needs ELECTRON_OVERRIDE_DIST_PATH. The program is packed into --program DIR, and taken from there when it is there already.
 *   node main/host/build/launch.mjs test/bench/startup-packed.ts [--program DIR] [--runs N]
 */
const option = (name: string): string | undefined => {
  const at = process.argv.indexOf(name);
  return at > 0 ? process.argv[at + 1] : undefined;
};
const RUNS = Number(option('--runs') ?? 5);
if (!electronFolder) {
  process.stderr.write('startup-packed: skipped, ELECTRON_OVERRIDE_DIST_PATH is not set\n');
  process.exit(0);
}
// What launch.mjs sets for this process: an installed program compiles its own code, or keeps it by itself.
delete process.env['NODE_COMPILE_CACHE'];
const folder = mkdtempSync(join(tmpdir(), 'mekiki-startup-packed-'));
const place = option('--program') ?? join(folder, 'program');
const installed = join(place, 'system/opt/mekiki/mekiki');
const packed = existsSync(installed) ? installed : (await installForTests(place)).executable;
const bare = installProgram(join(folder, 'bare'), fileURLToPath(new URL('./bare-electron/main.cjs', import.meta.url)));
const display = await openDisplay();

/** @returns whether it could be done */
function dropPageCache(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '1');
    return true;
  } catch {
    return false;
  }
}

/** Until `look` finds something. @throws what the program printed, when it ends before */
async function until<T>({ ended, output }: StartedElectron, look: () => T | undefined): Promise<T> {
  let over = false;
  const done = () => (over = true);
  ended.then(done, done);
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (over) throw new Error(`it ended:\n${output()}`);
    await delay(50);
  }
}

interface Start {
  /** ms from the start of its process. */
  usableMs: number;
  /** The program's own steps, ms from the start of its process. */
  steps: Record<string, number>;
}

const environment = (home: string) => ({
  DISPLAY: display.display,
  MEKIKI_NODE: process.execPath,
  BARE_HOME: home,
  // What Chromium keeps beside the data folder.
  XDG_CONFIG_HOME: join(home, '..', 'config'),
});

const starts = {
  async program(home: string): Promise<Start> {
    const log = join(home, 'logs/shell.log');
    const before = existsSync(log) ? readFileSync(log, 'utf8').length : 0;
    const startedAt = Date.now();
    const started = startElectron(packed, ['--home', home], environment(home), { debugged: false });
    try {
      const line = await until(started, () =>
        existsSync(log)
          ? readFileSync(log, 'utf8')
              .slice(before)
              .split('\n')
              .slice(0, -1)
              .find((text) => text.includes('the window can be used'))
          : undefined,
      );
      const { at, afterMs } = JSON.parse(line) as { at: string; afterMs: Record<string, number> };
      const usableMs = Date.parse(at) - startedAt;
      const earlier = usableMs - afterMs['usable']!;
      return {
        usableMs,
        steps: Object.fromEntries(Object.entries(afterMs).map(([step, ms]) => [step, ms + earlier])),
      };
    } finally {
      await endElectron(started);
    }
  },
  async programDebugged(home: string): Promise<Start> {
    const startedAt = performance.now();
    const app = await launchElectron(packed, ['--home', home], environment(home));
    try {
      await app.page.waitForSelector('[data-testid="first-start-name"], [data-testid="app-shell"]');
      return { usableMs: performance.now() - startedAt, steps: {} };
    } finally {
      await app.close();
    }
  },
  async bare(home: string): Promise<Start> {
    const startedAt = Date.now();
    const started = startElectron(bare, [], environment(home), { debugged: false });
    try {
      const at = await until(started, () => /usable at (\d+)\n/.exec(started.output())?.[1]);
      return { usableMs: Number(at) - startedAt, steps: {} };
    } finally {
      await endElectron(started);
    }
  },
  async bareDebugged(home: string): Promise<Start> {
    const startedAt = performance.now();
    const app = await launchElectron(bare, [], environment(home));
    try {
      await app.page.waitForSelector('[data-testid="bare"]');
      return { usableMs: performance.now() - startedAt, steps: {} };
    } finally {
      await app.close();
    }
  },
};
type What = keyof typeof starts;
const kinds = ['newHome', 'sameHomeAgain'] as const;
type Kind = (typeof kinds)[number];

const taken: { what: What; kind: Kind; start: Start }[] = [];
let cold = true;
try {
  for (let run = 0; run < RUNS; run += 1)
    for (const what of Object.keys(starts) as What[]) {
      const home = join(folder, `${what}-${run}`, 'home');
      mkdirSync(join(home, '..'), { recursive: true });
      for (const kind of kinds) {
        if (kind === 'newHome') cold = dropPageCache() && cold;
        const start = await starts[what](home);
        process.stderr.write(`${what} ${kind} ${JSON.stringify(start)}\n`);
        taken.push({ what, kind, start });
      }
    }
} finally {
  await display.close();
  rmSync(folder, { recursive: true, force: true });
}

const of = (what: What, kind: Kind) =>
  taken.filter((one) => one.what === what && one.kind === kind).map(({ start }) => start);
const perKind = <T>(value: (kind: Kind) => T) => Object.fromEntries(kinds.map((kind) => [kind, value(kind)]));
const usable = (what: What) => perKind((kind) => spread(of(what, kind).map(({ usableMs }) => usableMs)));
const steps = (kind: Kind) =>
  Object.fromEntries(
    Object.keys(of('program', kind)[0]!.steps).map((step) => [
      step,
      spread(of('program', kind).flatMap((start) => start.steps[step] ?? [])).median,
    ]),
  );
record('startup-packed', 'node main/host/build/launch.mjs test/bench/startup-packed.ts', {
  usableWindowMs: usable('program'),
  stepsMs: perKind(steps),
  withDebuggerMs: usable('programDebugged'),
  bareElectronMs: usable('bare'),
  bareElectronWithDebuggerMs: usable('bareDebugged'),
  runs: RUNS,
  cold,
  note:
    'packed program under Xvfb with software rendering; newHome from a dropped page cache where cold is true; usableWindowMs and stepsMs (medians) as the program tells them in its log; ' +
    'bareElectron: an Electron of one window around a page with one field, on the same display',
});
