import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { recipeSchema } from '../../../main/contract/domain.ts';
import type { AppError } from '../../../main/contract/errors.ts';
import { inspectFiles } from '../../../main/inspection/files.ts';
import { openInspector } from '../../../main/inspection/inspector.ts';
import { encodePng } from '../../../main/vision/decode.ts';
import { teachTemplate } from '../../../main/vision/find-part.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { brightnessModel } from '../../helpers/small-models.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mekiki-inspector-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const grey = (value: number, width = 64, height = 64): PixelImage => ({
  width,
  height,
  channels: 1,
  data: new Uint8Array(width * height).fill(value),
});
const bundle = (over = {}) => {
  const { bytes, card } = brightnessModel(over);
  writeFileSync(join(dir, 'model.onnx'), bytes);
  writeFileSync(join(dir, 'model.json'), JSON.stringify(card));
  return dir;
};

test('judges with the model of a bundle', async () => {
  await using inspector = await openInspector({ bundleDir: bundle(), threads: 1 });
  expect(await inspector.inspect(grey(128))).toMatchObject({
    verdict: 'ok',
    classId: 'ok',
    modelId: 'm-test',
    tile: null,
  });
  expect(await inspector.inspect(grey(200))).toMatchObject({ verdict: 'ng', classId: 'bright' });
  expect(await inspector.inspect(grey(50))).toMatchObject({ verdict: 'ng', classId: 'dark' });
  expect(await inspector.inspect(grey(255))).toMatchObject({ verdict: 'unsure', unsureReason: 'novel' });
});

test('a spot that drowns in the whole frame is found by tiles, in the rotated frame; many tiles go in several runs', async () => {
  await using inspector = await openInspector({ bundleDir: bundle(), threads: 1 });
  const frame = grey(128, 200, 100);
  // Bright patch at the right edge, at the top.
  for (let y = 0; y < 20; y += 1) frame.data.fill(235, y * 200 + 180, y * 200 + 200);
  expect((await inspector.inspect(frame)).verdict).toBe('ok');
  const tiles = { columns: 10, rows: 5, overlap: 0 };
  const found = await inspector.inspect(frame, { recipe: recipeSchema.parse({ tiles }) });
  expect(found).toMatchObject({ verdict: 'ng', classId: 'bright', tile: { x: 180, y: 0, index: 9, count: 50 } });
  const turned = recipeSchema.parse({ rotation: 90, tiles: { columns: 5, rows: 10, overlap: 0 } });
  // Clockwise: the right edge becomes the bottom, the top the right.
  expect(await inspector.inspect(frame, { recipe: turned })).toMatchObject({ verdict: 'ng', tile: { x: 80, y: 180 } });
  const elsewhere = recipeSchema.parse({ regions: [{ x: 0, y: 40, width: 150, height: 60 }] });
  expect((await inspector.inspect(frame, { recipe: elsewhere })).verdict).toBe('ok');
});

test('tiles move with the part that the finder found; a part that is not there is no good part', async () => {
  await using inspector = await openInspector({ bundleDir: bundle(), threads: 1 });
  /** A part of grey with a cross on it, and a bright spot on its lower right quarter. */
  const frameWith = (x0: number, y0: number): PixelImage => {
    const frame = grey(90, 240, 200);
    for (let y = 0; y < 60; y += 1) {
      const row = (y0 + y) * 240 + x0;
      frame.data.fill(128, row, row + 80);
      if (y > 8 && y < 16) frame.data.fill(150, row + 6, row + 50);
      frame.data.fill(108, row + 20, row + 26);
      if (y >= 32 && y < 58) frame.data.fill(240, row + 42, row + 78);
    }
    return frame;
  };
  const part = { x: 60, y: 50, width: 80, height: 60 };
  const template = teachTemplate(frameWith(part.x, part.y), part);
  const tiles = { columns: 2, rows: 2, overlap: 0 };
  const recipe = recipeSchema.parse({ finder: { kind: 'template', template, searchX: 60, searchY: 60 }, tiles });
  for (const [dx, dy] of [
    [0, 0],
    [37, -21],
    [-44, 50],
  ] as const) {
    const found = await inspector.inspect(frameWith(part.x + dx, part.y + dy), { recipe });
    expect(found).toMatchObject({ classId: 'bright', tile: { x: 100 + dx, y: 80 + dy, index: 3, count: 4 } });
  }
  const errors: string[] = [];
  const onError = (error: AppError) => void errors.push(error.code);
  const nothing = grey(90, 240, 200);
  expect(await inspector.inspect(nothing, { recipe, onError })).toMatchObject({
    verdict: 'unsure',
    unsureReason: 'error',
  });
  const aside = recipeSchema.parse({ finder: { kind: 'trigger-offset', x: 150, y: 0 }, regions: [part] });
  expect(await inspector.inspect(frameWith(60, 50), { recipe: aside, onError })).toMatchObject({ verdict: 'unsure' });
  expect(errors).toEqual(['PART_NOT_FOUND', 'PART_NOT_FOUND']);
});

