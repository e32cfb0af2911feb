import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { recipeSchema } from '../../../main/contract/domain.ts';
import { samplesOf } from '../../../main/core/samples.ts';
import type { Store } from '../../../main/store/open.ts';
import { encodePng } from '../../../main/vision/decode.ts';
import { teachTemplate } from '../../../main/vision/find-part.ts';
import type { PixelImage } from '../../../main/vision/image.ts';
import { newStation, sha } from '../../store/examples.ts';

/** An uneven square in an even picture. */
const picture = (): PixelImage => {
  const data = new Uint8Array(64 * 64).fill(90);
  for (let y = 16; y < 48; y += 1) for (let x = 16; x < 48; x += 1) data[y * 64 + x] = 120 + ((x * 7 + y * 13) % 90);
  return { width: 64, height: 64, channels: 1, data };
};

test('a marked defect whose picture could not be read for once teaches when it can be', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mekiki-samples-'));
  try {
    const region = { x: 16, y: 16, width: 32, height: 32 };
    const template = teachTemplate(picture(), region);
    const station = newStation({
      recipe: recipeSchema.parse({
        finder: { kind: 'template', template, searchX: 8, searchY: 8, minScore: 0.5 },
        tiles: { columns: 2, rows: 2, overlap: 0 },
      }),
    });
    const label = { imageSha: sha(1), classId: 'c-pit', partId: 1, boxes: [{ x: 18, y: 18, width: 6, height: 6 }] };
    const file = join(folder, 'picture.png');
    const store = {
      home: folder,
      classes: { okIds: () => new Set(['ok']) },
      labels: { list: () => [label] },
      images: { pathOf: () => file },
      parts: { imageSize: () => ({ width: 64, height: 64 }) },
      features: { row: () => -1 },
    } as unknown as Store;
    const regions = async () => (await samplesOf(store, station)).map((sample) => sample.region);
    // Held by somebody else, or on a disk that is away.
    expect(await regions()).toEqual([]);
    writeFileSync(file, await encodePng(picture()));
    expect(await regions()).toEqual([{ x: 16, y: 16, width: 16, height: 16 }]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
