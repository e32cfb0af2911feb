import type { Backbone } from '../../contract/domain.ts';
import {
  encodeModel,
  foldBatchNorm,
  inferShapes,
  mapBehindPooling,
  modelCost,
  setInputSize,
  type Model,
} from '../../onnx/index.ts';
import type { TrainingEngine } from '../../training/engine.ts';
import type { TrainingProgress } from '../../training/progress.ts';
import type { ImageSource } from '../image-source.ts';
import type { ClassOf } from '../spread.ts';
import type { Pruned } from '../prune/prune.ts';
import { imitate, type ImitationOptions } from './imitate.ts';
import { buildStudent, poolBeforeProjecting, studentNames, type StudentFamily, type TaughtOutput } from './students.ts';
import { teachTasks, type TaskLessons } from './teach-tasks.ts';

/** What a student is before it is taught: the pruned teacher, or a network of a family with random weights. */
export type StudentStart = 'pruned' | StudentFamily;
/** `features`: imitation alone, without labels. `tasks`: the class losses of task after task as well. */
export type Curriculum = 'features' | 'tasks';

export interface StudentChoice {
  start: StudentStart;
  curriculum: Curriculum;
  /** What was compared, held out: balanced Brier score lost, percentage points; empty: there was one way only. */
  compared: readonly { start: StudentStart; curriculum: Curriculum; heldOutLossPp: number }[];
}

export interface Teaching {
  engine: TrainingEngine;
  epochs: (student: Uint8Array, inputSize: number) => Promise<number>;
  /** Starts that are compared; `fitting`: the largest family with no more arithmetic than was asked for. Default: the pruned teacher. */
  starts?: readonly (StudentStart | 'fitting')[];
  /** Default: features. */
  curricula?: readonly Curriculum[];
  /** What the class losses go by; without it there is none. */
  lessons?: (() => Promise<TaskLessons>) | undefined;
  /** What a student loses on images that it was not taught with, its head solved anew, percentage points; needed where ways are compared. */
  judge?: ((student: Uint8Array, inputSize: number) => Promise<number>) | undefined;
}

export interface Taught extends Pruned {
  choice: StudentChoice;
}

export interface TeachStudentOptions {
  backbone: Backbone;
  /** The teacher. */
  base: Model;
  source: ImageSource;
  /** Images that it may be taught with. */
  images: readonly number[];
  /** Every class is shown equally often; default: all images are of one. */
  classOf?: ClassOf;
  ratio: number;
  inputSize: number;
  teaching: Teaching;
  threads: number;
  seed: number;
  signal?: AbortSignal | undefined;
  onTeaching?: ((progress: TrainingProgress) => void) | undefined;
  /** The teacher pruned by that ratio. */
  pruned: () => Promise<Pruned>;
}

interface Way {
  start: StudentStart;
  curriculum: Curriculum;
}

/** As many images as in `student.graph`'s input: cost of one at a size. */
export const macsOf = (model: Model, size: number): number =>
  modelCost(setInputSize(model, { batch: 1, height: size, width: size }), [1, 3, size, size], { unknownOps: 'unknown' })
    .macs;

/** What a teacher gives that a student has to give as well. */
export function taughtOutputs(teacher: Model, inputSize: number): TaughtOutput[] {
  const infos = inferShapes(setInputSize(teacher, { batch: 1, height: inputSize, width: inputSize }), {
    unknownOps: 'unknown',
  });
  return teacher.graph.outputs.map(({ name }) => {
    const pooled = mapBehindPooling(teacher, name);
    const side = pooled === null ? null : infos.get(pooled.map)?.shape?.[2];
    const shape = infos.get(name)?.shape ?? [];
    return {
      name,
      channels: shape[1] as number,
      rank: shape.length,
      side: typeof side === 'number' ? side : null,
    };
  });
}

/**
 * Makes a student and teaches it. Where there are several ways (starts, curricula), each is gone for a share of the time, the one with the least loss on held-out images is gone on with:
 * a belief about which is better is none of it.
 * @throws UNSUPPORTED_OP, CANCELLED, TRAINING_DIVERGED, BACKBONE_UNSUITABLE
 */
