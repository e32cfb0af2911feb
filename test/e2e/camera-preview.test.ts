import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import { createWorld, type World } from './fixtures/world.ts';
import { nextPart } from './fixtures/parts.ts';
import { go, signIn, testId } from './browser.ts';
import { useWindow } from './window-page.ts';

/* The live picture under Settings, in a real browser. */

const window = useWindow();
const phase = (page: Page) => page.getAttribute(testId('camera-preview'), 'data-phase');
const regions = (page: Page) => page.inputValue(testId('regions'));

async function openSettings(world: World, user: [string, string] | null = ['SV-02', 'supervisor']) {
  await window.serve(world);
  const opened = await window.open();
  if (user) await signIn(opened.page, ...user);
  await go(opened.page, 'settings');
  return opened;
}
const standing = (): World => {
  const world = createWorld('shift');
  world.line = { ...world.line, state: 'stopped', camera: 'off' };
  return world;
};

describe('the live picture under Settings', () => {
  it('shows the camera as the form sets it, only while it is wanted, and gives it back when the page is left', async () => {
    const world = standing();
    const { page, problems } = await openSettings(world);
    expect(await phase(page)).toBe('off');
    await page.click(testId('camera-gige'));
    await page.fill(testId('camera-serial'), '4D-1027');
    expect(world.preview.cameras).toEqual([]);
    await page.click(testId('preview-toggle'));
    await page.waitForSelector(`${testId('preview-picture')} canvas`);
    expect(await page.textContent(testId('preview-size'))).toContain('2,448 × 1,632');
    // Drawn, not only there.
    const grey = () =>
      page.evaluate((selector) => {
        const canvas = document.querySelector<HTMLCanvasElement>(`${selector} canvas`)!;
        return canvas.getContext('2d')!.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0]!;
      }, testId('preview-picture'));
    await expect.poll(grey).toBeGreaterThan(50);
    await page.fill(testId('exposure'), '2500');
    await expect.poll(() => world.preview.cameras.at(-1)).toMatchObject({ kind: 'gige', exposureUs: 2500 });
    // Not once for each digit.
    const exposures = world.preview.cameras.map((camera) => camera.kind === 'gige' && camera.exposureUs);
    expect(new Set(exposures)).toEqual(new Set([undefined, 2500]));

    world.preview.problem = new AppError('CAMERA_BUSY', { cameraId: 'ST-02' }).toProblem();
    await page.waitForSelector(`${testId('camera-preview')}[data-phase="lost"] [role="alert"]`);
    expect(await page.textContent(`${testId('camera-preview')} [role="alert"]`)).toMatch(/Close that program/);
    world.preview.problem = null;
    await page.waitForSelector(`${testId('camera-preview')}[data-phase="delivering"]`);
    await page.waitForSelector(`${testId('camera-preview')} [role="alert"]`, { state: 'detached' });

    await page.click(testId('preview-toggle'));
    await expect.poll(() => world.preview.ended).toBe(1);
    await page.click(testId('preview-toggle'));
    await page.waitForSelector(`${testId('preview-picture')} canvas`);
    await go(page, 'live');
    await expect.poll(() => world.preview.ended).toBe(2);
    const asked = world.preview.cameras.length;
    await page.waitForTimeout(1_000);
    expect(world.preview.cameras.length).toBe(asked);
    expect(problems).toEqual([]);
  });

  it('draws the regions, and mouse, keys and numbers change the same ones', async () => {
    const { page } = await openSettings(standing());
    await page.fill(testId('regions'), '600, 400, 600, 400\n12, 3');
    await page.click(testId('preview-toggle'));
    const picture = page.locator(`${testId('preview-picture')} [data-zoom]`);
    await page.waitForSelector(`${testId('preview-picture')} canvas`);
    await expect.poll(() => picture.locator('.box').count()).toBe(1);
    await picture.scrollIntoViewIfNeeded();
    const bounds = (await picture.boundingBox())!;
    const scale = bounds.width / 2448;
    const top = bounds.y + (bounds.height - 1632 * scale) / 2;
    const at = (x: number, y: number) => [bounds.x + x * scale, top + y * scale] as const;
    const drag = async (from: readonly [number, number], to: readonly [number, number]) => {
      await page.mouse.move(...from);
      await page.mouse.down();
      await page.mouse.move(...to, { steps: 4 });
      await page.mouse.up();
    };
    const numbers = async () => (await regions(page)).split('\n').map((line) => line.split(', ').map(Number));
    const near = (wanted: number[]) => wanted.map((value) => expect.closeTo(value, -1) as number);
    // Inside: moved. What cannot be read stays for whoever types it.
    await drag(at(900, 600), at(1100, 500));
    expect(await numbers()).toEqual([near([800, 300, 600, 400]), [12, 3]]);
    // Its lower right corner: sized.
    await drag(at(1400, 700), at(1700, 900));
    expect(await numbers()).toEqual([near([800, 300, 900, 600]), [12, 3]]);
    // Beside it: a new one.
    await drag(at(100, 1000), at(400, 1400));
    expect((await numbers())[1]).toEqual(near([100, 1000, 300, 400]));
    await picture.focus();
    const before = (await numbers())[1]!;
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Shift+ArrowDown');
    const [x, y, width, height] = (await numbers())[1]!;
    expect([x! > before[0]!, y, width, height! > before[3]!]).toEqual([true, before[1], before[2], true]);
    await page.keyboard.press('Delete');
    await page.fill(testId('regions'), '0, 0, 2448, 1632');
    await expect.poll(() => picture.locator('.box').getAttribute('width')).toBe(String(2448 * scale));
  });

  it('shows the parts of a line that runs, and never asks for its camera', async () => {
    const world = createWorld('shift');
    const { page } = await openSettings(world);
    await page.waitForSelector(`${testId('camera-preview')}[data-phase="line"] img`);
    const source = () => page.getAttribute(`${testId('preview-picture')} img`, 'src');
    const first = await source();
    const part = [nextPart(8), nextPart(2)].find(({ imageSha }) => first !== `/image/${imageSha}`)!;
    // One that comes sooner after the last than anybody can look is let go.
    await page.waitForTimeout(500);
    window.server.emit('parts.inspected', part);
    await expect.poll(source).toBe(`/image/${part.imageSha}`);
    expect(await page.isVisible(testId('preview-toggle'))).toBe(false);
    expect(world.preview.cameras).toEqual([]);
  });

  it('opens no camera for whoever may not set it up, nor for a station that is not there yet', async () => {
    const world = standing();
    const { page } = await openSettings(world, ['OP-17', 'operator-1']);
    expect(await page.isDisabled(testId('preview-toggle'))).toBe(true);
    await page.click('text=Add station');
    await page.waitForSelector(`${testId('camera-preview')}[data-phase="unsaved"]`);
    expect(world.preview.cameras).toEqual([]);
  });
});
