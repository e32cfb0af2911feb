import { scalar } from '../onnx/index.ts';
import type { GraphWriter } from './graph-writer.ts';

/** torch.optim.SGD: v = momentum v + g + weightDecay w; w -= lr v (nesterov: w -= lr (g + weightDecay w + momentum v)). */
export interface SgdSpec {
  kind: 'sgd';
  momentum: number;
  weightDecay: number;
  nesterov?: boolean;
}

/** torch.optim.AdamW (Loshchilov and Hutter 2019): decay w -= lr weightDecay w apart from the gradient. */
export interface AdamWSpec {
  kind: 'adamw';
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
}

export type OptimizerSpec = SgdSpec | AdamWSpec;

/** A state the optimiser keeps per parameter. */
export interface Moment {
  role: 'momentum' | 'moment1' | 'moment2';
}

/** What the optimiser keeps of each parameter, each of its shape and zero at first. */
export const momentsOf = (spec: OptimizerSpec): readonly Moment[] => {
  if (spec.kind === 'adamw') return [{ role: 'moment1' }, { role: 'moment2' }];
  return spec.momentum === 0 ? [] : [{ role: 'momentum' }];
};

export interface UpdateInputs {
  parameter: string;
  gradient: string;
  /** In the order of momentsOf. */
  moments: readonly string[];
  /** Weight decay applies to it. */
  decays: boolean;
}

export interface Update {
  parameter: string;
  moments: readonly string[];
}

/** Emits what all parameters share, once; the returned function emits the update of one parameter. */
export function createOptimizer(
  writer: GraphWriter,
  spec: OptimizerSpec,
  learningRate: string,
  stepCount: string,
): (inputs: UpdateInputs) => Update {
  return spec.kind === 'sgd' ? sgd(writer, spec, learningRate) : adamW(writer, spec, learningRate, stepCount);
}

function sgd(writer: GraphWriter, spec: SgdSpec, learningRate: string): (inputs: UpdateInputs) => Update {
  const number = (value: number) => writer.tensor(scalar(value), 'number');
  const op = (name: string, ...inputs: string[]) => writer.emit1(name, inputs);
  return ({ parameter, gradient, moments, decays }) => {
    const decay = decays && spec.weightDecay !== 0 ? op('Mul', parameter, number(spec.weightDecay)) : undefined;
    const descend = (velocity: string) => op('Sub', parameter, op('Mul', velocity, learningRate));
    const [velocity] = moments;
    if (velocity === undefined)
      return { parameter: descend(decay ? op('Add', gradient, decay) : gradient), moments: [] };
    const carried = op('Mul', velocity, number(spec.momentum));
    if (!spec.nesterov) {
      const next = decay ? op('Sum', carried, gradient, decay) : op('Add', carried, gradient);
      return { parameter: descend(next), moments: [next] };
    }
    const whole = decay ? op('Add', gradient, decay) : gradient;
    const next = op('Add', carried, whole);
    return { parameter: descend(op('Add', whole, op('Mul', next, number(spec.momentum)))), moments: [next] };
  };
}

/**
 * With c_i = 1 - beta_i^t: w (1 - lr decay) - lr / c1 m / (sqrt(v / c2) + epsilon), written as
 * w (1 - lr decay) - lr sqrt(c2) / c1 m / (sqrt(v) + epsilon sqrt(c2)), whose factors are scalars of the step.
 */
function adamW(
  writer: GraphWriter,
  spec: AdamWSpec,
  learningRate: string,
  stepCount: string,
): (inputs: UpdateInputs) => Update {
  const number = (value: number) => writer.tensor(scalar(value), 'number');
  const op = (name: string, ...inputs: string[]) => writer.emit1(name, inputs);
  writer.scope = 'adamw';
  const t = op('Add', stepCount, number(1));
  /** 1 - beta^t = -expm1(x), x = t ln beta, as -tanh(x / 2) (exp(x) + 1): 1 - 0.999 in float32 would lose four digits. */
  const correction = (beta: number) => {
    if (beta === 0) return number(1);
    const half = op('Tanh', op('Mul', t, number(-Math.log(beta) / 2)));
    return op('Mul', half, op('Add', op('Exp', op('Mul', t, number(Math.log(beta)))), number(1)));
  };
  const root = op('Sqrt', correction(spec.beta2));
  const rate = op('Div', op('Mul', learningRate, root), correction(spec.beta1));
  const epsilon = op('Mul', root, number(spec.epsilon));
  const keep =
    spec.weightDecay === 0 ? undefined : op('Sub', number(1), op('Mul', learningRate, number(spec.weightDecay)));
  return ({ parameter, gradient, moments, decays }) => {
    const [first, second] = moments as [string, string];
    const mean = op('Add', op('Mul', first, number(spec.beta1)), op('Mul', gradient, number(1 - spec.beta1)));
    const square = op('Mul', op('Mul', gradient, gradient), number(1 - spec.beta2));
    const power = op('Add', op('Mul', second, number(spec.beta2)), square);
    const way = op('Div', op('Mul', mean, rate), op('Add', op('Sqrt', power), epsilon));
    const kept = keep && decays ? op('Mul', parameter, keep) : parameter;
    return { parameter: op('Sub', kept, way), moments: [mean, power] };
  };
}

/**
 * Global-norm clipping as torch.nn.utils.clip_grad_norm_: all gradients times min(1, clipNorm / (norm + 1e-6)).
 * @returns names of the norm (float32 [], before clipping) and of the factor.
 */
export function emitClip(
  writer: GraphWriter,
  gradients: readonly string[],
  clipNorm: number,
): { norm: string; factor: string } {
  writer.scope = 'clip';
  const squares = gradients.map((name) => writer.emit1('ReduceSumSquare', [name], { keepdims: 0 }));
  const sum = squares.length === 1 ? squares[0]! : writer.emit1('Sum', squares);
  const norm = writer.emit1('Sqrt', [sum]);
  const safe = writer.emit1('Add', [norm, writer.tensor(scalar(1e-6), 'number')]);
  const ratio = writer.emit1('Div', [writer.tensor(scalar(clipNorm), 'number'), safe]);
  return { norm, factor: writer.emit1('Min', [ratio, writer.tensor(scalar(1), 'number')]) };
}
