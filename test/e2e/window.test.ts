import type { Browser, Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import { go, openPage, settled, signIn, tabTo, testId } from './browser.ts';
import type { FixtureServer } from './fixtures/server.ts';
import { createWorld, judgementOf, partOf, STATION } from './fixtures/world.ts';
import { findings, smallTargets, useWindow } from './window-page.ts';

/* The window alone in a real Chromium, with made-up data behind the real contract. */

const areas = ['live', 'label', 'learn', 'approve', 'models', 'reports', 'settings', 'audit'] as const;

const window_ = useWindow();
let browser: Browser;
let server: FixtureServer;
beforeEach(async () => {
  ({ browser } = window_);
  server = await window_.serve(createWorld('shift'));
});

const open = async (options?: Parameters<typeof openPage>[2]) => {
  const opened = await openPage(browser, server.url, options);
  await opened.page.waitForSelector(testId('app-shell'));
  return opened;
};
describe('accessibility', () => {
  for (const theme of ['dark', 'light'] as const) {
    it(`has no serious finding and no small target on any screen, ${theme}`, async () => {
      const { page, problems } = await open({ theme });
      await signIn(page, 'SV-02', 'supervisor');
      for (const area of areas) {
        await go(page, area);
        await settled(page);
        expect(await findings(page), area).toEqual([]);
        expect(await smallTargets(page), area).toEqual([]);
      }
      // Scripts, styles, fonts and pictures come from the window's own address: the policy refused nothing.
      expect(problems).toEqual([]);
    });
  }

  it('has none on the first page, in the dialogs, and when nobody is signed in', async () => {
    const { page } = await open();
    await go(page, 'label');
    expect(await findings(page), 'gate').toEqual([]);
    await page.fill(testId('sign-in-name'), 'TE-04');
    await page.fill(testId('sign-in-password'), 'technician');
    await page.click(testId('sign-in-submit'));
    await page.waitForSelector(testId('queue-row'));
    await page.keyboard.press('n');
    await page.waitForSelector(testId('new-class-en'));
    expect(await findings(page), 'new class').toEqual([]);
    const first = await window_.serve(createWorld('first'));
    const start = await openPage(browser, first.url);
    await start.page.waitForSelector(testId('try-demo'));
    expect(await findings(start.page), 'first start').toEqual([]);
    expect(await smallTargets(start.page)).toEqual([]);
  });
});

describe('Live', () => {
  it('shows each verdict in a banner of the same size, and nothing else moves', async () => {
    const { page } = await open();
    await page.waitForSelector('[data-verdict="ng"]');
    await page.evaluate(() => {
      const shifts: string[] = [];
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
          const { value, sources } = entry as unknown as { value: number; sources: { node: Node | null }[] };
          if (value > 0)
            shifts.push(`${value} ${sources.map(({ node }) => node?.parentElement?.className ?? '').join(', ')}`);
        }
      }).observe({ type: 'layout-shift' });
      Object.assign(window, { shifts });
    });
    const sizes = new Set<string>();
    const measure = async () => {
      const boxes = await page.evaluate(() =>
        [
          '.verdict',
          '.verdict .shape',
          '.verdict .word',
          '.verdict .what',
          '.verdict .conf',
          '.cam',
          '.strip',
          '.acts',
        ].map((selector) => {
          const element = document.querySelector<HTMLElement>(selector)!;
          const { x, y, height } = element.getBoundingClientRect();
          // Laid-out width: the long word is scaled, which moves nothing.
          const width = element.offsetWidth ?? element.clientWidth;
          return ['.verdict .word', '.verdict .what', '.verdict .conf'].includes(selector)
            ? [x, width]
            : [x, y, width, height];
        }),
      );
      sizes.add(JSON.stringify(boxes.flat().map(Math.round)));
    };
    await measure();
    const verdicts = [
      ['ok', judgementOf('ok', 'c-ok', { tile: null })],
      ['unsure', judgementOf('unsure', 'c-pit', { unsureReason: 'novel', secondClassId: 'c-incl' })],
      ['ng', judgementOf('ng', 'c-scale')],
      ['unsure', judgementOf('unsure', null, { unsureReason: 'error', errorCode: 'INFERENCE_FAILED' })],
    ] as const;
    let id = 16_900;
    for (const [verdict, judgement] of verdicts) {
      id += 1;
      server.emit('parts.inspected', partOf(id, judgement, 'none'));
      await page.waitForSelector(`[data-verdict="${verdict}"] >> text=${id.toLocaleString('en-GB')}`);
      await measure();
    }
    expect(await page.evaluate(() => (window as unknown as { shifts: string[] }).shifts)).toEqual([]);
    await page.click(testId('stop-line'));
    await page.waitForSelector('[data-verdict="stopped"]');
    await measure();
    server.emit('line.changed', {
      ...server.world.line,
      state: 'running',
      startedAt: new Date(0).toISOString(),
      camera: 'fault',
    });
    await page.waitForSelector('[data-verdict="fault"]');
    await measure();
    expect(sizes.size).toBe(1);
  });

  it('shows an alarm in Live and Reports until it is acknowledged, and keeps it in the history', async () => {
    const { page } = await open();
    await signIn(page, 'TE-04', 'technician');
    server.world.alarms = [
      {
        id: 7,
        stationId: STATION,
        modelId: 'm-1',
        measure: 'unusual-share',
        at: '2026-01-01T00:00:00.000Z',
        partId: 4711,
        acknowledged: null,
      },
    ];
    server.emit('alarms.changed', { stationId: STATION });
    await page.waitForSelector(testId('alarm'));
    expect(await page.textContent(testId('alarm'))).toMatch(/4[,.]?711/);
    expect(await findings(page)).toEqual([]);
    await go(page, 'reports');
    await page.waitForSelector(testId('alarm'));
    await page.click(testId('acknowledge-alarm'));
    await page.waitForSelector(testId('alarm'), { state: 'detached' });
    expect(await page.textContent(testId('alarm-history'))).toContain('acknowledged by');
  });

  it('sends the part on screen to the queue by key, shows its heat map, and holds it while the line goes on', async () => {
    const { page } = await open();
    await page.click(`${testId('strip-part')} >> nth=7`);
    await page.waitForSelector('[data-verdict="ng"] >> text=16,808');
    await page.keyboard.press('h');
    await page.waitForSelector('canvas');
    server.tick();
    await page.waitForSelector(`${testId('strip-part')}[data-part="16813"]`);
    expect(await page.textContent('[data-verdict]')).toContain('16,808');
    await page.keyboard.press('q');
    await page.waitForSelector(`${testId('notice')} >> text=16,808`);
    expect(server.world.queue[0]?.part.id).toBe(16_808);
    await page.keyboard.press('Escape');
    await page.waitForSelector('[data-verdict] >> text=16,813');
  });

  it('keeps up with a fast line: latest wins, twelve parts, no notice', async () => {
    const { page, problems } = await open();
    await page.waitForSelector('[data-verdict="ng"]');
    for (let i = 0; i < 2000; i += 1) server.tick();
    await page.waitForSelector('[data-verdict] >> text=18,812');
    expect(await page.locator(testId('strip-part')).count()).toBe(12);
    expect(problems).toEqual([]);
  });
});

