import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tabTo, testId } from './browser.ts';
import {
  approveAndActivate,
  createExpert,
  goByKeys,
  press,
  setLine,
  signInAs,
  startProgram,
  submitAnother,
  tryDemo,
  untilJobIsDone,
  untilQueued,
  type Program,
} from './demo.ts';

/*
 * The whole loop by hand, as a newcomer goes it, by keyboard alone. Nothing is faked; only the wait for the new defect is made shorter, in
 * Settings. The second window at the end is used by fingers.
 */

const MINUTES = 60_000;
/** Parts that are labelled, and what the late defect of the default surface is called. */
const LABELS = 20;
const NEW_CLASS = 'Roll mark';
/** A window takes a change of the queue over at most every 1.5 s. */
const LONG = { timeout: 30_000 };

let program: Program;
let page: Page;
let problems: string[];
let expert: ReturnType<typeof createExpert>;

beforeAll(async () => {
  program = await startProgram();
  ({ page, problems } = await program.open());
});
afterAll(() => program?.close());

const activeModel = () => page.getAttribute(testId('active-model'), 'data-model');

describe('the loop with the real core', { timeout: 10 * MINUTES }, () => {
  // Each step starts where the one before ended: after a failure the rest would only wait.
  let broken = false;
  beforeEach((context) => {
    if (broken) context.skip('an earlier step failed');
  });
  afterEach(async ({ task }) => {
    broken ||= task.result?.state === 'fail';
    const folder = process.env['MEKIKI_SCREENSHOTS'];
    if (folder) await page.screenshot({ path: join(folder, `loop ${task.name}.png`) });
  });

  let first: string | null = null;
  let next: string | null = null;
  let other: Page;

  it('sets up the simulated line from the first page', async () => {
    await tryDemo(page);
    await page.waitForSelector(testId('demo-tag'));
    first = await activeModel();
  });

  it('inspects: verdicts, pictures and counters', async () => {
    await signInAs(page, 'supervisor');
    // The new defect shall not keep the test waiting for two minutes.
    expert = createExpert(
      program.home,
      await setLine(page, { newDefectAfterS: 2, partsPerMinute: 240, defectShare: 0.5 }),
    );
    await goByKeys(page, 'live');
    if (await page.isVisible(testId('start-line'))) await press(page, testId('start-line'));
    await page.waitForSelector('[data-verdict="ok"], [data-verdict="ng"], [data-verdict="unsure"]');
    await expect.poll(() => page.locator(testId('strip-part')).count(), { timeout: 60_000 }).toBe(12);
    await page.waitForFunction(() => {
      const image = document.querySelector<HTMLImageElement>('.cam img');
      return image !== null && image.complete && image.naturalWidth > 0;
    });
    await press(page, testId('hold'));
    await page.keyboard.press('h');
    await page.waitForSelector('.cam canvas');
    await page.keyboard.press('h');
    await page.keyboard.press('Escape');
  });

  it('puts the new defect into the queue, where one key names it', async () => {
    await goByKeys(page, 'live');
    await untilQueued(page, LABELS);
    await press(page, testId('stop-line'));
    await page.waitForSelector('[data-verdict="stopped"]');
    await signInAs(page, 'technician');
    await goByKeys(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    const counts = await expert.label(page, LABELS);
    expect(counts.get(NEW_CLASS)).toBeGreaterThanOrEqual(3);
    await page.keyboard.press('z');
    await expect.poll(() => page.getAttribute(testId('queue-total'), 'data-total')).not.toBe('0');
  });

  it('learns, compresses and submits', async () => {
    await goByKeys(page, 'learn');
    await page.waitForFunction(
      () => Number(document.querySelector('[data-testid="fresh-labels"]')?.getAttribute('data-fresh')) > 0,
    );
    const before = await page.getAttribute(testId('knowledge'), 'data-knowledge');
    await press(page, testId('update-knowledge'));
    await untilJobIsDone(page, 2 * MINUTES);
    await page.waitForFunction(
      (id) => document.querySelector('[data-testid="knowledge"]')?.getAttribute('data-knowledge') !== id,
      before,
    );
    await press(page, testId('budget-quick'));
    await press(page, testId('compress'));
    await untilJobIsDone(page, 5 * MINUTES);
    await page.waitForSelector(`${testId('submit-candidate')}[aria-disabled="false"]`);
    await press(page, testId('submit-candidate'));
    await page.waitForSelector(testId('to-approve'));
  });

  it('approves with a signature, and nothing inspects before that', async () => {
    await signInAs(page, 'supervisor');
    await goByKeys(page, 'approve');
    expect(await page.getAttribute(testId('approve-sign'), 'aria-disabled')).toBe('true');
    await approveAndActivate(page);
  });

  it('inspects with the new model, and goes back to the old one', async () => {
    await goByKeys(page, 'live');
    next = await activeModel();
    expect(next).not.toBe(first);
    await press(page, testId('start-line'));
    await page.waitForSelector('[data-verdict="ok"], [data-verdict="ng"]');
    await goByKeys(page, 'models');
    await page.waitForSelector(`${testId('model-pane')}[data-model="${next}"][data-state="active"]`);
    await press(page, testId('rollback'));
    await press(page, testId('rollback-confirm'));
    await page.waitForSelector(`${testId('model-pane')}[data-model="${first}"][data-state="active"]`);
    await goByKeys(page, 'audit');
    await page.waitForSelector(`${testId('audit-chain')}[data-valid="true"]`);
    expect(problems).toEqual([]);
  });

  it('rejects another candidate with a reason, by keyboard alone', async () => {
    await press(page, testId('area-learn'));
    await submitAnother(page, [first, next]);
    await press(page, testId('to-approve'));
    await press(page, testId('reject'));
    await tabTo(page, testId('reject-reason'));
    await page.keyboard.type('Misses shallow roll marks.');
    await press(page, testId('reject-confirm'));
    await page.waitForSelector('text=Nothing waits for a decision');
    await press(page, testId('area-audit'));
    await page.waitForSelector('tr >> text=candidates.reject');
    await press(page, testId('area-live'));
    expect(await activeModel()).toBe(first);
  });

  const queueTotal = async (window: Page) => Number(await window.getAttribute(testId('queue-total'), 'data-total'));

  it('shows in one window what fingers do in another one, in Japanese', async () => {
    ({ page: other } = await program.open({ width: 1280, height: 800, touch: true }));
    const tap = (id: string) => other.tap(testId(id));
    await tap('language-ja');
    await page.waitForSelector('html[lang="ja"]');
    await tap('stop-line');
    await page.waitForSelector('[data-verdict="stopped"] >> text=停止');
    await tap('open-sign-in');
    await tap('demo-account-technician');
    await tap('area-label');
    await other.waitForSelector(testId('queue-row'));
    await goByKeys(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    const before = await queueTotal(other);
    await other.tap('.kbtn:not(.new) >> nth=0');
    await expect.poll(() => queueTotal(page), LONG).toBe(before - 1);
    await tap('undo');
    await expect.poll(() => queueTotal(page), LONG).toBe(before);
  });

  it('loses neither label nor part when the core is killed, and both windows come back', async () => {
    const windows = [page, other];
    await other.tap('.kbtn:not(.new) >> nth=0');
    await goByKeys(page, 'learn');
    const fresh = await page
      .waitForSelector(`${testId('fresh-labels')}:not([data-fresh="0"])`)
      .then((element) => element.getAttribute('data-fresh'));
    await other.tap(testId('area-live'));
    await other.tap(testId('start-line'));
    await other.waitForSelector('[data-verdict="ok"], [data-verdict="ng"], [data-verdict="unsure"]');
    const processes = () => new Map(program.serving.supervisor.processes().map(({ name, pid }) => [name, pid]));
    const pids = processes();
    const told = Promise.all(windows.map((window) => window.waitForSelector(testId('connection-banner'))));
    process.kill(pids.get('core')!, 'SIGKILL');
    await told;
    for (const window of windows)
      await window.waitForSelector(testId('connection-banner'), { state: 'detached', timeout: MINUTES });
    // Who was signed in is the core's to know, and it is a new one; the line is the old one.
    for (const window of windows) await window.waitForSelector(testId('open-sign-in'));
    expect(processes().get('core')).not.toBe(pids.get('core'));
    const lines = [...pids].filter(([name]) => name.startsWith('line:'));
    expect(lines).toHaveLength(1);
    for (const [name, pid] of lines) expect(processes().get(name)).toBe(pid);
    const parts = async () => Number((await other.textContent(testId('count-parts')))?.replaceAll(/\D/g, ''));
    const shown = await parts();
    await expect.poll(parts, LONG).toBeGreaterThan(shown);
    await page.reload();
    await page.waitForSelector(`${testId('fresh-labels')}[data-fresh="${fresh}"]`);
    for (const id of ['open-sign-in', 'demo-account-technician', 'area-label']) await other.tap(testId(id));
    await other.waitForSelector(testId('queue-row'));
  });
});
