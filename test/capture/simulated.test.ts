import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { cameraConfigSchema } from '../../main/contract/domain.ts';
import type { CameraFrame } from '../../main/capture/camera.ts';
import {
  createSimulatedCamera,
  plannedDefect,
  renderPlanned,
  type SimulatedConfig,
} from '../../main/capture/simulated/camera.ts';
import { defectClassesOf, renderDataset, renderPart, surfaces } from '../../main/capture/simulated/render.ts';

const config = (over: object = {}) => cameraConfigSchema.parse({ kind: 'simulated', ...over }) as SimulatedConfig;
const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const mean = (bytes: Uint8Array) => bytes.reduce((sum, v) => sum + v, 0) / bytes.length;

test.each(surfaces)(
  '%s: at least six defect classes and a late one, each visible inside its box',
  (surface) => {
    const classes = defectClassesOf(surface);
    expect(classes.filter((c) => !c.late).length).toBeGreaterThanOrEqual(6);
    expect(classes.filter((c) => c.late)).toHaveLength(1);
    expect(new Set(classes.map((c) => c.className)).size).toBe(classes.length);
    for (const { className } of classes) {
      for (let index = 0; index < 6; index += 1) {
        const asked = { surface, seed: 3, index, defect: className, width: 256, height: 256, blur: 0 };
        const { image, truth } = renderPart(asked);
        expect(truth.className).toBe(className);
        const { x, y, width, height } = truth.box!;
        expect(x >= 0 && y >= 0 && x + width <= 256 && y + height <= 256).toBe(true);
        expect(image).toMatchObject({ width: 256, height: 256, channels: 1 });
      }
    }
  },
  240_000,
);

test('a part is a function of seed and number alone', () => {
  const asked = { surface: 'cast' as const, seed: 5, index: 7, defect: 'crack', width: 128, height: 128 };
  const first = sha(renderPart(asked).image.data);
  renderPart({ ...asked, surface: 'fabric', defect: null, width: 96, height: 160 });
  for (const seed of [6, 7, 8]) renderPart({ ...asked, seed });
  expect(sha(renderPart(asked).image.data)).toBe(first);
  expect(sha(renderPart({ ...asked, index: 8 }).image.data)).not.toBe(first);
  expect(sha(renderPart({ ...asked, seed: 6 }).image.data)).not.toBe(first);
  expect(() => renderPart({ ...asked, defect: 'hole' })).toThrow(expect.objectContaining({ code: 'INVALID_INPUT' }));
});

test('light and blur do what they say', () => {
  const asked = { surface: 'brushed-metal' as const, seed: 1, index: 1, defect: null, width: 128, height: 128 };
  expect(mean(renderPart({ ...asked, light: 1.3 }).image.data) / mean(renderPart(asked).image.data)).toBeCloseTo(
    1.3,
    1,
  );
  const roughness = (blur: number) => {
    const { data } = renderPart({ ...asked, blur }).image;
    let sum = 0;
    for (let i = 128; i < data.length; i += 1) sum += Math.abs(data[i]! - data[i - 128]!);
    return sum;
  };
  expect(roughness(0)).toBeGreaterThan(1.5 * roughness(3));
});

test('the late class appears when its time has come, and not before', () => {
  const late = defectClassesOf('fabric').find((c) => c.late)!.className;
  // 600 a minute: part 600 comes after 60 s.
  const line = config({ surface: 'fabric', partsPerMinute: 600, newDefectAfterS: 60, defectShare: 0.3 });
  const kinds = Array.from({ length: 4000 }, (_, i) => plannedDefect(line, i));
  expect(kinds.slice(0, 600)).not.toContain(late);
  expect(kinds.slice(600, 700)).toContain(late);
  const share = kinds.filter((k) => k !== null).length / kinds.length;
  expect(share).toBeGreaterThan(0.26);
  expect(share).toBeLessThan(0.34);
  expect(new Set(kinds).size).toBe(1 + defectClassesOf('fabric').length);
  expect(plannedDefect(config({ newDefectAfterS: 0, defectShare: 0 }), 1)).toBeNull();
});

test('light drifts with the number of the part', () => {
  const line = config({ lightDriftPer1000: -0.5, defectShare: 0, width: 64, height: 64 });
  expect(mean(renderPlanned(line, 1000).image.data)).toBeLessThan(0.65 * mean(renderPlanned(line, 0).image.data));
});

test('a data set has every early class and ok, no picture twice', () => {
  const made = [...renderDataset({ surface: 'printed-board', seed: 2, perClass: 3, width: 64, height: 64 })];
  expect(new Set(made.map((m) => m.className))).toEqual(
    new Set([
      'ok',
      ...defectClassesOf('printed-board')
        .filter((c) => !c.late)
        .map((c) => c.className),
    ]),
  );
  expect(new Set(made.map((m) => sha(m.image.data))).size).toBe(made.length);
  expect(made.every((m) => m.truth.className === m.className)).toBe(true);
});

test('the camera delivers at its rate, tells what was dropped, goes on where it stopped, and is silent after dispose', async () => {
  const frames: CameraFrame[] = [];
  const position = { next: 0 };
  const line = config({ partsPerMinute: 1200, width: 64, height: 64 });
  const listener = { onState: () => {}, onRejected: () => {}, onTrouble: () => {} };
  const sinkOf = (list: CameraFrame[]) => ({
    offer: (frame: CameraFrame) => list.push(frame) > 0,
    whenFree: async () => {},
  });
  const have = async (list: readonly CameraFrame[], count: number) => {
    while (list.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const camera = createSimulatedCamera(line, position);
  const begun = performance.now();
  await camera.open(sinkOf(frames), listener);
  await have(frames, 8);
  await camera.dispose();
  const { length } = frames;
  // One each 50 ms, the first at once; fewer where the machine is slow, and never more.
  expect(length).toBeLessThanOrEqual(1 + (performance.now() - begun) / 50 + 1);
  expect(frames[0]!.source).toBe('part 0');
  expect(frames[0]!.truth!.className).toBe(plannedDefect(line, 0) ?? 'ok');
  const next = position.next;
  expect(next).toBeGreaterThanOrEqual(length);
  const more: CameraFrame[] = [];
  await using again = createSimulatedCamera(line, position);
  await again.open(sinkOf(more), listener);
  await have(more, 4);
  expect(more[0]!.source).toBe(`part ${next}`);
  // The first one was silent meanwhile.
  expect(frames).toHaveLength(length);
});
