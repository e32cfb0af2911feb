import { AppError } from '../../contract/errors.ts';
import {
  addNodes,
  elementCount,
  float32Tensor,
  freshName,
  mapBehindPooling,
  node,
  setInputSize,
  setOutputs,
  value,
  valueNames,
  withGraph,
  type ConstTensor,
  type Model,
} from '../../onnx/index.ts';
import type { Session, Tensor } from '../../runtime/session.ts';
import type { Views } from './views.ts';

/** A value that both networks have: where the student is compared with the teacher. */
export interface Point {
  student: string;
  teacher: string;
  /** Batch included. */
  dims: readonly number[];
  /** In the sum of the losses. */
  weight: number;
}

/** Of each of the teacher's values: 1 / standard deviation per channel (axis 1). */
export type Spread = ReadonlyMap<string, Float32Array>;

export type Look = (data: Float32Array, rows: number) => ReturnType<Session['run']>;

/** Channels that hardly move count no more than this share of the mean spread would make them. */
const LEAST_SPREAD = 0.1;

/** The map whose mean alone an output is: one with a factor per channel stands for other values than the output. */
const mapOf = (model: Model, output: string): string | null => {
  const pooled = mapBehindPooling(model, output);
  return pooled === null || pooled.factor !== null ? null : pooled.map;
};

/** What is compared for each feature output: the pooled values, and where both have a map behind them the map. */
export const valuesBehind = (student: Model, teacher: Model, outputs: readonly string[]) =>
  outputs.map((output) => {
    const [own, theirs] = [mapOf(student, output), mapOf(teacher, output)];
    return { output, map: own !== null && theirs !== null ? { student: own, teacher: theirs } : null };
  });

/**
 * @param dims of the teacher's values, and of the student's maps
 * @param pooledWeight of the pooled values beside their maps; without a map on both sides, or with maps of other sizes, they count fully
 */
export function pointsOf(
  values: ReturnType<typeof valuesBehind>,
  dims: { teacher: ReadonlyMap<string, readonly number[]>; student: ReadonlyMap<string, readonly number[]> },
  { batch, pooledWeight }: { batch: number; pooledWeight: number },
): Point[] {
  const rows = (name: string) => [batch, ...dims.teacher.get(name)!.slice(1)];
  return values.flatMap(({ output, map }): Point[] => {
    const pooled = { student: output, teacher: output, dims: rows(output) };
    const alike = map !== null && dims.student.get(map.student)?.slice(1).join() === rows(map.teacher).slice(1).join();
    if (!alike) return [{ ...pooled, weight: 1 }];
    const spatial = { student: map.student, teacher: map.teacher, dims: rows(map.teacher), weight: 1 };
    return pooledWeight > 0 ? [spatial, { ...pooled, weight: pooledWeight }] : [spatial];
  });
}

/** What the teacher gives for some pictures as they are: the dims of its values and their spread. @throws CANCELLED */
export async function spreadOf(
  views: Views,
  images: readonly number[],
  { size, batch, look, signal }: { size: number; batch: number; look: Look; signal: AbortSignal | undefined },
): Promise<{ dims: Map<string, readonly number[]>; spread: Spread }> {
  const dims = new Map<string, readonly number[]>();
  const sums = new Map<string, { n: number; sum: Float64Array; squares: Float64Array }>();
  const plane = 3 * size * size;
  const data = new Float32Array(batch * plane);
  for (let start = 0; start < images.length; start += batch) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const some = images.slice(start, start + batch);
    for (const [i, image] of some.entries()) await views.into(image, 1, size, data, i * plane);
    const answer = await look(data.subarray(0, some.length * plane), some.length);
    for (const [name, tensor] of Object.entries(answer)) {
      dims.set(name, tensor.dims);
      const channels = tensor.dims[1]!;
      const positions = elementCount(tensor.dims.slice(2));
      let at = sums.get(name);
      if (!at) sums.set(name, (at = { n: 0, sum: new Float64Array(channels), squares: new Float64Array(channels) }));
      at.n += some.length * positions;
      const values = tensor.data as Float32Array;
      for (let i = 0; i < values.length; i++) {
        const c = Math.floor(i / positions) % channels;
        at.sum[c]! += values[i]!;
        at.squares[c]! += values[i]! * values[i]!;
      }
    }
  }
  const spread = new Map(
    [...sums].map(([name, { n, sum, squares }]): [string, Float32Array] => {
      const deviations = sum.map((total, c) => Math.sqrt(Math.max(0, squares[c]! / n - (total / n) ** 2)));
      const mean = deviations.reduce((a, b) => a + b, 0) / deviations.length;
      return [name, Float32Array.from(deviations, (x) => 1 / Math.max(x, LEAST_SPREAD * mean, 1e-6))];
    }),
  );
  return { dims, spread };
}

/** The student with the compared values, in units of the teacher's spread, as its outputs, in the order of the points. */
export function comparedIn(
  student: Model,
  points: readonly Point[],
  spread: Spread,
  { batch, inputSize: size }: { batch: number; inputSize: number },
): { model: Model; values: string[] } {
  const taken = valueNames(student.graph);
  const constants: Record<string, ConstTensor> = {};
  const outputs = points.map(({ teacher, dims }, i) => {
    const factor = freshName(taken, `imitation/factor${i}`);
    const shape = [dims[1]!, ...dims.slice(2).map(() => 1)];
    constants[factor] = float32Tensor(shape, spread.get(teacher)!);
    return { factor, scaled: freshName(taken, `imitation/scaled${i}`) };
  });
  const nodes = points.map((point, i) => node('Mul', [point.student, outputs[i]!.factor], [outputs[i]!.scaled]));
  const graph = setOutputs(
    addNodes(student.graph, nodes, constants),
    points.map(({ dims }, i) => value(outputs[i]!.scaled, 'float32', dims)),
  );
  return {
    model: setInputSize(withGraph(student, graph), { batch, height: size, width: size }),
    values: outputs.map(({ scaled }) => scaled),
  };
}

export const targetOf = (point: number): string => `teacher${point}`;

/** What the teacher gave for a batch, as targets of the points. */
export function targetsOf(
  points: readonly Point[],
  spread: Spread,
  answer: Readonly<Record<string, Tensor>>,
): Record<string, Tensor> {
  return Object.fromEntries(
    points.map(({ teacher, dims }, i) => {
      const values = Float32Array.from(answer[teacher]!.data as Float32Array);
      const factors = spread.get(teacher)!;
      const positions = elementCount(dims.slice(2));
      for (let k = 0; k < values.length; k++) values[k]! *= factors[Math.floor(k / positions) % factors.length]!;
      return [targetOf(i), { type: 'float32' as const, dims, data: values }];
    }),
  );
}
