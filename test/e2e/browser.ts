import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import chromium from '@sparticuz/chromium';
import { chromium as playwright, type Browser, type Page } from 'playwright-core';
import { build } from 'vite';

/** A real Chromium from npm alone; without network of its own. */
export async function launchBrowser(...more: string[]): Promise<Browser> {
  return playwright.launch({
    executablePath: await chromium.executablePath(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-dev-shm-usage',
      ...more,
    ],
    headless: true,
  });
}

/** Builds the window into a folder of its own, as `npm run build` does. @returns the folder and its removal. */
export async function buildRenderer(): Promise<{ dir: string; remove(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'mekiki-renderer-'));
  await build({
    configFile: fileURLToPath(new URL('../../renderer/vite.config.ts', import.meta.url)),
    build: { outDir: dir, emptyOutDir: true },
    logLevel: 'error',
  });
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** A page whose console errors and policy violations are kept for the test to look at. */
export async function openPage(
  browser: Browser,
  url: string,
  { width = 1440, height = 900, locale = 'en-GB', theme = 'dark' as 'dark' | 'light' } = {},
): Promise<{ page: Page; problems: string[] }> {
  const context = await browser.newContext({ viewport: { width, height }, locale, reducedMotion: 'reduce' });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.addInitScript((name) => localStorage.setItem('theme', name), theme);
  await page.goto(url);
  return { page, problems };
}

export const testId = (id: string): string => `[data-testid="${id}"]`;
