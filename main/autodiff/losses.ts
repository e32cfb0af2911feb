import { AppError } from '../contract/errors.ts';
import { elementCount, float32Tensor, int64Tensor, scalar, type ElementType } from '../onnx/index.ts';
import type { GraphWriter } from './graph-writer.ts';

/** Mean cross-entropy of logits [N, C] as torch.nn.CrossEntropyLoss computes it. */
export interface CrossEntropyLoss {
  kind: 'crossEntropy';
  /** Value of the forward graph, [N, C]. */
  logits: string;
  /** Name of the batch input with the targets; default 'target'. */
  target?: string;
  /** 'hard' (default): int64 [N]. 'soft': float32 [N, C] (mixup). */
  targets?: 'hard' | 'soft';
  /** One per class. */
  classWeights?: readonly number[];
  labelSmoothing?: number;
  weight?: number;
}

/** Distillation (Hinton et al. 2015): T² KL(softmax(teacher / T) || softmax(student / T)), mean over the batch. */
export interface KlLoss {
  kind: 'kl';
  /** Value of the forward graph: logits [N, C]. */
  student: string;
  /** Name of the batch input with the teacher's logits [N, C]. */
  teacher: string;
  temperature: number;
  weight?: number;
}

/** Mean squared error over all elements. */
export interface MseLoss {
  kind: 'mse';
  value: string;
  /** Name of the batch input, of the same shape. */
  target: string;
  weight?: number;
}

/** 1 - cosine similarity along axis 1, mean over the rest. */
export interface CosineLoss {
  kind: 'cosine';
  value: string;
  /** Name of the batch input, of the same shape. */
  target: string;
  weight?: number;
}

/** weight * sum of |w| over the named trainable parameters (network slimming). */
export interface L1Loss {
  kind: 'l1';
  parameters: readonly string[];
  weight: number;
}

export type LossSpec = CrossEntropyLoss | KlLoss | MseLoss | CosineLoss | L1Loss;

export interface LossContext {
  readonly writer: GraphWriter;
  /** Declares a batch input (again, alike: the same one). @throws INVALID_INPUT if it is declared differently. */
  input(name: string, type: ElementType, dims: readonly number[]): string;
  /** Adds dL/dvalue. */
  gradient(value: string, gradient: string): void;
  readonly opset: number;
}

/** Emits the loss (float32 [], weight included) and its gradients in closed form. */
export function emitLoss(context: LossContext, spec: LossSpec): string {
  context.writer.scope = `loss/${spec.kind}`;
  return emitters[spec.kind](context, spec as never);
}

const emitters: { [K in LossSpec['kind']]: (context: LossContext, spec: Extract<LossSpec, { kind: K }>) => string } = {
  crossEntropy,
  kl,
  mse,
  cosine,
  l1,
};

const invalid = (what: string, problem: string) => new AppError('INVALID_INPUT', { what, problem });

function tools({ writer, opset }: LossContext) {
  const number = (value: number) => writer.tensor(scalar(value), 'number');
  const axes = (list: readonly number[]) => writer.tensor(int64Tensor([list.length], list), 'axes');
  return {
    number,
    op: (name: string, ...inputs: string[]) => writer.emit1(name, inputs),
    sum: (name: string, list: readonly number[], keepdims = 1) =>
      writer.emit1('ReduceSum', [name, axes(list)], { keepdims }),
    sumAll: (name: string) => writer.emit1('ReduceSum', [name], { keepdims: 0 }),
    scaled: (name: string, by: number) => (by === 1 ? name : writer.emit1('Mul', [name, number(by)])),
    unsqueeze: (name: string, list: readonly number[]) => writer.emit1('Unsqueeze', [name, axes(list)]),
    opset,
  };
}

function logitsShape({ writer }: LossContext, name: string, what: string): readonly [number, number] {
  const shape = valueShape(writer, name, what);
  if (shape.length !== 2) throw invalid(what, `logits "${name}" are [${shape.join(', ')}], not [N, C]`);
  return shape as readonly [number, number];
}

function valueShape(writer: GraphWriter, name: string, what: string): readonly number[] {
  if (!writer.has(name)) throw invalid(what, `the model has no value "${name}"`);
  return writer.shape(name);
}

/**
 * With target weights q [N, C] and d their normaliser: L = -sum q log p / d; dL/dlogits = (p sum_c q - q) / d.
 * Hard: q = w_c ((1 - s) [c = y] + s / C), d = sum_n w_y. Soft: q = w_c ((1 - s) t + s / C), d = N (torch's two definitions).
 */
