import type { Backbone, Recipe, Region } from '../contract/domain.ts';
import { AppError, assert, isAppError } from '../contract/errors.ts';
import { openSession, type Tensor } from '../runtime/session.ts';
import { decodeImage } from '../vision/decode.ts';
import { findPart, moved, type Shift } from '../vision/find-part.ts';
import type { PixelImage } from '../vision/image.ts';
import { perceptualHash } from '../vision/perceptual-hash.ts';
import { createPreprocessor } from '../vision/preprocess.ts';
import { rotate } from '../vision/tiles.ts';
import type { DatasetImage, SkippedFile } from './dataset.ts';
import { NO_LOOK } from './near-duplicates.ts';

/** A picture to be looked at: its file, and the part of it that counts. */
export interface ImageSource {
  file: string;
  /** Named in errors; default: the file. */
  name?: string;
  /** In the rotated frame; null: whole frame. */
  region: Region | null;
}

export interface Extractor extends AsyncDisposable {
  readonly backbone: Backbone;
  readonly inputSize: number;
  /** Length of a feature vector. */
  readonly features: number;
  /** Images per call that the model is given. */
  readonly batch: number;
  /** Raw pooled features, row-major [images, features], of images that are decoded and turned already. */
  run(images: readonly { image: PixelImage; region: Region | null }[]): Promise<Float32Array>;
}

/** Some rows of a raw feature table, in the order given. @param features row-major [n, width] */
export function featureRows(features: Float32Array, width: number, rows: readonly number[]): Float32Array<ArrayBuffer> {
  const out = new Float32Array(rows.length * width);
  rows.forEach((row, at) => out.set(features.subarray(row * width, (row + 1) * width), at * width));
  return out;
}

export interface ExtractorOptions {
  threads: number;
  /** Default: the backbone's own. */
  inputSize?: number;
  /** The backbone as bytes, for one that is not in a file (a pruned copy); default: its file. */
  model?: Uint8Array;
}

const MAX_BATCH = 8;

/**
 * Opens the backbone. Whoever opens, disposes.
 * @throws MODEL_UNREADABLE, BACKBONE_UNSUITABLE
 */
export async function openExtractor(backbone: Backbone, options: ExtractorOptions): Promise<Extractor> {
  const inputSize = options.inputSize ?? backbone.inputSize;
  const unsuitable = (problem: string, cause?: unknown) =>
    new AppError('BACKBONE_UNSUITABLE', { file: backbone.file, problem }, { cause });
  if (inputSize !== backbone.inputSize && !backbone.dynamicSize) {
    throw unsuitable(`its input is fixed at ${backbone.inputSize} pixels`);
  }
  const session = await openSession(options.model ?? backbone.file, { threads: options.threads, name: backbone.file });
  const names = backbone.featureOutputs.map(({ name }) => name);
  const preprocessor = createPreprocessor({ size: inputSize, mean: backbone.mean, std: backbone.std });
  const features = backbone.featureOutputs.reduce((sum, { channels }) => sum + channels, 0);
  const input = new Float32Array(MAX_BATCH * preprocessor.length);

  const runFilled = async (count: number): Promise<Record<string, Tensor>> =>
    session.run(
      {
        [backbone.inputName]: {
          type: 'float32',
          dims: [count, 3, inputSize, inputSize],
          data: input.subarray(0, count * preprocessor.length),
        },
      },
      names,
    );
  let batch = MAX_BATCH;
  try {
    const missing = names.filter((name) => !session.outputs.includes(name));
    if (missing.length > 0) throw unsuitable(`it has no output "${missing.join('", "')}"`);
    if (!session.inputs.includes(backbone.inputName)) throw unsuitable(`it has no input "${backbone.inputName}"`);
    // One image must work; two may not, for many models are exported for one image at a time.
    let first: Record<string, Tensor>;
    try {
      first = await runFilled(1);
    } catch (cause) {
      throw unsuitable(`it does not run at ${inputSize} pixels`, cause);
    }
    backbone.featureOutputs.forEach(({ name, channels, kind }) => {
      const dims = first[name]!.dims;
      const rank = kind === 'map' ? dims.length === 4 : dims.length === 2 || dims.slice(2).every((d) => d === 1);
      if (dims[1] !== channels || !rank) throw unsuitable(`its output "${name}" has the shape ${dims.join(' x ')}`);
    });
    try {
      await runFilled(2);
    } catch {
      // Told by the failure of two after the success of one: its batch is fixed.
      batch = 1;
    }
  } catch (error) {
    await session.dispose();
    throw error;
  }

  return {
    backbone,
    inputSize,
    features,
    batch,
    async run(images) {
      const out = new Float32Array(images.length * features);
      for (let from = 0; from < images.length; from += batch) {
        const count = Math.min(batch, images.length - from);
        for (let i = 0; i < count; i += 1) {
          const { image, region } = images[from + i]!;
          preprocessor.into(image, region, input, i * preprocessor.length);
        }
        const outputs = await runFilled(count);
        let column = 0;
        for (const { name, channels, kind } of backbone.featureOutputs) {
          const { data, dims } = outputs[name]!;
          assert(data instanceof Float32Array, 'a checked backbone gives float32 features');
          const positions = kind === 'map' ? dims[2]! * dims[3]! : 1;
          for (let i = 0; i < count; i += 1) {
            const row = (from + i) * features + column;
            for (let c = 0; c < channels; c += 1) {
              let sum = 0;
              const at = (i * channels + c) * positions;
              for (let p = 0; p < positions; p += 1) sum += data[at + p]!;
              out[row + c] = sum / positions;
            }
          }
          column += channels;
        }
      }
      return out;
    },
    [Symbol.asyncDispose]: () => session.dispose(),
  };
}