describe('connection', () => {
  it('says that it is lost, connects again by itself, and shows what changed meanwhile', async () => {
    const { page } = await open();
    await page.waitForSelector('[data-verdict="ng"]');
    server.world.stations[0]!.name = 'ST-02 renamed';
    server.cut();
    await page.waitForSelector(testId('connection-banner'));
    await page.waitForSelector(testId('connection-banner'), { state: 'detached' });
    await page.waitForSelector('text=ST-02 renamed');
    server.tick();
    await page.waitForSelector('[data-verdict] >> text=16,813');
  });
});

describe('language', () => {
  it('may be one that no number format knows, as under the POSIX locale: the window opens all the same', async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    await page.addInitScript(() =>
      Object.defineProperty(navigator, 'language', { value: 'en-US@posix', configurable: true }),
    );
    await page.goto(server.url);
    await page.waitForSelector(testId('app-shell'));
  });

  it('switches at run time, errors included', async () => {
    const { page } = await open();
    await page.click(testId('open-sign-in'));
    await page.fill(testId('sign-in-name'), 'TE-04');
    await page.fill(testId('sign-in-password'), 'wrong');
    await page.click(testId('sign-in-submit'));
    await page.waitForSelector('text=Name or password is wrong.');
    await page.keyboard.press('Escape');
    await page.click(testId('language-ja'));
    await page.waitForSelector('text=ライン停止');
    expect(await page.getAttribute('html', 'lang')).toBe('ja');
    // Bundled fonts alone: Japanese is drawn by the shipped face.
    expect(
      await page.evaluate(() =>
        document.fonts.ready.then(() => document.fonts.check("16px 'Noto Sans JP Variable'", '判定')),
      ),
    ).toBe(true);
    await page.click(testId('open-sign-in'));
    await page.fill(testId('sign-in-name'), 'TE-04');
    await page.fill(testId('sign-in-password'), 'wrong');
    await page.click(testId('sign-in-submit'));
    await page.waitForSelector('text=名前またはパスワードが違います。');
  });
});

