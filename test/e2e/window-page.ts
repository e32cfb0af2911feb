import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { buildRenderer, launchBrowser, openPage, testId } from './browser.ts';
import { serveFixture, type FixtureServer } from './fixtures/server.ts';
import type { World } from './fixtures/world.ts';

/* What tests of the window alone have in common: a real Chromium, the built window, made-up data behind the real contract. */

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export interface TestWindow {
  readonly browser: Browser;
  /** The last one that was served. */
  readonly server: FixtureServer;
  /** Until the end of the test. */
  serve(world: World): Promise<FixtureServer>;
  /** A page of the last one that was served, once there is something to see. */
  open(options?: Parameters<typeof openPage>[2]): ReturnType<typeof openPage>;
}

/** Builds and starts once for the tests of a file; closes pages and servers after each. */
export function useWindow(): TestWindow {
  let browser: Browser;
  let rendererDir: string;
  let servers: FixtureServer[] = [];
  beforeAll(async () => {
    [rendererDir, browser] = await Promise.all([buildRenderer(), launchBrowser()]);
  });
  afterAll(async () => {
    await browser?.close();
  });
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
    for (const server of servers) await server.close();
    servers = [];
  });
  return {
    get browser() {
      return browser;
    },
    get server() {
      return servers.at(-1)!;
    },
    async serve(world) {
      const server = await serveFixture(world, rendererDir);
      servers.push(server);
      return server;
    },
    async open(options) {
      const opened = await openPage(browser, servers.at(-1)!.url, options);
      await opened.page.waitForSelector(testId('app-shell'));
      return opened;
    },
  };
}

/** axe's serious and critical findings as "rule: where". */
export async function findings(page: Page): Promise<string[]> {
  // Run by the test's own hand: the page's policy lets no foreign script in.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { axe } = window as unknown as {
      axe: {
        run(options: { resultTypes: string[] }): Promise<{
          violations: { id: string; impact: string; nodes: { target: string[]; failureSummary?: string }[] }[];
        }>;
      };
    };
    const { violations } = await axe.run({ resultTypes: ['violations'] });
    return violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      at: nodes.map((n) => `${n.target.join(' ')} ${n.failureSummary ?? ''}`),
    }));
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, at }) => `${id}: ${at.slice(0, 3).join(' | ')}`);
}

/** Visible things to press that are smaller than 44 x 44 CSS pixels. */
export const smallTargets = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    [
      ...document.querySelectorAll<HTMLElement>(
        'button, a[href], input, select, textarea, [role=grid] tbody tr[tabindex]',
      ),
    ]
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ element, box }) => box.width > 0 && element.checkVisibility() && !element.classList.contains('skip'))
      .filter(({ box }) => box.width < 43.5 || box.height < 43.5)
      .map(
        ({ element, box }) => `${element.outerHTML.slice(0, 80)} ${Math.round(box.width)}x${Math.round(box.height)}`,
      ),
  );
