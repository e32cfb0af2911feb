import { AppError } from '../contract/errors.ts';
import { normalisationBeside } from '../learning/backbone-file.ts';
import { picturesIn } from '../learning/pictures-in.ts';
import {
  assumedNormalisation,
  encodeModel,
  foldBatchNorm,
  foldConstants,
  graphInfo,
  readModelFile,
  setInputSize,
  type Model,
  type SourcedNormalisation,
} from '../onnx/index.ts';
import { cancellable } from './cancellable.ts';
import { LEAST_IMAGES } from './enough-images.ts';
import { integerWeightBits } from './environment.ts';
import { measureInterleaved } from './evidence/latency.ts';
import { createImageSource, readableImages, type ImageSource } from './image-source.ts';
import { requirePlace, writeModelOut } from './model-out.ts';
import { madePicture } from './parity-sample.ts';
import {
  atSize,
  inFile,
  pictureInput,
  requireFloats,
  requireOpenBatch,
  requireRunnable,
  unsuitable,
} from './picture-model.ts';
import { openContender } from './plan/contender.ts';
import { spread } from './spread.ts';
import { analysePruning, analyseWeights, requirePrunable, type PruningAnalysis } from './prune/analyse.ts';
import { unknownOperators } from './prune/groups.ts';
import type { Importance, ImportanceOptions } from './prune/measures.ts';
import { pruneModel, type Pruned } from './prune/prune.ts';
import { describeRule } from './quantize/calibrate.ts';
import { chooseInteger, outputsOn, relativeOutputError, type Levelling } from './quantize/choose.ts';
import { notQuantizable } from './quantize/qdq.ts';

/*
 * The same steps as in a compression of a data set, each alone, on any ONNX file with one picture as input: for engineers who bring their own network.
 * Outputs stay as they are; pictures need no labels. How the pixels are scaled is read from a file beside the model (onnx/normalisation.ts).
 */

export interface ToolOptions {
  file: string;
  out: string;
  /** Folder of pictures, searched through. */
  calibrate: string;
  /** Side of the input; default: what the file states, else 224. */
  size?: number | undefined;
  threads: number;
  seed: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((line: string) => void) | undefined;
  /** A line that a person has to see. */
  onWarning?: ((line: string) => void) | undefined;
}

interface MeasuredModel {
  /** Of one picture; null: a shape in the model cannot be told before it runs. */
  macs: number | null;
  params: number;
  bytes: number;
  latencyMsP50: number;
}

export interface ToolReport {
  out: string;
  threads: number;
  inputSize: number;
  /** How pixels are scaled, and who says so. */
  normalisation: SourcedNormalisation;
  calibrationImages: number;
  before: MeasuredModel;
  after: MeasuredModel;
  /** Medians of whole inferences in turns, resize included. */
  speedup: number;
  /** Squared error of the outputs relative to their variance over pictures that were not calibrated on; null: there were none. */
  outputError: number | null;
}

const MOST_IMAGES = 2000;
const CALIBRATION = 96;
const COMPARED = 32;
/** Side of the input where neither the file nor anyone says. */
export const DEFAULT_SIZE = 224;
/** Share of multiply-accumulates that is removed where nothing else is said. */
export const PRUNED_SHARE = 0.4;

interface OpenedModel {
  model: Model;
  bytes: Uint8Array;
  inputName: string;
  size: number;
  /** Images per run; undefined: any. */
  batch: number | undefined;
  normalisation: SourcedNormalisation;
}

interface Pictures {
  source: ImageSource;
  calibration: number[];
  compared: number[];
  images: number[];
}

type Opened = OpenedModel & Pictures;
type ModelOptions = Omit<ToolOptions, 'calibrate'>;

/** @param open whether the batch will be opened, whatever the file states; else a file that takes several pictures in each run is refused: the last run has fewer, and times are of one */
export async function openTool(options: ToolOptions, { open }: { open: boolean }): Promise<Opened> {
  const opened = await openModel(options, { open });
  return { ...opened, ...(await openPictures(options, opened)) };
}

async function openModel({ file, out, size: asked }: ModelOptions, { open }: { open: boolean }): Promise<OpenedModel> {
  const normalisation = await normalisationBeside(file);
  await requirePlace(out, normalisation);
  const read = readModelFile(file);
  const { name: inputName, shape } = pictureInput(read, file);
  const [batch, , height, width] = shape;
  if (!open && typeof batch === 'number' && batch > 1) {
    throw unsuitable(file, `it takes ${batch} pictures in each run; export it for one, or for any number`);
  }
  const stated = typeof height === 'number' ? height : null;
  if (stated !== null && height !== width) throw unsuitable(file, 'its input is not square');
  const size = asked ?? stated ?? DEFAULT_SIZE;
  const sized =
    stated !== null && size !== stated ? atSize(read, { batch: batch ?? 'N', side: size, stated }, file) : read;
  if (open) requireOpenBatch(sized, size, file);
  const bytes = encodeModel(foldBatchNorm(sized));
  await requireRunnable(sized, bytes, file);
  // Before constants are folded: the batch that is stated would become one.
  const opened = open ? setInputSize(sized, { batch: 'N', height: asked ?? height!, width: asked ?? width! }) : sized;
  return {
    model: foldBatchNorm(foldConstants(opened)),
    bytes,
    inputName,
    size,
    batch: typeof batch === 'number' ? batch : undefined,
    normalisation,
  };
}

