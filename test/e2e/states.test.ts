import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { encodePng } from '../../main/vision/decode.ts';
import { AppError } from '../../main/contract/errors.ts';
import { go, openPage, settled, signIn, testId } from './browser.ts';
import { judgementOf, partOf, STATION } from './fixtures/parts.ts';
import { createWorld, type World } from './fixtures/world.ts';
import { findings, useWindow } from './window-page.ts';

/* Input that is not as nice as one thinks: each of these states has to look designed, in every area. */

const window_ = useWindow();
const areas = ['live', 'label', 'learn', 'approve', 'models', 'reports', 'settings', 'audit'] as const;

const open = async (world: World, size: { width?: number; height?: number } = {}) => {
  await window_.serve(world);
  const opened = await openPage(window_.browser, window_.server.url, size);
  await opened.page.waitForSelector(testId('app-shell'));
  await signIn(opened.page, 'SV-02', 'supervisor');
  return opened;
};
/** What sticks out of its panel or of the window, and texts that tell of a bug. */
const faults = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const found: string[] = [];
    const root = document.documentElement;
    if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} px wide in ${innerWidth}`);
    for (const panel of document.querySelectorAll<HTMLElement>('.panel, .verdict, .ph, .q, .kbtn, .part')) {
      if (!panel.checkVisibility() || panel.scrollWidth <= panel.clientWidth + 1) continue;
      found.push(
        `${panel.className}: ${panel.scrollWidth} in ${panel.clientWidth}, ${panel.textContent?.slice(0, 50)}`,
      );
    }
    // On Live nothing that is read from afar is cut: the words of the strip, the figures beside the camera.
    for (const word of document.querySelectorAll<HTMLElement>('.part > span:not(.sr)'))
      if (word.scrollWidth > word.clientWidth + 1) found.push(`a card of the strip cuts ${word.textContent}`);
    for (const beside of document.querySelectorAll<HTMLElement>('.side > *')) {
      const bottom = beside.parentElement!.getBoundingClientRect().bottom;
      if (beside.getBoundingClientRect().bottom > bottom + 1)
        found.push(`cut beside the camera: ${beside.textContent}`);
    }
    for (const gates of document.querySelectorAll<HTMLElement>('.scroll:has(> .gates)'))
      if (gates.scrollWidth > gates.clientWidth + 1)
        found.push(`a column of the gates is out of sight: ${gates.scrollWidth} in ${gates.clientWidth}`);
    for (const title of document.querySelectorAll<HTMLElement>('.ph:has(> .sub) > h2'))
      if (title.checkVisibility() && title.scrollWidth > title.clientWidth + 1 && title.textContent!.length < 40)
        found.push(`a title gives way: ${title.textContent}`);
    // Whoever decides sees what to type and to press without scrolling.
    for (const id of ['approve-password', 'approve-sign', 'reject', 'next-unseen']) {
      const box = document.querySelector(`[data-testid="${id}"]`)?.getBoundingClientRect();
      const seen = box && document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      if (box && seen?.getAttribute('data-testid') !== id) found.push(`${id} is out of sight`);
    }
    const text = document.body.innerText;
    for (const bug of ['NaN', 'undefined', 'Infinity', '[object', 'Invalid Date'])
      if (text.includes(bug)) found.push(`the screen says ${bug}`);
    return found;
  });
const shots = process.env['SCREENS'];
/** Every area, without a fault and without a finding of axe; `shape`: the page is as always, in another size or with other figures, so axe has seen it. */
const walk = async (page: Page, name: string, of: 'all' | 'shape' = 'all') => {
  for (const area of areas) {
    await go(page, area);
    await settled(page);
    // What would go is counted a moment after the rest is there.
    if (area === 'settings')
      await page.waitForFunction(
        () => !document.querySelector('[data-testid=goes-records]')?.textContent.startsWith('–'),
      );
    if (shots) await page.screenshot({ path: `${shots}/state-${name}-${area}.png` });
    expect(await faults(page), `${name}, ${area}`).toEqual([]);
    if (of === 'all') expect(await findings(page), `${name}, ${area}`).toEqual([]);
  }
};
const renamed = (world: World, name: (i: number) => string): World => ({
  ...world,
  classes: world.classes.map((known, i) => ({ ...known, names: { en: name(i), ja: name(i) } })),
});

describe('names', () => {
  it('of 80 characters without a space are cut, not the screen', async () => {
    const { page } = await open(
      renamed(createWorld('shift'), (i) => `${i}${'Oberflächenbeschichtungsfehler'.repeat(3)}`.slice(0, 80)),
    );
    window_.server.world.stations[0]!.name = 'St-02-'.padEnd(80, 'W');
    window_.server.emit('stations.changed', {});
    await walk(page, 'long-names');
  });

  it('of a script that is written from right to left keep their order beside numbers', async () => {
    const { page } = await open(renamed(createWorld('shift'), (i) => `خدش ${i} (عميق)`));
    await walk(page, 'right-to-left');
    await go(page, 'label');
    expect(await page.locator('.kbtn bdi').first().textContent()).toBe('خدش 0 (عميق)');
    // The name reads from the right, what stands beside it does not move to its other side.
    const [name, count] = await page.evaluate(() =>
      ['.kbtn bdi', '.kbtn .cnt'].map((one) => document.querySelector(one)!.getBoundingClientRect().left),
    );
    expect(name!).toBeLessThan(count!);
  });
});

describe('classes', () => {
  it('are found by name when there are 200, and labelled by Enter', async () => {
    const world = createWorld('shift');
    const [first] = world.classes;
    const many = Array.from({ length: 200 }, (_, i) => ({
      ...first!,
      id: `c-many-${i}`,
      names: { en: `Defect number ${i}`, ja: `欠陥 ${i}` },
      isOk: false,
      hotKey: null,
    }));
    world.classes = [...world.classes, ...many];
    world.line = {
      ...world.line,
      ngByClass: Object.fromEntries(many.map(({ id }, i) => [id, 200 - i])),
    };
    const { page } = await open(world);
    await walk(page, 'many-classes');
    await go(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    await page.keyboard.press('f');
    await page.keyboard.type('number 137');
    expect(await page.locator('.kbtn:not(.new)').count()).toBe(1);
    await page.keyboard.press('Enter');
    await expect.poll(() => window_.server.world.labels.map(({ classId }) => classId)).toEqual(['c-many-137']);
    // Back to the keys.
    await page.keyboard.press('2');
    await expect.poll(() => window_.server.world.labels.length).toBe(2);
  });

  it('may be none at all', async () => {
    const world = createWorld('shift');
    const { page } = await open({ ...world, classes: [], knowledge: [], candidates: [], labelled: new Map() });
    await walk(page, 'no-classes');
  });
});

describe('pictures', () => {
  it('may be gone: the parts stay', async () => {
    const world = createWorld('shift');
    const blind = <P extends { imageSha: string | null }>(part: P): P => ({ ...part, imageSha: null });
    world.parts = world.parts.map(blind);
    world.queue = world.queue.map((item) => ({ ...item, part: blind(item.part) }));
    world.images = new Map();
    const { page } = await open(world);
    await walk(page, 'no-pictures');
  });

  it('may be 12,000 pixels wide, and are still zoomed to single pixels', async () => {
    const world = createWorld('shift');
    const width = 12_000;
    const height = 600;
    const data = Uint8Array.from({ length: width * height }, (_, i) => 90 + ((i % width) >> 7) + ((i >> 3) % 23));
    const sha = 'e'.repeat(64);
    world.images = new Map([
      ...world.images,
      [sha, Buffer.from(await encodePng({ width, height, channels: 1, data }))],
    ]);
    const wide = { ...partOf(17_000, judgementOf('ng', 'c-scratch'), 'scratch'), imageSha: sha, width, height };
    world.parts = [...world.parts.slice(1), wide];
    world.queue = [
      { ...world.queue[0]!, groupId: null, groupSize: 1, usefulness: 99, part: wide },
      ...world.queue.slice(1),
    ];
    const { page, problems } = await open(world);
    await walk(page, 'wide-picture', 'shape');
    await go(page, 'label');
    const picture = page.locator(`${testId('label-picture')}[data-part="17000"]`);
    await picture.waitFor();
    const box = (await picture.boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    for (let i = 0; i < 40; i += 1) await page.mouse.wheel(0, -300);
    await expect
      .poll(() => page.evaluate(() => document.querySelector<HTMLImageElement>('.frame img')!.offsetWidth / 12_000))
      .toBe(16);
    await page.waitForSelector(testId('minimap'));
    expect(problems).toEqual([]);
  });
});

describe('the clock', () => {
  it('may jump: no negative time, no broken date', async () => {
    const world = createWorld('shift');
    world.parts = world.parts.map((part, i) => ({
      ...part,
      at: i % 2 ? '1970-01-01T00:00:00.000Z' : '2099-12-31T23:59:59.000Z',
    }));
    world.queue = world.queue.map((item) => ({ ...item, part: { ...item.part, at: '2099-12-31T23:59:59.000Z' } }));
    world.line = { ...world.line, startedAt: '2099-12-31T23:59:59.000Z' };
    world.jobs = [
      {
        id: 'j-odd',
        kind: 'update',
        stationId: STATION,
        state: 'running',
        progress: 0.4,
        secondsLeft: -90,
        step: { key: 'update.features', details: {} },
        startedAt: '2099-12-31T23:59:59.000Z',
        problem: null,
        result: [],
      },
    ];
    const { page } = await open(world);
    await walk(page, 'clock', 'shape');
    await go(page, 'learn');
    expect(await page.textContent(testId('job'))).not.toMatch(/[-−]\d/);
  });

  it('of a browser on another PC may be wrong: times are told by the one of the core', async () => {
    const world = createWorld('shift');
    const startedAt = new Date(Date.now() - 95_000).toISOString();
    world.jobs = [
      {
        id: 'j-far',
        kind: 'update',
        stationId: STATION,
        state: 'running',
        progress: 0.4,
        secondsLeft: null,
        step: { key: 'update.features', details: {} },
        startedAt,
        problem: null,
        result: [],
      },
    ];
    await window_.serve(world);
    const page = await window_.browser.newPage();
    await page.clock.setSystemTime(Date.now() + 26 * 60_000);
    await page.goto(window_.server.url);
    await page.waitForSelector(testId('app-shell'));
    await go(page, 'learn');
    await expect.poll(() => page.textContent(testId('job'))).toMatch(/\D1 min [345]\d s/);
    await page.close();
  });
});

describe('the core', () => {
  it('may be slow: the window says so, and takes it back', async () => {
    const { page } = await open(createWorld('shift'));
    const release = window_.server.hold('queue.list');
    await go(page, 'label');
    await page.waitForSelector(testId('slow-banner'));
    expect(await findings(page)).toEqual([]);
    release();
    await page.waitForSelector(testId('queue-row'));
    await page.waitForSelector(testId('slow-banner'), { state: 'detached' });
  });

  it('may be of another version: the window says which, and offers to reload', async () => {
    const world = createWorld('shift');
    world.session = { ...world.session, version: '9.8.7' };
    const { page } = await open(world);
    expect(await page.textContent(testId('version-banner'))).toContain('9.8.7');
    expect(await findings(page)).toEqual([]);
    const same = createWorld('shift');
    await window_.serve(same);
    const other = await openPage(window_.browser, window_.server.url);
    await other.page.waitForSelector(testId('app-shell'));
    expect(await other.page.locator(testId('version-banner')).count()).toBe(0);
  });

  it('may be gone for long: the screen stays, and says what still runs', async () => {
    const { page } = await open(createWorld('shift'));
    await window_.server.close();
    await page.waitForSelector(testId('connection-banner'));
    for (const area of areas) {
      await go(page, area);
      expect(await faults(page), area).toEqual([]);
    }
    expect(await findings(page)).toEqual([]);
  });
});

describe('the disk', () => {
  it('may be full: said above every screen until somebody has made room', async () => {
    const { page } = await open(createWorld('shift'));
    await go(page, 'label');
    await page.waitForSelector(testId('queue-row'));
    window_.server.fail('labels.create', new AppError('DISK_FULL', { path: '/srv/mekiki' }));
    await page.keyboard.press('2');
    await page.waitForSelector(`${testId('disk-banner')} >> text=srv/mekiki`);
    // The part that could not be labelled is still there.
    await expect.poll(() => page.getAttribute(testId('queue-total'), 'data-total')).toBe('146');
    await walk(page, 'disk-full');
    await page.click(`${testId('disk-banner')} button`);
    await page.waitForSelector(testId('disk-banner'), { state: 'detached' });
  });
});

describe('evidence', () => {
  it('may miss many parts and allow long times: every column of the gates stays in sight', async () => {
    const world = createWorld('shift');
    world.candidates = world.candidates.map((candidate) => ({
      ...candidate,
      evidence: {
        ...candidate.evidence,
        gates: candidate.evidence.gates.map((gate) =>
          gate.name === 'latency'
            ? { ...gate, limit: 'p99 <= 10000 ms', measured: '29.23 ms', bound: '41.62 ms' }
            : { ...gate, ...(gate.outcome === 'not-enough-evidence' && { missing: 1740 }) },
        ),
      },
    }));
    for (const [width, height, language] of [
      [1440, 900, 'en'],
      [1366, 768, 'en'],
      [1024, 640, 'en'],
      [1024, 640, 'ja'],
    ] as const) {
      world.session.language = language;
      const { page } = await open(world, { width, height });
      // How sure a figure is stands beside it or below it, never in a tooltip alone.
      const bounds = async (...names: string[]) => {
        for (const name of names) {
          const shown = await page.locator(testId(name)).evaluateAll((all) =>
            all.map((each) => {
              const panel = each.closest('.scroll')!.getBoundingClientRect();
              const { left, right, height } = each.getBoundingClientRect();
              return height > 0 && left >= panel.left - 1 && right <= panel.right + 1;
            }),
          );
          expect(shown.length, name).toBeGreaterThan(0);
          expect(shown, `${name} ${width} ${language}`).not.toContain(false);
        }
      };
      await go(page, 'approve');
      await settled(page);
      expect(await faults(page), `${width} ${language}`).toEqual([]);
      await bounds('recall-bounds', 'recall-change', 'parity-bound');
      await go(page, 'learn');
      await settled(page);
      expect(await faults(page), `${width}`).toEqual([]);
      await bounds('accuracy-bounds');
    }
  });
});

describe('small and large windows', () => {
  for (const [width, height] of [
    [1024, 640],
    [1366, 768],
    [2560, 1440],
  ] as const)
    it(`of ${width} x ${height} show every area whole`, async () => {
      const world = createWorld('shift');
      world.line.problem = new AppError('LINE_OUTPUT_SILENT', { seconds: 5 }).toProblem();
      const { page } = await open(world, { width, height });
      await page.waitForSelector(testId('line-problem'));
      await walk(page, `${width}`, 'shape');
    });

  it('of 1440 x 900 show six classes of Live and the trend of the latency', async () => {
    const world = createWorld('shift');
    world.line = {
      ...world.line,
      ngByClass: Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`c-${i}`, 9 - i])),
    };
    const { page } = await open(world, { width: 1440, height: 900 });
    await page.waitForSelector('.side .spark', { state: 'visible' });
    await expect.poll(() => page.locator('.hbars .num').allTextContents()).toEqual(['9', '8', '7', '6', '5', '4']);
  });

  it('keep the words of the axes within the plot below the guide of a first round', async () => {
    for (const [width, height] of [
      [1024, 640],
      [1024, 768],
      [1440, 900],
    ] as const) {
      const world = createWorld('shift');
      world.session.demo = true;
      const { page } = await open(world, { width, height });
      await page.waitForSelector(testId('first-round'));
      await go(page, 'learn');
      await settled(page);
      const { plot, words } = await page.locator('.drawing').evaluate((drawing) => {
        const boxOf = (element: Element) => {
          const { top, bottom, left, right } = element.getBoundingClientRect();
          return { text: element.textContent, top, bottom, left, right };
        };
        const texts = [...drawing.querySelectorAll('svg.plot > text')];
        return { plot: boxOf(drawing), words: texts.map(boxOf) };
      });
      const out = words.filter(({ top, bottom }) => top < plot.top - 1 || bottom > plot.bottom + 1);
      expect(out, `${width} x ${height}`).toEqual([]);
    }
  });

  it('keep every figure of Live below the guide of a first round, and sum up the classes that find no row', async () => {
    const world = createWorld('shift');
    const parts = Object.fromEntries(world.classes.map(({ id }, i) => [id, 90 - i]));
    const more = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`c-other-${i}`, 1]));
    world.line = { ...world.line, ngByClass: { ...parts, ...more } };
    world.session.demo = true;
    const { page } = await open(world, { width: 1440, height: 900 });
    await page.waitForSelector(testId('first-round'));
    await page.waitForSelector(testId('other-classes'));
    expect(await faults(page)).toEqual([]);
    const shown = await page.locator('.hbars .num').allTextContents();
    const all = Object.values(world.line.ngByClass).reduce((sum, n) => sum + n, 0);
    expect(shown.reduce((sum, text) => sum + Number(text), 0)).toBe(all);
  });
});
