import { elementTypes, scalar } from '../onnx/index.ts';
import type { GraphWriter } from './graph-writer.ts';

interface WarmUp {
  learningRate: number;
  /** Steps 0 … warmupSteps-1 use learningRate (step + 1) / warmupSteps; the rest of the schedule counts from there. Default 0. */
  warmupSteps?: number;
}

/** The learning rate of a step (counted from 0), computed in the graph from the step-count state. */
export type ScheduleSpec =
  | (WarmUp & { kind: 'constant' })
  /** Times `factor` every `every` steps. */
  | (WarmUp & { kind: 'step'; every: number; factor: number })
  /** Straight down to `final` (default 0) at totalSteps, and stays there. */
  | (WarmUp & { kind: 'linear'; totalSteps: number; final?: number })
  /** Half a cosine down to `final` (default 0) at totalSteps, and stays there (Loshchilov and Hutter 2017, without restarts). */
  | (WarmUp & { kind: 'cosine'; totalSteps: number; final?: number });

/**
 * @param stepCount float32 scalar value: the step's number, from 0.
 * @returns name of the learning rate, float32 [].
 */
export function emitLearningRate(writer: GraphWriter, spec: ScheduleSpec, stepCount: string): string {
  writer.scope = 'schedule';
  const number = (value: number) => writer.tensor(scalar(value), 'number');
  const op = (name: string, ...inputs: string[]) => writer.emit1(name, inputs);
  const { learningRate, warmupSteps = 0 } = spec;
  // Clamped at 0, so that the part after the warm-up is tame while it is not used.
  const since = warmupSteps > 0 ? op('Max', op('Sub', stepCount, number(warmupSteps)), number(0)) : stepCount;
  const after = (() => {
    if (spec.kind === 'constant') return number(learningRate);
    if (spec.kind === 'step') {
      const count = op('Floor', op('Div', since, number(spec.every)));
      return op('Mul', number(learningRate), op('Pow', number(spec.factor), count));
    }
    const final = spec.final ?? 0;
    const length = Math.max(1, spec.totalSteps - warmupSteps);
    const progress = op('Min', op('Div', since, number(length)), number(1));
    const left =
      spec.kind === 'linear'
        ? op('Sub', number(1), progress)
        : op('Mul', op('Add', op('Cos', op('Mul', progress, number(Math.PI))), number(1)), number(0.5));
    return op('Add', op('Mul', left, number(learningRate - final)), number(final));
  })();
  if (warmupSteps === 0) return op('Identity', after);
  const rising = op('Mul', op('Add', stepCount, number(1)), number(learningRate / warmupSteps));
  return op('Where', op('Less', stepCount, number(warmupSteps)), rising, after);
}

/** int64 [] -> its float32, and the count of the next step. Exact up to 2^24 steps. */
export function emitStepCount(writer: GraphWriter, stepCount: string): { count: string; next: string } {
  writer.scope = 'schedule';
  const count = writer.emit1('Cast', [stepCount], { to: elementTypes.float32.code });
  const next = writer.emit1('Add', [stepCount, writer.tensor(scalar(1, 'int64'), 'one')]);
  return { count, next };
}
