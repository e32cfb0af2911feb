import * as ort from 'onnxruntime-node';
import { AppError, assert, problemOf } from '../contract/errors.ts';

/** A dense tensor; `data` is row-major and belongs to whoever made it. */
export interface Tensor {
  type: 'float32' | 'float64' | 'int64' | 'int32' | 'uint8' | 'int8' | 'bool';
  dims: readonly number[];
  data: Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array | Int8Array;
}

export interface SessionOptions {
  /** Intra-op threads. */
  threads: number;
  /** Named in errors. */
  name?: string;
  /** Default 'all'. */
  optimization?: 'disabled' | 'basic' | 'extended' | 'all';
  /** Allocate what a run needs in one piece, planned in the first run. Default true. */
  memoryPattern?: boolean;
}

/** An ORT inference session. `run` blocks the calling thread: never on a thread that owns a socket or a timer. */
export interface Session extends AsyncDisposable {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * @param fetches outputs to compute (default: all), or the tensors to write them into, by name: those are returned, and their type and dims
   * must be what the model gives. An output must not share memory with a feed.
   */
  run(
    feeds: Record<string, Tensor>,
    fetches?: readonly string[] | Readonly<Record<string, Tensor>>,
  ): Promise<Record<string, Tensor>>;
  dispose(): Promise<void>;
}

const isNames = (fetches: readonly string[] | Readonly<Record<string, Tensor>>): fetches is readonly string[] =>
  Array.isArray(fetches);

/** ORT's own tensors over the same memory. */
function wrapped(tensors: Readonly<Record<string, Tensor>>): Record<string, ort.Tensor> {
  const result: Record<string, ort.Tensor> = {};
  for (const [key, { type, data, dims }] of Object.entries(tensors)) {
    result[key] = new ort.Tensor(type as 'float32', data as Float32Array, dims);
  }
  return result;
}

export const onnxruntimeVersion: string = ort.env.versions.node ?? ort.env.versions.common;

/**
 * @param source path of a model, or its bytes.
 * @throws MODEL_UNREADABLE when ORT refuses it.
 */
export async function openSession(source: string | Uint8Array, options: SessionOptions): Promise<Session> {
  const name = options.name ?? (typeof source === 'string' ? source : 'model');
  const settings: ort.InferenceSession.SessionOptions = {
    executionProviders: ['cpu'],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: options.optimization ?? 'all',
    enableMemPattern: options.memoryPattern ?? true,
    logSeverityLevel: 3,
    // Spinning threads would take the core from the camera and the line output between two parts.
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  };
  let session: ort.InferenceSession;
  try {
    session =
      typeof source === 'string'
        ? await ort.InferenceSession.create(source, settings)
        : await ort.InferenceSession.create(source, settings);
  } catch (cause) {
    throw new AppError('MODEL_UNREADABLE', { file: name, problem: problemOf(cause) }, { cause });
  }
  const dispose = () => session.release();
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(feeds, fetches) {
      const tensors = wrapped(feeds);
      let results: Record<string, unknown>;
      if (!fetches) results = await session.run(tensors);
      else if (isNames(fetches)) results = await session.run(tensors, [...fetches]);
      else {
        // ORT takes an object without a known output for run options, and would then run without a word.
        const unknown = Object.keys(fetches).find((key) => !session.outputNames.includes(key));
        assert(unknown === undefined, `the outputs asked of ${name} are its own, "${unknown}" is not`);
        await session.run(tensors, wrapped(fetches));
        return fetches;
      }
      return results as Record<string, Tensor>;
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}