test('what goes wrong on the way makes the part unsure and is told', async () => {
  await using inspector = await openInspector({ bundleDir: bundle(), threads: 1 });
  const errors: AppError[] = [];
  const onError = (error: AppError) => void errors.push(error);
  const outside = recipeSchema.parse({ regions: [{ x: 500, y: 0, width: 8, height: 8 }] });
  expect(await inspector.inspect(grey(128), { recipe: outside, onError })).toMatchObject({
    verdict: 'unsure',
    unsureReason: 'error',
    errorCode: 'INVALID_INPUT',
  });
  const small = recipeSchema.parse({ maxPixels: 100 });
  expect((await inspector.inspect(grey(128), { recipe: small, onError })).errorCode).toBe('IMAGE_TOO_LARGE');
  const torn = { ...grey(128), data: new Uint8Array(7) };
  expect((await inspector.inspect(torn, { onError })).errorCode).toBe('INFERENCE_FAILED');
  expect(errors.map((e) => e.code)).toEqual(['INVALID_INPUT', 'IMAGE_TOO_LARGE', 'INFERENCE_FAILED']);
  // It goes on afterwards.
  expect((await inspector.inspect(grey(128))).verdict).toBe('ok');
});

test('a bundle that does not fit its card is refused', async () => {
  const open = () => openInspector({ bundleDir: dir, threads: 1 });
  await expect(open()).rejects.toMatchObject({ code: 'MODEL_UNREADABLE' });
  bundle({ modelSha256: 'b'.repeat(64) });
  await expect(open()).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
  const { card } = brightnessModel();
  bundle({ classes: card.classes.slice(0, 2) });
  await expect(open()).rejects.toMatchObject({ code: 'MODEL_UNREADABLE' });
});

test('files: one record per file, in order of name, failures beside verdicts', async () => {
  await using inspector = await openInspector({ bundleDir: bundle(), threads: 1 });
  const images = join(dir, 'images');
  mkdirSync(join(images, '不良'), { recursive: true });
  writeFileSync(join(images, 'a.png'), await encodePng(grey(128)));
  writeFileSync(join(images, 'b.png'), '');
  writeFileSync(join(images, '.hidden'), 'x');
  writeFileSync(join(images, '不良', '明るい.png'), await encodePng(grey(210)));
  const seen: string[] = [];
  const records = await inspectFiles(images, { inspector, recipe: null, onProgress: (line) => void seen.push(line) });
  expect(records).toHaveLength(3);
  expect(records[0]).toMatchObject({ file: join(images, 'a.png'), verdict: 'ok', className: 'OK', model: 'm-test' });
  expect(records[1]).toMatchObject({ file: join(images, 'b.png'), error: { code: 'IMAGE_UNREADABLE' } });
  expect(records[2]).toMatchObject({ verdict: 'ng', classId: 'bright' });
  expect(seen.at(-1)).toBe('3 / 3');
  expect(await inspectFiles(join(dir, 'none.png'), { inspector, recipe: null })).toMatchObject([
    { error: { code: 'IMAGE_UNREADABLE' } },
  ]);
  // As the line: the model's own recipe, whatever the station's has become.
  const recipe = recipeSchema.parse({ regions: [{ x: 0, y: 0, width: 4, height: 4 }] });
  const cut = brightnessModel({ recipe });
  await using own = await openInspector({ model: cut.bytes, card: cut.card, threads: 1 });
  const spot = grey(128);
  for (let y = 0; y < 4; y += 1) spot.data.fill(200, y * 64, y * 64 + 4);
  const spotFile = join(dir, 'spot.png');
  writeFileSync(spotFile, await encodePng(spot));
  expect(await inspectFiles(spotFile, { inspector: own, recipe: recipeSchema.parse({}) })).toMatchObject([
    { verdict: 'ng', classId: 'bright' },
  ]);
  const stop = AbortSignal.abort();
  await expect(inspectFiles(images, { inspector, recipe: null, signal: stop })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
});
