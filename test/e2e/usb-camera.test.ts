import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Browser, Locator } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { VideoDevice } from '../../main/contract/feed.ts';
import { silentLog } from '../../main/contract/log.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createContent } from '../../main/host/content.ts';
import { createFeeds } from '../../main/host/feeds.ts';
import { serve } from '../../main/host/serve.ts';
import { listen, type WindowServer } from '../../main/host/server.ts';
import { decodeImage } from '../../main/vision/decode.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from '../process/line-home.ts';
import { buildRenderer, launchBrowser, openPage, testId } from './browser.ts';

/*
 * USB cameras in browser mode: a real Chromium with its fake camera, the real listener and relay, real lines. The first tests run the
 * line in this process, where it can be given an approved model; the last one is the whole program.
 */

declare const listVideoDevices: () => Promise<VideoDevice[]>;
declare const read: (ticket: string) => void;
declare const unplug: () => void;
declare const hold: () => void;
declare const release: () => void;
declare const seen: () => { closed: boolean; track: MediaStreamTrackState | undefined };

const FAKE_CAMERA = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];
let browser: Browser;
let folder: string;
let server: WindowServer;
const feeds = createFeeds(silentLog);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-feed-'));
  await build({
    entryPoints: [new URL('./fixtures/feed-page.ts', import.meta.url).pathname],
    outfile: join(folder, 'page.js'),
    bundle: true,
    format: 'esm',
    logLevel: 'error',
  });
  await writeFile(
    join(folder, 'index.html'),
    '<!doctype html><title>x</title><script type="module" src="/page.js"></script>',
  );
  browser = await launchBrowser(...FAKE_CAMERA);
  server = await listen({
    port: 0,
    log: silentLog,
    coreUp: () => true,
    onWindow: (channel) => channel.close(),
    feed: (ticket) => feeds.taker(ticket),
    content: (port) =>
      createContent({
        rendererDir: folder,
        home: folder,
        readImage: async () => new Uint8Array(),
        coreUp: () => true,
        camera: true,
        connect: `ws://127.0.0.1:${port}`,
      }),
  });
});
// A tab that stays open holds the camera, at its size, for whoever comes next.
afterEach(() => Promise.all(browser.contexts().map((context) => context.close())));
afterAll(async () => {
  await browser?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

const openTab = async () => {
  const { page, problems } = await openPage(browser, server.url);
  await page.waitForFunction(() => typeof read === 'function');
  return { page, problems };
};
const STATION = 'st-1';
const openLine = () =>
  listenedLine({
    openFeed() {
      const [own, other] = createMemoryPair();
      feeds.offer(STATION, other);
      return own;
    },
  });

test('a line judges the pictures of a tab, in colour as large as they are; a pulled cable and a closed tab are told and got over', async () => {
  using at = await createLineHome();
  const { page, problems } = await openTab();
  const [device] = await page.evaluate(() => listVideoDevices());
  expect(device!.label).toMatch(/fake/);
  const { line, records, problemsLogged, configure, start, stop, status } = openLine();
  try {
    const camera = { kind: 'usb', ...device, width: 640, height: 480, frameRate: 20 };
    await configure(at.home, lineStation(camera), await at.bundle('m-1'));
    await start();
    await until('a page is wanted', () => feeds.wanted().includes(STATION));
    await page.evaluate((ticket) => read(ticket), feeds.ticket(STATION)!);
    await until('parts are judged', () => records.length >= 10);
    expect(status()).toMatchObject({ state: 'running', camera: 'well', problem: null });
    for (const { width, height, judgement } of records) {
      expect([width, height]).toEqual([640, 480]);
      expect(judgement).toMatchObject({ modelId: 'm-1', errorCode: null });
    }
    const { imageSha } = records.find((record) => record.imageSha !== null)!;
    const file = await readFile(join(at.home, 'images', imageSha!.slice(0, 2), `${imageSha}.png`));
    const { image } = await decodeImage(file, { name: 'part', maxPixels: 1e6 });
    expect(image.channels).toBe(3);
    // Chromium's fake camera: a green picture with a clock.
    const at00 = [image.data[0]!, image.data[1]!, image.data[2]!];
    expect(at00[1]).toBeGreaterThan(Math.max(at00[0]!, at00[2]!) + 50);

    // The page opens it anew a quarter of a second later: on a busy machine that is over before the status can be looked at.
    await page.evaluate(() => unplug());
    await until('the loss is told', () => problemsLogged.includes('CAMERA_LOST'));
    const before = records.length;
    await until('it is opened again', () => records.length > before + 5 && status().problem === null);

    await page.close();
    await until('nobody reads', () => status().problem?.code === 'CAMERA_NO_WINDOW');
    expect(status()).toMatchObject({ state: 'fault', camera: 'fault' });
    const next = await openTab();
    await next.page.evaluate((ticket) => read(ticket), feeds.ticket(STATION)!);
    const then = records.length;
    await until('the next tab reads', () => records.length > then + 5);
    expect(records.map((r) => r.seq)).toEqual(records.map((_, i) => i + 1));
    await stop();
    await until('nothing is wanted any more', () => !feeds.wanted().includes(STATION));

    // A line that stops while the tab still opens the camera: it is let go of.
    await start();
    await until('a page is wanted', () => feeds.wanted().includes(STATION));
    await next.page.evaluate((ticket) => {
      hold();
      read(ticket);
    }, feeds.ticket(STATION)!);
    const seenThere = () => next.page.evaluate(() => seen());
    await expect.poll(seenThere).toEqual({ closed: false, track: 'live' });
    await stop();
    await expect.poll(seenThere).toEqual({ closed: true, track: 'live' });
    await next.page.evaluate(() => release());
    await expect.poll(seenThere).toEqual({ closed: true, track: 'ended' });
    expect([...problems, ...next.problems]).toEqual([]);
  } finally {
    await line.dispose();
  }
});

test('a software trigger takes one picture, in grey; a size that the camera does not have, and an input, are refused', async () => {
  using own = await createLineHome();
  const { page } = await openTab();
  const [device] = await page.evaluate(() => listVideoDevices());
  const { line, records, configure, start, stop, status } = openLine();
  const never = new AbortController().signal;
  try {
    const bundle = await own.bundle('m-2');
    const station = (camera: object, source: string) =>
      lineStation(
        { kind: 'usb', ...device, pixelFormat: 'Mono8', ...camera },
        { line: lineSettings({ trigger: { source } }) },
      );
    await configure(own.home, station({}, 'software'), bundle);
    await start();
    await until('a page is wanted', () => feeds.wanted().includes(STATION));
    await page.evaluate((ticket) => read(ticket), feeds.ticket(STATION)!);
    await until('it delivers', () => status().camera === 'well');
    for (let n = 1; n <= 3; n += 1) {
      expect(await line['line.trigger']({}, null, never)).toEqual({ taken: true });
      await until('its part', () => records.length === n);
    }
    expect(records.every(({ judgement }) => judgement.errorCode === null && judgement.modelId === 'm-2')).toBe(true);
    await until('its picture', () => records[0]!.imageSha !== null);
    const sha = records[0]!.imageSha!;
    const file = await readFile(join(own.home, 'images', sha.slice(0, 2), `${sha}.png`));
    expect((await decodeImage(file, { name: 'part', maxPixels: 1e6 })).image.channels).toBe(1);
    await stop();
    await until('nothing is wanted any more', () => !feeds.wanted().includes(STATION));

    await configure(own.home, station({ width: 641 }, 'free-run'), bundle);
    await start();
    await until('a page is wanted', () => feeds.wanted().includes(STATION));
    await page.evaluate((ticket) => read(ticket), feeds.ticket(STATION)!);
    await until('it is refused', () => status().problem?.code === 'CAMERA_CONFIG');
    expect(status().problem!.message).toContain('width');
    await stop();
    await configure(own.home, station({}, 'camera'), bundle);
    await expect(start()).rejects.toMatchObject({ code: 'CAMERA_CONFIG' });
  } finally {
    await line.dispose();
  }
});

test('the whole program: chosen in the settings, read by the tab, judged, lost with the tab, and read again by the next', async () => {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-usb-'));
  const rendererDir = await buildRenderer();
  const serving = await serve({ home, port: 0, demo: false, stderrLevel: null, rendererDir });
  try {
    const { page, problems } = await openPage(browser, serving.url);
    await page.fill(testId('first-start-name'), 'Hana');
    await page.fill(testId('first-start-password'), 'a password of hers');
    await page.fill(testId('first-start-password-again'), 'a password of hers');
    await page.click(testId('first-start-create'));
    await page.waitForSelector(testId('app-shell'));
    await page.click(testId('area-settings'));
    await page.click(testId('camera-usb'));
    await page.click(testId('video-devices-item'));
    expect(await page.inputValue(testId('device-label'))).toMatch(/fake/);
    await page.fill(testId('frame-width'), '320');
    await page.fill(testId('frame-height'), '240');
    const allow = page.locator(testId('tab-camera-allow'));
    const reading = page.locator('[data-testid="tab-camera"][data-need="reading"]');
    const goOn = async (allow: Locator, reading: Locator) => {
      await allow.or(reading).first().waitFor();
      // Where nobody has to be asked it reads by itself a moment later.
      if (await allow.isVisible()) await allow.click({ timeout: 5_000 }).catch(() => {});
      await reading.waitFor();
    };
    // Looked at before it is saved: the tab reads it for the picture alone.
    await page.click(testId('preview-toggle'));
    await goOn(allow, reading);
    await page.waitForSelector(`${testId('preview-picture')} canvas`);
    expect(await page.textContent(testId('preview-size'))).toContain('320 × 240');
    await page.click(testId('preview-toggle'));
    await reading.waitFor({ state: 'detached' });
    await page.click(testId('save-station'));
    await page.waitForSelector('text=Saved.');
    await page.click(testId('area-live'));
    await page.click(testId('start-line'));
    await goOn(allow, reading);
    const parts = () => page.locator(testId('strip-part')).count();
    await expect.poll(parts).toBeGreaterThan(3);
    const picture = page.locator('[data-testid="strip-part"] img').first();
    await expect
      .poll(() => picture.evaluate((img: HTMLImageElement) => img.naturalWidth / img.naturalHeight))
      .toBeCloseTo(320 / 240, 1);
    // The tab goes, without a word; the next one has no account yet, and says so.
    await page.context().close();
    const { page: next, problems: later } = await openPage(browser, serving.url);
    const waiting = next.locator('[data-testid="tab-camera"][data-need="sign-in"]');
    await waiting.waitFor();
    await expect.poll(() => next.locator('main').innerText()).toContain('Nobody reads the USB camera');
    await waiting.getByRole('button').click();
    await next.fill(testId('sign-in-name'), 'Hana');
    await next.fill(testId('sign-in-password'), 'a password of hers');
    await next.click(testId('sign-in-submit'));
    const allowNext = next.locator(testId('tab-camera-allow'));
    const readingNext = next.locator('[data-testid="tab-camera"][data-need="reading"]');
    await goOn(allowNext, readingNext);
    const before = Number((await next.locator(testId('count-parts')).innerText()).replaceAll(/\D/g, ''));
    await expect
      .poll(async () => Number((await next.locator(testId('count-parts')).innerText()).replaceAll(/\D/g, '')))
      .toBeGreaterThan(before + 3);
    expect([...problems, ...later]).toEqual([]);
  } finally {
    await serving.close();
    await rm(home, { recursive: true, force: true });
  }
});
