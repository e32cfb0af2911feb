import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { z } from 'zod';
import { modelCardSchema, type Region } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import {
  decodeModel,
  encodeModel,
  float32Of,
  indexGraph,
  mapBehindPooling,
  selectOutputs,
  type PooledMap,
} from '../onnx/index.ts';
import { openSession } from '../runtime/session.ts';
import { decodeImage } from '../vision/decode.ts';
import { createPreprocessor } from '../vision/preprocess.ts';
import { recipeOf, rotate } from '../vision/tiles.ts';
import { anomalyOutputs } from './anomaly/padim.ts';
import { assembled } from './assemble.ts';

/*
 * Exact class activation map of an assembled model. With z_j = h_j / (sqrt|h_j| s) (embedding.ts) and h_j the mean of the map F_j,
 * the logit of class c is the mean over positions of sum_j W_jc F_j(x, y) / (sqrt|h_j| s), plus the bias: that sum is the map. Where channels were levelled
 * for INT8 the model holds F_j / f_j and multiplies its mean by f_j (quantize/balance.ts); W_jc then counts f_j times. The line's model
 * carries no such output (each part would pay for it); it is read out of a copy of the model with more outputs.
 */

export interface ClassMap {
  width: number;
  height: number;
  /** Row-major; their mean and the bias add up to the logit. */
  values: Float64Array;
  bias: number;
}

/**
 * A session over an assembled model that gives class maps. Whoever opens, disposes.
 * `run` takes one picture [3, size, size] and the column of a class.
 * @throws GRAPH_INVALID for a model that is not an assembled one
 */
export async function openClassMaps(
  bytes: Uint8Array,
  { threads, name }: { threads: number; name: string },
): Promise<AsyncDisposable & { run(image: Float32Array, size: number, column: number): Promise<ClassMap> }> {
  const model = decodeModel(bytes, name);
  const weights = model.graph.initializers.get(assembled.weights);
  const bias = model.graph.initializers.get(assembled.bias);
  const { producer } = indexGraph(model.graph);
  const stages: (PooledMap & { pooled: string })[] = [];
  while (producer.has(assembled.pooled(stages.length))) {
    const pooled = assembled.pooled(stages.length);
    const behind = mapBehindPooling(model, pooled);
    if (behind === null) throw new AppError('GRAPH_INVALID', { where: pooled, problem: 'no map is pooled here' });
    stages.push({ pooled, ...behind });
  }
  if (!weights || !bias || stages.length === 0) {
    throw new AppError('GRAPH_INVALID', {
      where: assembled.weights,
      problem: 'the model was not assembled by this program',
    });
  }
  const w = float32Of(weights);
  const b = float32Of(bias);
  const classes = weights.dims[1]!;
  const session = await openSession(
    encodeModel(selectOutputs(model, [...new Set(stages.flatMap(({ pooled, map }) => [pooled, map]))])),
    { threads, name },
  );
  return {
    async run(image, size, column) {
      const outputs = await session.run({
        [assembled.input]: { type: 'float32', dims: [1, 3, size, size], data: image },
      });
      const grids = stages.map(({ map }) => ({ height: outputs[map]!.dims[2]!, width: outputs[map]!.dims[3]! }));
      const width = Math.max(...grids.map((grid) => grid.width));
      const height = Math.max(...grids.map((grid) => grid.height));
      const values = new Float64Array(width * height);
      let row = 0;
      stages.forEach(({ pooled, map, factor }, s) => {
        const h = outputs[pooled]!.data as Float32Array;
        const f = outputs[map]!.data as Float32Array;
        const grid = grids[s]!;
        const positions = grid.width * grid.height;
        const activation = new Float64Array(positions);
        const length = Math.sqrt(h.reduce((sum, v) => sum + Math.abs(v), 0) * stages.length);
        h.forEach((v, j) => {
          const root = Math.sqrt(Math.abs(v));
          if (root === 0 || length === 0) return;
          const weight = (w[(row + j) * classes + column]! * (factor?.[j] ?? 1)) / (root * length);
          for (let p = 0; p < positions; p += 1) activation[p]! += weight * f[j * positions + p]!;
        });
        spread(activation, grid, values, { width, height });
        row += h.length;
      });
      return { width, height, values, bias: b[column]! };
    },
    [Symbol.asyncDispose]: () => session.dispose(),
  };
}

type Grid = { width: number; height: number };

