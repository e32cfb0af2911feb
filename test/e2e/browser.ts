import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import chromium from '@sparticuz/chromium';
import { chromium as playwright, type Browser, type Page } from 'playwright-core';
import { build } from 'vite';

/** ms. How long an action or a wait on a page may take on a machine with other work, and how long browser and page may load. */
const ACTION = 60_000;
const LOADING = 120_000;

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
    timeout: LOADING,
  });
}

const root = fileURLToPath(new URL('../../', import.meta.url));
/** Built windows by the digest of what they were built from. */
const builds = join(root, 'node_modules/.cache/mekiki-window');
/** ms. A run of all tests is over by then. */
const OLD_BUILD = 2 * 3_600_000;

/** Of all that a build of the window reads. */
async function digestOfSources(): Promise<string> {
  const digest = createHash('sha256');
  const within = async (folder: string) =>
    (await readdir(join(root, folder), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  const files = [...(await within('renderer')), ...(await within('main/contract'))].sort();
  for (const file of [...files, join(root, 'package.json'), join(root, 'package-lock.json')])
    digest.update(`${relative(root, file)}\n`).update(await readFile(file));
  return digest.digest('hex').slice(0, 24);
}

/** Builds the window as `npm run build` does, or takes the build that another test made of the same sources. @returns its folder, to be read only */
export async function buildRenderer(): Promise<string> {
  const dir = join(builds, await digestOfSources());
  if (existsSync(dir)) return dir;
  const made = `${dir}.${process.pid}`;
  await build({
    configFile: join(root, 'renderer/vite.config.ts'),
    build: { outDir: made, emptyOutDir: true },
    logLevel: 'error',
  });
  // Whole or not at all. Whoever comes second throws its own away.
  await rename(made, dir).catch(() => rm(made, { recursive: true, force: true }));
  for (const name of await readdir(builds)) {
    const old = join(builds, name);
    // Another test may have renamed its own by now.
    const mtimeMs = await stat(old).then(
      (found) => found.mtimeMs,
      () => Infinity,
    );
    if (old !== dir && mtimeMs < Date.now() - OLD_BUILD) await rm(old, { recursive: true, force: true });
  }
  return dir;
}

/** A page whose console errors and policy violations are kept for the test to look at. */
export async function openPage(
  browser: Browser,
  url: string,
  { width = 1440, height = 900, locale = 'en-GB', theme = 'dark' as 'dark' | 'light', touch = false } = {},
): Promise<{ page: Page; problems: string[] }> {
  const context = await browser.newContext({
    viewport: { width, height },
    locale,
    hasTouch: touch,
    reducedMotion: 'reduce',
  });
  context.setDefaultTimeout(ACTION);
  context.setDefaultNavigationTimeout(LOADING);
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

export const signIn = async (page: Page, name: string, password: string): Promise<void> => {
  await page.click(testId('open-sign-in'));
  await page.fill(testId('sign-in-name'), name);
  await page.fill(testId('sign-in-password'), password);
  await page.press(testId('sign-in-password'), 'Enter');
  await page.waitForSelector(testId('user-menu'));
};

export const go = async (page: Page, area: string): Promise<void> => {
  await page.click(testId(`area-${area}`));
  await page.waitForSelector(`[data-screen="${area}"]`);
};

/** From now on. @returns waits until something has been on the page, however short it was: who looks now and then may miss it */
export async function appears(page: Page, selector: string): Promise<() => Promise<unknown>> {
  const seen = await page.evaluateHandle((wanted) => {
    const found = { yet: false };
    new MutationObserver(() => (found.yet ||= document.querySelector(wanted) !== null)).observe(document.body, {
      subtree: true,
      childList: true,
    });
    return found;
  }, selector);
  return () => page.waitForFunction((found) => found.yet, seen);
}

/** Tab until something has the focus. @throws where Tab does not lead there */
export async function tabTo(page: Page, selector: string): Promise<void> {
  for (let i = 0; i < 120; i += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`not reached by Tab: ${selector}`);
}

/** The first answers, pictures and fonts are there: nothing has changed for a tenth of a second (a running line never rests: two seconds). */
export const settled = (page: Page): Promise<void> =>
  page.evaluate(async () => {
    await new Promise<void>((resolve) => {
      const rests = () => setTimeout(end, 100);
      const end = () => {
        observer.disconnect();
        clearTimeout(quiet);
        clearTimeout(most);
        resolve();
      };
      const observer = new MutationObserver(() => {
        clearTimeout(quiet);
        quiet = rests();
      });
      const most = setTimeout(end, 2000);
      let quiet = rests();
      observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
    });
    await document.fonts.ready;
    await Promise.all(
      [...document.images].filter(({ loading }) => loading !== 'lazy').map((image) => image.decode().catch(() => {})),
    );
  });
