import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser } from './browser.ts';

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
describe('npm run dev', () => {
  let home: string;
  let dev: ChildProcess;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'mekiki-dev-'));
    const port = await freePort();
    dev = spawn(process.execPath, [join(root, 'main/host/build/dev.mjs'), '--home', home, '--port', String(port)], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let said = '';
    await new Promise<void>((resolve, reject) => {
      dev.stdout!.on('data', (chunk: Buffer) => {
        said += String(chunk);
        if (said.includes('follows the sources')) resolve();
      });
      dev.on('exit', (code) => reject(new Error(`ended with ${code}: ${said}`)));
    });
    browser = await launchBrowser();
    page = await browser.newPage();
    // Its sources are compiled as they are asked for: the first page takes its time on a busy machine.
    await page.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'commit', timeout: 120_000 });
  }, 300_000);
  afterAll(async () => {
    await browser?.close();
    if (dev.exitCode === null) {
      dev.kill('SIGTERM');
      await once(dev, 'exit');
    }
    rmSync(home, { recursive: true, force: true });
  });

  test('the page is made of the sources and talks to a core', async () => {
    await page.waitForSelector('[data-testid=try-demo]', { timeout: 150_000 });
    expect(await page.locator('script[src="/@vite/client"]').count()).toBe(1);
  }, 180_000);

  test('a changed source of the core starts it again, and the page goes on', async () => {
    const [first] = cores(home);
    const now = new Date();
    utimesSync(join(root, 'main/host/version.ts'), now, now);
    await expect.poll(() => cores(home).at(-1), { timeout: 30_000 }).not.toBe(first);
    await page.waitForSelector('[data-testid=try-demo]');
    await page.waitForSelector('[data-testid=connection-banner]', { state: 'detached', timeout: 20_000 });
  });

  test('Ctrl-C ends all of it', async () => {
    const pid = cores(home).at(-1)!;
    dev.kill('SIGINT');
    const [code] = (await once(dev, 'exit')) as [number];
    expect(code).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow();
  });
});