/** Adds a coarse map onto a finer one by area, so that its mean stays. */
function spread(from: Float64Array, small: Grid, into: Float64Array, large: Grid): void {
  const shares = (a: number, b: number): { from: number; share: number }[][] =>
    Array.from({ length: b }, (_, i) => {
      const [start, end] = [(i * a) / b, ((i + 1) * a) / b];
      const parts: { from: number; share: number }[] = [];
      for (let cell = Math.floor(start); cell < Math.min(a, Math.ceil(end)); cell += 1) {
        const covered = Math.min(end, cell + 1) - Math.max(start, cell);
        if (covered > 1e-9) parts.push({ from: cell, share: covered / (end - start) });
      }
      return parts;
    });
  const columns = shares(small.width, large.width);
  shares(small.height, large.height).forEach((rows, y) => {
    columns.forEach((cells, x) => {
      let sum = 0;
      for (const r of rows) for (const c of cells) sum += r.share * c.share * from[r.from * small.width + c.from]!;
      into[y * large.width + x]! += sum;
    });
  });
}

type Input = z.output<(typeof trainerMethods)['trainer.heatMap']['input']>;
type Output = z.input<(typeof trainerMethods)['trainer.heatMap']['output']>;

/**
 * trainer.heatMap: weights 0..255 (0: speaks against the class or not at all) over the region that was judged.
 * @throws IMAGE_*, MODEL_UNREADABLE, NOT_FOUND for a class that the model does not know, GRAPH_INVALID for a model that is not an assembled one, CANCELLED
 */
export async function heatMapOf(
  { bundleDir, file, region, recipe: station, classId }: Input,
  { threads = 2, signal }: { threads?: number; signal?: AbortSignal } = {},
): Promise<Output> {
  const cardFile = path.join(bundleDir, 'model.json');
  let card: z.infer<typeof modelCardSchema>;
  let bytes: Uint8Array;
  try {
    card = modelCardSchema.parse(JSON.parse(await readFile(cardFile, 'utf8')));
    // A plain array: slices of a Buffer are views, and the codec counts on copies.
    bytes = new Uint8Array(await readFile(path.join(bundleDir, 'model.onnx')));
  } catch (cause) {
    throw new AppError('MODEL_UNREADABLE', { file: cardFile, problem: (cause as Error).message }, { cause });
  }
  const column = card.classes.findIndex(({ id }) => id === classId);
  if (column < 0) throw new AppError('NOT_FOUND', { kind: 'Class', id: classId });
  const recipe = recipeOf(card, station);
  const { image } = await decodeImage(file, { name: path.basename(file), maxPixels: recipe.maxPixels });
  if (signal?.aborted) throw new AppError('CANCELLED');
  const turned = rotate(image, recipe.rotation);
  const seen: Region = region ?? { x: 0, y: 0, width: turned.width, height: turned.height };
  const preprocessor = createPreprocessor({ size: card.inputSize, mean: card.mean, std: card.std });
  const input = new Float32Array(preprocessor.length);
  preprocessor.into(turned, seen, input, 0);
  if (decodeModel(bytes, card.id).graph.outputs.some(({ name }) => name === anomalyOutputs.map)) {
    return { ...(await anomalyMapOf(bytes, card, input, threads)), region: seen };
  }
  await using maps = await openClassMaps(bytes, { threads, name: card.id });
  const { width, height, values } = await maps.run(input, card.inputSize, column);
  // Against the map's own middle: what is the same everywhere points nowhere.
  const middle = values.toSorted()[values.length >> 1]!;
  const top = Math.max(...values);
  const scale = top > middle ? 255 / (top - middle) : 0;
  return {
    width,
    height,
    weights: Array.from(values, (v) => Math.round(Math.max(0, v - middle) * scale)),
    region: seen,
  };
}

/** Of a model of good parts alone: how far each position is from them, full at the limit of the part or beyond. */
async function anomalyMapOf(
  bytes: Uint8Array,
  { id, inputSize, thresholds }: z.infer<typeof modelCardSchema>,
  input: Float32Array,
  threads: number,
): Promise<Omit<Output, 'region'>> {
  await using session = await openSession(bytes, { threads, name: id });
  const outputs = await session.run(
    { [assembled.input]: { type: 'float32', dims: [1, 3, inputSize, inputSize], data: input } },
    [anomalyOutputs.map],
  );
  const map = outputs[anomalyOutputs.map]!;
  const values = Float64Array.from(map.data as Float32Array);
  const middle = values.toSorted()[values.length >> 1]!;
  // A good part's worst position stays pale: the scale is the limit's, not the part's own.
  const top = Math.max(thresholds.novelty, ...values);
  const scale = top > middle ? 255 / (top - middle) : 0;
  return {
    width: map.dims[3]!,
    height: map.dims[2]!,
    weights: Array.from(values, (v) => Math.round(Math.max(0, v - middle) * scale)),
  };
}
