import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  modelCardSchema,
  recipeSchema,
  type Judgement,
  type ModelCard,
  type Recipe,
  type Region,
} from '../contract/domain.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import { openSession, type Session } from '../runtime/session.ts';
import { findPart, moved } from '../vision/find-part.ts';
import type { PixelImage } from '../vision/image.ts';
import { createPreprocessor } from '../vision/preprocess.ts';
import { planTiles, recipeOf, rotate } from '../vision/tiles.ts';
import { decide, unsure, type TileOutput } from './decide.ts';

/**
 * Input pixels of one session run, and with them its memory. More tiles at once are no faster on a processor (5 to 6 ms each, one or thirty), and thirty
 * of 224 px take 337 MB (development figures): as much as the whole line may.
 */
const RUN_PIXELS = 4 * 224 * 224;

export const wholeFrame: Recipe = recipeSchema.parse({});

/** Every so many values of the input are looked at for the picture's brightness: enough for a mean, and no time. A prime: no column pattern. */
const BRIGHTNESS_STEP = 13;

/** Monotonic, and the same clock in every thread of the process (performance.now() is not). */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export type InspectorSource =
  /** Folder with model.onnx and model.json. Says nothing about approval: the line calls verifyBundle first. */
  | { bundleDir: string; threads: number }
  /** The bytes that were verified, so that nothing can be swapped between check and load. */
  | { model: Uint8Array; card: ModelCard; threads: number };

export interface InspectOptions {
  /** Default: the card's recipe, or the whole frame. */
  recipe?: Recipe | null;
  /** When the frame's last byte was there, by monotonicMs(); default: now. */
  arrivedAtMs?: number;
  /** Hears why a part is unsure with the reason 'error'. */
  onError?: (error: AppError) => void;
}

/** One loaded model and its buffers. `inspect` may not be called again before the last call is through. */
export interface Inspector extends AsyncDisposable {
  readonly card: ModelCard;
  readonly session: Session;
  /** Never throws: whatever goes wrong makes the part unsure with the reason 'error'. */
  inspect(frame: PixelImage, options?: InspectOptions): Promise<Judgement>;
  dispose(): Promise<void>;
}

/**
 * Loads a model and runs it once, so that the first part is not the slow one.
 * @throws MODEL_UNREADABLE: no card, another interface than ModelCard states, or refused by ORT. BUNDLE_ALTERED: other bytes than the card's.
 */
