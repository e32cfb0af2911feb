import { mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { buildRenderer, go, launchBrowser, openPage, settled, signIn, testId } from './browser.ts';
import { serveFixture } from './fixtures/server.ts';
import { takeReadmePictures } from './readme-pictures.ts';
import { createWorld } from './fixtures/world.ts';

/*
 * `npm run screens`: a picture of every screen, in both languages and themes, into test/e2e/screens/ (not committed), to be
 * looked at. The data is the fixture's: a station in full swing, the same at every run. A word limits it: `-- label`;
 * `-- readme` makes the pictures of README.md instead.
 */

if (process.argv[2] === 'readme') {
  await takeReadmePictures();
  process.exit(0);
}
const folder = fileURLToPath(new URL('./screens/', import.meta.url));
const wanted = process.argv[2];

interface Shot {
  name: string;
  area: string;
  /** What is done on the screen before the picture is taken. */
  prepare?: (page: Page) => Promise<void>;
}
const shots: readonly Shot[] = [
  { name: 'live', area: 'live' },
  { name: 'label', area: 'label' },
  {
    name: 'label-group',
    area: 'label',
    prepare: async (page) => {
      await page.waitForSelector(testId('queue-row'));
      await page.keyboard.press('g');
      await page.waitForSelector(testId('group-grid'));
    },
  },
  {
    name: 'label-new-class',
    area: 'label',
    prepare: async (page) => {
      await page.waitForSelector(testId('queue-row'));
      await page.keyboard.press('n');
      await page.waitForSelector(testId('new-class-en'));
    },
  },
  {
    name: 'label-compare',
    area: 'label',
    prepare: async (page) => {
      await page.waitForSelector(testId('queue-row'));
      await page.keyboard.press('c');
      await page.keyboard.press('r');
      await page.waitForSelector(`${testId('reference-pane')} .view img`);
      await page.keyboard.press('+');
      await page.keyboard.press('+');
    },
  },
  {
    name: 'label-history',
    area: 'label',
    prepare: async (page) => {
      await page.waitForSelector(testId('queue-row'));
      for (const key of ['2', '4', 's', '3', 'u']) await page.keyboard.press(key);
      await page.waitForSelector(testId('history-row'));
    },
  },
  {
    name: 'label-boxes',
    area: 'label',
    prepare: async (page) => {
      await page.waitForSelector(testId('queue-row'));
      await page.keyboard.press('b');
      await page.focus(`${testId('label-picture')} [data-zoom]`);
      for (const key of ['Enter', 'ArrowLeft', 'ArrowLeft', 'ArrowLeft', 'Enter']) await page.keyboard.press(key);
    },
  },
  {
    name: 'label-almost-the-same',
    area: 'label',
    prepare: async (page) => {
      await page.waitForSelector(testId('queue-row'));
      await page.keyboard.press('d');
      await page.click(testId('near-keep-one'));
    },
  },
  { name: 'learn', area: 'learn' },
  { name: 'approve', area: 'approve' },
  {
    name: 'approve-changed',
    area: 'approve',
    prepare: async (page) => {
      await page.click(testId('next-unseen'));
      await page.waitForSelector(testId('viewer-next'));
    },
  },
  { name: 'models', area: 'models' },
  { name: 'reports', area: 'reports' },
  {
    name: 'reports-study',
    area: 'reports',
    prepare: async (page) => {
      await page.click(testId('report-study'));
      await page.click(testId('new-study'));
      await page.click(testId('study-create'));
      await page.click(testId('study-begin'));
      for (let i = 0; i < 36; i += 1) {
        await page.waitForSelector(`${testId('study-done')}[data-done="${i}"]`);
        await page.keyboard.press(i % 18 < 6 && i !== 2 ? '1' : '2');
      }
      await page.click(testId('study-finish'));
      await page.click(testId('study-close'));
      await page.click(testId('study-close-confirm'));
      await page.waitForSelector(testId('study-report'));
    },
  },
  {
    name: 'help',
    area: 'approve',
    prepare: async (page) => {
      await page.click(testId('open-help'));
      await page.waitForSelector(testId('help'));
    },
  },
  { name: 'settings', area: 'settings' },
  {
    name: 'settings-preview',
    area: 'live',
    prepare: async (page) => {
      await page.click(testId('stop-line'));
      await go(page, 'settings');
      await page.click(testId('camera-gige'));
      await page.fill(testId('camera-serial'), '4D-1027');
      await page.fill(testId('exposure'), '2500');
      await page.fill(testId('regions'), '300, 200, 900, 700\n1500, 500, 500, 800');
      await page.click(testId('preview-toggle'));
      await page.waitForSelector(`${testId('preview-picture')} canvas`);
      await page.locator(testId('camera-preview')).scrollIntoViewIfNeeded();
    },
  },
  {
    name: 'settings-found-cameras',
    area: 'settings',
    prepare: async (page) => {
      await page.click(testId('camera-gige'));
      await page.click(testId('found-cameras-item'));
    },
  },
  { name: 'audit', area: 'audit' },
];

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const [rendererDir, browser] = await Promise.all([buildRenderer(), launchBrowser()]);
let taken = 0;
for (const theme of ['dark', 'light'] as const)
  for (const language of ['en', 'ja'] as const) {
    const shoot = async (page: Page, name: string) => {
      await settled(page);
      await page.screenshot({ path: `${folder}${name}-${language}-${theme}.png` });
      taken += 1;
    };
    const empty = await serveFixture(createWorld('first'), rendererDir);
    const locale = language === 'ja' ? 'ja-JP' : 'en-GB';
    if (!wanted || 'first-start'.includes(wanted)) {
      empty.world.session.language = language;
      const { page } = await openPage(browser, empty.url, { theme, locale });
      await page.waitForSelector(testId('try-demo'));
      await shoot(page, 'first-start');
      await page.context().close();
    }
    await empty.close();
    for (const { name, area, prepare } of shots.filter((shot) => !wanted || shot.name.includes(wanted))) {
      const world = createWorld('shift');
      world.session.language = language;
      const server = await serveFixture(world, rendererDir);
      const { page } = await openPage(browser, server.url, { theme, locale });
      await page.waitForSelector(testId('app-shell'));
      await signIn(page, 'SV-02', 'supervisor');
      await go(page, area);
      await prepare?.(page);
      await shoot(page, name);
      await page.context().close();
      await server.close();
    }
  }
await browser.close();
process.stdout.write(`${taken} pictures in test/e2e/screens/\n`);
