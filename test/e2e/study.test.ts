import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { go, openPage, signIn, testId } from './browser.ts';
import { createWorld } from './fixtures/world.ts';
import { findings, smallTargets, useWindow } from './window-page.ts';

/* An acceptance study as two people go through it at the window. */

const window_ = useWindow();

const openStudies = async (page: Page, name: string, password: string) => {
  await signIn(page, name, password);
  await go(page, 'reports');
  await page.click(testId('report-study'));
};
const signOut = async (page: Page) => {
  await page.click(testId('user-menu'));
  await page.click(testId('sign-out'));
};
const partShown = (page: Page) => page.locator(`${testId('study-session')} .frame img`).getAttribute('src');

it('guides two people through blind judging to a result, with a file and a page for the records', async () => {
  await window_.serve(createWorld('shift'));
  const { page, problems } = await openPage(window_.browser, window_.server.url);
  await page.waitForSelector(testId('app-shell'));
  await openStudies(page, 'TE-04', 'technician');
  await page.waitForSelector('text=No study yet');
  expect(await findings(page)).toEqual([]);
  await page.click(testId('new-study'));
  await page.fill(testId('study-name'), 'Autumn');
  // What the form does not allow is told at its field, in the user's language, and asked of nobody.
  for (const parts of ['', '9', '10.5', '301']) {
    await page.fill(testId('study-parts'), parts);
    await page.click(testId('study-create'));
    await page.waitForSelector(`${testId('study-parts')}:invalid:focus`);
  }
  expect(window_.server.calls('studies.create')).toBe(0);
  await page.fill(testId('study-parts'), '50');
  await page.click(testId('study-create'));
  await page.waitForSelector(testId('study-begin'));
  expect(await findings(page)).toEqual([]);
  expect(await page.getAttribute(testId('study-close'), 'aria-disabled')).toBe('true');

  // First person, by keyboard: everything right, one call taken back and given again.
  await page.click(testId('study-begin'));
  await page.waitForSelector(testId('study-session'));
  expect(await findings(page)).toEqual([]);
  expect(await smallTargets(page)).toEqual([]);
  const done = () => page.getAttribute(testId('study-done'), 'data-done');
  // Six good parts come first in the fixture, then twelve with defects.
  const keyOf = (i: number) => (i % 18 < 6 ? '1' : '2');
  for (let i = 0; i < 36; i += 1) {
    const before = await partShown(page);
    await page.keyboard.press(keyOf(i));
    await expect.poll(done).toBe(String(i + 1));
    if (i === 3) {
      await page.keyboard.press('z');
      await expect.poll(done).toBe('3');
      await expect.poll(() => partShown(page)).toBe(before);
      await page.keyboard.press(keyOf(i));
      await expect.poll(done).toBe('4');
    }
  }
  await page.click(testId('study-finish'));
  await page.waitForSelector('text=You have judged everything.');

  // Second person, with fingers in another window: lets one NG part pass in one round, and stops half-way for a while.
  const { page: other } = await openPage(window_.browser, window_.server.url, {
    width: 1280,
    height: 800,
    touch: true,
  });
  await other.waitForSelector(testId('app-shell'));
  await openStudies(other, 'OP-17', 'operator-1');
  await other.tap(testId('study-begin'));
  const doneThere = () => other.getAttribute(testId('study-done'), 'data-done');
  for (let i = 0; i < 36; i += 1) {
    if (i === 20) {
      await other.tap(testId('study-leave'));
      await other.tap(testId('study-begin'));
    }
    // The same person judges one part at the first window: what is due here is told again.
    if (i === 25) {
      await signOut(page);
      await signIn(page, 'OP-17', 'operator-1');
      await page.click(testId('study-begin'));
      await page.click(testId('study-ng'));
      await expect.poll(done).toBe('26');
    }
    await other.tap(testId(keyOf(i) === '1' || i === 10 ? 'study-ok' : 'study-ng'));
    await expect.poll(doneThere).toBe(String(i + 1));
  }

  // The first person comes back: the part of the second one is not theirs, and the list is up to date.
  await signOut(page);
  await page.waitForSelector(testId('study-session'), { state: 'detached' });
  await signIn(page, 'TE-04', 'technician');
  await page.waitForSelector('text=You have judged everything.');
  await expect.poll(() => page.locator('.rater', { hasText: 'OP-17' }).innerText()).toMatch(/36\D+36/);
  // What is asked about one study is not answered for another.
  const choose = (name: string) => page.click(`${testId('study')}:has-text("${name}")`);
  await page.click(testId('add-study'));
  await page.fill(testId('study-name'), 'Winter');
  await page.click(testId('study-create'));
  await page.waitForSelector('h2:has-text("Winter")');
  await choose('Autumn');
  await page.click(testId('study-close'));
  await page.waitForSelector(testId('study-close-confirm'));
  await choose('Winter');
  await page.waitForSelector('h2:has-text("Winter")');
  expect(await page.locator(testId('study-close-confirm')).count()).toBe(0);
  await choose('Autumn');
  await page.click(testId('study-close-confirm'));
  await page.waitForSelector(testId('study-report'));
  // The second person takes nothing back any more.
  await other.tap(`${testId('study-session')} >> text=Undo`);
  await other.waitForSelector(testId('study-report'));
  expect(await page.textContent(testId('study-all-right'))).toContain('17 / 18');
  const grade = (name: string) => page.getAttribute(`[data-rater="${name}"]`, 'data-grade');
  expect(await grade('TE-04')).toBe('good');
  // One escape in 24 calls of NG parts: 4 %.
  expect(await grade('OP-17')).toBe('marginal');
  expect(await findings(page)).toEqual([]);
  if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/study.png` });
  const download = page.waitForEvent('download');
  await page.click(testId('study-csv'));
  const csv = await readFile(await (await download).path(), 'utf8');
  expect(csv).toContain('OP-17,2,Marginal,17,18');
  for (const name of ['Station', 'Period', 'Models', 'Time zone', 'Made']) expect(csv).toContain(`\n${name},`);
  expect(csv).not.toContain('DEMO');
  const pdf = await page.pdf();
  expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
  expect(problems).toEqual([]);
});

it('writes a kappa below 0 into the file as a number', async () => {
  await window_.serve(createWorld('shift'));
  const { page } = await window_.open();
  await openStudies(page, 'TE-04', 'technician');
  await page.click(testId('new-study'));
  await page.fill(testId('study-rounds'), '1');
  await page.click(testId('study-create'));
  await page.click(testId('study-begin'));
  await page.waitForSelector(testId('study-session'));
  // Everything wrong: of 18 parts 6 are good, so chance alone agrees on 4 / 9, and kappa is -4 / 5.
  for (let i = 0; i < 18; i += 1) {
    await page.keyboard.press(i < 6 ? '2' : '1');
    await expect.poll(() => page.getAttribute(testId('study-done'), 'data-done')).toBe(String(i + 1));
  }
  await page.click(testId('study-finish'));
  await page.click(testId('study-close'));
  await page.click(testId('study-close-confirm'));
  await page.waitForSelector(testId('study-report'));
  const download = page.waitForEvent('download');
  await page.click(testId('study-csv'));
  const csv = await readFile(await (await download).path(), 'utf8');
  const row = csv.split('\r\n').find((line) => line.startsWith('TE-04,'));
  expect(row?.split(',').slice(-3)).toEqual([
    '-0.8',
    expect.stringMatching(/^-[\d.]+$/),
    expect.stringMatching(/^-[\d.]+$/),
  ]);
});

it('tells whoever waits for the others how far they are', async () => {
  await window_.serve(createWorld('shift'));
  const { page } = await window_.open();
  await page.clock.install();
  await openStudies(page, 'TE-04', 'technician');
  await page.click(testId('new-study'));
  await page.click(testId('study-create'));
  await page.waitForSelector(testId('study-begin'));
  const { page: other } = await window_.open();
  await openStudies(other, 'OP-17', 'operator-1');
  await other.click(testId('study-begin'));
  await other.waitForSelector(testId('study-session'));
  await other.keyboard.press('1');
  await expect.poll(() => other.getAttribute(testId('study-done'), 'data-done')).toBe('1');
  expect(await page.locator('.rater').count()).toBe(0);
  await page.clock.fastForward(61_000);
  await page.waitForSelector('.rater:has-text("OP-17")');
});

it('tells pairs of people apart whose names run into each other', async () => {
  const world = createWorld('shift');
  const people = ['Ana', 'Ana Lima', 'Lima Cruz', 'Cruz'];
  for (const name of people)
    world.users.push({ id: `u-${name}`, name, role: 'technician', disabled: false, password: 'technician' });
  await window_.serve(world);
  const { page, problems } = await window_.open();
  for (const [i, name] of people.entries()) {
    await openStudies(page, name, 'technician');
    if (i === 0) {
      await page.click(testId('new-study'));
      await page.fill(testId('study-rounds'), '1');
      await page.click(testId('study-create'));
    }
    await page.click(testId('study-begin'));
    await page.waitForSelector(testId('study-session'));
    for (let part = 0; part < 18; part += 1) {
      await page.keyboard.press(part < 6 ? '1' : '2');
      await expect.poll(() => page.getAttribute(testId('study-done'), 'data-done')).toBe(String(part + 1));
    }
    await page.click(testId('study-finish'));
    if (name !== people.at(-1)) await signOut(page);
  }
  await page.click(testId('study-close'));
  await page.click(testId('study-close-confirm'));
  await page.waitForSelector(testId('study-report'));
  const pairs = await page
    .locator(`${testId('study-report')} table`)
    .nth(1)
    .locator('tbody tr')
    .allInnerTexts();
  expect(pairs.map((text) => text.split('\t')[0])).toEqual([
    'Ana – Ana Lima',
    'Ana – Lima Cruz',
    'Ana – Cruz',
    'Ana Lima – Lima Cruz',
    'Ana Lima – Cruz',
    'Lima Cruz – Cruz',
  ]);
  expect(problems).toEqual([]);
});
