import type { Page } from 'playwright-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import { go, openPage, settled, signIn, testId } from './browser.ts';
import { labelledParts } from './fixtures/parts.ts';
import { createWorld } from './fixtures/world.ts';
import { findings, smallTargets, useWindow } from './window-page.ts';

/* What the labelling bench offers beside the keys of the classes, by keyboard, mouse and touch. */

const window_ = useWindow();
let page: Page;
let problems: string[];
beforeEach(async () => {
  await window_.serve(createWorld('shift'));
  ({ page, problems } = await openPage(window_.browser, window_.server.url));
  await page.waitForSelector(testId('app-shell'));
  await signIn(page, 'TE-04', 'technician');
  await go(page, 'label');
  await page.waitForSelector(testId('queue-row'));
  // Nothing moves any more of what is measured and pointed at.
  await settled(page);
});
afterEach(() => expect(problems).toEqual([]));

const zoom = async () => Number(await page.getAttribute(`${testId('label-picture')} [data-zoom]`, 'data-zoom'));
const scale = () =>
  page.evaluate(() => document.querySelector<HTMLImageElement>('[data-testid=label-picture] .frame img')!.width / 480);

describe('the picture', () => {
  it('is zoomed to single pixels by wheel and keys, with a map of where that is, and whole again', async () => {
    const box = (await page.locator(testId('label-picture')).boundingBox())!;
    await page.mouse.move(box.x + box.width / 4, box.y + box.height / 2);
    for (let i = 0; i < 30; i += 1) await page.mouse.wheel(0, -300);
    await expect.poll(scale).toBe(16);
    expect(
      await page.evaluate(
        () => getComputedStyle(document.querySelector('[data-testid=label-picture] .frame img')!).imageRendering,
      ),
    ).toBe('pixelated');
    const map = page.locator(`${testId('minimap')} i`);
    const seen = (await map.boundingBox())!;
    const whole = (await page.locator(testId('minimap')).boundingBox())!;
    // The pointer was left of the middle: so is what is seen.
    expect(seen.x + seen.width / 2).toBeLessThan(whole.x + whole.width / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 4 - 200, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    await expect.poll(async () => (await map.boundingBox())!.x).toBeGreaterThan(seen.x);
    await page.keyboard.press('0');
    await expect.poll(zoom).toBe(1);
    await page.keyboard.press('+');
    await expect.poll(zoom).toBeCloseTo(1.5, 2);
    // The next part is seen whole.
    await page.keyboard.press('ArrowDown');
    await expect.poll(zoom).toBe(1);
  });

  it('gets its contrast stretched, by hand if need be, and is as taken again', async () => {
    await page.keyboard.press('c');
    await page.waitForSelector(testId('contrast-strip'));
    const level = async (name: string) => Number(await page.getAttribute(testId('contrast-strip'), `data-${name}`));
    await expect.poll(() => level('low')).toBeGreaterThan(0);
    expect(await level('high')).toBeLessThan(255);
    const filter = () =>
      page.evaluate(
        () => document.querySelector<HTMLImageElement>('[data-testid=label-picture] .frame img')!.style.filter,
      );
    expect(await filter()).toContain('url(');
    // One row: the picture keeps its room.
    expect((await page.locator(testId('contrast-strip')).boundingBox())!.height).toBeLessThan(60);
    await page.focus(testId('contrast-low'));
    await page.keyboard.press('Home');
    await expect.poll(() => level('low')).toBe(0);
    expect(await findings(page)).toEqual([]);
    expect(await smallTargets(page)).toEqual([]);
    // Out of the slider: while it has the focus, letters are not shortcuts.
    await page.click(testId('contrast'));
    await expect.poll(filter).toBe('');
  });

  it('takes boxes along with the label, drawn by pointer or set by keys, in pixels of the frame', async () => {
    await page.keyboard.press('b');
    // What is said of boxes may take a line more, and the picture one less.
    await settled(page);
    const frame = (await page.locator(`${testId('label-picture')} .frame`).boundingBox())!;
    const at = (x: number, y: number) => [frame.x + x * frame.width, frame.y + y * frame.height] as const;
    await page.mouse.move(...at(0.25, 0.25));
    await page.mouse.down();
    await page.mouse.move(...at(0.5, 0.75), { steps: 4 });
    await page.mouse.up();
    // A second place of the same defect, a third that was a mistake; then the first is picked and moved.
    for (const [x, y] of [
      [0.7, 0.1],
      [0.7, 0.6],
    ] as const) {
      await page.mouse.move(...at(x, y));
      await page.mouse.down();
      await page.mouse.move(...at(x + 0.2, y + 0.2), { steps: 4 });
      await page.mouse.up();
    }
    await expect.poll(() => page.locator(`${testId('label-picture')} .box`).count()).toBe(3);
    await page.click(testId('box-remove'));
    await page.mouse.click(...at(0.3, 0.5));
    await expect
      .poll(() => page.locator('.box').evaluateAll((all) => all.findIndex((box) => box.matches('.chosen'))))
      .toBe(0);
    await page.focus(`${testId('label-picture')} [data-zoom]`);
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('2');
    await page.focus(`${testId('label-picture')} [data-zoom]`);
    await page.keyboard.press('Enter');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('3');
    await page.keyboard.press('4');
    await expect.poll(() => window_.server.world.labels.length).toBe(3);
    const [[drawn, second, third] = [], [set] = [], none] = window_.server.world.labels.map(({ boxes }) => boxes);
    // The frame is 480 x 320; a pixel of the screen is less than one of it.
    const wanted = { x: 120 - 8, y: 80, width: 120, height: 160 };
    for (const side of ['x', 'y', 'width', 'height'] as const)
      expect(Math.abs(drawn![side] - wanted[side]), side).toBeLessThanOrEqual(1);
    expect(set).toEqual({ x: 176, y: 112, width: 144, height: 96 });
    expect([Math.round(second!.x / 10), third, none]).toEqual([34, undefined, []]);
  });

  it('lies beside labelled parts of a class, which follow its zoom', async () => {
    await page.keyboard.press('r');
    await page.waitForSelector(`${testId('reference-pane')}[data-class="c-pit"] img`);
    await page.click('[data-reference-class="c-scratch"]');
    await page.waitForSelector(`${testId('reference-pane')}[data-class="c-scratch"] .view`);
    await expect.poll(() => page.locator(testId('reference')).count()).toBe(6);
    // Side by side, each with half of the room.
    const [own, other] = await page.evaluate(() =>
      ['label-picture', 'reference-pane'].map((id) => document.querySelector(`[data-testid="${id}"]`)!.clientWidth),
    );
    expect(Math.abs(own! - other!)).toBeLessThan(4);
    await page.keyboard.press('+');
    await expect.poll(() => page.getAttribute(`${testId('reference-pane')} [data-zoom]`, 'data-zoom')).toBe('1.500');
    expect(await findings(page)).toEqual([]);
    expect(await smallTargets(page)).toEqual([]);
    await page.click('[data-reference-class="c-roll"]');
    await page.waitForSelector('text=No part of this class is labelled yet.');
    // Buttons of more than two rows would leave no room for the picture.
    await page.setViewportSize({ width: 1024, height: 640 });
    await page.selectOption(testId('reference-class'), 'c-pit');
    await page.waitForSelector(`${testId('reference-pane')}[data-class="c-pit"] .view`);
  });
});

describe('the history', () => {
  it('lists what was done and takes several steps back at once', async () => {
    // A moment too long each, and still one part each; Enter presses the button of a class.
    for (const key of ['1', '2', 's', 'Enter']) {
      if (key === 'Enter') await page.focus('[data-class="c-pit"]');
      for (let i = 0; i < 3; i += 1) await page.keyboard.down(key);
      await page.keyboard.up(key);
    }
    await expect.poll(() => window_.server.world.undo.length).toBe(4);
    await page.keyboard.press('u');
    await page.waitForSelector(testId('history-row'));
    await expect.poll(() => page.locator(testId('history-row')).count()).toBe(4);
    await page.waitForSelector(`${testId('history-row')} >> nth=1 >> text=left out of the queue`);
    expect(await findings(page)).toEqual([]);
    // The second one made: three steps.
    await page.click(`${testId('undo-down-to')} >> nth=2`);
    await expect.poll(() => window_.server.world.undo.length).toBe(1);
    expect(window_.server.world.labels.map(({ classId }) => classId)).toEqual(['c-ok']);
    await expect.poll(() => page.getAttribute(testId('queue-total'), 'data-total')).toBe('145');
  });
});

describe('a class', () => {
  it('gets another name in one language, said beforehand, and keeps its key', async () => {
    await page.click(testId('rename-class'));
    await page.selectOption(testId('rename-class-of'), 'c-pit');
    expect(await page.textContent(testId('rename-changes'))).toBe('Nothing is changed yet.');
    expect(await page.inputValue(testId('rename-class-en'))).toBe('Pit');
    const { ja } = window_.server.world.classes.find(({ id }) => id === 'c-pit')!.names;
    await page.fill(testId('rename-class-en'), 'Dent');
    expect(await page.textContent(testId('rename-changes'))).toBe('“Pit” becomes “Dent”');
    expect(await findings(page)).toEqual([]);
    expect(await smallTargets(page)).toEqual([]);
    const key = await page.getAttribute('.kbtn[data-class="c-pit"]', 'data-testid');
    await page.click(testId('rename-class-do'));
    await page.waitForSelector(`.kbtn[data-class="c-pit"][data-testid="${key}"] >> text=Dent`);
    expect(window_.server.world.classes.find(({ id }) => id === 'c-pit')!.names).toEqual({ en: 'Dent', ja });
  });
});

describe('labelled parts', () => {
  const now = () => page.textContent(testId('labelled-now'));
  const rows = () => page.locator(testId('labelled-row')).count();

  it('that no model doubts are given another class or sent back, and that is taken back', async () => {
    const { world } = window_.server;
    await page.keyboard.press('l');
    await page.waitForSelector(testId('labelled-row'));
    expect(await page.getAttribute(testId('labelled-count'), 'data-count')).toBe('30');
    await page.selectOption(testId('labelled-class'), 'c-pit');
    await expect.poll(rows).toBe(6);
    await page.waitForSelector(`${testId('labelled-picture')}[data-part="9030"] .view`);
    expect(await findings(page)).toEqual([]);
    expect(await smallTargets(page)).toEqual([]);

    // Its place goes with it to another defect, and not to good parts.
    await page.click(`${testId('correct-to')}[data-class="c-scratch"]`);
    await expect.poll(rows).toBe(5);
    await page.waitForSelector(`${testId('labelled-picture')}[data-part="9031"] .view`);
    expect(world.labels.at(-1)).toMatchObject({ partId: 9030, classId: 'c-scratch', boxes: [{ x: 60 }] });
    await page.click(testId('labelled-undo'));
    await expect.poll(rows).toBe(6);
    // Digits as a Japanese keyboard types them are digits.
    await page.fill(testId('labelled-find'), '９０３０');
    await expect.poll(rows).toBe(1);
    await page.click(`${testId('correct-to')}[data-class="c-ok"]`);
    await expect.poll(rows).toBe(0);
    expect(world.labels.at(-1)).toEqual({ partId: 9030, classId: 'c-ok', boxes: [] });

    await page.fill(testId('labelled-find'), '');
    await expect.poll(rows).toBe(5);
    await page.focus(`${testId('labelled-row')} >> nth=0`);
    await page.keyboard.press('ArrowDown');
    await page.waitForSelector(`${testId('labelled-row')}[data-part="9032"][aria-current]`);
    await page.click(testId('send-back'));
    await expect.poll(rows).toBe(4);
    expect(world.corrected.get(9032)).toBeNull();
    await page.keyboard.press('Escape');
    await page.keyboard.press('u');
    await page.waitForSelector(`${testId('history-row')} >> text=sent back to the queue`);
  });

  it('are found among more of them than one answer of the core holds', async () => {
    const { world } = window_.server;
    const [label] = labelledParts('c-pit');
    world.olderLabels = Array.from({ length: 12_000 }, (_, i) => ({ ...label!, partId: 31_999 - i }));
    await page.keyboard.press('l');
    await page.waitForSelector(`${testId('labelled-count')}[data-count="12030"]`);
    await page.fill(testId('labelled-find'), '20000');
    await expect.poll(rows).toBe(1);
  });

  it('of the class before cannot be corrected while those of another one are fetched', async () => {
    await page.keyboard.press('l');
    await page.waitForSelector(`${testId('labelled-picture')} .view`);
    const release = window_.server.hold('labels.list');
    await page.selectOption(testId('labelled-class'), 'c-pit');
    await expect.poll(rows).toBe(0);
    expect(await page.getAttribute(testId('labelled-count'), 'data-count')).toBe('');
    expect(await page.getAttribute(testId('labelled-picture'), 'data-part')).toBe('');
    expect(await page.locator(testId('send-back')).isDisabled()).toBe(true);
    expect(await page.locator(testId('correct-to')).first().isDisabled()).toBe(true);
    release();
    await expect.poll(rows).toBe(6);
  });

  it('whose correction is refused leave nothing to take back', async () => {
    const { server } = window_;
    await page.keyboard.press('2');
    await expect.poll(() => server.world.labels.length).toBe(1);
    await page.keyboard.press('l');
    await page.waitForSelector(`${testId('labelled-picture')} .view`);
    server.fail('labels.leaveOut', new AppError('CONFLICT', { what: 'part 1', state: 'taken', needed: 'a label' }));
    const lists = server.calls('labels.list');
    await page.click(testId('send-back'));
    await page.waitForSelector(testId('notice-error'), { state: 'attached' });
    await expect.poll(() => server.calls('labels.list')).toBe(lists + 1);
    await expect.poll(() => page.locator(testId('labelled-undo')).isDisabled()).toBe(true);
    await page.click(`${testId('correct-to')}[data-class="c-scale"]`);
    await expect.poll(() => page.locator(testId('labelled-undo')).isDisabled()).toBe(false);
  });

  it('are looked at from where they lie beside the part to be labelled', async () => {
    await page.keyboard.press('r');
    await page.click('[data-reference-class="c-scratch"]');
    await page.click(`${testId('reference-pane')}[data-class="c-scratch"] ${testId('reference')} >> nth=2`);
    await page.click(testId('correct-reference'));
    await page.waitForSelector(`${testId('labelled-row')}[data-class="c-scratch"][aria-current]`);
    expect(await now()).toContain('Scratch');
    const partId = await page.getAttribute(testId('labelled-picture'), 'data-part');
    await page.click(`${testId('correct-to')}[data-class="c-pit"]`);
    const { world } = window_.server;
    await expect.poll(() => world.corrected.get(Number(partId))).toBe('c-pit');

    // Back beside the queue it is among the scratches no longer, and what is shown is what is corrected next.
    await page.keyboard.press('Escape');
    const references = page.locator(testId('reference'));
    await expect.poll(() => references.count()).toBe(5);
    expect(await page.locator(`${testId('reference')}[data-part="${partId}"]`).count()).toBe(0);
    const other = await references.nth(3).getAttribute('data-part');
    await references.nth(3).click();
    await page.click(testId('correct-reference'));
    await page.waitForSelector(`${testId('labelled-picture')}[data-part="${other}"]`);
    await page.click(`${testId('labelled-row')} >> nth=0`);
    await page.click(`${testId('correct-to')}[data-class="c-pit"]`);
    await expect.poll(rows).toBe(4);
    await page.keyboard.press('Escape');
    await expect.poll(() => references.count()).toBe(4);
    expect(await page.getAttribute(`${testId('reference')}[aria-pressed="true"]`, 'data-part')).toBe(other);

    // Another window has taken it away meanwhile: no other part stands in for it.
    world.corrected = new Map([...world.corrected, [Number(other), 'c-pit']]);
    await page.click(testId('correct-reference'));
    await page.waitForSelector(testId('labelled-missing'));
    expect(await page.getAttribute(testId('labelled-picture'), 'data-part')).toBe('');
    expect(await page.locator(testId('correct-to')).first().isDisabled()).toBe(true);
    expect(await findings(page)).toEqual([]);
    await page.focus(`${testId('labelled-row')}[tabindex="0"]`);
    await page.keyboard.press('ArrowDown');
    await page.waitForSelector(`${testId('labelled-row')}[aria-current]`);
    expect(await page.getAttribute(`${testId('labelled-row')} >> nth=0`, 'aria-current')).toBe('true');
  });
});

describe('almost the same pictures', () => {
  const groups = () => page.getAttribute(testId('near-found'), 'data-groups');
  const sizes = () =>
    page.locator(testId('near-group')).evaluateAll((rows) => rows.map((row) => row.querySelectorAll('img').length));

  it('are shown in groups, left out of learning by choice, and given back', async () => {
    await page.keyboard.press('d');
    await page.waitForSelector(testId('near-group'));
    expect(await groups()).toBe('2');
    expect(await page.textContent(`${testId('near-group')} >> nth=0`)).toContain('Different classes');
    expect(await findings(page)).toEqual([]);
    expect(await smallTargets(page)).toEqual([]);
    // Nothing is chosen yet: nothing can be left out.
    await page.locator(testId('near-leave')).first().dispatchEvent('click');
    expect(window_.server.world.undo).toEqual([]);
    await page.click(`${testId('near-group')} >> nth=0 >> ${testId('pick-picture')} >> nth=1`);
    await page.click(`${testId('near-leave')} >> nth=0`);
    await expect.poll(groups).toBe('1');
    await page.click(testId('near-keep-one'));
    await page.click(testId('near-leave'));
    await expect.poll(groups).toBe('0');
    expect(window_.server.world.undo.map(({ kind, classId }) => [kind, classId])).toEqual([
      ['leave-out', 'c-scratch'],
      ['leave-out', 'c-scale'],
    ]);
    await page.click(testId('near-undo'));
    await expect.poll(groups).toBe('1');
    await expect.poll(sizes).toEqual([4]);
    await page.keyboard.press('Escape');
    await page.keyboard.press('u');
    await page.waitForSelector(`${testId('history-row')} >> text=left out of learning`);
  });
});

describe('the queue', () => {
  it('is found again at the same part after a restart of the window', async () => {
    for (let i = 0; i < 5; i += 1) await page.keyboard.press('ArrowDown');
    const part = await page.getAttribute(testId('label-picture'), 'data-part');
    await page.reload();
    await page.waitForSelector(testId('app-shell'));
    // The area asks for it in its place.
    await page.fill(testId('sign-in-name'), 'TE-04');
    await page.fill(testId('sign-in-password'), 'technician');
    await page.click(testId('sign-in-submit'));
    await page.waitForSelector(`${testId('label-picture')}[data-part="${part}"]`);
  });

  it('keeps nothing of the person before when another account is taken in a demo', async () => {
    const { server } = window_;
    await page.keyboard.press('2');
    await page.waitForSelector(`${testId('label-last')} >> text=Last: part`);
    const { id, name, role } = server.world.users.find((user) => user.name === 'TE-04')!;
    server.emit('session.changed', {
      ...server.world.session,
      user: { id, name, role, disabled: false },
      demoAccounts: [{ name: 'SV-02', password: 'supervisor', role: 'supervisor' }],
    });
    await page.click(testId('user-menu'));
    await page.click('[role=menuitem]:has-text("SV-02")');
    await page.waitForSelector(`${testId('user-name')} >> text=SV-02`);
    await page.waitForSelector(testId('queue-row'));
    expect(await page.textContent(testId('label-last'))).toBe('');
  });

  it('does not bring back a part whose label is on its way when it is fetched', async () => {
    const { server } = window_;
    const { world } = server;
    const [release, asked] = [server.hold('queue.list'), server.calls('queue.list')];
    server.emit('queue.changed', { stationId: 'st-02', total: 146 });
    await expect.poll(() => server.calls('queue.list')).toBe(asked + 1);
    const labelled = server.hold('labels.create');
    const part = await page.getAttribute(testId('label-picture'), 'data-part');
    await page.keyboard.press('2');
    // As if another window had taken two.
    world.queue = world.queue.slice(0, -2);
    release();
    await page.waitForSelector(`${testId('queue-total')}[data-total="143"]`);
    expect(world.queue.map(({ part: { id } }) => String(id))).toContain(part);
    expect(await page.locator(`${testId('queue-row')}[data-part="${part}"]`).count()).toBe(0);
    labelled();
    await expect.poll(() => world.labels.length).toBe(1);
  });

  it('gets back a part that the core did not leave out, and does not say that it did', async () => {
    const { server } = window_;
    const part = await page.getAttribute(testId('label-picture'), 'data-part');
    server.fail(
      'queue.skip',
      new AppError('CONFLICT', { what: 'part 1', state: 'labelled', needed: 'one that waits' }),
    );
    await page.keyboard.press('s');
    await page.waitForSelector(testId('notice-error'));
    await page.waitForSelector(`${testId('queue-row')}[data-part="${part}"]`);
    expect(await page.getAttribute(testId('queue-total'), 'data-total')).toBe('146');
    expect(await page.textContent(testId('label-last'))).toBe('');
  });

  it('labels the parts that a group had when it was opened, and shows the doubted labels alone', async () => {
    const { world } = window_.server;
    const group = world.queue.filter(({ groupId }) => groupId === 1).map(({ part }) => part.id);
    await page.keyboard.press('g');
    await page.click(`${testId('group-grid')} button >> nth=13`);
    await page.keyboard.press('n');
    await page.fill(testId('new-class-en'), 'Chatter');
    // The next ranking: another number, and one part more.
    world.queue = world.queue.map((item, i) => (i < 15 ? { ...item, groupId: 2, groupSize: 15 } : item));
    const [first, ...rest] = world.queue;
    const doubt = { classId: 'c-scratch', given: 0.04, suggested: 0.91, copies: 0 };
    const suspect = { ...rest.at(-1)!, groupId: null, reason: 'suspect' as const, suggestedClassId: 'c-pit', doubt };
    world.queue = [first!, ...rest.slice(0, -1), suspect];
    window_.server.emit('queue.changed', { stationId: 'st-02', total: 146 });
    await page.waitForSelector(`${testId('show-suspects')} >> text="1"`);
    expect(await page.textContent(testId('new-class-create'))).toContain('13 parts');
    expect(await page.locator(`${testId('group-grid')} button`).count()).toBe(14);
    await page.keyboard.press('Enter');
    await expect.poll(() => world.labels.map(({ partId }) => partId)).toEqual(group.slice(0, 13));
    await page.click(testId('show-suspects'));
    await page.waitForSelector(`${testId('label-picture')}[data-part="${suspect.part.id}"]`);
    await expect.poll(() => page.locator(testId('queue-row')).count()).toBe(1);
  });
});

describe('a second opinion', () => {
  it('is asked blind, and says afterwards whether the two agree', async () => {
    await page.click(testId('show-second'));
    await page.waitForSelector(`${testId('label-picture')}[data-part="9030"]`);
    // Nothing tells the first label: no suggestion, nothing of the model.
    expect(await page.locator('.kbtn.guess').count()).toBe(0);
    expect(await page.textContent(testId('label-reason'))).toBe('What do you take it for?');
    expect(await findings(page)).toEqual([]);
    // Nor do the labelled parts of its class: it is not among them.
    await page.keyboard.press('r');
    await page.click('[data-reference-class="c-pit"]');
    await page.waitForSelector(`${testId('reference-pane')}[data-class="c-pit"] ${testId('reference')}`);
    expect(await page.locator(testId('reference')).count()).toBe(5);
    // Nor is one that waits for its turn: its first label would be known by then.
    await page.click('[data-reference-class="c-scratch"]');
    await page.waitForSelector(`${testId('reference-pane')}[data-class="c-scratch"] ${testId('reference')}`);
    expect(await page.locator(testId('reference')).count()).toBe(5);
    await page.keyboard.press('r');
    // Nor do the pictures that look almost the same, of which it is one.
    expect(await page.getAttribute(testId('near-duplicates'), 'aria-disabled')).toBe('true');
    await page.keyboard.press('d');
    await page.locator(testId('near-duplicates')).dispatchEvent('click');
    expect(window_.server.calls('labels.nearDuplicates')).toBe(0);
    await page.click('[data-class="c-pit"]');
    await page.waitForSelector(`${testId('second-answer')} >> text=The same as the first label.`);
    // There is no way back from it, and an earlier label is not meant.
    await page.keyboard.press('z');
    await page.waitForSelector('text=A second opinion is not taken back');
    await page.click('[data-class="c-pit"]');
    await page.waitForSelector(`${testId('second-answer')} >> text=The first label is “Scratch”.`);
    await page.waitForSelector(`${testId('agreement')} >> text=30 / 32`);
    expect(window_.server.world.labels).toEqual([]);
  });

  it('that is refused counts as none', async () => {
    await page.click(testId('show-second'));
    await page.waitForSelector(`${testId('label-picture')}[data-part="9030"]`);
    const part = { what: 'part 9030', state: 'second', needed: 'a first label' };
    window_.server.fail('labels.second', new AppError('CONFLICT', part));
    await page.click('[data-class="c-pit"]');
    await page.waitForSelector(testId('notice-error'));
    await page.waitForSelector(`${testId('queue-row')}[data-part="9030"]`);
    expect(await page.textContent(testId('label-last'))).toBe('');
  });
});