describe('in Japanese', () => {
  /** Texts with two English words in a row, without what is called so in Japanese too. */
  const englishOn = (page: Page, called: readonly string[]) =>
    page.evaluate((names) => {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      const found: string[] = [];
      while (walker.nextNode()) {
        const { textContent, parentElement } = walker.currentNode;
        const text = names.reduce((left, name) => left.replaceAll(name, ''), textContent ?? '');
        if (/[A-Za-z]{2,}[\s,]+[A-Za-z]{2,}/.test(text) && parentElement?.checkVisibility()) found.push(textContent!);
      }
      return found;
    }, called);

  it('no screen has an English sentence left, what the core wrote into the evidence included', async () => {
    server.world.session.language = 'ja';
    // Entries of the trail are data, as they are in the file.
    server.world.audit = [];
    const { page } = await open({ locale: 'ja-JP' });
    await signIn(page, 'SV-02', 'supervisor');
    const names = [
      server.world.stations[0]!.name,
      'Example CPU @ 3.4 GHz',
      'I have reviewed the evidence',
      'GigE Vision',
      'Modbus TCP',
    ];
    for (const area of areas) {
      await go(page, area);
      await settled(page);
      expect(await englishOn(page, names), area).toEqual([]);
    }
    await go(page, 'learn');
    await page.waitForSelector('text=5.79 倍の速さ、交差検証の精度は 0.41 ポイント低下。');
    await page.click(testId('open-help'));
    await page.waitForSelector(testId('help'));
    expect(await englishOn(page, names), 'help').toEqual([]);
  });
});

describe('help', () => {
  it('explains every area without a network, and is searched; keys and pointer open it', async () => {
    const { page } = await open();
    await page.keyboard.press('?');
    await page.waitForSelector(testId('help'));
    expect(await findings(page)).toEqual([]);
    await page.fill(testId('help-search'), 'kappa');
    expect(
      await page
        .locator(`${testId('help')} dt`)
        .first()
        .textContent(),
    ).toBe('Kappa');
    // The first clears the search.
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await page.waitForSelector(testId('help'), { state: 'detached' });
    await page.click(testId('language-ja'));
    await page.click(testId('open-help'));
    await page.fill(testId('help-search'), '新規度');
    await page.waitForSelector(`${testId('help')} >> text=これまでラベルを付けたどれとも似ていない`);
  });
});

describe('the guided first round', () => {
  it('says in a demo what comes next, goes there, and can be hidden for good', async () => {
    server.world.session = { ...server.world.session, demo: true };
    // As the demo brings it: one knowledge and its model, nothing new.
    server.world.knowledge = server.world.knowledge.slice(0, 1);
    server.world.candidates = server.world.candidates
      .slice(0, 1)
      .map((candidate) => ({ ...candidate, knowledgeId: server.world.knowledge[0]!.id, state: 'active' }));
    const { page } = await open();
    await page.waitForSelector(`${testId('first-round')}[data-step="label"]`);
    expect(await findings(page)).toEqual([]);
    await page.click(testId('round-go'));
    await page.fill(testId('sign-in-name'), 'SV-02');
    await page.fill(testId('sign-in-password'), 'supervisor');
    await page.click(testId('sign-in-submit'));
    await page.waitForSelector(testId('queue-row'));
    await page.keyboard.press('2');
    await page.waitForSelector(`${testId('first-round')}[data-step="learn"]`);
    await page.click(testId('round-go'));
    await page.click(testId('update-knowledge'));
    await page.waitForSelector(`${testId('first-round')}[data-step="compress"]`);
    await page.click(testId('round-hide'));
    await page.reload();
    await page.waitForSelector(testId('app-shell'));
    expect(await page.locator(testId('first-round')).count()).toBe(0);
  });
});

