import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { electronFolder, launchElectron, openDisplay } from '../e2e/electron-app.ts';
import { installForTests } from '../e2e/packed-program.ts';
import { record, spread } from './record.ts';

/*
 * From the start of the packed program in a real Electron to a usable window: a new data folder, then the same again. Where this account may, the files are dropped
 * from the page cache before each new folder, as after switching the PC on; else both are warm, and it says so. Core and trainer under a plain Node (test runtime).
 * Needs ELECTRON_OVERRIDE_DIST_PATH. The program is packed into --program DIR, and taken from there when it is there already.
 *   node test/bench/startup-packed.ts [--program DIR]
 */
const RUNS = 5;
if (!electronFolder) {
  process.stderr.write('startup-packed: skipped, ELECTRON_OVERRIDE_DIST_PATH is not set\n');
  process.exit(0);
}
const folder = mkdtempSync(join(tmpdir(), 'mekiki-startup-packed-'));
const at = process.argv.indexOf('--program');
const place = at > 0 ? process.argv[at + 1]! : join(folder, 'program');
const installed = join(place, 'system/opt/mekiki/mekiki');
const executable = existsSync(installed) ? installed : (await installForTests(place)).executable;

/** @returns whether it could be done */
function dropPageCache(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '1');
    return true;
  } catch {
    return false;
  }
}

const display = await openDisplay();
const times = { newHome: [] as number[], sameHomeAgain: [] as number[] };
let cold = true;
try {
  for (let run = 0; run < RUNS; run += 1)
    for (const kind of ['newHome', 'sameHomeAgain'] as const) {
      if (kind === 'newHome') cold = dropPageCache() && cold;
      const started = performance.now();
      const app = await launchElectron(executable, ['--home', join(folder, `home-${run}`)], {
        DISPLAY: display.display,
        MEKIKI_NODE: process.execPath,
      });
      await app.page.waitForSelector('[data-testid="first-start-name"], [data-testid="app-shell"]');
      times[kind].push(performance.now() - started);
      await app.close();
    }
} finally {
  await display.close();
  rmSync(folder, { recursive: true, force: true });
}
record('startup-packed', 'node test/bench/startup-packed.ts', {
  usableWindowMs: { newHome: spread(times.newHome), sameHomeAgain: spread(times.sameHomeAgain) },
  runs: RUNS,
  cold,
  note: 'packed program under Xvfb with software rendering; attaching the measuring debugger is in the times; newHome from a dropped page cache where cold is true',
});
