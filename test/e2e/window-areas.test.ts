import { readFile } from 'node:fs/promises';
import type { Browser } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Candidate, Job } from '../../main/contract/domain.ts';
import { AppError } from '../../main/contract/errors.ts';
import { appears, go, openPage, settled, signIn, tabTo, testId } from './browser.ts';
import type { FixtureServer } from './fixtures/server.ts';
import { STATION } from './fixtures/parts.ts';
import { createWorld, longQueue } from './fixtures/world.ts';
import { findings, useWindow } from './window-page.ts';

/* Work in the areas of the window, in a real Chromium with made-up data behind the real contract. */

const window_ = useWindow();
let browser: Browser;
let server: FixtureServer;
beforeEach(async () => {
  ({ browser } = window_);
  server = await window_.serve(createWorld('shift'));
});

const { open } = window_;

const goldenSet = (uses: number) => ({
  images: 34,
  perClass: [{ classId: 'ok', images: 34 }],
  sha256: 'a'.repeat(64),
  by: 'EN-01',
  at: '2026-05-01T08:00:00.000Z',
  uses,
  refreshDue: uses >= 20,
});

describe('Label', () => {
  it('labels by key, makes a class for a whole group, skips and takes back', async () => {
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    const total = () => page.getAttribute(testId('queue-total'), 'data-total');
    expect(await total()).toBe('146');
    // Fourteen look alike: all at once, one left out.
    await page.keyboard.press('g');
    await page.waitForSelector(testId('group-grid'));
    await page.click(`${testId('group-grid')} button >> nth=13`);
    await page.keyboard.press('n');
    await page.fill(testId('new-class-en'), 'Chatter');
    await page.fill(testId('new-class-ja'), 'びびり');
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('new-class-en'), { state: 'detached' });
    await expect.poll(() => server.world.labels.length).toBe(13);
    await expect.poll(total).toBe('133');
    await page.keyboard.press('2');
    await page.keyboard.press('4');
    await page.keyboard.press('s');
    await expect.poll(() => server.world.queue.length).toBe(130);
    expect(server.world.labels.slice(13).map(({ classId }) => classId)).toEqual(['c-scratch', 'c-pit']);
    await page.keyboard.press('z');
    await page.keyboard.press('z');
    await expect.poll(() => server.world.queue.length).toBe(132);
    await expect.poll(total).toBe('132');
    expect(server.world.labels).toHaveLength(14);
  });

  it('a doubted label comes with what speaks against it, in both languages', async () => {
    const [item] = server.world.queue;
    const doubt = { classId: 'c-scratch', given: 0.04, suggested: 0.91, copies: 0 };
    const suspect = { ...item!, groupId: null, groupSize: 1, reason: 'suspect' as const, suggestedClassId: 'c-pit' };
    server.world.queue = [
      { ...suspect, doubt },
      { ...suspect, part: { ...item!.part, id: 1 }, doubt: { ...doubt, copies: 2 } },
    ];
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    expect(await page.textContent(testId('label-reason'))).toBe('Is it really “Scratch”?');
    await page.waitForSelector('text=says “Pit” (0.91 against 0.04)');
    await page.keyboard.press('ArrowDown');
    await page.waitForSelector('text=2 copies of this picture labelled “Pit”');
    if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/suspect.png` });
    await page.click(`[data-class="c-pit"]`);
    await expect.poll(() => server.world.labels).toHaveLength(1);
    expect(await findings(page)).toEqual([]);
  });

  it('keeps the part when the core refuses the label, and says why', async () => {
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    await page.keyboard.press('n');
    await page.fill(testId('new-class-en'), 'Scratch');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog >> text=exists already');
    expect(server.world.labels).toHaveLength(0);
    expect(await page.getAttribute(testId('queue-total'), 'data-total')).toBe('146');
  });

  it('draws only the rows in sight of 10,000', async () => {
    server.world.queue = longQueue(server.world.queue, 10_000, (i) => ({ id: 100_000 - i }));
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    expect(await page.locator(testId('queue-row')).count()).toBeLessThan(40);
    await page.evaluate(() =>
      document.querySelector('[data-testid="queue-row"]')!.closest('.scroll')!.scrollTo(0, 1e9),
    );
    await page.waitForSelector('text=Part 90,001');
    expect(await page.locator(testId('queue-row')).count()).toBeLessThan(40);
  });

  it('fetches pictures of rows that stay, not of those that fly past', async () => {
    server.world.queue = longQueue(server.world.queue, 5000, (i) => ({
      id: 10_000 - i,
      imageSha: i.toString(16).padStart(64, '0'),
    }));
    const [picture] = server.world.images.values();
    for (let i = 0; i < 5000; i += 1) server.world.images.set(i.toString(16).padStart(64, '0'), picture!);
    const { page } = await open();
    const asked = new Set<string>();
    page.on('request', (request) => request.url().includes('?w=160') && asked.add(request.url()));
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'label');
    await page.waitForSelector(`${testId('queue-row')} img`);
    // Its time stands still: the list never rests.
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 60_000);
    const rows = page.locator(testId('queue-row'));
    const list = page.locator('.scroll', { has: rows });
    for (let step = 1; step <= 6; step += 1) {
      const at = 700 * step;
      await list.evaluate((element, top) => element.scrollTo(0, top), 67 * at);
      await page.waitForSelector(`[data-part="${10_000 - at}"]`);
    }
    // At the beginning, and where the first jump led: it came after a pause.
    expect(asked.size).toBeLessThan(90);
    expect(await rows.locator('img').count()).toBe(0);
    await page.clock.runFor(1000);
    await expect.poll(() => rows.locator('img').count()).toBe(await rows.count());
    await expect
      .poll(() =>
        rows
          .locator('img')
          .first()
          .evaluate((image: HTMLImageElement) => image.naturalWidth),
      )
      .toBeGreaterThan(0);
  });
});

describe('by keyboard alone', () => {
  it('labels, updates, compresses, submits, approves, activates and rolls back', async () => {
    const { page } = await open();
    await page.keyboard.press('Tab');
    await tabTo(page, testId('open-sign-in'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('sign-in-name'));
    await tabTo(page, testId('sign-in-name'));
    await page.keyboard.type('SV-02');
    await page.keyboard.press('Tab');
    await page.keyboard.type('supervisor');
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('user-menu'));

    await tabTo(page, testId('area-label'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('queue-row'));
    for (const key of ['1', '2', '3', '4', '5']) await page.keyboard.press(key);
    await expect.poll(() => server.world.labels.length).toBe(5);

    await tabTo(page, testId('to-learn'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(`${testId('fresh-labels')}[data-fresh="5"]`);
    await tabTo(page, testId('update-knowledge'));
    const shown = await appears(page, testId('job'));
    await page.keyboard.press('Enter');
    await shown();
    await page.waitForSelector(`${testId('knowledge')}[data-knowledge="k-21"]`);
    await tabTo(page, testId('compress'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(`${testId('measured')}[data-measured="8"]`);
    await page.waitForSelector('text=Submit m-0110 for approval');
    await tabTo(page, testId('submit-candidate'));
    await page.keyboard.press('Enter');
    await expect.poll(() => server.world.candidates.find(({ id }) => id === 'm-0110')?.state).toBe('submitted');

    await tabTo(page, testId('area-approve'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('approve-sign'));
    await page.waitForSelector(`${testId('sureness')} >> text=off by 1.3 %`);
    // Of this candidate's own knowledge, whatever the station has learnt since.
    await page.waitForSelector(`${testId('labelled-by')} >> text=TE-04 (590), TE-09 (224)`);
    // Closed, and it says why, until everything was seen.
    expect(await page.getAttribute(testId('approve-sign'), 'aria-disabled')).toBe('true');
    await page.waitForSelector('#why >> text=Opens when all 6 changed verdicts have been seen');
    await tabTo(page, testId('next-unseen'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('viewer-next'));
    // Looked at as closely as a part in Label.
    const zoom = `${testId('viewer-picture')} [data-zoom]`;
    await page.waitForSelector(zoom);
    await page.keyboard.press('+');
    await expect.poll(() => page.getAttribute(zoom, 'data-zoom')).toBe('1.500');
    while (await page.isVisible(testId('viewer-next'))) await page.keyboard.press('ArrowRight');
    await page.waitForSelector('#why >> text=waiver');
    await tabTo(page, testId('waiver'));
    await page.keyboard.type('Fourteen parts at once; look again at thirty.');
    await tabTo(page, testId('approve-password'));
    await page.keyboard.type('not it');
    await page.keyboard.press('Enter');
    await page.waitForSelector('text=Name or password is wrong.');
    await tabTo(page, testId('approve-password'));
    await page.keyboard.type('supervisor');
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('approved'));
    await tabTo(page, testId('activate'));
    await page.keyboard.press('Enter');
    await expect.poll(() => server.world.candidates.find(({ state }) => state === 'active')?.id).toBe('m-0042');

    await tabTo(page, testId('area-models'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(`${testId('model-pane')}[data-state="active"]`);
    await tabTo(page, testId('rollback'));
    await page.keyboard.press('Enter');
    // As an approval: with the password, which is all that has to be typed.
    await page.waitForSelector(`${testId('rollback-confirm')}[disabled]`);
    await tabTo(page, testId('rollback-password'));
    await page.keyboard.type('not it');
    await page.keyboard.press('Enter');
    await page.waitForSelector('text=Name or password is wrong.');
    expect(server.world.candidates.find(({ state }) => state === 'active')?.id).toBe('m-0042');
    await tabTo(page, testId('rollback-password'));
    await page.keyboard.type('supervisor');
    await page.keyboard.press('Enter');
    await expect.poll(() => server.world.candidates.find(({ state }) => state === 'active')?.id).toBe('m-0041');
    expect(server.world.signed).toEqual(['The earlier model is to inspect again']);
    // Once more goes further back, not forth to the one that has just gone.
    await page.click(`${testId('model-node')}[data-model="m-0041"]`);
    await page.click(testId('rollback'));
    await page.waitForSelector('text=Roll back to m-0039?');
  });
});

describe('Learn', () => {
  it('says what goes to the golden set and why, lets it be chosen, and retires a set that is worn', async () => {
    const row = { most: 0, few: false, golden: 0, fresh: 0 };
    server.world.goldenFilling = {
      on: true,
      retired: 0,
      perClass: [
        { ...row, classId: 'c-ok', fresh: 20, most: 6 },
        { ...row, classId: 'c-scratch', fresh: 12, most: 5 },
        { ...row, classId: 'c-pit', fresh: 4, few: true },
      ],
    };
    server.world.golden = {
      ...goldenSet(20),
      perClass: [
        { classId: 'c-ok', images: 32 },
        { classId: 'c-gone', images: 2 },
      ],
    };
    server.world.knowledge = server.world.knowledge.map((knowledge) => ({
      ...knowledge,
      classes: knowledge.classes.map((each) =>
        each.classId === 'c-pit' ? { ...each, labelled: 6, leaveOneOut: { right: 5, of: 6 } } : each,
      ),
    }));
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'learn');
    const why = () => page.innerText(testId('golden-why'));
    await expect.poll(why).toContain('OK 6 / 20');
    expect(await why()).toContain('Scratch 5 / 12');
    expect(await why()).toMatch(/All learnt, below ten parts: Pit/);
    expect(await page.innerText(testId('leave-one-out'))).toBe('Leave-one-out, right: Pit 5 / 6.');
    await page.waitForSelector(`${testId('golden-due')} >> text=refresh it`);
    expect(await findings(page)).toEqual([]);
    // A technician sees it; whoever sets stations up chooses.
    await page.click(testId('golden-off'));
    await page.fill(testId('sign-in-name'), 'SV-02');
    await page.fill(testId('sign-in-password'), 'supervisor');
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('sign-in-name'), { state: 'detached' });
    await page.click(testId('golden-off'));
    await expect.poll(why).toContain('All new labels are learnt');
    expect(server.world.goldenFilling.on).toBe(false);
    await page.click(testId('golden-refresh'));
    expect(await findings(page)).toEqual([]);
    await page.click(testId('golden-refresh-do'));
    await expect.poll(() => server.world.golden).toBeNull();
    await page.waitForSelector(testId('golden-refresh'), { state: 'detached' });
    await page.waitForSelector(
      'text=32 images of the golden set will be learnt. 2 images left out: their class is retired.',
    );
  });

  it('keeps compression closed while a class has a single labelled part; ten good parts alone make a model', async () => {
    server.world.knowledge = server.world.knowledge.map((knowledge) => ({
      ...knowledge,
      classes: knowledge.classes.map((known) => (known.classId === 'c-pit' ? { ...known, labelled: 1 } : known)),
    }));
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'learn');
    await page.waitForSelector(`${testId('compress')}[aria-disabled="true"]`);
    expect(await page.textContent('#compress-why')).toContain('one more part of “Pit”');
    await page.click(testId('compress'), { force: true });
    expect(server.world.jobs).toEqual([]);

    const { world } = server;
    // How accuracies were found is told of the candidate that is looked at, whichever comes first.
    const first = { ...world.candidates.find(({ id }) => id === 'm-0042')!, recommended: false };
    const evidence = { ...first.evidence, basis: '5-fold cross-validation over 97 labelled parts' };
    world.candidates = [first, { ...first, id: 'm-0043', recommended: true, evidence }];
    server.emit('candidates.changed', { stationId: STATION });
    await page.waitForSelector('.ph .sub >> text=over 97 labelled parts');

    const labelled = (parts: number) => (world.labelled = world.fresh = new Map([['c-ok', parts]]));
    Object.assign(world, { knowledge: [], candidates: [] });
    labelled(9);
    server.emit('candidates.changed', { stationId: STATION });
    const update = testId('update-knowledge');
    await page.waitForSelector(`${update}[title="Label parts of two classes, or ten good ones."]`);
    labelled(40);
    server.emit('queue.changed', { stationId: STATION, total: 3 });
    await page.click(`${update}[aria-disabled="false"]`);
    await page.waitForSelector(`${testId('knowledge')}[data-knowledge="k-1"]`);
    await page.click(`${testId('compress')}[aria-disabled="false"]`);
    await page.waitForSelector(`${testId('candidate-row')} >> text=Good parts alone · fp32`);
    await page.waitForSelector('text=m-0110 is not compressed.');
    const shot = async (area: string) => {
      await settled(page);
      if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/good-parts-${area}.png` });
      expect(await page.innerHTML('main')).not.toMatch(/NaN|Infinity|undefined/);
      expect(await page.textContent('main')).not.toContain('good-parts');
    };
    await shot('learn');
    await page.click(testId('submit-candidate'));
    for (const [area, where] of [
      ['approve', testId('decision-candidate')],
      ['models', testId('model-pane')],
    ] as const) {
      await go(page, area);
      await page.waitForSelector(`${where} >> text=m-0110`);
      await page.waitForSelector('main >> text=Good parts alone');
      await shot(area);
    }
  });
});

