import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { plannedDefect, renderPlanned, type SimulatedConfig } from '../../main/capture/simulated/camera.ts';
import { defectClassesOf } from '../../main/capture/simulated/render.ts';
import { cameraConfigSchema } from '../../main/contract/domain.ts';
import { serve, type Serving } from '../../main/host/serve.ts';
import { decodeImage } from '../../main/vision/decode.ts';
import { appears, buildRenderer, launchBrowser, openPage, tabTo, testId } from './browser.ts';

/*
 * The program as a newcomer has it: a real browser, the real supervisor, core, line and trainer, the shipped backbone, the simulated
 * line. For whatever goes round the loop with it: tests and the pictures of README.md. All of it by keyboard alone.
 */

const MINUTE = 60_000;
/** Parts drawn again in search of one: more than a line of four a second has shown by then. */
const MOST_DRAWN = 1500;

export interface Program extends AsyncDisposable {
  readonly home: string;
  readonly serving: Serving;
  /** A window in a profile of its own. */
  open(options?: Parameters<typeof openPage>[2]): ReturnType<typeof openPage>;
}

/** On an empty data folder. */
export async function startProgram(): Promise<Program> {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-loop-'));
  const [rendererDir, browser] = await Promise.all([buildRenderer(), launchBrowser()]);
  const serving = await serve({ home, port: 0, demo: false, stderrLevel: null, rendererDir });
  return {
    home,
    serving,
    async open(options) {
      const opened = await openPage(browser, serving.url, options);
      opened.page.setDefaultTimeout(MINUTE);
      return opened;
    },
    async [Symbol.asyncDispose]() {
      await browser.close();
      await serving.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Goes to a button by Tab and presses it. */
export async function press(page: Page, selector: string): Promise<void> {
  await page.waitForSelector(selector);
  await tabTo(page, selector);
  await page.keyboard.press('Enter');
}

export async function goByKeys(page: Page, area: string): Promise<void> {
  await press(page, testId(`area-${area}`));
  await page.waitForSelector(`[data-screen="${area}"]`);
}

/** From the first page to a line with an active model. */
export async function tryDemo(page: Page): Promise<void> {
  await press(page, testId('try-demo'));
  await page.waitForSelector(testId('job'));
  await page.waitForSelector(testId('app-shell'), { timeout: 5 * MINUTE });
  await page.waitForSelector(`${testId('active-model')}[data-model^="m-"]`);
}

/** As one of the demo's own accounts; whoever was signed in is not any more. */
export async function signInAs(page: Page, role: 'operator' | 'technician' | 'supervisor'): Promise<void> {
  if (await page.isVisible(testId('user-menu'))) {
    await press(page, testId('user-menu'));
    await press(page, testId('sign-out'));
  }
  await press(page, testId('open-sign-in'));
  await press(page, testId(`demo-account-${role}`));
  await page.waitForSelector(testId('user-menu'));
}

/** What the simulated line is set to, so that nobody has to wait for the new defect; everything else is the demo's default. */
export type LineChanges = Pick<SimulatedConfig, 'newDefectAfterS' | 'partsPerMinute' | 'defectShare'>;

/** Under Settings, by whoever may. @returns the whole configuration */
export async function setLine(page: Page, changes: LineChanges): Promise<SimulatedConfig> {
  await goByKeys(page, 'settings');
  const fields = {
    'New defect after, s': changes.newDefectAfterS,
    'Parts per minute': changes.partsPerMinute,
    'Share of defects, %': 100 * changes.defectShare,
  };
  for (const [label, value] of Object.entries(fields)) await page.fill(`text=${label} >> .. >> input`, String(value));
  await press(page, testId('save-station'));
  await page.waitForSelector('text=Saved.');
  const config = cameraConfigSchema.parse({ kind: 'simulated', ...changes });
  if (config.kind !== 'simulated') throw new Error('parsed as another camera');
  return config;
}

/** Starts a job and waits until it is over, however soon that is. @throws what a notice tells of a failure */
export async function doJob(page: Page, start: () => Promise<unknown>, timeout: number): Promise<void> {
  const begun = await appears(page, testId('job'));
  await start();
  await begun();
  await page.waitForSelector(testId('job'), { state: 'detached', timeout });
  const [problem] = await page.locator(testId('notice-error')).allTextContents();
  if (problem !== undefined) throw new Error(`a job failed: ${problem}`);
}

/** Shows one of these candidates after the other until one may be submitted. @returns why those before it may not; null: one may */
async function showOffered(page: Page, rows: string): Promise<string[] | null> {
  await page.waitForSelector(rows);
  const ids = await page.locator(rows).evaluateAll((all) => all.map((row) => row.getAttribute('data-candidate')));
  const reasons: string[] = [];
  for (const id of ids) {
    await press(page, `[data-candidate="${id}"]`);
    const submit = page.locator(testId('submit-candidate'));
    if ((await submit.getAttribute('aria-disabled')) === 'false') return null;
    reasons.push((await submit.getAttribute('title')) ?? '');
  }
  return reasons;
}

/**
 * Under Learn: the first of the other candidates that may be submitted. The button says whether one may: not those that a busy PC has not shown to be faster. Where none may, the uncompressed model inspects, and
 * another compression makes the next one.
 */
export async function submitAnother(page: Page, than: readonly (string | null)[]): Promise<void> {
  const others = than.reduce<string>((rows, id) => `${rows}:not([data-candidate="${id}"])`, testId('candidate-row'));
  if ((await showOffered(page, others)) !== null) {
    await doJob(page, () => press(page, testId('compress')), 5 * MINUTE);
    const reasons = await showOffered(page, others);
    if (reasons !== null) throw new Error(`no other candidate may be submitted: ${reasons.join(' ')}`);
  }
  await press(page, testId('submit-candidate'));
  await page.waitForSelector(testId('to-approve'));
}

/** What is submitted: every changed verdict seen, a waiver where one is asked for, signed by the demo's supervisor, and activated. */
export async function approveAndActivate(page: Page): Promise<void> {
  await page.waitForSelector(testId('approve-sign'));
  while (await page.isVisible(`${testId('changed')}.unseen`)) {
    await press(page, testId('next-unseen'));
    await page.waitForSelector(testId('viewer-next'));
    while (await page.isVisible(testId('viewer-next'))) await page.keyboard.press('ArrowRight');
  }
  if (await page.isVisible(testId('waiver'))) await page.fill(testId('waiver'), 'A demonstration with few parts.');
  await page.fill(testId('approve-password'), 'mekiki-demo');
  await page.keyboard.press('Enter');
  await page.waitForSelector(testId('approved'));
  await press(page, testId('activate'));
  await page.waitForSelector(testId('approved'), { state: 'detached' });
}

export const untilQueued = (page: Page, parts: number): Promise<unknown> =>
  page.waitForFunction(
    ([selector, least]) => Number(document.querySelector(selector)?.textContent ?? 0) >= least,
    [`${testId('area-label')} .n`, parts] as const,
    { timeout: 4 * MINUTE },
  );

/**
 * A technician with good eyes: knows what a part of a simulated line really is, by drawing the line's parts again until one has the
 * same pixels.
 */
export function createExpert(home: string, line: SimulatedConfig) {
  const drawn = new Map<string, string>();
  let drawnUpTo = 0;
  const pixelsOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
  const nameOf = (className: string): string =>
    defectClassesOf(line.surface).find((each) => each.className === className)?.names.en ?? 'OK';

  /** @returns the class's name, or null for a part that this line did not make */
  const nameOfPart = async (sha: string): Promise<string | null> => {
    const file = join(home, 'images', sha.slice(0, 2), `${sha}.png`);
    const { image } = await decodeImage(await readFile(file), { name: sha, maxPixels: 1e8 });
    const wanted = pixelsOf(image.data);
    for (; !drawn.has(wanted) && drawnUpTo < MOST_DRAWN; drawnUpTo += 1)
      drawn.set(pixelsOf(renderPlanned(line, drawnUpTo).image.data), plannedDefect(line, drawnUpTo) ?? 'ok');
    const className = drawn.get(wanted);
    return className === undefined ? null : nameOf(className);
  };

  return {
    /**
     * Labels the parts of the queue one after the other: each by its true class, a new one for what has no class yet; a part of no
     * known truth is skipped.
     * @returns how many of each class
     */
    async label(page: Page, parts: number): Promise<ReadonlyMap<string, number>> {
      const counts = new Map<string, number>();
      const current = page.locator(`${testId('queue-row')}[aria-current="true"]`);
      for (let i = 0; i < parts; i += 1) {
        const [part, sha, reason] = await Promise.all(
          ['data-part', 'data-sha', 'data-reason'].map((attribute) => current.getAttribute(attribute)),
        );
        // A doubted label is that of a part that the line did not show.
        const name = !sha || reason === 'suspect' ? null : await nameOfPart(sha);
        const known = page.locator('[data-class]', { hasText: name ?? 'no such class' });
        if (name === null) await page.keyboard.press('s');
        else if ((await known.count()) > 0) await page.keyboard.press(await known.locator('.key').innerText());
        else {
          await page.keyboard.press('n');
          await page.fill(testId('new-class-en'), name);
          await page.fill(testId('new-class-ja'), 'ロールマーク');
          await page.keyboard.press('Enter');
          await known.waitFor();
        }
        if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
        await page.waitForFunction(
          ([selector, before]) => document.querySelector(selector)?.getAttribute('data-part') !== before,
          [`${testId('queue-row')}[aria-current="true"]`, part ?? null] as const,
        );
      }
      return counts;
    },
  };
}
