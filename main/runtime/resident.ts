import { AppError } from '../contract/errors.ts';
import { openSession } from './session.ts';

/** By then a run has allocated what it needs and keeps it. */
const RUNS = 10;

/**
 * Resident bytes of this process while it holds a model that has run: what the model costs, with Node and ONNX Runtime, where the process has done nothing
 * else.
 * @param file of a model with one input [1, 3, inputSize, inputSize]
 * @throws CANCELLED, MODEL_UNREADABLE
 */
export async function residentWith(
  file: string,
  inputSize: number,
  threads: number,
  signal?: AbortSignal,
): Promise<number> {
  await using session = await openSession(file, { threads });
  const data = new Float32Array(3 * inputSize * inputSize);
  for (let run = 0; run < RUNS; run += 1) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    await session.run({ [session.inputs[0]!]: { type: 'float32', dims: [1, 3, inputSize, inputSize], data } });
  }
  return process.memoryUsage.rss();
}
