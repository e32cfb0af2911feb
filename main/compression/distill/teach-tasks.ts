import { writeState } from '../../autodiff/index.ts';
import { copyColumns, withRanges } from '../../learning/learners/network/learner.ts';
import { fillShares } from '../../learning/learners/network/methods.ts';
import { selectOutputs, type Model } from '../../onnx/index.ts';
import type { Tensor } from '../../runtime/session.ts';
import { fineTuneDefaults } from '../../training/fine-tune.ts';
import { attachHead } from '../../training/head.ts';
import { imitate, imitationDefaults, learningRateOf, openLessons, type ImitationOptions } from './imitate.ts';
import { lossOf, stagesOf } from './stages.ts';

/** What a student learns from labels, task after task, beside the teacher's features. */
export interface TaskLessons {
  /** Classes of each task. */
  tasks: readonly (readonly string[])[];
  classOf: (image: number) => string;
  /**
   * The teacher's own classifier after a task: logits [rows, classes seen by then], in the order of the tasks, from its raw features [rows, d]; scaled so that their
   * softmax are its probabilities.
   */
  teacherLogits: (after: number, features: Float32Array, rows: number) => Promise<Float32Array>;
}

/** Class losses move weights that are good already: slower than imitation does. */
const LABELLED_SHARE = 1 / 3;

/**
 * The paper's distillation for tasks that come one after the other: the student first imitates on all images without their labels, then goes through the stages of each task,
 * in all of which its features are held to the teacher's on the same pictures. Its own classifier serves the losses and is dropped: the head is solved anew.
 * @returns the student with its new weights
 * @throws UNSUPPORTED_OP, CANCELLED, TRAINING_DIVERGED
 */
export async function teachTasks(student: Model, lessons: TaskLessons, options: ImitationOptions): Promise<Model> {
  const { images, epochs, backbone, inputSize, signal } = options;
  const half = Math.max(1, Math.round(epochs / 2));
  const imitated = await imitate(student, { ...options, epochs: half });
  const { tasks, classOf, teacherLogits } = lessons;
  const order = tasks.flat();
  if (order.length < 2) return imitated;
  const { batch } = imitationDefaults;
  const column = new Map(order.map((id, c) => [id, c]));
  const stages = stagesOf(tasks.map((task) => task.length));
  const headed = attachHead(
    {
      ...backbone,
      name: 'student',
      model: imitated,
      inputSize,
      dynamicSize: true,
      features: imitated.graph.outputs.map(({ name, shape }) => ({
        name,
        channels: shape![1] as number,
        kind: 'pooled' as const,
      })),
    },
    { classes: order.length, size: inputSize, gain: fineTuneDefaults.headGain, batch },
  );
  await using teaching = await openLessons(imitated, options);
  let weights = new Map<string, Float32Array>();
  for (const { task, teacherAfter, objectives } of stages) {
    const shown = images.filter((image) => tasks[task]!.includes(classOf(image)));
    if (shown.length === 0 || objectives.length === 0) continue;
    signal?.throwIfAborted();
    // Ranges of one name differ between tasks: those of this stage alone.
    const own = objectives.map(({ range }) => range);
    const { model, values } = withRanges(headed.model, own);
    const start = writeState(model, weights);
    const perTask = Math.max(1, Math.round(half / (task === 0 ? 1 : 2)));
    const trained = await teaching.train({
      model: start,
      images: shown,
      epochs: perTask,
      learningRate: LABELLED_SHARE * learningRateOf(options),
      losses: objectives.map((objective) => lossOf(objective, values.get(objective.range.name)!)),
      async targets(batchImages, answer) {
        const labels = Int32Array.from(batchImages, (image) => column.get(classOf(image))!);
        const logits =
          teacherAfter === null ? null : await teacherLogits(teacherAfter, featuresOf(answer), batchImages.length);
        return Object.fromEntries(
          objectives.map(({ range, target }) => {
            const dims = [batchImages.length, range.count];
            const data = new Float32Array(batchImages.length * range.count);
            if (target === 'labels') fillShares(labels, range, data);
            else copyColumns({ data: logits!, dims: [dims[0]!, logits!.length / dims[0]!] }, range, data);
            return [`${target}/${range.name}`, { type: 'float32' as const, dims, data }];
          }),
        );
      },
    });
    weights = new Map([...weights, ...trained]);
  }
  const own = new Map([...weights].filter(([name]) => imitated.graph.initializers.has(name)));
  return selectOutputs(
    writeState(imitated, own),
    imitated.graph.outputs.map(({ name }) => name),
  );

  /** Pooled features of a batch, [rows, d]. */
  function featuresOf(answer: Readonly<Record<string, Tensor>>): Float32Array {
    const parts = backbone.featureOutputs.map(({ name }) => answer[name]!);
    const rows = parts[0]!.dims[0]!;
    const widths = parts.map(({ data }) => data.length / rows);
    const width = widths.reduce((a, b) => a + b, 0);
    const out = new Float32Array(rows * width);
    let at = 0;
    parts.forEach(({ data }, p) => {
      const own = widths[p]!;
      for (let r = 0; r < rows; r++) out.set((data as Float32Array).subarray(r * own, (r + 1) * own), r * width + at);
      at += own;
    });
    return out;
  }
}