async function openPictures(
  { file, calibrate, signal, onProgress, onWarning }: ToolOptions,
  { model, normalisation }: OpenedModel,
): Promise<Pictures> {
  requireFloats(model, file);
  if (normalisation.from === 'assumed') onWarning?.(assumedNormalisation(file));
  const pictures = await picturesIn(calibrate);
  onProgress?.(`reading ${Math.min(pictures.length, MOST_IMAGES)} pictures`);
  const source = createImageSource(
    spread(pictures, MOST_IMAGES).map((picture) => ({ file: picture, region: null })),
    normalisation,
    { rotation: 0, maxPixels: 1e8, signal },
  );
  const { indices: images } = await readableImages(source);
  if (images.length < LEAST_IMAGES) {
    const missing = LEAST_IMAGES - images.length;
    throw new AppError('TOO_FEW_IMAGES', { what: calibrate, found: images.length, needed: LEAST_IMAGES, missing });
  }
  // Every fourth is kept apart for the comparison, whatever the order of the names.
  const apart = images.filter((_, i) => i % 4 === 3);
  return {
    source,
    images,
    calibration: spread(
      images.filter((_, i) => i % 4 !== 3),
      CALIBRATION,
    ),
    compared: spread(apart, COMPARED),
  };
}

/** Squared error of what each model gives, relative to the variance of what the original does, over pictures that none learnt from. */
export async function outputErrorsOf(
  made: readonly Model[],
  { model, size, batch, pictures: { source, compared } }: OpenedModel & { pictures: Pictures },
  { threads, signal }: Pick<ModelOptions, 'threads' | 'signal'>,
): Promise<number[]> {
  const run = { size, threads, batch, signal };
  const wanted = await outputsOn(model, source, compared, run);
  const errors: number[] = [];
  for (const each of made)
    errors.push(relativeOutputError(wanted, await outputsOn(each, source, compared, run), compared.length));
  return errors;
}

/** Without pictures there is nothing to compare on, and a made one is timed. @param known its `outputError`, where that was found already */
export async function report(
  made: Model,
  opened: OpenedModel & { pictures: Pictures | null },
  { out, threads, signal, onProgress }: ModelOptions,
  known?: number,
): Promise<ToolReport> {
  const { model, bytes, inputName, size, batch, normalisation, pictures } = opened;
  const after = encodeModel(made);
  onProgress?.('comparing and timing');
  const outputError =
    known ?? (pictures && (await outputErrorsOf([made], { ...opened, pictures }, { threads, signal }))[0]!);
  const timed = pictures
    ? { source: pictures.source, image: pictures.compared[0]! }
    : { source: { view: async () => ({ image: madePicture(0, 2 * size), region: null }) }, image: 0 };
  const common = { inputName, inputSize: size, backbone: normalisation, ...timed, threads };
  await using first = await openContender('before', bytes, common);
  await using second = await openContender('after', after, common);
  const times = await measureInterleaved([first, second], { rounds: 60, warmUp: 5, signal, budgetMs: 20_000 });
  const told = (of: Model, length: number, name: string): MeasuredModel => {
    const { macs, params } = graphInfo(of, [batch ?? 1, 3, size, size]);
    return { macs: macs && macs / (batch ?? 1), params, bytes: length, latencyMsP50: times.get(name)!.p50 };
  };
  const [a, b] = [told(model, bytes.length, 'before'), told(made, after.length, 'after')];
  // Last: whoever is told that it failed finds no file.
  writeModelOut(out, made, normalisation);
  return {
    out,
    threads,
    inputSize: size,
    normalisation,
    calibrationImages: pictures?.calibration.length ?? 0,
    before: a,
    after: b,
    speedup: a.latencyMsP50 / b.latencyMsP50,
    outputError,
  };
}

/** A step on one file. */
const tool = <T>({ file, signal }: ModelOptions, work: () => Promise<T>): Promise<T> =>
  cancellable(signal, () => inFile(file, work));

export interface PruneReport extends ToolReport {
  /** Share of multiply-accumulates that went. */
  ratio: number;
  /** The share that was asked for. */
  asked: number;
  /** What a person should know of a ratio far below the one asked for; null: it is not. */
  problem: string | null;
  /** What channels were chosen by. */
  importance: readonly Importance[];
  /** Whether what is left was fitted, on pictures, to give what the whole model gave. */
  fitted: boolean;
  widths: readonly { group: string; before: number; after: number }[];
  /** What was left alone, and why. */
  untouched: readonly { group: string; why: string }[];
  /** Operators that pruning does not know, and how many of each there are: channels that reach them stay. */
  unknownOperators: Readonly<Record<string, number>>;
}