function crossEntropy(context: LossContext, spec: CrossEntropyLoss): string {
  const { writer } = context;
  const { op, number, sum, sumAll, unsqueeze } = tools(context);
  const what = 'the cross-entropy loss';
  const [n, c] = logitsShape(context, spec.logits, what);
  const { classWeights, labelSmoothing: smoothing = 0, weight = 1 } = spec;
  if (classWeights && classWeights.length !== c)
    throw invalid(what, `${classWeights.length} class weights for ${c} classes`);
  if (!(smoothing >= 0 && smoothing < 1)) throw invalid(what, `a label smoothing of ${smoothing}`);
  const weights = classWeights ?? Array.from({ length: c }, () => 1);
  const row = (values: readonly number[]) => writer.tensor(float32Tensor([1, c], values), 'row');
  let q: string;
  let normaliser: string | undefined; // of 1 / N
  if (spec.targets === 'soft') {
    const target = context.input(spec.target ?? 'target', 'float32', [n, c]);
    q = smoothing > 0 ? op('Add', op('Mul', target, number(1 - smoothing)), number(smoothing / c)) : target;
    if (classWeights) q = op('Mul', q, row(weights));
  } else {
    const target = context.input(spec.target ?? 'target', 'int64', [n]);
    const classes = writer.tensor(
      int64Tensor(
        [1, c],
        Array.from({ length: c }, (_, i) => i),
      ),
      'classes',
    );
    const hit = op('Equal', unsqueeze(target, [1]), classes);
    q = op(
      'Where',
      hit,
      row(weights.map((w) => w * (1 - smoothing + smoothing / c))),
      row(weights.map((w) => (w * smoothing) / c)),
    );
    if (classWeights) {
      normaliser = sumAll(op('Gather', writer.tensor(float32Tensor([c], weights), 'weights'), target));
    }
  }
  const logP = writer.emit1('LogSoftmax', [spec.logits], { axis: 1 });
  const p = op('Exp', logP);
  const loss = sumAll(op('Mul', q, logP));
  const plain = spec.targets !== 'soft' && !classWeights; // rows of q sum to 1
  const difference = op('Sub', plain ? p : op('Mul', p, sum(q, [1])), q);
  const share = normaliser ? op('Div', number(weight), normaliser) : number(weight / n);
  context.gradient(spec.logits, op('Mul', difference, share));
  return op('Neg', op('Mul', loss, share));
}

/** dL/dstudent = T (softmax(student / T) - softmax(teacher / T)) / N. */
function kl(context: LossContext, spec: KlLoss): string {
  const { writer } = context;
  const { op, scaled, sumAll } = tools(context);
  const { temperature: t, weight = 1 } = spec;
  if (!(t > 0)) throw invalid('the distillation loss', `a temperature of ${t}`);
  const [n, c] = logitsShape(context, spec.student, 'the distillation loss');
  const teacher = context.input(spec.teacher, 'float32', [n, c]);
  const log = (name: string) => writer.emit1('LogSoftmax', [scaled(name, 1 / t)], { axis: 1 });
  const [logStudent, logTeacher] = [log(spec.student), log(teacher)];
  const p = op('Exp', logTeacher);
  context.gradient(spec.student, scaled(op('Sub', op('Exp', logStudent), p), (weight * t) / n));
  return scaled(sumAll(op('Mul', p, op('Sub', logTeacher, logStudent))), (weight * t * t) / n);
}

function mse(context: LossContext, spec: MseLoss): string {
  const { writer } = context;
  const { op, scaled } = tools(context);
  const shape = valueShape(writer, spec.value, 'the squared error');
  const count = elementCount(shape);
  const weight = spec.weight ?? 1;
  const difference = op('Sub', spec.value, context.input(spec.target, 'float32', shape));
  context.gradient(spec.value, scaled(difference, (2 * weight) / count));
  return scaled(writer.emit1('ReduceSumSquare', [difference], { keepdims: 0 }), weight / count);
}

/** With unit vectors a = v / |v|, b = t / |t| and s = a b: d(1 - s)/dv = (s a - b) / |v|. */
function cosine(context: LossContext, spec: CosineLoss): string {
  const { writer } = context;
  const { op, number, scaled, sum, sumAll } = tools(context);
  const shape = valueShape(writer, spec.value, 'the cosine loss');
  if (shape.length < 2) throw invalid('the cosine loss', `"${spec.value}" has no axis 1`);
  const rows = shape.reduce((a, b, axis) => (axis === 1 ? a : a * b), 1);
  const weight = spec.weight ?? 1;
  const target = context.input(spec.target, 'float32', shape);
  // A vector of zeros has no direction; the bound keeps its gradient finite.
  const norm = (name: string) => op('Max', op('Sqrt', sum(op('Mul', name, name), [1])), number(1e-6));
  const length = norm(spec.value);
  const a = op('Div', spec.value, length);
  const b = op('Div', target, norm(target));
  const similarity = sum(op('Mul', a, b), [1]);
  const gradient = op('Div', op('Sub', op('Mul', similarity, a), b), length);
  context.gradient(spec.value, scaled(gradient, weight / rows));
  return op('Sub', number(weight), scaled(sumAll(similarity), weight / rows));
}

function l1(context: LossContext, spec: L1Loss): string {
  const { writer } = context;
  const { op, scaled } = tools(context);
  if (spec.parameters.length === 0) throw invalid('the L1 loss', 'it names no parameter');
  const sums = spec.parameters.map((name) => {
    valueShape(writer, name, 'the L1 loss');
    context.gradient(name, scaled(op('Sign', name), spec.weight));
    return writer.emit1('ReduceL1', [name], { keepdims: 0 });
  });
  return scaled(sums.length === 1 ? sums[0]! : op('Sum', ...sums), spec.weight);
}
