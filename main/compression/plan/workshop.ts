import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import {
  decodeModel,
  encodeModel,
  foldBatchNorm,
  runtimeInputs,
  selectOutputs,
  setInputSize,
  type Model,
} from '../../onnx/index.ts';
import { LEAST_IMAGES } from '../enough-images.ts';
import { integerWeightBits } from '../environment.ts';
import type { TrainingProgress } from '../../training/progress.ts';
import { teachStudent, type StudentChoice, type Taught, type Teaching } from '../distill/teach-student.ts';
import type { CostModel } from '../cost/cost-model.ts';
import type { ImageSource } from '../image-source.ts';
import { oneClass, spreadOverClasses, type ClassOf } from '../spread.ts';
import { analysePruning, requirePrunable, type PruningAnalysis } from '../prune/analyse.ts';
import type { CalibrationOptions } from '../prune/sites.ts';
import { blockErrors, type RemovableBlock } from '../prune/block-errors.ts';
import type { ImportanceOptions } from '../prune/measures.ts';
import { pruneModel, type Pruned } from '../prune/prune.ts';
import type { RangeRule } from '../quantize/calibrate.ts';
import { chooseInteger, TOLERANCE, type IntegerChoice } from '../quantize/choose.ts';
import { rangeImages } from '../quantize/range-images.ts';
import type { Strategy, Variant } from './variant.ts';

/** A compressed backbone: same outputs as the original, at its own input size. */
export interface Made {
  model: Model;
  bytes: Uint8Array;
  /** What it was before it was quantised; the sha256 of its file alone where a run before this one made it; null: it was not quantised. */
  float: Model | string | null;
  /** Share of multiply-accumulates that pruning really removed. */
  ratio: number;
  /** What pruning left alone, naming it. */
  untouched: readonly { group: string; why: string }[];
  /** Chosen for INT8 by measurement; null for fp32. */
  rule: RangeRule | null;
  /** The same with the worst layers kept float; null: every layer is an integer well enough, or none is. */
  careful: (() => Promise<Made>) | null;
  /** How a student began and was taught; null: nothing was. */
  student: StudentChoice | null;
  /** Images that no weight was fitted to (a student, an adapted or a pruned backbone): by these it is compared. Null: by all. */
  untaught: ReadonlySet<number> | null;
}

/** A backbone whose weights learnt from labels. */
export interface AdaptedBackbone {
  /** With the outputs of the given backbone. */
  bytes: Uint8Array;
  /** Images that it did not learn from. */
  untaught: ReadonlySet<number>;
}

export interface WorkshopOptions {
  backbone: Backbone;
  bytes: Uint8Array;
  source: ImageSource;
  /** Training images. */
  images: readonly number[];
  /** Those of `images` that pruning and INT8 do not fit weights and ranges to; default: they fit to all. */
  apart?: ReadonlySet<number> | null;
  /** Every class counts alike in what is fitted and taught; default: all images are of one. */
  classOf?: ClassOf;
  /** Training images of the first task. */
  firstTask: readonly number[];
  /** The backbone adapted to the first task, which pre-pruning then starts from; default: as it is. */
  adapted?: AdaptedBackbone | null;
  /** Those of `images` that students are not taught with, so that they can be judged by them. */
  untaught: ReadonlySet<number>;
  threads: number;
  /** What pruning goes by; default: reconstruction. */
  importance?: ImportanceOptions | undefined;
  seed: number;
  /** What students are trained with, how often they go through the images, and how they are told apart. */
  teaching: Teaching;
  signal?: AbortSignal | undefined;
  onTeaching?: ((progress: TrainingProgress) => void) | undefined;
}

export interface Workshop {
  /** The unchanged backbone with its feature outputs only and BatchNorm folded. */
  readonly base: Model;
  /** @throws CANCELLED, TOO_FEW_IMAGES (pre-pruning by a first task of a few), UNSUPPORTED_OP, GRAPH_INVALID, MODEL_UNREADABLE: this variant cannot be made of this backbone */
  make(variant: Variant): Promise<Made>;
  /** From now on pruning goes by what layers cost here. */
  useCosts(costs: CostModel): void;
  /** What the importance `head` looks at. */
  useHead(head: ReadonlyMap<string, Float32Array>): void;
}

