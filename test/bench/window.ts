import type { CDPSession } from 'playwright-core';
import { buildRenderer, go, launchBrowser, openPage, signIn, testId } from '../e2e/browser.ts';
import { serveFixture } from '../e2e/fixtures/server.ts';
import { createWorld, longQueue, type World } from '../e2e/fixtures/world.ts';
import { thumbnail } from '../../main/vision/decode.ts';
import { record, spread } from './record.ts';

/*
 * What the window itself costs, in a real Chromium with made-up data behind the real contract.
 *   window.ts              first paint, scrolling, Live and a long chart: about two minutes
 *   window.ts scroll       one of them (firstPaintMs, scroll, live, chart), printed and not recorded
 *   window.ts heap [30]    growth of the heap over so many minutes
 */

const ITEMS = 10_000;
/** As the list asks for them. */
const THUMBNAIL_PX = 160;
/** About seven screens of the list a second, and two. */
const FAST = { px: 60_000, pxPerS: 6000 };
const SLOW = { px: 15_000, pxPerS: 1500 };
const LIVE_SECONDS = 30;
const HEAP_PER_S = 80;
const [mode, minutes = '30'] = process.argv.slice(2);

const rendererDir = await buildRenderer();
const browser = await launchBrowser();
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const open = async (world: World) => {
  const server = await serveFixture(world, rendererDir);
  const { page } = await openPage(browser, server.url);
  await page.waitForSelector(testId('app-shell'));
  const cdp = await page.context().newCDPSession(page);
  return {
    server,
    page,
    cdp,
    close: async () => {
      await page.context().close();
      await server.close();
    },
  };
};
const metric = async (cdp: CDPSession, name: string): Promise<number> => {
  const { metrics } = await cdp.send('Performance.getMetrics');
  return metrics.find((entry) => entry.name === name)?.value ?? NaN;
};
/** CPU seconds of Chromium's processes by kind, so far. */
const cpuByProcess = async (): Promise<Map<string, number>> => {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  const sums = new Map<string, number>();
  for (const { type, cpuTime } of processInfo) sums.set(type, (sums.get(type) ?? 0) + cpuTime);
  return sums;
};
const at = (sorted: readonly number[], share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? NaN;

/**
 * Ten thousand rows, each with a thumbnail of its own address as the core makes them: scrolled faster than pictures can be seen, which come
 * when it ends, and slowly, when they come along.
 */
async function scrolling() {
  const world = createWorld('shift');
  const pool = await Promise.all(
    [...world.images.values()].map(async (png) => Buffer.from(await thumbnail(png, THUMBNAIL_PX))),
  );
  const shaOf = (i: number) => i.toString(16).padStart(64, '0');
  world.images = new Map([
    ...world.images,
    ...Array.from({ length: ITEMS }, (_, i) => [shaOf(i), pool[i % pool.length]!] as const),
  ]);
  world.queue = longQueue(world.queue, ITEMS, (i) => ({ id: 100_000 - i, imageSha: shaOf(i) }));
  const { page, cdp, close } = await open(world);
  await signIn(page, 'TE-04', 'technician');
  await go(page, 'label');
  await page.waitForSelector(testId('queue-row'));
  await page.evaluate(() => {
    const times: number[] = [];
    let last = performance.now();
    const frame = () => {
      const now = performance.now();
      times.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    Object.assign(window, { times });
  });
  const box = (await page.locator(testId('queue-row')).first().boundingBox())!;
  const round = (ms: number) => Number(ms.toFixed(1));
  const scroll = async ({ px, pxPerS }: { px: number; pxPerS: number }) => {
    const list = page.locator('.scroll:has(> ul)', { has: page.locator(testId('queue-row')) });
    const from = await list.evaluate((element) => element.scrollTop);
    await page.evaluate(() => ((window as unknown as { times: number[] }).times.length = 0));
    await cdp.send('Input.synthesizeScrollGesture', {
      x: box.x + box.width / 2,
      y: box.y + 200,
      yDistance: -px,
      speed: pxPerS,
      gestureSourceType: 'mouse',
    });
    const times = (await page.evaluate(() => (window as unknown as { times: number[] }).times)).sort((a, b) => a - b);
    const reached = await list.evaluate((element) => element.scrollTop);
    const picturesMs = await list.evaluate(
      (element) =>
        new Promise<number>((resolve) => {
          const ended = performance.now();
          const room = element.getBoundingClientRect();
          const look = () => {
            const inSight = [...element.querySelectorAll('li')].filter((row) => {
              const { top, bottom } = row.getBoundingClientRect();
              return bottom > room.top && top < room.bottom;
            });
            const there = inSight.every((row) => (row.querySelector('img')?.naturalWidth ?? 0) > 0);
            if (there && inSight.length > 1) resolve(performance.now() - ended);
            else requestAnimationFrame(look);
          };
          look();
        }),
    );
    return {
      scrolledPx: Math.round(reached - from),
      pxPerS,
      frames: times.length,
      frameMs: { p50: round(at(times, 0.5)), p99: round(at(times, 0.99)), max: round(at(times, 1)) },
      /** From the end to all pictures in sight. */
      picturesMs: round(picturesMs),
    };
  };
  const fast = await scroll(FAST);
  const slow = await scroll(SLOW);
  const rows = await page.locator(testId('queue-row')).count();
  await close();
  return { items: ITEMS, ...fast, slow, rowsInDocument: rows };
}

/** From the navigation to the first contentful paint, pages of new contexts (no cache). */
async function firstPaint() {
  const times: number[] = [];
  for (let i = 0; i < 7; i += 1) {
    const { page, close } = await open(createWorld('shift'));
    // Told a moment after it happened.
    const paint = await page.waitForFunction(
      () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
    );
    times.push((await paint.jsonValue()) ?? Number.NaN);
    await close();
  }
  return spread(times.map(Math.round));
}

/** The live view at twenty parts a second. Tasks are those of the page's main thread; raster and compositing run beside it. */
async function live() {
  const { server, page, cdp, close } = await open(createWorld('shift'));
  await page.waitForSelector('[data-verdict]');
  await cdp.send('Performance.enable');
  await wait(2000);
  const before = { task: await metric(cdp, 'TaskDuration'), cpu: await cpuByProcess(), at: performance.now() };
  let sent = 0;
  while (performance.now() - before.at < LIVE_SECONDS * 1000) {
    server.tick();
    sent += 1;
    await wait(Math.max(0, before.at + sent * 50 - performance.now()));
  }
  const seconds = (performance.now() - before.at) / 1000;
  const share = (used: number) => Number((used / seconds).toFixed(3));
  const task = share((await metric(cdp, 'TaskDuration')) - before.task);
  const cpu = await cpuByProcess();
  const used = (type: string) => share((cpu.get(type) ?? 0) - (before.cpu.get(type) ?? 0));
  await close();
  return {
    partsPerS: Number((sent / seconds).toFixed(1)),
    coreShareOfTasks: task,
    coreShareOfRendererProcess: used('renderer'),
    coreShareOfGpuProcess: used('GPU'),
    note: 'the renderer process without its tasks is mostly raster: this Chromium draws without a graphics card',
  };
}

/** Heap after a forced collection, at the start and at the end of a long run. */
async function heap(heapMinutes: number) {
  const { server, page, cdp, close } = await open(createWorld('shift'));
  await page.waitForSelector('[data-verdict]');
  await cdp.send('Performance.enable');
  const size = async () => {
    for (let i = 0; i < 3; i += 1) await cdp.send('HeapProfiler.collectGarbage');
    return metric(cdp, 'JSHeapUsedSize');
  };
  const run = async (parts: number) => {
    const start = performance.now();
    for (let i = 1; i <= parts; i += 1) {
      server.tick();
      await wait(Math.max(0, start + (i * 1000) / HEAP_PER_S - performance.now()));
    }
  };
  // What is made once, with the first parts, is no growth.
  await run(HEAP_PER_S * 30);
  const first = await size();
  const parts = Math.round(HEAP_PER_S * 60 * heapMinutes);
  await run(parts);
  await wait(1000);
  const last = await size();
  await close();
  return {
    parts,
    minutes: heapMinutes,
    heapBytes: [first, last],
    growthBytesPer10000: Math.round(((last - first) / parts) * 10_000),
  };
}

/** A chart of a hundred thousand points: drawn, and its cursor moved over it. */
async function chart() {
  const world = createWorld('shift');
  world.driftGroups = 100_000;
  const { page, cdp, close } = await open(world);
  await cdp.send('Performance.enable');
  const before = await metric(cdp, 'TaskDuration');
  await page.click(testId('area-reports'));
  await page.waitForSelector(`${testId('drift')} [data-points="100000"] canvas`);
  const drawn = (await metric(cdp, 'TaskDuration')) - before;
  const plot = page.locator(`${testId('drift')} .u-over`).first();
  await plot.scrollIntoViewIfNeeded();
  const box = (await plot.boundingBox())!;
  const started = await metric(cdp, 'TaskDuration');
  const MOVES = 100;
  for (let i = 0; i < MOVES; i += 1) await page.mouse.move(box.x + (box.width * i) / MOVES, box.y + box.height / 2);
  const moved = (await metric(cdp, 'TaskDuration')) - started;
  await close();
  return {
    points: 100_000,
    charts: 3,
    screenMs: Math.round(1000 * drawn),
    perCursorMoveMs: Number(((1000 * moved) / MOVES).toFixed(2)),
  };
}

const ranOn = { browser: `Chromium ${browser.version()}, headless, no graphics card` };
const parts = { firstPaintMs: firstPaint, scroll: scrolling, live, chart };
const close = () => browser.close();
if (mode === 'heap') {
  const result = { heap: await heap(Number(minutes)), ...ranOn };
  await close();
  record('window-heap', `node main/host/build/launch.mjs test/bench/window.ts heap ${minutes}`, result);
} else if (mode !== undefined && Object.hasOwn(parts, mode)) {
  process.stdout.write(`${JSON.stringify(await parts[mode as keyof typeof parts](), null, 2)}\n`);
  await close();
} else {
  const result = {
    firstPaintMs: await firstPaint(),
    scroll: await scrolling(),
    live: await live(),
    chart: await chart(),
    ...ranOn,
  };
  await close();
  record('window', 'node main/host/build/launch.mjs test/bench/window.ts', result);
}