export async function teachStudent(options: TeachStudentOptions): Promise<Taught> {
  const { backbone, base, inputSize, ratio, teaching, seed } = options;
  const whole = macsOf(base, inputSize);
  const outputs = taughtOutputs(base, inputSize);
  const families = new Map<StudentFamily, Model>();
  const familyOf = (family: StudentFamily): Model => {
    const known = families.get(family);
    if (known) return known;
    const made = buildStudent(family, { inputName: backbone.inputName, outputs, inputSize, seed });
    families.set(family, made);
    return made;
  };
  /** With its projectors where they cost least, as it will run. */
  const settled = (of: Model, start: StudentStart): Model =>
    start === 'pruned' ? of : foldBatchNorm(poolBeforeProjecting(of));
  const fitting = () =>
    studentNames.findLast((family) => macsOf(settled(familyOf(family), family), inputSize) <= (1 - ratio) * whole);
  const starts = (teaching.starts ?? ['pruned']).flatMap((start): StudentStart[] => {
    if (start !== 'fitting') return [start];
    const family = fitting();
    return family === undefined ? [] : [family];
  });
  const ways = (starts.length > 0 ? [...new Set(starts)] : (['pruned'] as const)).flatMap((start) =>
    (teaching.curricula ?? ['features']).map((curriculum): Way => ({ start, curriculum })),
  );
  const made = new Map<StudentStart, Pruned>();
  const begin = async (start: StudentStart): Promise<Pruned> => {
    const known = made.get(start);
    if (known) return known;
    const begun =
      start === 'pruned'
        ? await options.pruned()
        : {
            model: familyOf(start),
            ratio: 1 - macsOf(settled(familyOf(start), start), inputSize) / whole,
            widths: [],
            dropped: [],
            untouched: [],
          };
    made.set(start, begun);
    return begun;
  };
  const teach = async (model: Model, { start, curriculum }: Way, epochs: number): Promise<Model> => {
    const common: ImitationOptions = {
      backbone,
      teacher: base,
      source: options.source,
      images: options.images,
      ...(options.classOf ? { classOf: options.classOf } : {}),
      inputSize,
      engine: teaching.engine,
      epochs,
      threads: options.threads,
      seed,
      fresh: start !== 'pruned',
      signal: options.signal,
      onProgress: options.onTeaching,
    };
    const lessons = curriculum === 'tasks' ? await teaching.lessons?.() : undefined;
    return lessons ? teachTasks(model, lessons, common) : imitate(model, common);
  };
  const epochsOf = async (way: Way) => {
    const { model } = await begin(way.start);
    return teaching.epochs(encodeModel(settled(model, way.start)), inputSize);
  };
  const finish = async (way: Way, model: Model, compared: StudentChoice['compared']): Promise<Taught> => ({
    ...(await begin(way.start)),
    model: settled(model, way.start),
    choice: { ...way, compared },
  });

  const { judge } = teaching;
  const [only] = ways as [Way, ...Way[]];
  if (ways.length === 1 || !judge) {
    const { model } = await begin(only.start);
    return finish(only, await teach(model, only, await epochsOf(only)), []);
  }
  const tried: { way: Way; model: Model; epochs: number; heldOutLossPp: number }[] = [];
  for (const way of ways) {
    const epochs = await epochsOf(way);
    // Half of the time goes to the comparison, half to what won it.
    const model = await teach((await begin(way.start)).model, way, Math.max(1, Math.round(epochs / 2 / ways.length)));
    const heldOutLossPp = await judge(encodeModel(settled(model, way.start)), inputSize);
    tried.push({ way, model, epochs, heldOutLossPp });
  }
  const best = tried.reduce((a, b) => (b.heldOutLossPp < a.heldOutLossPp ? b : a));
  const model = await teach(best.model, best.way, Math.max(1, Math.round(best.epochs / 2)));
  const compared = tried.map(({ way, heldOutLossPp }) => ({ ...way, heldOutLossPp }));
  return finish(best.way, model, compared);
}
