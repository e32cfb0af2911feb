import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LabelledImage } from '../../../main/training/loader/loader.ts';
import { randomOf } from '../../../main/vision/augment/index.ts';
import { encodePng } from '../../../main/vision/decode.ts';

/** Pictures on disk: class 0 has horizontal stripes, class 1 vertical ones, class 2 a bright spot; noise on all. */
export async function writePictures(
  folder: string,
  perClass: number,
  classes = 3,
  size = 40,
): Promise<LabelledImage[]> {
  const images: LabelledImage[] = [];
  for (let label = 0; label < classes; label += 1) {
    await mkdir(join(folder, `c${label}`), { recursive: true });
    for (let i = 0; i < perClass; i += 1) {
      const random = randomOf(label, i);
      const [phase, x0, y0] = [random.below(8), random.between(10, 30), random.between(10, 30)];
      const data = Uint8Array.from({ length: size * size }, (_, p) => {
        const [x, y] = [p % size, Math.floor(p / size)];
        const stripe = (v: number) => ((v + phase) % 8 < 4 ? 60 : 0);
        const drawn = label === 0 ? stripe(y) : label === 1 ? stripe(x) : (x - x0) ** 2 + (y - y0) ** 2 < 40 ? 120 : 0;
        return 70 + drawn + random.below(20);
      });
      const name = `c${label}/${i}.png`;
      await writeFile(join(folder, name), await encodePng({ width: size, height: size, channels: 1, data }));
      images.push({ file: join(folder, name), name, label });
    }
  }
  return images;
}
