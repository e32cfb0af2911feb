import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { recipeSchema } from '../../../main/contract/domain.ts';
import type { AppError } from '../../../main/contract/errors.ts';
import { inspectFiles } from '../../../main/inspection/files.ts';
import { openInspector } from '../../../main/inspection/inspector.ts';
import { encodePng } from '../../../main/vision/decode.ts';
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
  const stop = AbortSignal.abort();
  await expect(inspectFiles(images, { inspector, recipe: null, signal: stop })).rejects.toMatchObject({
    code: 'CANCELLED',
  });
});
