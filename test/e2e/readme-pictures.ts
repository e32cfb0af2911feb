import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { serve } from '../../main/host/serve.ts';
import { buildRenderer, launchBrowser, openPage, testId } from './browser.ts';

/*
 * `npm run screens -- readme`: the pictures of README.md, taken from the program itself: a demo goes once round the loop, with the real
 * core, line and trainer. Every part on them is rendered by the simulated line. About five minutes.
 */

const folder = fileURLToPath(new URL('../../renderer/pictures/', import.meta.url));
const MINUTE = 60_000;
/** Wide enough to read on a page of 880 px with a dense screen. */
const WIDTH = 1440;

export async function takeReadmePictures(): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-readme-'));
  const [built, browser] = await Promise.all([buildRenderer(), launchBrowser()]);
  const serving = await serve({ home, port: 0, demo: true, stderrLevel: null, rendererDir: built.dir });
  const { page } = await openPage(browser, serving.url);
  page.setDefaultTimeout(5 * MINUTE);
  const go = async (area: string) => {
    await page.click(testId(`area-${area}`));
    await page.waitForSelector(`[data-screen="${area}"]`);
  };
  const signInAs = async (role: 'technician' | 'supervisor') => {
    if (await page.isVisible(testId('user-menu'))) {
      await page.click(testId('user-menu'));
      await page.click(testId('sign-out'));
    }
    await page.click(testId('open-sign-in'));
    await page.click(testId(`demo-account-${role}`));
    await page.waitForSelector(testId('user-menu'));
  };
  const jobIsDone = async () => {
    await page.waitForSelector(testId('job'));
    await page.waitForSelector(testId('job'), { state: 'detached' });
  };
  const shoot = async (name: string) => {
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 400)));
    await sharp(await page.screenshot())
      .resize({ width: WIDTH })
      .webp({ quality: 82 })
      .toFile(join(folder, `${name}.webp`));
    process.stdout.write(`${name}\n`);
  };

  mkdirSync(folder, { recursive: true });
  await page.click(testId('try-demo'));
  await page.waitForSelector(`${testId('app-shell')} [data-screen=live]`);
  await page.waitForSelector(`${testId('active-model')}:not([data-model=""])`);
  const start = page.locator(testId('start-line'));
  if (await start.isVisible()) await start.click();
  await page.waitForFunction(
    () => Number(document.querySelector('[data-testid=count-parts]')?.textContent?.replaceAll(',', '')) > 60,
  );
  await page.waitForSelector('[data-verdict="ng"]');
  await page.click(testId('hold'));
  await page.keyboard.press('h');
  await page.waitForSelector('canvas');
  await shoot('live');
  await page.click(testId('hold'));

  // The defect that nobody has labelled yet: enough of it to make a class.
  await signInAs('technician');
  await go('label');
  await page.waitForFunction(
    () => Number(document.querySelector('[data-testid=queue-total]')?.getAttribute('data-total')) >= 8,
  );
  await page.keyboard.press('c');
  await page.keyboard.press('r');
  await page.waitForSelector(`${testId('reference-pane')} .view img`);
  await shoot('label');
  await page.keyboard.press('r');
  await page.keyboard.press('c');
  if (await page.isVisible(testId('open-group'))) await page.keyboard.press('g');
  await page.keyboard.press('n');
  await page.fill(testId('new-class-en'), 'Roll mark');
  await page.fill(testId('new-class-ja'), 'ロールマーク');
  await page.keyboard.press('Enter');
  await page.waitForSelector(testId('new-class-en'), { state: 'detached' });

  await go('learn');
  await page.click(`${testId('update-knowledge')}[aria-disabled="false"]`);
  await jobIsDone();
  await page.click(testId('budget-quick'));
  await page.click(testId('compress'));
  await jobIsDone();
  await page.waitForSelector(`${testId('submit-candidate')}[aria-disabled="false"]`);
  await shoot('learn');
  await page.click(testId('submit-candidate'));
  await signInAs('supervisor');
  await go('approve');
  await page.waitForSelector(testId('approve-sign'));
  await shoot('approve');

  await browser.close();
  await serving.close();
  await built.remove();
  await rm(home, { recursive: true, force: true });
}
