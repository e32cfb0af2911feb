import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { go, openPage, settled, signIn, testId } from './browser.ts';
import { createWorld, type World } from './fixtures/world.ts';
import { smallTargets, useWindow } from './window-page.ts';

/* Fingers alone, and two people at two windows. Keyboard alone is in window-areas.test.ts. */

const window_ = useWindow();
const openTouch = async (): Promise<Page> => {
  const { page } = await openPage(window_.browser, window_.server.url, {
    width: 1280,
    height: 800,
    locale: 'ja-JP',
    touch: true,
  });
  await page.waitForSelector(testId('app-shell'));
  return page;
};
const japanese = (): World => {
  const world = createWorld('shift');
  world.session.language = 'ja';
  return world;
};

describe('by fingers alone', () => {
  it('labels, updates, compresses, submits, approves, activates and rolls back', async () => {
    await window_.serve(japanese());
    const page = await openTouch();
    await page.waitForSelector('html[lang="ja"]');
    const tap = (id: string) => page.tap(testId(id));
    await tap('open-sign-in');
    // A touch screen offers the names; the password is typed on a keyboard of the screen.
    await page.tap('dialog >> text=SV-02');
    await page.fill(testId('sign-in-password'), 'supervisor');
    await tap('sign-in-submit');
    await page.waitForSelector(testId('user-menu'));

    await tap('area-label');
    await page.waitForSelector(testId('queue-row'));
    expect(await smallTargets(page)).toEqual([]);
    await tap('open-group');
    await page.tap(`${testId('group-grid')} button >> nth=13`);
    await page.tap('[data-class="c-pit"]');
    await expect.poll(() => window_.server.world.labels.length).toBe(13);
    await tap('undo');
    await expect.poll(() => window_.server.world.labels.length).toBe(0);
    // The window has taken it over, too: what is tapped next is meant for the parts that are open now.
    await page.waitForSelector(`${testId('queue-total')}[data-total="146"]`);
    for (const id of ['c-ok', 'c-scratch', 'c-scale']) await page.tap(`[data-class="${id}"]`);
    await tap('skip');
    await expect.poll(() => window_.server.world.labels.length).toBe(3);
    await tap('history');
    await page.waitForSelector(testId('history-row'));
    expect(await smallTargets(page)).toEqual([]);
    await page.tap(`${testId('undo-down-to')} >> nth=1`);
    await expect.poll(() => window_.server.world.labels.length).toBe(2);

    await tap('to-learn');
    await tap('update-knowledge');
    await page.waitForSelector(`${testId('knowledge')}[data-knowledge="k-21"]`);
    await tap('compress');
    await page.waitForSelector(`${testId('measured')}[data-measured="8"]`);
    await page.waitForSelector(`${testId('submit-candidate')}[aria-disabled="false"]`);
    await tap('submit-candidate');

    await tap('area-approve');
    await page.waitForSelector(testId('approve-sign'));
    await tap('next-unseen');
    while (await page.isVisible(testId('viewer-next'))) await tap('viewer-next');
    await page.fill(testId('waiver'), '部品が少ない。');
    await page.fill(testId('approve-password'), 'supervisor');
    await tap('approve-sign');
    await page.waitForSelector(testId('approved'));
    await tap('activate');
    await expect.poll(() => window_.server.world.candidates.find(({ state }) => state === 'active')?.id).toBe('m-0042');
    await tap('area-models');
    await page.waitForSelector(`${testId('model-pane')}[data-state="active"]`);
    await tap('rollback');
    await page.fill(testId('rollback-password'), 'supervisor');
    await tap('rollback-confirm');
    await expect.poll(() => window_.server.world.candidates.find(({ state }) => state === 'active')?.id).toBe('m-0041');
  });

  it('zooms with two fingers about what lies between them, and pans with one', async () => {
    await window_.serve(japanese());
    const page = await openTouch();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    await settled(page);
    const box = (await page.locator(testId('label-picture')).boundingBox())!;
    const cdp = await page.context().newCDPSession(page);
    const middle = { x: box.x + box.width / 3, y: box.y + box.height / 2 };
    const touch = (type: 'touchStart' | 'touchMove' | 'touchEnd', points: { x: number; y: number; id: number }[]) =>
      cdp.send('Input.dispatchTouchEvent', { type, touchPoints: points });
    const two = (apart: number) => [
      { x: middle.x - apart, y: middle.y, id: 0 },
      { x: middle.x + apart, y: middle.y, id: 1 },
    ];
    const zoom = async () => Number(await page.getAttribute(`${testId('label-picture')} [data-zoom]`, 'data-zoom'));
    await touch('touchStart', two(20));
    for (const apart of [30, 40, 50, 60]) await touch('touchMove', two(apart));
    await touch('touchEnd', []);
    await expect.poll(zoom).toBeCloseTo(3, 1);
    const left = () => page.evaluate(() => document.querySelector('.frame')!.getBoundingClientRect().left);
    const before = await left();
    await touch('touchStart', [{ ...middle, id: 0 }]);
    await touch('touchMove', [{ x: middle.x + 40, y: middle.y, id: 0 }]);
    await touch('touchEnd', []);
    await expect.poll(left).toBeCloseTo(before + 40, 0);
  });
});

describe('two windows at once', () => {
  it('see each other’s labels and classes, and neither undoes what the other did', async () => {
    await window_.serve(createWorld('shift'));
    const { world } = window_.server;
    const [first, second] = [await openTouch(), await openTouch()];
    await signIn(first, 'TE-04', 'technician');
    await signIn(second, 'SV-02', 'supervisor');
    for (const page of [first, second]) {
      await go(page, 'label');
      await page.waitForSelector(testId('queue-row'));
    }
    const total = (page: Page) => page.getAttribute(testId('queue-total'), 'data-total');
    await second.keyboard.press('n');
    await second.fill(testId('new-class-en'), 'Chatter');
    await first.keyboard.press('2');
    await first.keyboard.press('3');
    await expect.poll(() => total(second)).toBe('144');
    // Both stood at the same part: the other window goes on to one that is still open.
    const open = new Set(world.queue.map(({ part }) => String(part.id)));
    await expect
      .poll(async () => open.has((await second.getAttribute(testId('label-picture'), 'data-part')) ?? ''))
      .toBe(true);
    // The new class was for the part that has a label by now: no other one gets it.
    await second.keyboard.press('Enter');
    await first.waitForSelector('.kbtn >> text=Chatter');
    await second.waitForSelector(testId('new-class-en'), { state: 'detached' });
    await second.keyboard.press('4');
    await expect.poll(() => total(first)).toBe('143');
    expect(world.labels.map(({ classId }) => classId)).toEqual(['c-scratch', 'c-scale', 'c-pit']);
    // One window goes: the other one stays.
    await second.context().close();
    await first.keyboard.press('1');
    await expect.poll(() => world.labels.length).toBe(4);
  });
});