interface PruneOptions extends ModelOptions {
  /** Without pictures nothing is fitted, and weights alone choose. */
  calibrate: string | null;
  /** Share of multiply-accumulates to remove. */
  ratio: number;
  /** Without `head`, which needs labels, and without pictures of WEIGHT_MEASURES alone; default: reconstruction, without pictures l2. */
  importance?: Pick<ImportanceOptions, 'measures' | 'hedge'> | undefined;
}

/**
 * Of a ratio that lies far below the one asked for: every group that may be cut is then down to its floor, and little is gained for all that is lost.
 * Null: it does not.
 */
function shortfall(asked: number, reached: number, [first]: PruningAnalysis['untouched']): string | null {
  if (reached >= asked / 2) return null;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const why = first ? `; left alone is, first of all, ${first.group}: ${first.why}` : '';
  return `Asked for ${percent(asked)} fewer multiply-accumulates, reached ${percent(reached)}: all that may be cut was cut as far as it may be${why}. Such a model has lost much for little time; ask for less, or take another way.`;
}

/** @throws UNSUPPORTED_OP where nothing can be pruned */
export async function cutModel(
  { model, size, batch, pictures }: OpenedModel & { pictures: Pictures | null },
  options: PruneOptions,
): Promise<{
  pruned: Pruned;
  analysis: PruningAnalysis;
  measures: readonly Importance[];
  problem: string | null;
}> {
  const { threads, seed, signal, ratio, onProgress, onWarning } = options;
  const importance = options.importance ?? { measures: [pictures ? 'reconstruction' : 'l2'] };
  const calibration = { images: pictures?.calibration ?? [], size, batch, threads, seed, signal, importance };
  onProgress?.('measuring what each channel is worth');
  const analysis = pictures
    ? await analysePruning(model, pictures.source, calibration)
    : analyseWeights(model, { size, importance });
  requirePrunable(analysis, { op: 'model', name: options.file });
  onProgress?.(pictures ? 'cutting and fitting what is left' : 'cutting');
  const pruned = await pruneModel(analysis, pictures?.source ?? null, ratio, calibration);
  const problem = shortfall(ratio, pruned.ratio, analysis.untouched);
  if (problem !== null) onWarning?.(problem);
  return { pruned, analysis, measures: importance.measures, problem };
}

/** @throws INVALID_INPUT (`out`), DISK_FULL, MODEL_UNREADABLE, MODEL_UNSUITABLE, TOO_FEW_IMAGES, UNSUPPORTED_OP where nothing can be pruned, CANCELLED */
export const pruneFile = (options: PruneOptions): Promise<PruneReport> =>
  tool(options, async () => {
    const { calibrate } = options;
    const model = await openModel(options, { open: false });
    const pictures = calibrate === null ? null : await openPictures({ ...options, calibrate }, model);
    const opened = { ...model, pictures };
    const { pruned, analysis, measures, problem } = await cutModel(opened, options);
    return {
      ...(await report(pruned.model, opened, options)),
      ratio: pruned.ratio,
      asked: options.ratio,
      problem,
      importance: measures,
      fitted: pictures !== null,
      widths: pruned.widths.filter(({ before, after }) => after < before),
      untouched: analysis.untouched,
      unknownOperators: Object.fromEntries(unknownOperators(analysis.model)),
    };
  });

export interface QuantizeReport extends ToolReport {
  rule: string;
  levelling: Levelling;
  /** Convolutions in integers. */
  integers: number;
  /** The others, by the name of their output. */
  keptFloat: readonly { node: string; why: string }[];
}

/** @throws INVALID_INPUT (`out`), DISK_FULL, MODEL_UNREADABLE, MODEL_UNSUITABLE, TOO_FEW_IMAGES, UNSUPPORTED_OP where nothing can be quantised or the opset is too old for it, CANCELLED */
export const quantizeFile = (options: ToolOptions): Promise<QuantizeReport> =>
  tool(options, async () => {
    const opened = await openTool(options, { open: false });
    const { model, source, calibration: images, compared, size, batch } = opened;
    const { threads, seed, signal, onProgress } = options;
    onProgress?.('choosing how ranges are cut');
    const {
      rule,
      levelling,
      integers,
      keptFloat,
      model: made,
    } = await chooseInteger(model, source, {
      images,
      compared,
      size,
      batch,
      threads,
      seed,
      signal,
      weightBits: integerWeightBits(),
    });
    return {
      ...(await report(made, { ...opened, pictures: opened }, options)),
      rule: describeRule(rule),
      levelling,
      integers,
      keptFloat: [
        ...notQuantizable(model),
        ...keptFloat.map(({ node, error }) => ({
          node,
          why: `in integers it alone moves the outputs by ${(100 * error).toFixed(2)} % of their variance`,
        })),
      ],
    };
  });
