import type { Browser, Page } from 'playwright-core';
import { beforeEach, describe, expect, it } from 'vitest';
import { appears, go, openPage, settled, signIn, testId } from './browser.ts';
import type { Station } from '../../main/contract/domain.ts';
import { AppError } from '../../main/contract/errors.ts';
import type { FixtureServer } from './fixtures/server.ts';
import { judgementOf, partOf, STATION } from './fixtures/parts.ts';
import { createWorld } from './fixtures/world.ts';
import { findings, smallTargets, useWindow } from './window-page.ts';

/* The window alone in a real Chromium, with made-up data behind the real contract. What is done in its areas: window-areas.test.ts. */

const areas = ['live', 'label', 'learn', 'approve', 'models', 'reports', 'settings', 'audit'] as const;

const window_ = useWindow();
let browser: Browser;
let server: FixtureServer;
beforeEach(async () => {
  ({ browser } = window_);
  server = await window_.serve(createWorld('shift'));
});

const { open } = window_;

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
    // Fonts and pictures that come late move what is there.
    await settled(page);
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
    const still = [
      '.verdict',
      '.verdict .shape',
      '.verdict .word',
      '.verdict .what',
      '.verdict .conf',
      '.strip',
      '.acts',
    ];
    const boxesOf = (selectors: string[]) =>
      page.evaluate(
        (all) =>
          all.map((selector) => {
            const element = document.querySelector<HTMLElement>(selector)!;
            const { x, y, height } = element.getBoundingClientRect();
            // Laid-out width: the long word is scaled, which moves nothing.
            const width = element.offsetWidth ?? element.clientWidth;
            return ['.verdict .word', '.verdict .what', '.verdict .conf'].includes(selector)
              ? [x, width].map(Math.round)
              : [x, y, width, height].map(Math.round);
          }),
        selectors,
      );
    const measure = async () => void sizes.add(JSON.stringify(await boxesOf([...still, '.cam'])));
    await measure();
    const before = await boxesOf(still);
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
    // The last one could not be judged: why, and what to do.
    await page.waitForSelector('[data-verdict="unsure"] >> text=The model failed on part 16,904.');
    await page.waitForSelector('[data-verdict="unsure"] >> text=Check the model under Models.');
    expect(await page.evaluate(() => (window as unknown as { shifts: string[] }).shifts)).toEqual([]);
    await page.click(testId('stop-line'));
    await page.waitForSelector('[data-verdict="stopped"]');
    await measure();
    const running = { ...server.world.line, state: 'running', startedAt: new Date(0).toISOString() } as const;
    const closing = new AppError('CAMERA_CLOSES_SLOWLY', { cameraId: 'ST-02', seconds: 15 }).toProblem();
    server.emit('line.changed', { ...running, camera: 'fault', problem: closing });
    await page.waitForSelector('[data-verdict="fault"]');
    await measure();
    expect([...sizes]).toHaveLength(1);

    // What is wrong is told whatever the banner shows; the room for it is the picture's.
    const note = testId('line-problem');
    expect(await page.locator(note).count()).toBe(0);
    server.emit('line.changed', { ...running, state: 'stopped', camera: 'fault', problem: closing });
    await page.waitForSelector(`[data-verdict="stopped"] ~ .panel ${note} >> text=The line can be started again`);
    const silent = new AppError('LINE_OUTPUT_SILENT', { seconds: 5 }).toProblem();
    server.emit('line.changed', { ...running, camera: 'well', problem: silent });
    await page.waitForSelector(`[data-verdict="unsure"] ~ .panel ${note} >> text=results are held back`);
    await page.waitForSelector('.lamps >> text=RUN look');
    expect(await boxesOf(still)).toEqual(before);
    await page.click(testId('language-ja'));
    await page.waitForSelector(`${note} >> text=結果の出力を止めています`);
  });

  it('shows what was told of the line last, however late other answers come, and nothing of a station that was left', async () => {
    const { world } = server;
    world.stations.push({ ...world.stations[0]!, id: 'st-9', name: 'ST-09' });
    const { page } = await open();
    await page.waitForSelector('[data-verdict="ng"]');
    const before = server.calls('candidates.list');
    const release = server.hold('candidates.list');
    // The list is fetched for itself, and with all else of the station.
    server.emit('candidates.changed', { stationId: STATION });
    await expect.poll(() => server.calls('candidates.list')).toBe(before + 2);
    server.emit('line.changed', { ...world.line, state: 'stopped' });
    server.emit('queue.changed', { stationId: STATION, total: 987 });
    await page.waitForSelector('[data-verdict="stopped"]');
    world.candidates = [];
    release();
    await page.waitForSelector(`${testId('active-model')}[data-model=""]`);
    await settled(page);
    expect(await page.getAttribute('[data-verdict]', 'data-verdict')).toBe('stopped');
    await page.waitForSelector(`${testId('area-label')} >> text=987`);

    server.hold('candidates.list');
    server.hold('queue.count');
    await page.click('.picker .station');
    await page.click('.picker >> text=ST-09');
    await page.waitForSelector(`${testId('area-label')} .n`, { state: 'detached' });
  });

  it('has a clock whose digits are of one width: as it ticks nothing moves', async () => {
    const { page } = await open();
    await page.waitForSelector('.clock');
    const widths = await page.evaluate(() => {
      const clock = document.querySelector<HTMLElement>('.clock')!;
      return ['2026-11-11 11:11:11', '2026-04-24 04:44:44', '2027-07-27 17:57:27'].map((time) => {
        clock.textContent = time;
        return clock.getBoundingClientRect().width;
      });
    });
    expect(new Set(widths).size).toBe(1);
  });

  it('reminds a supervisor, and nobody else, of looking at the active model again until it was measured', async () => {
    const { page } = await open();
    server.world.alarms = [
      {
        id: 9,
        stationId: STATION,
        modelId: 'm-0041',
        measure: 'revalidation',
        at: new Date().toISOString(),
        partId: 16_812,
        acknowledged: null,
      },
    ];
    server.emit('alarms.changed', { stationId: STATION });
    await signIn(page, 'TE-04', 'technician');
    await go(page, 'reports');
    await page.waitForSelector(`${testId('alarm-history')} >> text=The active model is to be looked at again.`);
    await go(page, 'live');
    expect(await page.locator(testId('revalidation')).count()).toBe(0);
    await page.click(testId('user-menu'));
    await page.click(testId('sign-out'));
    await signIn(page, 'SV-02', 'supervisor');
    await page.waitForSelector(`${testId('revalidation')} >> text=90 days ago`);
    // Quiet: it is no alarm, and nothing of it can be acknowledged.
    expect(await page.locator(testId('alarm')).count()).toBe(0);
    expect(await findings(page)).toEqual([]);
    await page.click(testId('revalidation-go'));
    await page.waitForSelector(`${testId('model-pane')}[data-model="m-0041"] ${testId('revalidation')}`);
    expect(await smallTargets(page)).toEqual([]);
    await page.click(testId('measure-again'));
    await page.waitForSelector(testId('revalidation'), { state: 'detached' });
    await page.waitForSelector(`${testId('measured-here')} >> text=as it was approved`);
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
    await page.waitForSelector(`${testId('alarm-history')} >> text=acknowledged by`);
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
    // Held down, it repeats.
    for (let times = 0; times < 3; times += 1) await page.keyboard.down('q');
    await page.keyboard.up('q');
    await page.waitForSelector(`${testId('notice')} >> text=16,808`);
    expect(server.world.queue[0]?.part.id).toBe(16_808);
    expect(server.calls('parts.toQueue')).toBe(1);
    await page.keyboard.press('Escape');
    await page.waitForSelector('[data-verdict] >> text=16,813');
  });

  it('asks for one heat map at a time, whatever comes meanwhile, and shows that of the part on screen', async () => {
    const { page } = await open();
    await page.waitForSelector('[data-verdict="ng"]');
    const release = server.hold('parts.heatMap');
    await page.keyboard.press('h');
    await expect.poll(() => server.calls('parts.heatMap')).toBe(1);
    for (const last of ['16,813', '16,814', '16,815']) {
      server.tick();
      await page.waitForSelector(`[data-verdict] >> text=${last}`);
    }
    expect(server.calls('parts.heatMap')).toBe(1);
    release();
    await page.waitForSelector('.cam canvas');
    expect(server.calls('parts.heatMap')).toBe(2);
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
    const boxes = () =>
      page.evaluate(() =>
        ['.verdict', '.verdict .shape', '.strip'].map((selector) => {
          const { x, y, width, height } = document.querySelector(selector)!.getBoundingClientRect();
          return [x, y, width, height];
        }),
      );
    await settled(page);
    const before = await boxes();
    const told = await appears(page, `:has(> ${testId('connection-banner')}) ~ main [data-verdict="unknown"]`);
    const release = server.hold('line.status');
    server.cut();
    await told();
    await page.waitForSelector(testId('connection-banner'), { state: 'detached' });
    await page.waitForSelector('text=ST-02 renamed');
    // What was shown before says nothing of the line now, until the core has answered.
    await page.waitForSelector('[data-verdict="unknown"] >> text=No word from the line');
    expect(await page.locator('.lamps .lamp >> text=unknown').count()).toBe(2);
    expect(await boxes()).toEqual(before);
    release();
    await page.waitForSelector('[data-verdict="ng"]');
    await page.waitForSelector('.lamps >> text=RUN');
    server.tick();
    await page.waitForSelector('[data-verdict] >> text=16,813');
  });

  it('asks for nothing that only the person before might see, and tells what it cut short, not what that led to', async () => {
    const { page } = await open();
    const failures = () => page.locator(testId('notice-error')).allTextContents();
    for (const area of ['settings', 'audit', 'label']) {
      await go(page, 'live');
      await signIn(page, 'SV-02', 'supervisor');
      await go(page, area);
      await settled(page);
      // What would go is counted a moment after the rest is there.
      if (area === 'settings') await page.waitForSelector(`${testId('goes-records')} >> text=0`);
      if (area === 'label') {
        server.hold('labels.create');
        await page.keyboard.press('2');
        await expect.poll(() => server.calls('labels.create')).toBe(1);
      }
      server.cut();
      await page.waitForSelector(testId('open-sign-in'));
      await settled(page);
      expect(await page.locator('dialog').count(), area).toBe(0);
      if (area !== 'label') expect(await failures(), area).toEqual([]);
    }
    await expect.poll(failures).toEqual([expect.stringContaining('The connection to core was lost.')]);
  });
});