describe('Audit', () => {
  it('finds what lies far back, and shows as many rows as asked for', async () => {
    const [entry] = server.world.audit;
    server.world.audit = Array.from({ length: 2_300 }, (_, i) => ({
      ...entry!,
      n: 9_000 - i,
      user: i === 1_800 ? 'TE-77' : 'TE-04',
    }));
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'audit');
    const rows = page.locator('tbody tr');
    await expect.poll(() => rows.count()).toBe(100);
    await page.fill(testId('audit-filter'), 'te-77');
    await expect.poll(() => rows.count()).toBe(1);
    expect(await rows.first().textContent()).toContain('7,200');
    await page.fill(testId('audit-filter'), 'nobody');
    await page.waitForSelector('text=Nothing found.');
    expect(await page.textContent(testId('audit-found'))).toBe('0 of the newest 2,300 entries.');
    await page.fill(testId('audit-filter'), '');
    await expect.poll(() => rows.count()).toBe(100);
    await page.click(testId('audit-more'));
    await expect.poll(() => rows.count()).toBe(200);
    await page.click(testId('audit-verify'));
    await expect.poll(() => server.world.verified).toBe(1);
    expect(await findings(page)).toEqual([]);
  });

  it('stays where somebody has gone back to while a long trail is verified, and after a refusal goes on by the button', async () => {
    const [entry] = server.world.audit;
    server.world.audit = Array.from({ length: 300 }, (_, i) => ({ ...entry!, n: 9_000 - i }));
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'audit');
    const rows = page.locator('tbody tr');
    await expect.poll(() => rows.count()).toBe(100);
    const heal = server.fail('audit.list', new AppError('INTERNAL', { ref: 'r-1' }));
    await page.click(testId('audit-more'));
    await page.waitForSelector(testId('notice-error'));
    expect(await rows.count()).toBe(100);
    heal();
    server.world.trailValid = null;
    await page.click(testId('audit-more'));
    await expect.poll(() => rows.count()).toBe(300);
    // Asked again meanwhile, more than once: newer entries come before those at hand.
    server.world.audit = [{ ...entry!, n: 9_001 }, ...server.world.audit];
    await expect.poll(() => rows.first().textContent()).toContain('9,001');
    expect(await rows.count()).toBe(300);
    server.world.trailValid = true;
    await page.waitForSelector(`${testId('audit-chain')}[data-valid="true"]`);
    await page.click(testId('audit-more'));
    await expect.poll(() => rows.count()).toBe(301);
    expect(await rows.last().textContent()).toContain('8,701');
  });
});

