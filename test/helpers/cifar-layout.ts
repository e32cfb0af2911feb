import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PixelImage } from '../../main/vision/image.ts';
import { encodePng } from '../../main/vision/decode.ts';
import { mulberry32 } from '../../main/vision/random.ts';

/*
 * A hundred classes of 32 px colour pictures in the layout that CIFAR-100 has as folders: {train,test}/<class>/*.png. Ten outlines in ten colours, each picture
 * with its own place, size, turn, light and noise. For the protocol in places where the real set is not to be had; it says nothing about accuracy on that set.
 */

const SIDE = 32;
/** Distance from the outline of a shape around the origin of about unit size, negative inside. */
const outlines: Record<string, (x: number, y: number) => number> = {
  bar: (x, y) => Math.max(Math.abs(x) - 1, Math.abs(y) - 0.3),
  cross: (x, y) =>
    Math.min(Math.max(Math.abs(x) - 1, Math.abs(y) - 0.28), Math.max(Math.abs(y) - 1, Math.abs(x) - 0.28)),
  disc: (x, y) => Math.hypot(x, y) - 0.8,
  frame: (x, y) => Math.abs(Math.max(Math.abs(x), Math.abs(y)) - 0.75) - 0.2,
  half: (x, y) => Math.max(Math.hypot(x, y) - 0.9, -y),
  moon: (x, y) => Math.max(Math.hypot(x, y) - 0.9, 0.8 - Math.hypot(x - 0.5, y)),
  ring: (x, y) => Math.abs(Math.hypot(x, y) - 0.7) - 0.2,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) - 0.75,
  star: (x, y) => Math.hypot(x, y) - 0.55 - 0.35 * Math.cos(5 * Math.atan2(y, x)),
  wedge: (x, y) => Math.max(-y - 0.6, Math.abs(x) * 1.7 + y - 0.9),
};
const colours: Record<string, [number, number, number]> = {
  amber: [235, 165, 30],
  blue: [40, 80, 220],
  brown: [120, 75, 40],
  cyan: [60, 200, 215],
  green: [40, 160, 60],
  grey: [130, 130, 130],
  pink: [240, 130, 175],
  red: [210, 40, 40],
  violet: [125, 60, 180],
  white: [240, 240, 240],
};
export const classNames = Object.keys(colours).flatMap((colour) =>
  Object.keys(outlines).map((outline) => `${colour}_${outline}`),
);

function pictureOf(className: string, seed: number): PixelImage {
  const [colour, outline] = className.split('_') as [string, string];
  const next = mulberry32(seed);
  const random = () => next() / 2 ** 32;
  const between = (from: number, to: number): number => from + random() * (to - from);
  const [x0, y0, radius, turn] = [between(13, 19), between(13, 19), between(8, 12), between(0, 2 * Math.PI)];
  const [light, ground, tilt] = [between(0.75, 1.1), between(20, 110), between(-1, 1)];
  const [cos, sin] = [Math.cos(turn) / radius, Math.sin(turn) / radius];
  const data = new Uint8Array(SIDE * SIDE * 3);
  for (let y = 0; y < SIDE; y += 1)
    for (let x = 0; x < SIDE; x += 1) {
      const [u, v] = [x - x0, y - y0];
      const distance = outlines[outline]!(u * cos + v * sin, v * cos - u * sin) * radius;
      // Half a pixel of softness: no staircase that would give the turn away.
      const share = Math.min(1, Math.max(0, 0.5 - distance));
      for (let c = 0; c < 3; c += 1) {
        const value = share * colours[colour]![c]! * light + (1 - share) * (ground + tilt * x) + between(-14, 14);
        data[(y * SIDE + x) * 3 + c] = Math.min(255, Math.max(0, value));
      }
    }
  return { width: SIDE, height: SIDE, channels: 3, data };
}

/** Writes the set into a folder, with so many pictures per class. */
export async function writeCifarLayout(folder: string, perClass: { train: number; test: number }): Promise<void> {
  for (const [c, name] of classNames.entries())
    for (const part of ['train', 'test'] as const) {
      const at = join(folder, part, name);
      await mkdir(at, { recursive: true });
      for (let n = 0; n < perClass[part]; n += 1) {
        const seed = (c * 2 + (part === 'train' ? 0 : 1)) * 1_000_003 + n;
        await writeFile(join(at, `${String(n).padStart(4, '0')}.png`), await encodePng(pictureOf(name, seed)));
      }
    }
}