describe('language', () => {
  it('may be one that no number format knows, as under the POSIX locale: the window opens all the same', async () => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
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
    await expect.poll(() => page.getAttribute('html', 'lang')).toBe('ja');
    // Bundled fonts alone: Japanese is drawn by the shipped face.
    await expect
      .poll(() => page.evaluate(() => document.fonts.check("16px 'Noto Sans JP Variable'", '判定')))
      .toBe(true);
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
    await page.waitForSelector('text=精度の低下は 0.41 ポイント。');
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

describe('a double click', () => {
  it('on the button that stops the line does not start it again', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    const box = (await page.locator(testId('stop-line')).boundingBox())!;
    const at = [box.x + box.width / 2, box.y + box.height / 2] as const;
    await page.mouse.click(...at);
    await page.waitForSelector(testId('start-line'));
    await page.mouse.move(...at);
    await page.mouse.down({ clickCount: 2 });
    await page.mouse.up({ clickCount: 2 });
    await settled(page);
    await page.waitForSelector('[data-verdict="stopped"]', { timeout: 10_000 });
    expect(server.world.line.state).toBe('stopped');
    // A click of its own starts it.
    await page.click(testId('start-line'));
    await page.waitForSelector(testId('stop-line'));
  });
});

describe('a page that is loaded again', () => {
  it('shows the station that its tab showed, whatever another tab shows', async () => {
    const [first] = server.world.stations as [Station];
    const second = { ...first, id: 'second', name: 'Second line' };
    server.world.stations = [first, second];
    const { page } = await open();
    const choose = async (of: Page, { name }: Station) => {
      await of.click('.picker .station');
      await of.click(`.picker [role=menuitemradio]:has-text("${name}")`);
      await of.waitForSelector(`.picker .station:has-text("${name}")`);
    };
    await choose(page, second);
    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.waitForSelector(`.picker .station:has-text("${second.name}")`);
    await choose(other, first);
    await page.reload();
    await page.waitForSelector(testId('app-shell'));
    await page.waitForSelector(`.picker .station:has-text("${second.name}")`, { timeout: 10_000 });
  });
});

describe('a menu of the bar', () => {
  const focused = (page: Page) => page.evaluate(() => document.activeElement?.textContent?.trim() ?? '');
  it('of stations is gone through by arrow keys, and leaves the focus where it hangs', async () => {
    const [first] = server.world.stations as [Station];
    server.world.stations = ['First', 'Second', 'Third'].map((name, i) =>
      i === 0 ? { ...first, name } : { ...first, name, id: name },
    );
    const { page } = await open();
    await page.focus('.picker .station');
    for (const [key, name] of [
      ['ArrowDown', 'First'],
      ['ArrowUp', 'Third'],
      ['ArrowDown', 'First'],
      ['ArrowDown', 'Second'],
    ] as const) {
      await page.keyboard.press(key);
      await expect.poll(() => focused(page)).toBe(name);
    }
    await page.keyboard.press('Enter');
    await page.waitForSelector('.picker .station:has-text("Second")');
    await expect.poll(() => focused(page)).toContain('Second');
    // From its last entry, where it is opened upwards.
    await page.keyboard.press('ArrowUp');
    await expect.poll(() => focused(page)).toBe('Third');
  });
  it('of the account gives the focus back after its dialog', async () => {
    const { page } = await open();
    await signIn(page, 'SV-02', 'supervisor');
    await page.click(testId('user-menu'));
    await page.click(testId('change-password'));
    await page.waitForSelector('dialog[open]');
    await page.keyboard.press('Escape');
    await page.waitForSelector('dialog', { state: 'detached' });
    expect(await page.evaluate(() => document.activeElement?.getAttribute('data-testid'))).toBe('user-menu');
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
    // On to its camera.
    await page.waitForSelector('[data-screen="settings"] >> text=New station');
  });
});
