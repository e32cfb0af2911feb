import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { go, settled, testId } from './browser.ts';
import { createExpert, doJob, setLine, signInAs, startProgram, tryDemo, untilQueued } from './demo.ts';

/*
 * `npm run screens -- readme`: the pictures of README.md, taken from the program itself: a demo goes once round the loop, with the real
 * core, line and trainer. Every part on them is rendered by the simulated line. About five minutes.
 */

const folder = fileURLToPath(new URL('../../renderer/pictures/', import.meta.url));
const MINUTE = 60_000;
/** Enough to know the defect that nobody has labelled yet. */
const LABELS = 30;

export async function takeReadmePictures(): Promise<void> {
  await using program = await startProgram();
  const { page } = await program.open();
  page.setDefaultTimeout(3 * MINUTE);
  const shoot = async (name: string) => {
    await settled(page);
    // What was pressed last wears the ring of the focus: the pictures are not about it.
    await page.evaluate(() => document.activeElement instanceof HTMLElement && document.activeElement.blur());
    await sharp(await page.screenshot())
      .webp({ quality: 82 })
      .toFile(join(folder, `${name}.webp`));
    process.stdout.write(`${name}\n`);
  };
  mkdirSync(folder, { recursive: true });
  await tryDemo(page);
  await signInAs(page, 'supervisor');
  const start = page.locator(testId('start-line'));
  if (await start.isVisible()) await start.click();
  await page.waitForFunction(
    (selector) => Number(document.querySelector(selector)?.textContent?.replaceAll(',', '')) > 40,
    testId('count-parts'),
  );
  // The strip moves on while it is aimed at.
  do {
    await page.keyboard.press('Escape');
    await page.click(`${testId('strip-part')}[data-part-verdict="ng"]`);
  } while (!(await page.isVisible('[data-verdict="ng"]')));
  await page.keyboard.press('h');
  await page.waitForSelector('.cam canvas');
  await shoot('live');
  await page.keyboard.press('h');
  await page.keyboard.press('Escape');

  // Faster than a newcomer has it, and the new defect comes at once.
  await page.click(testId('stop-line'));
  const line = await setLine(page, { newDefectAfterS: 2, partsPerMinute: 240, defectShare: 0.5 });
  await go(page, 'live');
  await start.click();
  await untilQueued(page, LABELS);
  await page.click(testId('stop-line'));

  await signInAs(page, 'technician');
  await go(page, 'label');
  const novel = page.locator(`${testId('queue-row')}[data-reason="novel"]`).first();
  await page.waitForSelector(testId('queue-row'));
  if (await novel.isVisible()) await novel.click();
  await page.keyboard.press('r');
  await page.waitForSelector(`${testId('reference-pane')} .view img`);
  await shoot('label');
  await page.keyboard.press('r');
  await createExpert(program.home, line).label(page, LABELS);

  await go(page, 'learn');
  await doJob(page, () => page.click(`${testId('update-knowledge')}[aria-disabled="false"]`), 3 * MINUTE);
  await page.click(testId('budget-quick'));
  await doJob(page, () => page.click(testId('compress')), 6 * MINUTE);
  await page.waitForSelector(`${testId('submit-candidate')}[aria-disabled="false"]`);
  await shoot('learn');
  await page.click(testId('submit-candidate'));

  await signInAs(page, 'supervisor');
  await go(page, 'approve');
  await page.waitForSelector(testId('approve-sign'));
  await shoot('approve');
}
