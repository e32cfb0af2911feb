import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { renderDataset } from '../../../main/capture/simulated/render.ts';
import { lineSettingsSchema, surfaceSchema } from '../../../main/contract/domain.ts';
import { createPictureGate } from '../../../main/inspection/picture-gate.ts';
import { decodeImage } from '../../../main/vision/decode.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { measurePicture } from '../../../main/vision/picture-quality.ts';

const limits = (over: object = {}) => lineSettingsSchema.parse({ picture: over }).picture;
const grey = (image: PixelImage): PixelImage =>
  image.channels === 1 ? image : { ...image, channels: 1, data: image.data.filter((_, i) => i % 3 === 1) };
const scaled = (image: PixelImage, factor: number): PixelImage => ({
  ...image,
  data: Uint8Array.from(image.data, (v) => Math.min(255, Math.round(v * factor))),
});
const blurred = async ({ width, height, data }: PixelImage, sigma: number): Promise<PixelImage> => {
  const raw = { width, height, channels: 1 as const };
  const out = await sharp(data, { raw }).blur(sigma).toColourspace('b-w').raw().toBuffer();
  return { ...raw, data: new Uint8Array(out) };
};

test('the defaults never fire on the simulated line, whatever the surface', () => {
  for (const surface of surfaceSchema.options) {
    const gate = createPictureGate();
    for (const { image } of renderDataset({ surface, seed: 3, perClass: 4, width: 128, height: 128 }))
      expect(gate.check(image, limits())).toBeNull();
  }
});

test('a frozen camera: the same picture for the third time, and no sooner; another one ends it', () => {
  const gate = createPictureGate();
  const [a, b] = [...renderDataset({ surface: 'cast', seed: 3, perClass: 2, width: 96, height: 96 })];
  const seen = [a!, a!, a!, a!, b!, a!].map(({ image }) => gate.check(image, limits()));
  expect(seen).toEqual([null, null, 'PICTURE_FROZEN', 'PICTURE_FROZEN', null, null]);
});

test('measures of pictures whose answer is known', () => {
  const of = (value: (x: number, y: number) => number, side = 64): PixelImage => ({
    width: side,
    height: side,
    channels: 1,
    data: Uint8Array.from({ length: side * side }, (_, i) => value(i % side, Math.floor(i / side))),
  });
  expect(measurePicture(of(() => 255))).toEqual({ brightest: 255, saturated: 1, sharpness: 0 });
  expect(measurePicture(of(() => 0))).toEqual({ brightest: 0, saturated: 0, sharpness: 0 });
  expect(measurePicture(of((x) => (x < 16 ? 255 : 30))).saturated).toBeCloseTo(0.25, 6);
  // A slow wave has nothing at one pixel; noise has as much there as at four.
  expect(measurePicture(of((x) => 128 + 100 * Math.sin(x / 10))).sharpness).toBeLessThan(0.02);
  let state = 1;
  const noise = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  expect(measurePicture(of(noise)).sharpness).toBeGreaterThan(0.9);
  // One dead pixel makes no light picture.
  expect(measurePicture(of((x, y) => (x === 5 && y === 5 ? 255 : 3))).brightest).toBe(3);
});

const data = process.env['MEKIKI_DATA'];
const sets = (data && existsSync(data) ? readdirSync(data) : []).filter((set) => existsSync(join(data!, set, 'train')));

test.skipIf(sets.length === 0)(
  'real pictures: none is unfit by the defaults; darkened, overexposed and blurred ones are by limits set from the fit ones',
  async () => {
    for (const set of sets) {
      const folder = join(data!, set, 'train');
      const images: PixelImage[] = [];
      for (const name of readdirSync(folder))
        for (const file of readdirSync(join(folder, name)).slice(0, 6)) {
          const { image } = await decodeImage(await readFile(join(folder, name, file)), { name: file, maxPixels: 1e8 });
          images.push(grey(image));
        }
      const gate = createPictureGate();
      // The same file may lie under two names: what a sensor sends cannot.
      const still = limits({ frozenAfter: null });
      expect(images.map((image) => gate.check(image, still)).filter(Boolean)).toEqual([]);

      // As an engineer sets them: half of what fit pictures have at least. Even crops say nothing about focus or light, and pictures of
      // a few dozen pixels have no room for a blur.
      const fit = images.filter((image) => {
        const { sharpness, saturated } = measurePicture(image);
        return Math.min(image.width, image.height) >= 64 && sharpness > 0.05 && saturated < 0.1;
      });
      if (fit.length < 5) continue;
      const least = (value: (image: PixelImage) => number) => Math.min(...fit.map(value));
      const own = limits({
        frozenAfter: null,
        darkBelow: least((image) => measurePicture(image).brightest) / 2,
        sharpnessBelow: least((image) => measurePicture(image).sharpness) / 2,
        saturatedShareAbove: 0.3,
      });
      expect(fit.map((image) => gate.check(image, own)).filter(Boolean)).toEqual([]);
      for (const image of fit) {
        expect(gate.check(scaled(image, 0.05), own)).toBe('PICTURE_DARK');
        expect(gate.check(scaled(image, 12), own)).toBe('PICTURE_SATURATED');
      }
      const caught = await Promise.all(fit.map(async (image) => gate.check(await blurred(image, 6), own) !== null));
      expect(caught.filter(Boolean).length / fit.length, set).toBeGreaterThanOrEqual(0.9);
    }
  },
  120_000,
);
