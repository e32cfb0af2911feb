import { buildTrainingStep, type TrainingStep } from '../autodiff/index.ts';
import { buildNetwork, elementCount, encodeModel, type Architecture, type Model } from '../onnx/index.ts';
import { openSession, type Tensor } from '../runtime/session.ts';
import type { TrainingEngine } from './engine.ts';
import { mulberry32 } from '../vision/random.ts';

export interface BenchTrainingOptions {
  engine: TrainingEngine;
  architecture: Architecture;
  /** Pixels per side. */
  size: number;
  batch: number;
  threads: number;
  /** Timed steps. Default 20. */
  steps?: number;
  /** Steps before the clock starts. Default 3. */
  warmUp?: number;
  /** 'activations': computed again for the backward part instead of kept; less memory, a little more time. */
  recompute?: 'none' | 'activations';
  signal?: AbortSignal;
  onStep?: (step: { done: number; of: number; loss: number }) => void;
}

export interface TrainingBench {
  imagesPerSecond: number;
  /** Inference with the same network, batch and threads, batch normalisation not folded beforehand. */
  forwardImagesPerSecond: number;
  /** Largest resident memory of the process up to the end of training. */
  peakRssBytes: number;
  trainedParameters: number;
  lossFirst: number;
  lossLast: number;
  steps: number;
  threads: number;
}

const CLASSES = 1000;
const SEED = 1;

/** Everything the step needs of the network: the network itself can be forgotten afterwards. */
const stepOf = (network: Model, { size, batch, recompute }: BenchTrainingOptions): TrainingStep =>
  buildTrainingStep({
    model: network,
    inputShapes: { input: [batch, 3, size, size] },
    trainable: 'all',
    losses: [{ kind: 'crossEntropy', logits: 'logits' }],
    optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 1e-4 },
    schedule: { kind: 'constant', learningRate: 0.01 },
    batchNorm: 'train',
    ...(recompute ? { recompute } : {}),
  });

/** Opens the step and keeps nothing of it: its first weights can be collected. */
const prepare = (step: TrainingStep, engine: TrainingEngine, threads: number) => ({
  open: engine.open(step, { threads }),
  targets: step.batch.find(({ type }) => type === 'int64')!.name,
  parameters: step.state
    .filter(({ role }) => role === 'parameter')
    .reduce((sum, { dims }) => sum + elementCount(dims), 0),
});

/**
 * Training speed under the conditions of an honest timing: every weight trained, batch statistics with running statistics updated,
 * cross-entropy, SGD with momentum, other images copied in at every step.
 */
export async function benchTraining(options: BenchTrainingOptions): Promise<TrainingBench> {
  const { engine, architecture, size, batch, threads, steps = 20, warmUp = 3, signal, onStep } = options;
  const network = () => buildNetwork(architecture, { classes: CLASSES, size, batch, seed: SEED });
  const images: Tensor = {
    type: 'float32',
    dims: [batch, 3, size, size],
    data: new Float32Array(batch * 3 * size * size),
  };
  const sets = [noise(images.data.length, 1), noise(images.data.length, 2)];
  const losses: number[] = [];
  let seconds = 0;
  let trained = 0;
  {
    const { open, targets, parameters } = prepare(stepOf(network(), options), engine, threads);
    trained = parameters;
    const labels = BigInt64Array.from({ length: batch }, (_, i) => BigInt((i * 37) % CLASSES));
    await using run = await open;
    for (let at = 0; at < warmUp + steps; at++) {
      signal?.throwIfAborted();
      const start = performance.now();
      (images.data as Float32Array).set(sets[at % 2]!);
      const { loss } = await run.step({ input: images, [targets]: { type: 'int64', dims: [batch], data: labels } });
      if (at >= warmUp) seconds += (performance.now() - start) / 1000;
      losses.push(loss);
      onStep?.({ done: at + 1, of: warmUp + steps, loss });
    }
  }
  const peakRssBytes = process.resourceUsage().maxRSS * 1024;

  await using session = await openSession(encodeModel(network()), { threads, name: architecture });
  const forward = async (): Promise<number> => {
    const start = performance.now();
    await session.run({ input: images });
    return (performance.now() - start) / 1000;
  };
  for (let i = 0; i < warmUp; i++) await forward();
  let forwardSeconds = 0;
  for (let i = 0; i < steps; i++) {
    signal?.throwIfAborted();
    forwardSeconds += await forward();
  }
  return {
    imagesPerSecond: (batch * steps) / seconds,
    forwardImagesPerSecond: (batch * steps) / forwardSeconds,
    peakRssBytes,
    trainedParameters: trained,
    lossFirst: losses[0]!,
    lossLast: losses.at(-1)!,
    steps,
    threads,
  };
}

/** Standard normal values, the same for the same seed (Box and Muller 1958 over a 32-bit mixing of the index). */
function noise(count: number, seed: number): Float32Array {
  const values = new Float32Array(count);
  const next = mulberry32(seed * 0x9e3779b9);
  const uniform = (): number => (next() + 0.5) / 2 ** 32;
  for (let i = 0; i < count; i++) values[i] = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return values;
}