export async function openInspector(source: InspectorSource): Promise<Inspector> {
  const { card, model } = 'bundleDir' in source ? await readBundle(source.bundleDir) : source;
  const session = await openSession(model, { threads: source.threads, name: card.id });
  try {
    const inspector = createInspector(session, card);
    await inspector.probe();
    return inspector;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}

/** Card and model of a bundle, as they were when it was made. @throws as openInspector */
export async function readBundle(bundleDir: string): Promise<{ card: ModelCard; model: Uint8Array }> {
  const file = join(bundleDir, 'model.json');
  let card: ModelCard;
  let model: Uint8Array;
  try {
    card = modelCardSchema.parse(JSON.parse(await readFile(file, 'utf8')));
    model = await readFile(join(bundleDir, 'model.onnx'));
  } catch (cause) {
    throw new AppError('MODEL_UNREADABLE', { file, problem: problemOf(cause) }, { cause });
  }
  if (createHash('sha256').update(model).digest('hex') !== card.modelSha256) {
    throw new AppError('BUNDLE_ALTERED', { file: join(bundleDir, 'model.onnx') });
  }
  return { card, model };
}

interface Plan {
  recipe: Recipe;
  width: number;
  height: number;
  regions: Region[];
}

function createInspector(session: Session, card: ModelCard): Inspector & { probe(): Promise<void> } {
  const size = card.inputSize;
  const preprocessor = createPreprocessor({ size, mean: card.mean, std: card.std });
  const perTile = preprocessor.length;
  const tilesPerRun = Math.max(1, Math.floor(RUN_PIXELS / (size * size)));
  const inputName = session.inputs[0] ?? 'image';
  // The heat map is made on demand elsewhere; fetching it for each part would copy it out for nothing.
  const fetches = ['logits', 'novelty'];
  let buffer = new Float32Array(perTile);
  let plan: Plan | null = null;

  const planFor = (recipe: Recipe, width: number, height: number): Region[] => {
    if (plan?.recipe !== recipe || plan.width !== width || plan.height !== height) {
      plan = { recipe, width, height, regions: planTiles(recipe, width, height) };
    }
    return plan.regions;
  };

  const runBatch = async (count: number, outputs: TileOutput[]) => {
    const results = await session.run(
      { [inputName]: { type: 'float32', dims: [count, 3, size, size], data: buffer.subarray(0, count * perTile) } },
      fetches,
    );
    const logits = results['logits']?.data as Float32Array | undefined;
    const novelty = results['novelty']?.data as Float32Array | undefined;
    const width = card.classes.length;
    if (!logits || !novelty || logits.length !== count * width || novelty.length !== count) {
      throw new AppError('MODEL_UNREADABLE', {
        file: card.id,
        problem: `for ${count} tiles and ${width} classes it gives ${logits?.length ?? 0} logits and ${novelty?.length ?? 0} novelties`,
      });
    }
    for (let i = 0; i < count; i += 1) {
      outputs.push({ logits: logits.subarray(i * width, (i + 1) * width), novelty: novelty[i]! });
    }
  };

  const infer = async (
    frame: PixelImage,
    recipe: Recipe,
  ): Promise<{ outputs: TileOutput[]; regions: Region[]; picture: [number, number]; whole: boolean }> => {
    if (frame.width * frame.height > recipe.maxPixels) {
      throw new AppError('IMAGE_TOO_LARGE', {
        file: 'frame',
        width: frame.width,
        height: frame.height,
        limit: recipe.maxPixels,
      });
    }
    const turned = rotate(frame, recipe.rotation);
    const plan = planFor(recipe, turned.width, turned.height);
    const shift = findPart(recipe.finder, turned);
    const regions = plan.map((region) => moved(region, shift, turned));
    const batch = Math.min(regions.length, tilesPerRun);
    if (buffer.length < batch * perTile) buffer = new Float32Array(batch * perTile);
    const outputs: TileOutput[] = [];
    let [seen, sum, squares] = [0, 0, 0];
    for (let first = 0; first < regions.length; first += tilesPerRun) {
      const count = Math.min(tilesPerRun, regions.length - first);
      for (let i = 0; i < count; i += 1) preprocessor.into(turned, regions[first + i]!, buffer, i * perTile);
      for (let i = 0; i < count * perTile; i += BRIGHTNESS_STEP) {
        const v = buffer[i]!;
        seen += 1;
        sum += v;
        squares += v * v;
      }
      await runBatch(count, outputs);
    }
    const mean = sum / seen;
    const [only] = regions;
    const whole = regions.length === 1 && only!.width === turned.width && only!.height === turned.height;
    return { outputs, regions, whole, picture: [mean, Math.sqrt(Math.max(0, squares / seen - mean * mean))] };
  };

  const dispose = () => session.dispose();
  return {
    card,
    session,
    dispose,
    [Symbol.asyncDispose]: dispose,
    async probe() {
      for (const name of fetches) {
        if (!session.outputs.includes(name)) {
          throw new AppError('MODEL_UNREADABLE', { file: card.id, problem: `it has no output "${name}"` });
        }
      }
      buffer.fill(0);
      try {
        await runBatch(1, []);
      } catch (cause) {
        if (isAppError(cause)) throw cause;
        throw new AppError('MODEL_UNREADABLE', { file: card.id, problem: problemOf(cause) }, { cause });
      }
    },
    async inspect(frame, options = {}) {
      const arrived = options.arrivedAtMs ?? monotonicMs();
      const since = () => Math.max(0, monotonicMs() - arrived);
      try {
        const { outputs, regions, picture, whole } = await infer(frame, options.recipe ?? recipeOf(card, wholeFrame));
        return decide(outputs, card, {
          regions: whole ? null : regions,
          modelId: card.id,
          latencyMs: since(),
          picture,
        });
      } catch (cause) {
        const error = isAppError(cause)
          ? cause
          : new AppError('INFERENCE_FAILED', { part: 'of this frame', problem: problemOf(cause) }, { cause });
        options.onError?.(error);
        return unsure('error', { modelId: card.id, latencyMs: since(), errorCode: error.code });
      }
    },
  };
}