export interface ExtractOptions {
  recipe?: Pick<Recipe, 'rotation' | 'maxPixels' | 'finder'>;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export interface Extracted {
  /** Row-major [images, features]; the row of a failed image is NaN. */
  features: Float32Array<ArrayBuffer>;
  failed: { index: number; error: AppError }[];
  /** Perceptual hash of each picture (whole, as it was decoded); of a failed one NO_LOOK. */
  looks: string[];
}

const defaultRecipe = { rotation: 0, maxPixels: 100_000_000, finder: { kind: 'fixed' } } as const;

/**
 * Features of many pictures: the next ones are decoded (in sharp's threads) while the model runs. Pictures that cannot be
 * read, and those whose features are not numbers, are told in `failed` and leave a row of NaN.
 * @throws CANCELLED
 */
export async function extractFeatures(
  extractor: Extractor,
  sources: readonly ImageSource[],
  { recipe = defaultRecipe, onProgress, signal }: ExtractOptions = {},
): Promise<Extracted> {
  const { features: width } = extractor;
  const features = new Float32Array(sources.length * width).fill(Number.NaN);
  const failed: Extracted['failed'] = [];
  const looks = sources.map(() => NO_LOOK);
  const step = Math.max(extractor.batch, 4);
  // Tiles of one picture come one after the other: it is decoded once for them.
  let latest: { file: string; picture: Promise<{ look: string; turned: PixelImage; shift: () => Shift }> } | null =
    null;
  const pictureOf = (file: string, name: string) => {
    if (latest?.file !== file) {
      const picture = decodeImage(file, { name, maxPixels: recipe.maxPixels }).then(({ image }) => {
        const turned = rotate(image, recipe.rotation);
        let found: Shift | null = null;
        return { look: perceptualHash(image), turned, shift: () => (found ??= findPart(recipe.finder, turned)) };
      });
      latest = { file, picture };
    }
    return latest.picture;
  };
  type Decoded = { index: number; image: PixelImage; region: Region | null } | { index: number; error: AppError };
  const decodeOne = async (index: number): Promise<Decoded> => {
    const { file, name = file, region } = sources[index]!;
    try {
      const { look, turned, shift } = await pictureOf(file, name);
      looks[index] = look;
      const seen = region && moved(region, shift(), turned);
      if (seen && (seen.x + seen.width > turned.width || seen.y + seen.height > turned.height)) {
        throw new AppError('IMAGE_UNREADABLE', { file: name, problem: 'its region lies outside it' });
      }
      return { index, image: turned, region: seen };
    } catch (error) {
      if (!isAppError(error)) throw error;
      return { index, error };
    }
  };
  const decodeFrom = (from: number): Promise<Decoded[]> =>
    Promise.all(Array.from({ length: Math.min(step, sources.length - from) }, (_, i) => decodeOne(from + i)));

  let next = sources.length > 0 ? decodeFrom(0) : Promise.resolve([]);
  for (let from = 0; from < sources.length; from += step) {
    const decoded = await next;
    if (signal?.aborted) throw new AppError('CANCELLED');
    if (from + step < sources.length) {
      next = decodeFrom(from + step);
      // A bug in decoding is thrown where it is awaited, also when this turn of the loop fails first.
      next.catch(() => undefined);
      // Lets the decoder's file reads start: the model's run holds this thread.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const readable = decoded.filter((item) => 'image' in item);
    for (const item of decoded) if ('error' in item) failed.push(item);
    const rows = await extractor.run(readable);
    readable.forEach(({ index }, i) => {
      const row = rows.subarray(i * width, (i + 1) * width);
      if (row.every(Number.isFinite)) {
        features.set(row, index * width);
      } else {
        const { file, name = file } = sources[index]!;
        failed.push({ index, error: new AppError('FEATURES_NOT_FINITE', { file: name }) });
      }
    });
    onProgress?.(Math.min(from + step, sources.length), sources.length);
  }
  for (const { index } of failed) looks[index] = NO_LOOK;
  return { features, failed, looks };
}

/** Pictures decoded at once where nothing else is done meanwhile. */
const AT_ONCE = 8;

/**
 * The pictures of a data set that can be read, for whoever decodes them again where a refusal would cost what was done so far.
 * @param skipped the others are added to it; null: nobody is told of them
 * @throws CANCELLED
 */
export async function readablePictures(
  images: readonly DatasetImage[],
  skipped: SkippedFile[] | null,
  { onProgress, signal }: Pick<ExtractOptions, 'onProgress' | 'signal'>,
): Promise<DatasetImage[]> {
  const readable: DatasetImage[] = [];
  for (let from = 0; from < images.length; from += AT_ONCE) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const some = images.slice(from, from + AT_ONCE);
    const problems = await Promise.all(
      some.map(({ file, name }) =>
        decodeImage(file, { name, maxPixels: defaultRecipe.maxPixels }).then(
          () => null,
          (error: unknown) => {
            if (!isAppError(error)) throw error;
            return error.message;
          },
        ),
      ),
    );
    some.forEach((image, i) => {
      const problem = problems[i]!;
      if (problem === null) readable.push(image);
      else skipped?.push({ name: image.name, problem });
    });
    onProgress?.(from + some.length, images.length);
  }
  return readable;
}

/** Pictures of a data set and their features, row-major [images, features]. */
export interface Featured {
  images: (DatasetImage & { look: string })[];
  features: Float32Array<ArrayBuffer>;
}

/**
 * Features of the pictures of a data set that can be read.
 * @param skipped the others are added to it; null: nobody is told of them
 * @throws CANCELLED
 */
export async function featuresOfReadable(
  extractor: Extractor,
  images: readonly DatasetImage[],
  skipped: SkippedFile[] | null,
  options: Pick<ExtractOptions, 'onProgress' | 'signal'>,
): Promise<Featured> {
  const { features, failed, looks } = await extractFeatures(
    extractor,
    images.map(({ file, name }) => ({ file, name, region: null })),
    options,
  );
  const bad = new Set(failed.map(({ index }) => index));
  skipped?.push(...failed.map(({ index, error }) => ({ name: images[index]!.name, problem: error.message })));
  const seen = images.map((image, i) => ({ ...image, look: looks[i]! }));
  if (bad.size === 0) return { images: seen, features };
  const kept = images.flatMap((_, i) => (bad.has(i) ? [] : [i]));
  return { images: kept.map((i) => seen[i]!), features: featureRows(features, extractor.features, kept) };
}
