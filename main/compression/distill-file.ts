import { stat } from 'node:fs/promises';
import { encodeModel, foldBatchNorm, inferShapes, readModelFile, setInputSize, type Model } from '../onnx/index.ts';
import { createOrtEngine } from '../training/ort/engine.ts';
import { progressLine } from '../training/progress.ts';
import { cancellable } from './cancellable.ts';
import { imitate } from './distill/imitate.ts';
import {
  buildStudent,
  isStudentFamily,
  poolBeforeProjecting,
  type StudentFamily,
  type TaughtOutput,
} from './distill/students.ts';
import { taughtOutputs } from './distill/teach-student.ts';
import {
  cutModel,
  DEFAULT_SIZE,
  openTool,
  outputErrorsOf,
  PRUNED_SHARE,
  report,
  type ToolOptions,
  type ToolReport,
} from './model-tools.ts';
import { inFile, pictureInput, requireFloats, requireOpenBatch, unsuitable } from './picture-model.ts';

export interface DistillReport extends ToolReport {
  /** Family that the student was built of; null: it is the file that was given. */
  student: StudentFamily | null;
  /** `outputError` of the student before it was taught; null: it was built, of random weights. */
  untaughtError: number | null;
  /** False: teaching brought it no nearer, and the student is written as it was before. */
  taught: boolean;
}

interface DistillOptions extends ToolOptions {
  /** null: the file itself teaches, and its student is a pruned copy of it. */
  teacher: string | null;
  /** Share of multiply-accumulates that a pruned copy has less; default: PRUNED_SHARE. */
  ratio?: number | undefined;
  epochs: number;
}

/**
 * Teaches a student to give what a teacher gives, on pictures without labels.
 * @param options.file a model with the outputs of the teacher, or the name of a family (which needs a teacher): then it is built, with a learnt projector to each of the teacher's outputs
 * @throws INVALID_INPUT (`out`), DISK_FULL, MODEL_UNREADABLE, MODEL_UNSUITABLE, TOO_FEW_IMAGES, UNSUPPORTED_OP, TRAINING_DIVERGED, CANCELLED
 */
export const distillFile = (options: DistillOptions): Promise<DistillReport> =>
  cancellable(options.signal, async () => {
    const { file, teacher: teacherFile } = options;
    const family = teacherFile === null ? null : await familyNamed(file);
    const other = family || teacherFile === null ? null : await inFile(teacherFile, () => readTeacher(teacherFile));
    // Of a family that is built, input and scaling are the teacher's.
    const looked = family && teacherFile ? teacherFile : file;
    const opened = await inFile(looked, () => openTool({ ...options, file: looked }, { open: true }));
    const { inputName, normalisation, source, images, compared, size } = opened;
    const teacher = other ?? opened.model;
    const open = (of: Model) => setInputSize(of, { batch: 'N', height: size, width: size });
    const prunedCopy = async (): Promise<Model> => {
      const whole = { ...opened, model: open(opened.model), batch: undefined, pictures: opened };
      return (await cutModel(whole, { ...options, ratio: options.ratio ?? PRUNED_SHARE })).pruned.model;
    };
    const taughtBy = teacherFile ?? file;
    const student = family
      ? buildStudent(family, {
          inputName,
          outputs: outputsTaught(teacher, size, taughtBy),
          inputSize: size,
          seed: options.seed,
        })
      : teacherFile === null
        ? await inFile(file, prunedCopy)
        : opened.model;
    const names = (of: Model) => of.graph.outputs.map(({ name: output }) => output);
    const missing = names(student).find((output) => !names(teacher).includes(output));
    if (missing !== undefined || pictureInput(teacher, taughtBy).name !== inputName) {
      const problem =
        missing === undefined ? `its input is not called "${inputName}"` : `it has no output "${missing}"`;
      throw unsuitable(taughtBy, `${problem} as the student's`);
    }
    requireSameShapes(open(student), open(teacher), taughtBy);
    const held = new Set(compared);
    options.onProgress?.('teaching');
    const taught = await imitate(open(student), {
      backbone: { ...normalisation, inputName, featureOutputs: names(student).map((output) => ({ name: output })) },
      teacher: open(teacher),
      source,
      images: images.filter((image) => !held.has(image)),
      inputSize: size,
      engine: createOrtEngine(),
      epochs: options.epochs,
      threads: options.threads,
      seed: options.seed,
      fresh: family !== null,
      signal: options.signal,
      onProgress: (progress) => options.onProgress?.(progressLine(progress)),
    });
    // Compared with what it was taught by, not with what it was before.
    const whole = open(teacher);
    const against = { ...opened, batch: undefined, model: whole, bytes: encodeModel(whole), pictures: opened };
    if (family) {
      const made = foldBatchNorm(poolBeforeProjecting(taught));
      return { ...(await report(made, against, options)), student: family, untaughtError: null, taught: true };
    }
    // Few pictures, or few steps, can take a copy that was fitted well further away.
    const untaught = open(student);
    const errors = await outputErrorsOf([untaught, taught], against, options);
    const [untaughtError, taughtError] = errors as [number, number];
    const isNearer = taughtError < untaughtError;
    if (!isNearer) options.onWarning?.(notNearer(untaughtError, taughtError));
    return {
      ...(await report(isNearer ? taught : untaught, against, options, isNearer ? taughtError : untaughtError)),
      student: null,
      untaughtError,
      taught: isNearer,
    };
  });

