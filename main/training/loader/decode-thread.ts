import { parentPort, workerData } from 'node:worker_threads';
import { AppError, assert } from '../../contract/errors.ts';
import { augmentPixels, augmentPlanes, planAugmentation, randomOf } from '../../vision/augment/index.ts';
import { decodeImage } from '../../vision/decode.ts';
import type { PixelImage } from '../../vision/image.ts';
import { createPreprocessor } from '../../vision/preprocess.ts';
import type { DecodeJob, DecodeThreadData, FromDecodeThread, ToDecodeThread } from './messages.ts';

/* Decodes, augments and preprocesses pictures. Never loads the model runtime: that is for the main thread alone. */

assert(parentPort, 'this file is the entry of a worker thread');
const port = parentPort;
const { images, size, mean, std, augmentation, seed, maxPixels, cacheBytes } = workerData as DecodeThreadData;
const preprocessor = createPreprocessor({ size, mean, std });
/** The first that fit: every picture comes once an epoch, so throwing out the oldest would never find one. */
const kept = new Map<number, PixelImage>();
let room = cacheBytes;

async function decoded(index: number): Promise<PixelImage> {
  const known = kept.get(index);
  if (known) return known;
  const { file, name } = images[index]!;
  const { image } = await decodeImage(file, { name, maxPixels });
  if (image.data.byteLength <= room && !kept.has(index)) {
    room -= image.data.byteLength;
    kept.set(index, image);
  }
  return image;
}

async function load({ job, image: index, epoch, position }: DecodeJob): Promise<void> {
  let answer: FromDecodeThread;
  try {
    const taken = await decoded(index);
    const plan = planAugmentation(augmentation, randomOf(seed, epoch, position));
    const { image, region } = augmentPixels(taken, plan);
    const data = new Float32Array(preprocessor.length);
    preprocessor.into(image, region, data, 0);
    augmentPlanes({ data, offset: 0, size, mean, std }, plan);
    answer = { job, planes: data, mixup: plan.mixup };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const { code, details } = error;
    assert(
      code === 'IMAGE_UNREADABLE' || code === 'IMAGE_TOO_LARGE' || code === 'IMAGE_ANIMATED',
      'decoding fails in these ways only',
    );
    port.postMessage({ job, code, details } satisfies FromDecodeThread);
    return;
  }
  port.postMessage(answer, [answer.planes.buffer]);
}

/** One is decoded (in sharp's threads) while another is augmented here; more at once would only hold more pictures. */
const AT_ONCE = 2;
const waiting: DecodeJob[] = [];
let running = 0;
let closing = false;

function startNext(): void {
  while (running < AT_ONCE && waiting.length > 0) {
    running += 1;
    // What is thrown past load() is a bug: unhandled, it ends this thread, and the loader reports it.
    void load(waiting.shift()!).then(() => {
      running -= 1;
      startNext();
    });
  }
  if (closing && running === 0) port.close();
}

port.on('message', (message: ToDecodeThread) => {
  if (message) waiting.push(message);
  else {
    closing = true;
    waiting.length = 0;
  }
  startNext();
});
