import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve } from '../../main/host/serve.ts';
import { buildRenderer, launchBrowser } from '../e2e/browser.ts';
import { record, spread } from './record.ts';

/** From the start of the program to a usable window (browser mode): an empty home, then the same home again. */
const rendererDir = await buildRenderer();
const browser = await launchBrowser();
const times: { first: number[]; again: number[] } = { first: [], again: [] };
for (let run = 0; run < 5; run += 1) {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-startup-'));
  for (const kind of ['first', 'again'] as const) {
    const started = performance.now();
    const serving = await serve({ home, port: 0, demo: false, stderrLevel: null, rendererDir });
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(serving.url);
    await page.waitForSelector('[data-testid="first-start-name"], [data-testid="app-shell"]');
    times[kind].push(performance.now() - started);
    await context.close();
    await serving.close();
  }
  await rm(home, { recursive: true, force: true });
}
await browser.close();
record('startup', 'node main/host/build/launch.mjs test/bench/startup.ts', {
  usableWindowMs: { newHome: spread(times.first), sameHomeAgain: spread(times.again) },
  runs: 5,
  note: 'browser mode under plain Node with a headless Chromium that runs already; files in the page cache',
});