const notNearer = (before: number, after: number): string =>
  `teaching brought the student no nearer to its teacher (relative error of the outputs ${after.toFixed(3)}, before ${before.toFixed(3)}): it is written as it was; try more pictures, or more --epochs`;

/** @throws NOT_FOUND, MODEL_UNREADABLE, MODEL_DATA_MISSING, GRAPH_INVALID, MODEL_UNSUITABLE */
function readTeacher(file: string): Model {
  const read = readModelFile(file);
  const [, , height] = pictureInput(read, file).shape;
  requireFloats(read, file);
  requireOpenBatch(read, typeof height === 'number' ? height : DEFAULT_SIZE, file);
  return foldBatchNorm(read);
}

/** Sizes that differ would be compared with one another spread over the wider, or not at all. @throws MODEL_UNSUITABLE */
function requireSameShapes(student: Model, teacher: Model, file: string): void {
  const own = inferShapes(student, { unknownOps: 'unknown' });
  const given = inferShapes(teacher, { unknownOps: 'unknown' });
  for (const { name } of student.graph.outputs) {
    const [a, b] = [own.get(name)?.shape, given.get(name)?.shape];
    if (!a || !b) continue;
    const differs = a.some((dim, axis) => typeof dim === 'number' && typeof b[axis] === 'number' && dim !== b[axis]);
    if (a.length === b.length && !differs) continue;
    const [its, wanted] = [b, a].map((shape) => `[${shape.map((dim) => dim ?? '?').join(', ')}]`);
    throw unsuitable(file, `its output "${name}" is ${its}, the student's is ${wanted}`);
  }
}

/** Null: it is a file, where there is one of that name. */
async function familyNamed(name: string): Promise<StudentFamily | null> {
  const isFile = (await stat(name).catch(() => null))?.isFile() ?? false;
  return !isFile && isStudentFamily(name) ? name : null;
}

/** @throws MODEL_UNSUITABLE for an output that is no vector */
function outputsTaught(teacher: Model, size: number, file: string): TaughtOutput[] {
  return taughtOutputs(setInputSize(teacher, { batch: 'N', height: size, width: size }), size).map((output) => {
    if (typeof output.channels === 'number' && output.rank === 2) return output;
    throw unsuitable(file, `its output "${output.name}" is not [N, channels]`);
  });
}
