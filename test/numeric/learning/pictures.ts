/* Pictures of four simple surfaces, for tests that need real files: stripes, dots, plain and a scratch. */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { encodePng } from '../../../main/vision/decode.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { randomOf } from './synthetic.ts';

export type Surface = 'stripes' | 'dots' | 'plain' | 'scratch';

export function picture(surface: Surface, seed: number, size = 48): PixelImage {
  const random = randomOf(seed * 77 + surface.length * 1009 + 1);
  const phase = Math.floor(random() * 8);
  const at = Math.floor(size * (0.2 + 0.6 * random()));
  const data = new Uint8Array(size * size);
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      let v = 120;
      if (surface === 'stripes') v += (x + phase) % 8 < 4 ? 60 : -60;
      if (surface === 'dots') v += (x + phase) % 8 < 2 && (y + phase) % 8 < 2 ? 110 : -20;
      if (surface === 'scratch') v += Math.abs(x - at - y * 0.2) < 2 ? 130 : 0;
      data[y * size + x] = Math.max(0, Math.min(255, v + 24 * (random() - 0.5)));
    }
  }
  return { width: size, height: size, channels: 1, data };
}

export async function writePicture(file: string, image: PixelImage): Promise<{ file: string; sha: string }> {
  const bytes = await encodePng(image);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, bytes);
  return { file, sha: createHash('sha256').update(bytes).digest('hex') };
}

/** train/<class>/* and test/<class>/*. */
export async function writeDataset(
  dir: string,
  classes: Record<string, Surface>,
  counts: { train: number; test: number },
) {
  let seed = 0;
  for (const part of ['train', 'test'] as const) {
    for (const [name, surface] of Object.entries(classes)) {
      for (let i = 0; i < counts[part]; i += 1) {
        await writePicture(path.join(dir, part, name, `${i}.png`), picture(surface, ++seed));
      }
    }
  }
}
