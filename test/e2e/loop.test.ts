import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect } from 'vitest';
import { story } from '../helpers/story.ts';
import { appears, tabTo, testId } from './browser.ts';
import {
  approveAndActivate,
  createExpert,
  doJob,
  goByKeys,
  press,
  setLine,
  signInAs,
  startProgram,
  submitAnother,
  tryDemo,
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

interface World extends AsyncDisposable {
  readonly program: Program;
  readonly page: Page;
  readonly problems: string[];
  /** What earlier steps leave to later ones. */
  expert: ReturnType<typeof createExpert> | null;
  /** Models: the one of the demo, and the one that was learnt after it. */
  first: string | null;
  next: string | null;
  /** The window that is used by fingers. */
  other: Page | null;
}
const begin = async (): Promise<World> => {
  const program = await startProgram();
  const { page, problems } = await program.open();
  const left = { expert: null, first: null, next: null, other: null };
  return { program, page, problems, ...left, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
};

const activeModel = ({ page }: World) => page.getAttribute(testId('active-model'), 'data-model');
const queueTotal = async (window: Page) => Number(await window.getAttribute(testId('queue-total'), 'data-total'));

describe('the loop with the real core', () => {
  const tell = story(begin);
  const folder = process.env['MEKIKI_SCREENSHOTS'];
  const step = (name: string, goOn: (world: World) => Promise<void>) =>
    tell(name, async (world) => {
      try {
        await goOn(world);
      } finally {
        if (folder) await world.page.screenshot({ path: join(folder, `loop ${name}.png`) });
      }
    });

  step('sets up the simulated line from the first page', async (world) => {
    await tryDemo(world.page);
    await world.page.waitForSelector(testId('demo-tag'));
    world.first = await activeModel(world);
  });

  step('inspects: verdicts, pictures and counters', async (world) => {
    const { page } = world;
    await signInAs(page, 'supervisor');
    // The new defect shall not keep the test waiting for two minutes.
    world.expert = createExpert(
      world.program.home,
      await setLine(page, { newDefectAfterS: 2, partsPerMinute: 240, defectShare: 0.5 }),
    );
    await goByKeys(page, 'live');
    if (await page.isVisible(testId('start-line'))) await press(page, testId('start-line'));
    await page.waitForSelector('[data-verdict="ok"], [data-verdict="ng"], [data-verdict="unsure"]');
    await expect.poll(() => page.locator(testId('strip-part')).count()).toBe(12);
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

  step('puts the new defect into the queue, where one key names it', async ({ page, expert }) => {
    await goByKeys(page, 'live');
    await untilQueued(page, LABELS);
    await press(page, testId('stop-line'));
    await page.waitForSelector('[data-verdict="stopped"]');
    await signInAs(page, 'technician');
    await goByKeys(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    const counts = await expert!.label(page, LABELS);
    expect(counts.get(NEW_CLASS)).toBeGreaterThanOrEqual(3);
    await page.keyboard.press('z');
    await expect.poll(() => page.getAttribute(testId('queue-total'), 'data-total')).not.toBe('0');
  });

  step('learns, compresses and submits', async ({ page }) => {
    await goByKeys(page, 'learn');
    await page.waitForFunction(
      () => Number(document.querySelector('[data-testid="fresh-labels"]')?.getAttribute('data-fresh')) > 0,
    );
    const before = await page.getAttribute(testId('knowledge'), 'data-knowledge');
    await doJob(page, () => press(page, testId('update-knowledge')), 2 * MINUTES);
    await page.waitForFunction(
      (id) => document.querySelector('[data-testid="knowledge"]')?.getAttribute('data-knowledge') !== id,
      before,
    );
    await press(page, testId('budget-quick'));
    const compress = async () => {
      await press(page, testId('compress'));
      const search = `${testId('job')}[data-step="compress.try"] .left small`;
      const first = await page.textContent(search);
      // Something smaller is found by the time that a second one is tried.
      await expect.poll(() => page.textContent(search), { timeout: 2 * MINUTES }).not.toBe(first);
      await press(page, testId('finish-job'));
    };
    await doJob(page, compress, 5 * MINUTES);
    await page.waitForSelector(`${testId('submit-candidate')}[aria-disabled="false"]`);
    await press(page, testId('submit-candidate'));
    await page.waitForSelector(testId('to-approve'));
  });

  step('approves with a signature, and nothing inspects before that', async ({ page }) => {
    await signInAs(page, 'supervisor');
    await goByKeys(page, 'approve');
    expect(await page.getAttribute(testId('approve-sign'), 'aria-disabled')).toBe('true');
    await approveAndActivate(page);
  });

  step('inspects with the new model, and goes back to the old one', async (world) => {
    const { page, first } = world;
    await goByKeys(page, 'live');
    const next = (world.next = await activeModel(world));
    expect(next).not.toBe(first);
    await press(page, testId('start-line'));
    await page.waitForSelector('[data-verdict="ok"], [data-verdict="ng"]');
    await goByKeys(page, 'models');
    await page.waitForSelector(`${testId('model-pane')}[data-model="${next}"][data-state="active"]`);
    await press(page, testId('rollback'));
    await page.fill(testId('rollback-password'), 'mekiki-demo');
    await press(page, testId('rollback-confirm'));
    await page.waitForSelector(`${testId('model-pane')}[data-model="${first}"][data-state="active"]`);
    await goByKeys(page, 'audit');
    await page.waitForSelector(`${testId('audit-chain')}[data-valid="true"]`);
    expect(world.problems).toEqual([]);
  });

  step('rejects another candidate with a reason, by keyboard alone', async (world) => {
    const { page, first, next } = world;
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
    expect(await activeModel(world)).toBe(first);
  });

  step('shows in one window what fingers do in another one, in Japanese', async (world) => {
    const { page } = world;
    const { page: other } = await world.program.open({ width: 1280, height: 800, touch: true });
    world.other = other;
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
    // By the part: what the line made last may still come in and change the total.
    const part = await other.getAttribute(testId('label-picture'), 'data-part');
    const row = page.locator(`${testId('queue-row')}[data-part="${part}"]`);
    await page.evaluate(
      (selector) => document.querySelector(selector)!.closest('.scroll')!.scrollTo(0, 0),
      testId('queue-row'),
    );
    await expect.poll(() => row.count()).toBe(1);
    await other.tap('.kbtn:not(.new) >> nth=0');
    await expect.poll(() => row.count()).toBe(0);
    const left = await queueTotal(page);
    await tap('undo');
    await expect.poll(() => queueTotal(page)).toBeGreaterThan(left);
    await expect.poll(async () => (await queueTotal(page)) - (await queueTotal(other))).toBe(0);
  });

  step('loses neither label nor part when the core is killed, and both windows come back', async (world) => {
    const { program, page } = world;
    const other = world.other!;
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
    const told = await Promise.all(windows.map((window) => appears(window, testId('connection-banner'))));
    process.kill(pids.get('core')!, 'SIGKILL');
    for (const each of told) await each();
    for (const window of windows) await window.waitForSelector(testId('connection-banner'), { state: 'detached' });
    // Who was signed in is the core's to know, and it is a new one; the line is the old one.
    for (const window of windows) await window.waitForSelector(testId('open-sign-in'));
    expect(processes().get('core')).not.toBe(pids.get('core'));
    const lines = [...pids].filter(([name]) => name.startsWith('line:'));
    expect(lines).toHaveLength(1);
    for (const [name, pid] of lines) expect(processes().get(name)).toBe(pid);
    const parts = async () => Number((await other.textContent(testId('count-parts')))?.replaceAll(/\D/g, ''));
    const shown = await parts();
    await expect.poll(parts).toBeGreaterThan(shown);
    await page.reload();
    await page.waitForSelector(`${testId('fresh-labels')}[data-fresh="${fresh}"]`);
    for (const id of ['open-sign-in', 'demo-account-technician', 'area-label']) await other.tap(testId(id));
    await other.waitForSelector(testId('queue-row'));
  });
});
