import { histogramOf } from '../../lib/contrast.ts';
import { imageUrl } from '../../lib/connection.ts';

/** Wide enough for the spread of grey values; the whole picture would take longer than a key press may. */
const WIDTH = 256;

/** Counts of the grey values of an archived picture; empty where it cannot be had any more. */
export async function histogramOfImage(sha: string): Promise<number[]> {
  const image = new Image();
  image.src = imageUrl(sha, WIDTH);
  try {
    await image.decode();
  } catch {
    return [];
  }
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = Math.max(1, Math.round((WIDTH * image.naturalHeight) / image.naturalWidth));
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) return [];
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return histogramOf(context.getImageData(0, 0, canvas.width, canvas.height).data);
}