describe('first start', () => {
  it('creates the first supervisor, and refuses a short or mistyped password in place', async () => {
    const first = await window_.serve(createWorld('first'));
    const { page } = await openPage(browser, first.url);
    await page.fill(testId('first-start-name'), 'hana');
    await page.fill(testId('first-start-password'), 'short');
    await page.click(testId('first-start-create'));
    await page.waitForSelector('text=At least 8 characters.');
    await page.fill(testId('first-start-password'), 'a long password');
    await page.click(testId('first-start-create'));
    await page.waitForSelector('text=The two passwords differ.');
    await page.fill(testId('first-start-password-again'), 'a long password');
    await page.click(testId('first-start-create'));
    await page.waitForSelector(testId('app-shell'));
    expect(await page.textContent(testId('user-name'))).toBe('hana');
    expect(await page.textContent('main')).toContain('No station yet');
  });
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
    expect(await total()).toBe('133');
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
    const [item] = server.world.queue;
    server.world.queue = Array.from({ length: 10_000 }, (_, i) => ({
      ...item!,
      groupId: null,
      groupSize: 1,
      part: { ...item!.part, id: 100_000 - i },
    }));
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
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('job'));
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
    expect(await page.textContent(testId('sureness'))).toContain('off by 1.3 %');
    // Closed, and it says why, until everything was seen.
    expect(await page.getAttribute(testId('approve-sign'), 'aria-disabled')).toBe('true');
    expect(await page.textContent('#why')).toContain('Opens when all 6 changed verdicts have been seen');
    await tabTo(page, testId('next-unseen'));
    await page.keyboard.press('Enter');
    await page.waitForSelector(testId('viewer-next'));
    for (let i = 0; i < 6; i += 1) await page.keyboard.press('ArrowRight');
    await page.waitForSelector(testId('viewer-next'), { state: 'detached' });
    expect(await page.textContent('#why')).toContain('waiver');
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
    await tabTo(page, testId('rollback-confirm'));
    await page.keyboard.press('Enter');
    await expect.poll(() => server.world.candidates.find(({ state }) => state === 'active')?.id).toBe('m-0041');
  });
});

describe('Learn', () => {
  it('keeps compression closed while a class has a single labelled part, and says which', async () => {
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
  });
});

describe('Approve', () => {
  it('lets an operator look but not sign, and a supervisor reject with a reason', async () => {
    const { page } = await open();
    await signIn(page, 'OP-17', 'operator-1');
    await go(page, 'approve');
    expect(await page.textContent('#why')).toContain('supervisor');
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
    expect(await page.textContent('#why')).toContain('fails a gate');
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

describe('Settings', () => {
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
      step: { key: 'compress.measure', details: { done: 12, total: 18 } },
      startedAt: new Date().toISOString(),
      problem: null,
      result: [],
    });
    await page.waitForSelector('text=18 min 50 s left');
    expect(await page.textContent(testId('job'))).toContain('Measuring on this PC · 12 of 18');
    server.world.jobs = [
      {
        id: 'j-long',
        kind: 'compress',
        stationId: STATION,
        state: 'running',
        progress: 0.7,
        secondsLeft: 900,
        step: { key: 'compress.measure', details: {} },
        startedAt: new Date().toISOString(),
        problem: null,
        result: [],
      },
    ];
    await page.click(testId('cancel-job'));
    await page.waitForSelector(testId('job'), { state: 'detached' });
    expect(server.world.jobs[0]?.state).toBe('cancelled');
  });

  it('says what failed and what to do next', async () => {
    const { page } = await open();
    server.emit('jobs.progressed', {
      id: 'j-bad',
      kind: 'update',
      stationId: STATION,
      state: 'failed',
      progress: 0.1,
      secondsLeft: null,
      step: { key: 'update.features', details: {} },
      startedAt: new Date().toISOString(),
      problem: { code: 'TOO_FEW_CLASSES', message: '', nextAction: '', details: { found: 1, needed: 2 } },
      result: [],
    });
    await page.waitForSelector(`${testId('notice-error')} >> text=1 class(es) have images; 2 are needed.`);
    await page.click(testId('language-ja'));
    await page.waitForSelector(`${testId('notice-error')} >> text=2 個必要です`);
  });
});
