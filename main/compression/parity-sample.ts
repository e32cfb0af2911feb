import type { ModelCard, ParitySample } from '../contract/domain.ts';
import type { Session } from '../runtime/session.ts';
import type { PixelImage } from '../vision/image.ts';
import { createLogits } from './region-logits.ts';
import { mulberry32 } from '../vision/random.ts';

/*
 * Pictures that every PC can make alike, so that a bundle proves itself where none of its station's pictures are. They are no parts: what a
 * model says of them means nothing, only that it says the same everywhere.
 */

/** Pictures with a seed each. */
const MADE = 8;

/** A picture of integers alone (waves of three periods in each direction, and grain), the same to the bit wherever it is made. */
export function madePicture(seed: number, size: number): PixelImage {
  const next = mulberry32(seed + 1);
  const waves = Array.from({ length: 3 }, () => ({
    period: 8 + (next() % Math.max(8, size)),
    slope: (next() % 7) - 3,
    shift: next() % 256,
  }));
  const data = new Uint8Array(3 * size * size);
  for (let y = 0, at = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      for (let c = 0; c < 3; c++, at++) {
        const { period, slope, shift } = waves[c]!;
        // A triangle between 0 and 200, along a line of its own.
        const place = (((x * 4 + y * slope + shift) % period) + period) % period;
        data[at] = Math.floor((200 * Math.min(place, period - place) * 2) / period) + (next() % 56);
      }
    }
  }
  return { width: size, height: size, channels: 3, data };
}

/** What a model says of the made pictures. */
export async function madeSample(
  session: Session,
  card: Pick<ModelCard, 'inputSize' | 'mean' | 'std'>,
): Promise<ParitySample['made']> {
  const logits = createLogits(session, card);
  const made: ParitySample['made'] = [];
  for (let seed = 0; seed < MADE; seed++) {
    made.push({ seed, logits: [...(await logits(madePicture(seed, card.inputSize), null))] });
  }
  return made;
}