describe('Settings', () => {
  it('says when shifts begin, and the report goes by it', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    await page.fill(testId('shifts'), '14, 6');
    expect(await page.isDisabled(testId('save-shifts'))).toBe(true);
    expect(await findings(page)).toEqual([]);
    await page.fill(testId('shifts'), '5:00 17:00');
    await page.click(testId('save-shifts'));
    await expect.poll(() => server.world.shifts).toEqual([5, 17]);
    await expect.poll(() => page.inputValue(testId('shifts'))).toBe('5, 17');
    await go(page, 'reports');
    await expect
      .poll(() => page.locator(`${testId('shifts')} tbody td:first-child`).allTextContents())
      .toEqual(['from 05:00', 'from 17:00']);
  });

  it('tells what a time limit would remove before it is saved; the report says what is gone', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    const goes = (kind: string) => page.textContent(testId(`goes-${kind}`));
    const save = testId('save-retention');
    await expect.poll(() => goes('records')).toContain('0');
    expect(await page.isDisabled(save)).toBe(true);
    await page.fill(testId('keep-records'), '20');
    await page.waitForSelector('text=30 days or more');
    await page.fill(testId('keep-records'), '365');
    await page.fill(testId('keep-okPictures'), '500');
    await expect.poll(() => goes('records')).toContain('804,000');
    expect(await goes('okPictures')).toContain('232.5 MB');
    expect(await page.textContent(save)).toBe('Save and remove');
    expect(await findings(page)).toEqual([]);
    await page.click(save);
    await expect
      .poll(() => server.world.retention)
      .toEqual({ okPictures: 500, otherPicturesDays: null, recordsDays: 365 });
    // 0 says the same as nothing.
    await page.fill(testId('keep-otherPictures'), '0');
    await expect.poll(() => goes('otherPictures')).toContain('0');
    expect(await page.isDisabled(save)).toBe(true);
    await go(page, 'reports');
    await page.waitForSelector(testId('removed-until'));
    expect(await findings(page)).toEqual([]);
  });

  it('counts nothing that is asked for while the connection is lost: whoever comes back is told nothing of a role', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    await expect.poll(() => page.textContent(testId('goes-records'))).toContain('0');
    const before = server.calls('retention.preview');
    await page.context().setOffline(true);
    server.cut();
    await page.fill(testId('keep-records'), '400');
    await page.waitForTimeout(1_000);
    await page.context().setOffline(false);
    await page.waitForSelector('text=Signed out: the connection');
    expect(server.calls('retention.preview')).toBe(before);
    expect(await page.locator(testId('notice-error')).count()).toBe(0);
    expect(await page.locator(testId('sign-in-name')).count()).toBe(0);
  });

  it('gives up the count for what is no longer meant, without a word', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    const goes = () => page.textContent(testId('goes-records'));
    await expect.poll(goes).toContain('0');
    const before = server.calls('retention.preview');
    const release = server.hold('retention.preview');
    await page.fill(testId('keep-records'), '400');
    await expect.poll(() => server.calls('retention.preview')).toBe(before + 1);
    expect(server.cancelled('retention.preview')).toBe(0);
    await page.fill(testId('keep-records'), '365');
    await expect.poll(() => server.cancelled('retention.preview')).toBe(1);
    await expect.poll(() => server.calls('retention.preview')).toBe(before + 2);
    await go(page, 'live');
    await expect.poll(() => server.cancelled('retention.preview')).toBe(2);
    release();
    expect(await page.locator(testId('notice-error')).count()).toBe(0);
  });

  it('asks before it disables an account: that is for ever', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    const disabled = () => server.world.users.filter((user) => user.disabled).map(({ name }) => name);
    await page.click(`li:has-text("TE-04") >> ${testId('disable-user')}`);
    await page.waitForSelector('dialog >> text=never signs in again');
    expect(await findings(page)).toEqual([]);
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
    expect(disabled()).toEqual([]);
    // Whoever works by keyboard goes on where they were.
    expect(await page.evaluate(() => document.activeElement?.getAttribute('data-testid'))).toBe('disable-user');
    await page.keyboard.press('Enter');
    await page.click(testId('disable-confirm'));
    await expect.poll(disabled).toEqual(['TE-04']);
  });

  it('shows the accounts to whoever may see them, and tells nobody who is signed in that they are not', async () => {
    server.world.users.push({ id: 'u-au', name: 'AU-1', role: 'auditor', disabled: false, password: 'auditor-1' });
    const { page } = await open();
    await go(page, 'settings');
    const users = page.locator('section.users');
    await users.locator('text=Nobody signed in').waitFor();
    await signIn(page, 'OP-17', 'operator-1');
    await users.locator('text=You are signed in as OP-17 (Operator).').waitFor();
    expect(await users.textContent()).not.toContain('Nobody signed in');
    await page.click(testId('user-menu'));
    await page.click(testId('sign-out'));
    await signIn(page, 'AU-1', 'auditor-1');
    await users.locator('li:has-text("TE-04")').waitFor();
    await page.waitForSelector(testId('two-persons-auto'));
  });

  it('asks before it deletes a badge, and goes back without doing it', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    await page.click(testId('set-quick-code') + ' >> nth=0');
    await page.click('dialog >> text=Delete…');
    await page.waitForSelector('dialog >> text=then cannot sign in with a badge');
    expect(await findings(page)).toEqual([]);
    await page.click('dialog >> text=Cancel');
    await page.waitForSelector(testId('quick-code-new'));
  });

  it('keeps what is half filled in when the session ends and the same person signs in again', async () => {
    const engineer = { id: 'u-en', name: 'EN-09', role: 'engineer', disabled: false, password: 'engineer-1' } as const;
    server.world.users.push(engineer);
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    await page.fill(testId('station-name'), 'Press 9');
    await page.click(testId('user-menu'));
    await page.click(testId('sign-out'));
    await page.waitForSelector(testId('open-sign-in'));
    await signIn(page, 'SV-02', 'supervisor');
    expect(await page.inputValue(testId('station-name'))).toBe('Press 9');
    await page.click(testId('user-menu'));
    await page.click(testId('sign-out'));
    await signIn(page, engineer.name, engineer.password);
    await expect.poll(() => page.inputValue(testId('station-name'))).not.toBe('Press 9');
  });

  it('proves an update, writes its package and says what an administrator types', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'settings');
    await page.click(testId('update-choose'));
    await page.fill(testId('path'), '/media/usb/new.mekiki-update');
    await page.click(testId('path-go'));
    await page.waitForSelector(`${testId('update-dialog')} >> text=mekiki_1.4.0_amd64.deb`);
    expect(await findings(page)).toEqual([]);
    await page.click(testId('update-unpack'));
    await page.waitForSelector(testId('update-unpacked'));
    expect(await page.textContent(testId('update-command'))).toContain('sudo dpkg --install');
  });
});

