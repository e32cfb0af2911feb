import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { describe, expect } from 'vitest';
import { story } from '../helpers/story.ts';
import { appears, launchBrowser } from './browser.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** Process ids that the core told when it served, oldest first. */
const cores = (home: string): number[] =>
  readFileSync(join(home, 'logs/core.log'), 'utf8')
    .split('\n')
    .filter((line) => line.includes('"message":"serves"'))
    .map((line) => (JSON.parse(line) as { pid: number }).pid);

/** `npm run dev` as a developer has it: the window and the core from their sources. */
const begin = async () => {
  const home = mkdtempSync(join(tmpdir(), 'mekiki-dev-'));
  const port = await freePort();
  const dev = spawn(process.execPath, [join(root, 'main/host/build/dev.mjs'), '--home', home, '--port', String(port)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let browser: Browser | null = null;
  const dispose = async () => {
    await browser?.close();
    if (dev.exitCode === null && dev.signalCode === null) {
      dev.kill('SIGTERM');
      await once(dev, 'exit');
    }
    rmSync(home, { recursive: true, force: true });
  };
  try {
    let said = '';
    await new Promise<void>((resolve, reject) => {
      dev.stdout.on('data', (chunk: Buffer) => {
        said += String(chunk);
        if (said.includes('follows the sources')) resolve();
      });
      dev.on('exit', (code) => reject(new Error(`ended with ${code}: ${said}`)));
    });
    browser = await launchBrowser();
    const page = await browser.newPage();
    // Its sources are compiled as they are asked for: the first page takes its time on a busy machine.
    page.setDefaultTimeout(150_000);
    page.setDefaultNavigationTimeout(150_000);
    await page.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'commit' });
    return { home, dev, page, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
};

describe('npm run dev', () => {
  const step = story(begin);

  step('the page is made of the sources and talks to a core', async ({ page }) => {
    await page.waitForSelector('[data-testid=try-demo]');
    expect(await page.locator('script[src="/@vite/client"]').count()).toBe(1);
  });

  step('a changed source of the core starts it again, and the page goes on', async ({ home, page }) => {
    const before = cores(home).at(-1);
    const told = await appears(page, '[data-testid=connection-banner]');
    const now = new Date();
    utimesSync(join(root, 'main/host/version.ts'), now, now);
    await expect.poll(() => cores(home).at(-1)).not.toBe(before);
    await told();
    await page.waitForSelector('[data-testid=try-demo]');
    await page.waitForSelector('[data-testid=connection-banner]', { state: 'detached' });
  });

  step('Ctrl-C ends all of it', async ({ home, dev }) => {
    const pid = cores(home).at(-1)!;
    const ended = once(dev, 'exit');
    dev.kill('SIGINT');
    const [code] = (await ended) as [number];
    expect(code).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow();
  });
});