/** Images that pruned layers are fitted to. The rows of a fit are as many whatever this is: of more images fewer positions each, which say more than many of one (README, "What is fitted to"). */
const PRUNING_IMAGES = 288;

/** Readies a backbone for surgery: its feature outputs, BatchNorm folded, batch and size open where it allows. */
export function prepareBase(bytes: Uint8Array, backbone: Backbone): Model {
  // A copy as a plain array: a Buffer's slice() is a view, and weights must be aligned.
  const model = decodeModel(new Uint8Array(bytes), backbone.file);
  const selected = foldBatchNorm(
    selectOutputs(
      model,
      backbone.featureOutputs.map(({ name }) => name),
    ),
  );
  if (!backbone.dynamicSize) return selected;
  const stated = runtimeInputs(selected.graph)[0]?.shape;
  return stated && stated.some((dim, i) => i !== 1 && typeof dim === 'number')
    ? setInputSize(selected, { batch: 'N', height: 'H', width: 'W' })
    : selected;
}

export function openWorkshop(options: WorkshopOptions): Workshop {
  const { backbone, source, classOf = oneClass, threads, seed, signal } = options;
  const base = prepareBase(options.bytes, backbone);
  const adapted = options.adapted ? prepareBase(options.adapted.bytes, backbone) : null;
  const analyses = new Map<string, PruningAnalysis>();
  const blocks = new Map<string, readonly RemovableBlock[]>();
  const floats = new Map<string, Pruned>();
  const students = new Map<string, Taught>();
  let costs: CostModel | null = null;
  let head: ReadonlyMap<string, Float32Array> | null = null;
  const [stated] = runtimeInputs(base.graph)[0]?.shape ?? [];
  /** Images of one run, where the file fixes them. */
  const batch = typeof stated === 'number' ? stated : undefined;

  const { apart = null } = options;
  /** Weights and ranges are fitted to these. */
  const withoutApart = (images: readonly number[]) => (apart ? images.filter((image) => !apart.has(image)) : images);
  const fitted = withoutApart(options.images);
  const leftOfFirst = withoutApart(options.firstTask);
  /** A first task of few kinds of look may lie apart as a whole, or nearly so: then pre-pruning fits to all of it, and is compared by the later tasks. */
  const fittedFirst = leftOfFirst.length >= LEAST_IMAGES ? leftOfFirst : options.firstTask;

  const calibrationOf = (strategy: Strategy, size: number): CalibrationOptions => ({
    images: spreadOverClasses(strategy === 'pre-prune' ? fittedFirst : fitted, PRUNING_IMAGES, classOf),
    size,
    batch,
    threads,
    seed,
    signal,
    costs,
    importance: options.importance && { ...options.importance, ...(head ? { head } : {}) },
  });

  const floatModel = async (variant: Variant): Promise<Pruned> => {
    const { strategy, ratio, inputSize } = variant;
    if (strategy === 'none') return { model: base, ratio: 0, widths: [], dropped: [], untouched: [] };
    const key = `${strategy} ${inputSize}`;
    const calibration = calibrationOf(strategy, inputSize);
    const found = calibration.images.length;
    if (strategy === 'pre-prune' && found < LEAST_IMAGES) {
      const missing = LEAST_IMAGES - found;
      throw new AppError('TOO_FEW_IMAGES', { what: 'the first task', found, needed: LEAST_IMAGES, missing });
    }
    let analysis = analyses.get(key);
    if (!analysis) {
      // One at a time: the targets of an analysis are some hundred megabytes.
      analyses.clear();
      blocks.clear();
      analysis = await analysePruning((strategy === 'pre-prune' && adapted) || base, source, calibration);
      analyses.set(key, analysis);
    }
    requirePrunable(analysis, { op: 'backbone', name: backbone.id });
    const floatKey = `${key} ${ratio} ${variant.shallow ?? false}`;
    const known = floats.get(floatKey);
    if (known) return known;
    if (variant.shallow && !blocks.has(key)) blocks.set(key, await blockErrors(analysis, source, calibration));
    const pruned = await pruneModel(analysis, source, ratio, {
      ...calibration,
      blocks: (variant.shallow && blocks.get(key)) || [],
    });
    if (pruned.ratio === 0) {
      throw new AppError('UNSUPPORTED_OP', {
        op: 'backbone',
        opset: base.opsets.get('') ?? 0,
        node: backbone.id,
        problem: 'its groups are too narrow to be pruned',
      });
    }
    floats.set(floatKey, pruned);
    return pruned;
  };

  /** A smaller network, taught by the whole one on the same images. */
  const student = async ({ ratio, inputSize, shallow = false }: Variant): Promise<Taught> => {
    const key = `distill ${inputSize} ${ratio} ${shallow}`;
    const known = students.get(key);
    if (known) return known;
    if (batch !== undefined) {
      const problem = `it takes ${batch} picture(s) in each run, and students are taught with more`;
      throw new AppError('BACKBONE_UNSUITABLE', { file: backbone.file, problem });
    }
    const taughtWith = options.images.filter((image) => !options.untaught.has(image));
    const taught = await teachStudent({
      ...options,
      base,
      ratio,
      inputSize,
      images: taughtWith.length > 0 ? taughtWith : options.images,
      pruned: () => floatModel({ strategy: 'post-prune', ratio, shallow, inputSize, precision: 'fp32' }),
    });
    students.set(key, taught);
    return taught;
  };

  /**
   * Chooses how ranges are cut by the error it leaves in the features of other training images.
   * @param tolerance error above which layers are kept float
   */
  const integerModel = async (model: Model, variant: Variant, tolerance: number): Promise<IntegerChoice> => {
    const seen = { ...rangeImages(fitted, classOf), size: variant.inputSize, batch, threads, seed, signal };
    return chooseInteger(model, source, { ...seen, weightBits: integerWeightBits(), tolerance });
  };

  /** Images that no weight of a pruned variant was fitted to. Of integers alone null: what ranges and rounding lose is the same on images that they were fitted to (README, "Accuracy"). */
  const unfittedBy = ({ strategy }: Variant): ReadonlySet<number> | null => {
    if (strategy === 'none') return null;
    if (strategy === 'post-prune') return apart;
    const { adapted } = options;
    if (!apart && !adapted) return null;
    const seen = new Set(apart ? fittedFirst : []);
    return new Set([...(adapted?.untaught ?? options.images)].filter((image) => !seen.has(image)));
  };

  return {
    base,
    useCosts(known) {
      costs = known;
    },
    useHead(known) {
      head = known;
    },
    async make(variant) {
      const taught = variant.strategy === 'distill' ? await student(variant) : null;
      const float = taught ?? (await floatModel(variant));
      const untaught = taught ? (options.untaught.size > 0 ? options.untaught : null) : unfittedBy(variant);
      const made = (model: Model, integer: IntegerChoice | null, careful: Made['careful']): Made => ({
        model,
        bytes: encodeModel(model),
        float: integer === null ? null : float.model,
        ratio: float.ratio,
        untouched: float.untouched,
        rule: integer?.rule ?? null,
        careful,
        student: taught?.choice ?? null,
        untaught,
      });
      if (variant.precision === 'fp32') return made(float.model, null, null);
      // All integers first: whether the error costs accuracy is measured, and layers kept float cost time for sure.
      const all = await integerModel(float.model, variant, Infinity);
      const careful = async () => {
        const some = await integerModel(float.model, variant, TOLERANCE);
        return made(some.model, some, null);
      };
      return made(all.model, all, all.fullError > TOLERANCE ? careful : null);
    },
  };
}