describe('Reports', () => {
  it('say on paper and in a file what they cover, and that a demo is one, in both languages', async () => {
    server.world.session = { ...server.world.session, demo: true };
    server.world.line = { ...server.world.line, parts: 100, droppedFrames: 300, lostRecords: 12 };
    const { page } = await open();
    await go(page, 'reports');
    await page.waitForSelector(`${testId('report-head')} dd >> nth=5`, { state: 'attached' });
    // Of this run; what was lost is told of all runs, so it is no share of this one.
    expect(await page.textContent(testId('dropped-share'))).toBe('75.00 %');
    expect(await page.textContent(testId('lost-records'))).toBe('12');
    const saved = async () => {
      const download = page.waitForEvent('download');
      await page.click(testId('report-csv'));
      const file = await download;
      expect(file.suggestedFilename()).toContain('DEMO');
      return (await readFile(await file.path(), 'utf8')).replace('\uFEFF', '').split('\r\n');
    };
    const zone = await page.evaluate(() => new Intl.DateTimeFormat().resolvedOptions().timeZone);
    const [mark, station, period, models, zones, made, gap, columns] = await saved();
    expect(mark).toBe('DEMO,Made in a demo: no part of a plant was inspected.');
    expect(station).toBe(`Station,"${server.world.stations[0]!.name}"`);
    expect(period).toMatch(/^Period,\d{4}-\d\d-\d\d \d\d:00:00 – \d{4}-\d\d-\d\d \d\d:00:00$/);
    expect(models).toContain('m-0041 (since 2026-0');
    expect(zones).toMatch(new RegExp(`^Time zone,"?${zone}, UTC[+−]\\d\\d:\\d\\d`));
    expect(made).toContain('Made,');
    expect(gap).toBe('');
    expect(columns).toMatch(/^When,.*,OK,NG,/);
    await page.click(testId('language-ja'));
    await expect.poll(async () => (await saved())[0]).toContain('デモで作成');
    // The same on paper, and the mark on every sheet; on the screen neither.
    expect(await page.isVisible(testId('report-head'))).toBe(false);
    expect(await page.isVisible('.demo-mark')).toBe(false);
    await page.emulateMedia({ media: 'print' });
    expect(await page.isVisible(testId('report-head'))).toBe(true);
    expect(await page.textContent(testId('report-head'))).toContain(zone);
    expect(await page.locator('.demo-mark').evaluate((mark) => getComputedStyle(mark).position)).toBe('fixed');
    expect(await page.textContent('.demo-mark')).toBe('デモ');
    // The rail is not printed, and leaves no gap: the report has the sheet.
    const width = (await page.locator('.panel').first().boundingBox())!.width;
    expect(width).toBeGreaterThan(0.9 * page.viewportSize()!.width);
    if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/print.png` });
    await page.emulateMedia({ media: 'screen' });
  });

  it('show no figures of a period before under the one that is asked for', async () => {
    const { page } = await open();
    await go(page, 'reports');
    const parts = () => page.textContent(testId('report-parts'));
    await expect.poll(parts).not.toBe('–');
    const release = server.hold('reports.summary');
    await page.click(testId('period-day'));
    await page.waitForSelector(`${testId('period-day')}[aria-pressed=true]`);
    expect(await parts()).toBe('–');
    for (const button of ['report-csv', 'report-print'])
      expect(await page.getAttribute(testId(button), 'aria-disabled'), button).toBe('true');
    release();
    await expect.poll(parts).not.toBe('–');
    expect(await page.getAttribute(testId('report-print'), 'aria-disabled')).toBe('false');
  });

  it('keeps what somebody zoomed in on while a chart is drawn anew, until a double click', async () => {
    const { page } = await open();
    await go(page, 'reports');
    await page.waitForSelector(`${testId('drift')} [data-points] canvas`);
    await settled(page);
    const chart = page.locator('[data-zoomed]').first();
    const zoomed = () => chart.getAttribute('data-zoomed');
    const box = (await chart.locator('.u-over').boundingBox())!;
    await page.mouse.move(box.x + 0.3 * box.width, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + 0.6 * box.width, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    await expect.poll(zoomed).toBe('true');
    await chart.locator('canvas').evaluate((canvas) => (canvas.dataset['drawn'] = 'before'));
    await page.setViewportSize({ width: 1300, height: 900 });
    await expect.poll(() => chart.locator('canvas').getAttribute('data-drawn')).toBeNull();
    expect(await zoomed()).toBe('true');
    await chart.locator('.u-over').dblclick();
    await expect.poll(zoomed).toBe('false');
  });

  it('show the first point of a chart in the middle of its day, not at the begin of years', async () => {
    server.world.driftGroups = 1;
    const { page } = await open();
    await go(page, 'reports');
    const chart = page.locator(`${testId('drift')} [data-points="1"]`).first();
    await chart.press('Home');
    const place = async (of: string) => (await chart.locator(of).first().boundingBox())!;
    const [over, point] = [await place('.u-over'), await place('.u-cursor-pt')];
    expect((point.x + point.width / 2 - over.x) / over.width).toBeCloseTo(0.5, 2);
    expect(await chart.getAttribute('data-zoomed')).toBe('false');
  });
});

describe('Approve', () => {
  it('lets an operator look but not sign, and a supervisor reject with a reason', async () => {
    const { page } = await open();
    await signIn(page, 'OP-17', 'operator-1');
    await go(page, 'approve');
    await page.waitForSelector('#why >> text=supervisor');
    await page.click(testId('reject'));
    await page.waitForSelector(`dialog ${testId('sign-in-name')}`);
    await page.fill(testId('sign-in-name'), 'SV-02');
    await page.fill(testId('sign-in-password'), 'supervisor');
    await page.click(testId('sign-in-submit'));
    await page.waitForSelector(testId('sign-in-name'), { state: 'detached' });
    await page.click(testId('reject'));
    expect(await page.isDisabled(testId('reject-confirm'))).toBe(true);
    await page.fill(testId('reject-reason'), 'Misses shallow pits.');
    await page.click(testId('reject-confirm'));
    await page.waitForSelector('text=Nothing waits for a decision');
    expect(server.world.candidates.find(({ id }) => id === 'm-0042')?.rejection?.reason).toBe('Misses shallow pits.');
  });

  it('keeps what is written with its candidate, and what was on the screen with whoever saw it', async () => {
    const { page } = await open();
    await go(page, 'approve');
    // The first picture is slow, the last one is there no longer.
    const { changed } = server.world.candidates.find(({ id }) => id === 'm-0042')!.evidence;
    const { promise: slow, resolve: arrives } = Promise.withResolvers<void>();
    await page.route(`**/image/${changed[0]!.imageSha}`, (route) => slow.then(() => route.continue()));
    await page.route(`**/image/${changed.at(-1)!.imageSha}`, (route) => route.fulfill({ status: 404 }));
    const seen = () => page.textContent(testId('seen'));
    const shown = () => page.waitForSelector(`${testId('viewer-picture')} :is([data-zoom], .gone)`);
    await page.click(testId('next-unseen'));
    await page.keyboard.press('ArrowRight');
    expect([await seen(), await page.textContent('dialog h2')]).toEqual(['0 of 6 seen', 'Changed verdict 1 of 6']);
    arrives();
    await shown();
    expect(await seen()).toBe('1 of 6 seen');
    // However long it is held down.
    for (let i = 0; i < 3; i += 1) {
      await page.keyboard.down('ArrowRight');
      await shown();
    }
    await page.keyboard.up('ArrowRight');
    expect(await page.textContent('dialog h2')).toBe('Changed verdict 2 of 6');
    for (let i = 2; i < 6; i += 1) {
      await page.keyboard.press('ArrowRight');
      await shown();
    }
    await page.waitForSelector('dialog >> text=The picture of this part is no longer kept.');
    await page.keyboard.press('ArrowRight');
    await page.waitForSelector(testId('viewer-next'), { state: 'detached' });
    expect(await seen()).toBe('6 of 6 seen');
    await signIn(page, 'SV-02', 'supervisor');
    await page.waitForSelector('#why >> text=Opens when all 6 changed verdicts have been seen');

    await page.fill(testId('waiver'), 'Fourteen parts at once.');
    await page.click(testId('reject'));
    await page.fill(testId('reject-reason'), 'Misses shallow pits.');
    // A newer one comes meanwhile: the decision is about the one that was on screen.
    const decided = server.world.candidates.find(({ id }) => id === 'm-0042')!;
    server.world.candidates = [{ ...decided, id: 'm-0043' }, ...server.world.candidates];
    server.emit('candidates.changed', { stationId: STATION });
    await page.waitForSelector('select:has(option[value="m-0043"])', { state: 'attached' });
    await page.click(testId('reject-confirm'));
    await expect.poll(() => server.world.candidates.find(({ id }) => id === 'm-0042')?.state).toBe('rejected');
    expect(server.world.candidates.find(({ id }) => id === 'm-0043')?.state).toBe('submitted');
    await page.waitForSelector(`${testId('decision-candidate')} >> text=m-0043`);
    expect(await page.inputValue(testId('waiver'))).toBe('');
  });

  it('takes no picture for seen that could not be fetched, and asks for it again after a re-connection', async () => {
    const { page } = await open();
    await go(page, 'approve');
    await page.route('**/image/*', (route) => route.abort());
    const failures: string[] = [];
    page.on('requestfailed', (request) => failures.push(request.resourceType()));
    await page.click(testId('next-unseen'));
    // Asked for as a picture, and once more for what became of it.
    await expect.poll(() => failures).toContain('fetch');
    expect(await page.textContent(testId('seen'))).toBe('0 of 6 seen');
    await page.unroute('**/image/*');
    server.cut();
    await page.waitForSelector(`${testId('viewer-picture')} [data-zoom]`);
    expect(await page.textContent(testId('seen'))).toBe('1 of 6 seen');
  });

  it('shows what candidate and active model hold in memory once archived frames were judged with both', async () => {
    const { page } = await open();
    await go(page, 'approve');
    // Whoever may not is asked to sign in, and not told off.
    await page.click('text=Judge archived frames');
    await page.fill(testId('sign-in-name'), 'SV-02');
    await page.fill(testId('sign-in-password'), 'supervisor');
    await page.click(testId('sign-in-submit'));
    await page.waitForSelector(testId('sign-in-name'), { state: 'detached' });
    await page.fill(testId('approve-password'), 'supervisor');
    const memory = () => page.locator(testId('memory')).allTextContents();
    await expect.poll(async () => (await memory()).map((text) => /\/ (\S+)/.exec(text)?.[1])).toEqual(['–', '–']);
    const shown = await appears(page, `${testId('job')}[data-job="shadow"]`);
    await page.click('text=Judge archived frames');
    await shown();
    await expect.poll(async () => (await memory()).map((text) => /\/ (\S+)/.exec(text)?.[1])).toEqual(['171', '205']);
    // No decision was made: what was typed for one is still there.
    expect(await page.inputValue(testId('approve-password'))).toBe('supervisor');
    expect(await findings(page)).toEqual([]);
  });

  it('asks for the golden set, and for a waiver where it says too little', async () => {
    server.world.goldenGates = { due: true, gates: [] };
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'approve');
    await page.waitForSelector('#why >> text=golden set');
    const gate = { name: 'golden-escape', limit: '<= 5 %', measured: '0 % (0 / 20)', bound: '13.9 %', missing: 39 };
    server.world.goldenGates = { due: false, gates: [{ ...gate, outcome: 'not-enough-evidence' }] };
    server.world.candidates = server.world.candidates.map((candidate) => ({
      ...candidate,
      evidence: { ...candidate.evidence, gates: [] },
    }));
    server.emit('candidates.changed', { stationId: STATION });
    await page.reload();
    await signIn(page, 'SV-02', 'supervisor');
    await page.waitForSelector('[data-gate="golden-escape"][data-outcome="not-enough-evidence"]');
    await page.waitForSelector(testId('waiver'));
    expect(await findings(page)).toEqual([]);
  });

  it('compares the balanced recall over the classes that both models know, and says over which', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'approve');
    const shown = (id: string) => page.locator(testId(id)).allInnerTexts();
    const [actives, deployed] = [await shown('active-recall'), await shown('deployed-recall')];
    const common = actives.flatMap((text, i) => (text === '–' ? [] : [[Number(text), Number(deployed[i])] as const]));
    expect(common.length).toBe(actives.length - 1);
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [before, after] = [mean(common.map(([value]) => value)), mean(common.map(([, value]) => value))];
    expect(Number(await page.innerText(testId('balanced-active')))).toBeCloseTo(before, 1);
    expect(Number(await page.innerText(testId('balanced-deployed')))).toBeCloseTo(after, 1);
    expect(Number((await page.innerText(testId('balanced-change'))).replace('−', '-'))).toBeCloseTo(after - before, 1);
    expect(await page.innerText(testId('balanced'))).toContain(`${common.length} of ${actives.length} classes`);
    expect(await findings(page)).toEqual([]);
  });

  it('says what other stations gave as sums, how well it was mapped, and what was not measured', async () => {
    const sums = (map: NonNullable<Candidate['evidence']['sumsOfOthers']>['map']) => {
      server.world.candidates = server.world.candidates.map((candidate) => ({
        ...candidate,
        evidence: {
          ...candidate.evidence,
          perClass: candidate.evidence.perClass.map((row) => (row.classId === 'c-roll' ? { ...row, n: 0 } : row)),
          sumsOfOthers: { classes: [{ classId: 'c-roll', parts: 14, here: 0 }], files: ['0'.repeat(64)], map },
        },
      }));
    };
    sums({ images: 612, r2: 0.312, heldOut: 'classes', poor: true });
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'approve');
    const said = async () => (await page.locator(testId('sums-of-others')).innerText()).replaceAll(/\s+/g, ' ').trim();
    const name = server.world.classes.find(({ id }) => id === 'c-roll')!.names.en;
    expect(await said()).toBe(
      `What other stations learnt is mapped poorly to this model (R² 0.31), so how such parts are judged is uncertain: ${name} (14). ` +
        `Not measured here, no pictures: ${name}.`,
    );
    expect(await page.textContent(testId('not-measured'))).toBe('not measured here: no pictures, or all of one part');
    // What inspects against what inspects, class by class; what was held out stands beside it.
    const shown = (id: string) => page.locator(testId(id)).allInnerTexts();
    const [before, after, change] = [
      await shown('active-recall'),
      await shown('deployed-recall'),
      await shown('recall-change'),
    ];
    expect(change.length).toBeGreaterThan(3);
    expect(change.map((text) => Number(text.replace('−', '-')).toFixed(1))).toEqual(
      before.map((text, i) => (Number(after[i]) - Number(text)).toFixed(1)),
    );
    expect(await findings(page)).toEqual([]);
    for (const [width, height] of [
      [1366, 768],
      [1920, 1080],
    ] as const) {
      await page.setViewportSize({ width, height });
      await settled(page);
      const table = page.locator('.scroll:has(> .delta)');
      expect(await table.evaluate((scroll) => scroll.scrollWidth - scroll.clientWidth)).toBeLessThanOrEqual(1);
      if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/sums-${width}.png` });
    }
    sums(null);
    await page.reload();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'approve');
    expect(await said()).toContain(`What other stations learnt is added exactly: ${name} (14).`);
  });

  it('tells parity step by step, of older evidence the last step alone, and what pruning left alone', async () => {
    const untouched = ['stem', 'out'].map((group) => ({ group, why: 'it is the output features' }));
    server.world.candidates = server.world.candidates.map((candidate) => ({
      ...candidate,
      evidence: { ...candidate.evidence, untouched, unknownOperators: { LRN: 1 } },
    }));
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'approve');
    const steps = () => page.locator(testId('parity-step')).allInnerTexts();
    await expect.poll(async () => (await steps()).length).toBe(4);
    expect((await steps())[0]).toMatch(/99\.5 %\s*Δ 0\.31/);
    await page.waitForSelector('dt >> text=Trained → compressed');
    expect(await page.innerText(testId('untouched'))).toBe('2 channel groups');
    expect(await page.getAttribute(testId('untouched'), 'title')).toBe('stem, out');
    expect(await page.innerText(testId('unknown-operators'))).toBe('LRN (1)');
    expect(await findings(page)).toEqual([]);
    await page.setViewportSize({ width: 1366, height: 768 });
    await settled(page);
    // No name is so long that it leaves the figures no room.
    const cutOff = (all: Element[]) => all.filter((each) => each.scrollWidth > each.clientWidth + 1).length;
    expect(await page.locator('.pane .kv dd').evaluateAll(cutOff)).toBe(0);
    if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/left-alone.png` });
    server.world.candidates = server.world.candidates.map((candidate) => {
      const { parityStages: _stages, ...evidence } = candidate.evidence;
      return { ...candidate, evidence };
    });
    server.emit('candidates.changed', { stationId: STATION });
    await expect.poll(async () => (await steps()).length).toBe(1);
    await page.waitForSelector('dt >> text=Measured → deployed');
  });

  it('asks for a refresh of a golden set that judged too often', async () => {
    server.world.golden = goldenSet(21);
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'approve');
    await page.waitForSelector(`${testId('golden-refresh-due')} >> text=used 21 times`);
    expect(await findings(page)).toEqual([]);
  });

  it('closes signing for a candidate that fails a gate', async () => {
    server.world.candidates = server.world.candidates.map((candidate) =>
      candidate.id === 'm-0042'
        ? {
            ...candidate,
            evidence: {
              ...candidate.evidence,
              gates: candidate.evidence.gates.map((gate) =>
                gate.name === 'escape' ? { ...gate, outcome: 'fail' as const } : gate,
              ),
            },
          }
        : candidate,
    );
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'approve');
    await page.waitForSelector('[data-gate="escape"][data-outcome="fail"]');
    await page.waitForSelector('#why >> text=fails a gate');
  });
});

describe('Models', () => {
  it('plans an activation for a time, tells it on Live as well, and takes it back', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'models');
    await page.click(`${testId('model-node')}[data-model="m-0039"]`);
    await page.click(testId('activate-at'));
    expect(await page.inputValue(testId('plan-when'))).toMatch(/T(06|14|22):00$/);
    expect(await findings(page)).toEqual([]);
    await page.fill(testId('plan-when'), '2099-05-01T22:00');
    // Back to an earlier model: signed as it is planned, for nobody need be there at its time.
    expect(await page.isDisabled(testId('plan-set'))).toBe(true);
    await page.fill(testId('plan-password'), 'supervisor');
    await page.click(testId('plan-set'));
    await page.waitForSelector(`${testId('planned')} >> text=m-0039 becomes active on 2099-05-01 22:00 (SV-02).`);
    expect(await findings(page)).toEqual([]);
    await go(page, 'live');
    await page.waitForSelector(testId('planned'));
    await page.click(testId('plan-cancel'));
    await page.waitForSelector(testId('planned'), { state: 'detached' });
    expect(server.world.planned).toBeNull();
  });

  it('writes a model into a file, and says in place why one is refused', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'models');
    await page.click(testId('export-bundle'));
    await page.fill(testId('path'), '/media/usb/m-0041.mekiki');
    expect(await findings(page)).toEqual([]);
    await page.click(testId('path-go'));
    await page.waitForSelector(`${testId('notice')} >> text=usb/m-0041.mekiki`);
    await page.click(testId('import-bundle'));
    await page.fill(testId('path'), '/media/usb/other.mekiki');
    await page.press(testId('path'), 'Enter');
    await page.waitForSelector('dialog >> text=other.mekiki does not match');
    expect(await page.isDisabled(testId('bundle-import'))).toBe(true);
  });

  it('shows what a bundle is, and takes it only from a trusted installation and when somebody says so', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'models');
    await page.click(testId('import-bundle'));
    await page.fill(testId('path'), '/media/usb/m-0099.mekiki');
    await page.press(testId('path'), 'Enter');
    await page.waitForSelector(testId('bundle-valid'));
    const key = page.locator(testId('bundle-key'));
    expect(await key.textContent()).toBe(Array.from({ length: 8 }, () => 'cccccccc').join(' '));
    // It is compared to its end: nothing of it is cut off.
    expect(await key.evaluate((element) => element.scrollWidth <= element.clientWidth)).toBe(true);
    expect(await page.isDisabled(testId('bundle-import'))).toBe(true);
    expect(await findings(page)).toEqual([]);
    await page.fill(testId('bundle-trust-name'), 'Plant 2');
    await page.click(testId('bundle-trust'));
    await page.waitForSelector(testId('bundle-trusted'));
    expect(server.world.imported).toEqual([]);
    await page.click(testId('bundle-import'));
    await page.waitForSelector(`${testId('notice')} >> text=is a candidate now`);
    expect(server.world.imported).toEqual(['/media/usb/m-0099.mekiki']);
  });
});

describe('whoever has a password that somebody else made', () => {
  it('sees nothing but the request to change it, and signs out by closing it', async () => {
    server.world.session.passwordDue = true;
    const { page } = await open();
    await page.waitForSelector('dialog >> text=Choose your own password');
    expect(await findings(page)).toEqual([]);
  });
});

describe('a damaged database', () => {
  it('is told with what a repair costs, and repaired only by whoever may and says so', async () => {
    server.world.damage = {
      problems: ['Tree 17 page 210: btreeInitPage() returns error code 11'],
      tables: [{ name: 'parts', read: 2981, unreadable: true, dangling: 0 }],
      hopeless: null,
      accounts: [{ name: 'SV-02', role: 'supervisor' }],
      kept: null,
    };
    const { page } = await openPage(browser, server.url);
    await page.waitForSelector(testId('repair-cost'));
    expect(await page.textContent(testId('repair-cost'))).toContain('2981');
    expect(await findings(page)).toEqual([]);
    expect(await page.isDisabled(testId('repair-do'))).toBe(true);
    await page.check(testId('repair-sure'));
    await page.fill(testId('repair-password'), 'wrong');
    await page.click(testId('repair-do'));
    await page.waitForSelector('[role="alert"] >> text=Name or password is wrong');
    await page.fill(testId('repair-password'), 'right');
    await page.press(testId('repair-password'), 'Enter');
    await page.waitForSelector(`${testId('repair-done')} >> text=damaged-1`);
  });
});

describe('jobs', () => {
  it('shows time left, and can be cancelled', async () => {
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'learn');
    server.emit('jobs.progressed', {
      id: 'j-long',
      kind: 'compress',
      stationId: STATION,
      state: 'running',
      progress: 0.68,
      secondsLeft: 1130,
      step: { key: 'compress.time', details: { done: 12, total: 18 } },
      startedAt: new Date().toISOString(),
      problem: null,
      result: [],
    });
    await page.waitForSelector('text=18 min 50 s left');
    expect(await page.textContent(testId('job'))).toContain('Timing on this PC, interleaved · 12 of 18');
    server.world.jobs = [
      {
        id: 'j-long',
        kind: 'compress',
        stationId: STATION,
        state: 'running',
        progress: 0.7,
        secondsLeft: 900,
        step: { key: 'compress.time', details: {} },
        startedAt: new Date().toISOString(),
        problem: null,
        result: [],
      },
    ];
    await page.click(testId('cancel-job'));
    await page.waitForSelector(testId('job'), { state: 'detached' });
    expect(server.world.jobs[0]?.state).toBe('cancelled');

    for (const [kind, key, area] of [
      ['shadow', 'shadow.preparing', 'approve'],
      ['golden', 'golden.read', 'approve'],
      ['recheck', 'recheck.measure', 'models'],
    ] as const) {
      const job: Job = {
        ...server.world.jobs[0]!,
        id: `j-${kind}`,
        kind,
        state: 'running',
        step: { key, details: {} },
      };
      server.world.jobs = [job];
      server.emit('jobs.progressed', job);
      // An update behind it says what it waits for.
      await go(page, 'learn');
      server.emit('jobs.progressed', { ...job, id: `j-after-${kind}`, kind: 'update', state: 'waiting' });
      const names = { shadow: 'Shadow run', golden: 'Golden set', recheck: 'Measurement of the model' };
      await page.waitForSelector(`${testId('job')} >> text=After: ${names[kind]}`);
      server.emit('jobs.progressed', { ...job, id: `j-after-${kind}`, kind: 'update', state: 'cancelled' });
      await go(page, area);
      const panel = page.locator(`${testId('job')}[data-job="${kind}"]`);
      await panel.locator('text=15 min 0 s left').waitFor();
      expect(await findings(page)).toEqual([]);
      if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/job-${kind}.png` });
      await panel.locator(testId('cancel-job')).click();
      await panel.waitFor({ state: 'detached' });
      expect(server.world.jobs[0]?.state).toBe('cancelled');
    }
  });

  it('that run when the answer of their start comes do not wait for their turn', async () => {
    server.world.jobMs = 60_000;
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await go(page, 'models');
    await page.click(testId('measure-again'));
    const panel = page.locator(`${testId('job')}[data-job="recheck"]`);
    await panel.waitFor();
    await settled(page);
    expect(await panel.textContent()).toContain('3 s left');
  });

  it('can be paused where it goes on later, is paused still after a reload, and is resumed or discarded', async () => {
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'learn');
    const job: Job = {
      id: 'j-long',
      kind: 'compress',
      stationId: STATION,
      state: 'running',
      progress: 0.4,
      secondsLeft: 900,
      step: { key: 'compress.time', details: {} },
      startedAt: '2026-01-01T00:00:00.000Z',
      problem: null,
      result: [],
    };
    server.world.jobs = [job];
    server.emit('jobs.progressed', job);
    await page.waitForSelector(testId('job'));
    // One that would begin anew has no pause.
    expect(await page.isVisible(testId('pause-job'))).toBe(false);
    server.world.jobs = [{ ...job, resumable: true }];
    server.emit('jobs.progressed', { ...job, resumable: true });
    await page.click(testId('pause-job'));
    await page.waitForSelector(testId('resume-job'));
    await page.reload();
    await page.waitForSelector(testId('resume-job'));
    expect(await page.textContent(testId('job'))).toMatch(/Paused.*1 min 30 s used/s);
    await signIn(page, 'TE-04', 'technician');
    await page.click(testId('resume-job'));
    await page.waitForSelector(testId('pause-job'));
    // The pause, of months here, is no time that it used.
    expect(await page.textContent(testId('job'))).toMatch(/1 min 3\d s used/);
    await page.click(testId('pause-job'));
    await page.waitForSelector(testId('resume-job'));
    // Only a search has found something to finish.
    expect(await page.isVisible(testId('finish-job'))).toBe(false);
    const variant = '160 px instead of 224 px, 65 % of the arithmetic pruned (by all classes), 8-bit integers';
    const search: Job = {
      ...job,
      resumable: true,
      finishable: true,
      step: { key: 'compress.try', details: { variant } },
    };
    server.world.jobs = [search];
    server.emit('jobs.progressed', search);
    await page.waitForSelector(testId('finish-job'));
    expect(await findings(page)).toEqual([]);
    if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/job-search.png` });
    await page.click(testId('finish-job'));
    await page.waitForSelector(`${testId('job')}[data-step="compress.finish"]`);
    expect(await page.isVisible(testId('finish-job'))).toBe(false);
    await page.click(testId('pause-job'));
    await page.waitForSelector(testId('resume-job'));
    expect(await page.textContent(testId('cancel-job'))).toBe('Discard');
    await page.click(testId('cancel-job'));
    await page.waitForSelector(testId('job'), { state: 'detached' });
  });

  it('says what failed and what to do next, until somebody has read it', async () => {
    const { page } = await open();
    const failed = (found: number): Job => ({
      id: `j-bad-${found}`,
      kind: 'update',
      stationId: STATION,
      state: 'failed',
      progress: 0.1,
      secondsLeft: null,
      step: { key: 'update.features', details: {} },
      startedAt: new Date().toISOString(),
      problem: { code: 'TOO_FEW_CLASSES', message: '', nextAction: '', details: { found, needed: 2 } },
      result: [],
    });
    server.emit('jobs.progressed', failed(1));
    await page.waitForSelector(`${testId('notice-error')} >> text=1 class(es) have images; 2 are needed.`);
    // News does not push it out.
    const { password: _password, ...user } = server.world.users[1]!;
    for (let i = 0; i < 4; i += 1) {
      server.emit('session.changed', { ...server.world.session, user });
      server.emit('session.changed', server.world.session);
    }
    const count = (id: string) => page.locator(testId(id)).count();
    await expect.poll(() => count('notice')).toBe(3);
    expect(await count('notice-error')).toBe(1);
    // Of very many the newest stay, and it is said that there were more.
    for (let found = 2; found <= 22; found += 1) server.emit('jobs.progressed', failed(found));
    await page.waitForSelector(`${testId('failures-gone')} >> text=2 earlier failures are no longer listed.`);
    expect(await count('notice-error')).toBe(20);
    expect(await findings(page)).toEqual([]);
    const main = (await page.locator('main').boundingBox())!;
    expect(main.height).toBeGreaterThan(0.5 * page.viewportSize()!.height);
    if (process.env['SCREENS']) await page.screenshot({ path: `${process.env['SCREENS']}/failures.png` });
    await page.click(testId('language-ja'));
    await page.waitForSelector(`${testId('notice-error')} >> text=2 個必要です`);
  });
});
