import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as Ort from 'onnxruntime-node';
import { z } from 'zod';
import { AppError, assert, problemOf } from '../contract/errors.ts';

/*
 * The official builds of ONNX Runtime from 1.29 on report usage to their maker unless told not to before the first session is
 * made (github.com/microsoft/onnxruntime, pull request 27379). Nothing leaves this PC.
 */
process.env['ORT_DISABLE_TELEMETRY'] = '1';

const load = createRequire(import.meta.url);
let loaded: typeof Ort | undefined;
/** Loaded for the first session: it is 45 MB of native code, and whoever only knows of models (the core, a command that lists them) opens none. */
const ort = (): typeof Ort => (loaded ??= load('onnxruntime-node') as typeof Ort);

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
function wrapped(tensors: Readonly<Record<string, Tensor>>): Record<string, Ort.Tensor> {
  const { Tensor: OrtTensor } = ort();
  const result: Record<string, Ort.Tensor> = {};
  for (const [key, { type, data, dims }] of Object.entries(tensors)) {
    result[key] = new OrtTensor(type as 'float32', data as Float32Array, dims);
  }
  return result;
}

export function onnxruntimeVersion(): string {
  const { node, common } = ort().env.versions;
  return node ?? common;
}

const settingsOf = (options: SessionOptions): Ort.InferenceSession.SessionOptions => ({
  executionProviders: ['cpu'],
  intraOpNumThreads: options.threads,
  interOpNumThreads: 1,
  graphOptimizationLevel: options.optimization ?? 'all',
  enableMemPattern: options.memoryPattern ?? true,
  logSeverityLevel: 3,
  // Threads wait for each other some hundred times in a run. Put to sleep each time, they make a small network take twice as long; spinning on after the run they would take the core
  // from the camera and the line output, so they stop with it.
  extra: {
    session: { intra_op: { allow_spinning: '1' }, inter_op: { allow_spinning: '0' }, force_spinning_stop: '1' },
  },
});

/**
 * @param source path of a model, or its bytes.
 * @throws MODEL_UNREADABLE when ORT refuses it.
 */
export async function openSession(source: string | Uint8Array, options: SessionOptions): Promise<Session> {
  const name = options.name ?? (typeof source === 'string' ? source : 'model');
  const settings = settingsOf(options);
  const { InferenceSession } = ort();
  let session: Ort.InferenceSession;
  try {
    session =
      typeof source === 'string'
        ? await InferenceSession.create(source, settings)
        : await InferenceSession.create(source, settings);
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

/** One kernel as ORT runs it, after its own optimisations. */
export interface KernelTime {
  op: string;
  /** Element type and dims of each input and output. */
  inputs: { type: string; dims: number[] }[];
  outputs: { type: string; dims: number[] }[];
  /** Tenth percentile over the runs: what else the PC does only ever adds time, and to some layers more than to others. */
  ms: number;
}

const shapes = z
  .array(z.record(z.string(), z.array(z.number())))
  .transform((list) => list.flatMap((entry) => Object.entries(entry).map(([type, dims]) => ({ type, dims }))));
const kernelEvent = z.object({
  name: z.string(),
  dur: z.number(),
  args: z.object({ op_name: z.string(), node_index: z.string(), input_type_shape: shapes, output_type_shape: shapes }),
});

const noTemporary = (cause: unknown): AppError =>
  new AppError('HOME_NOT_WRITABLE', { home: tmpdir(), problem: problemOf(cause) }, { cause });

/** What ORT has written into a folder, which on a full disk is a part of it or nothing. */
async function readProfile(folder: string): Promise<unknown[]> {
  try {
    const [file] = await readdir(folder);
    return JSON.parse(await readFile(join(folder, file ?? ''), 'utf8')) as unknown[];
  } catch (cause) {
    throw noTemporary(cause);
  }
}

/**
 * Time of each kernel of a model, by ORT's own profile, with the settings of a session.
 * @throws MODEL_UNREADABLE, HOME_NOT_WRITABLE where no temporary file can be made
 */
export async function profileKernels(
  source: Uint8Array,
  feeds: Record<string, Tensor>,
  options: SessionOptions & { runs: number },
): Promise<KernelTime[]> {
  const folder = await mkdtemp(join(tmpdir(), 'mekiki-profile-')).catch((cause: unknown) => {
    throw noTemporary(cause);
  });
  try {
    const session = await ort()
      .InferenceSession.create(source, {
        ...settingsOf(options),
        enableProfiling: true,
        profileFilePrefix: join(folder, 'p'),
      })
      .catch((cause: unknown) => {
        throw new AppError('MODEL_UNREADABLE', { file: options.name ?? 'model', problem: problemOf(cause) }, { cause });
      });
    const tensors = wrapped(feeds);
    try {
      for (let run = 0; run < options.runs; run++) await session.run(tensors);
      session.endProfiling();
    } finally {
      await session.release();
    }
    const events = await readProfile(folder);
    const byNode = new Map<string, { first: z.infer<typeof kernelEvent>; ms: number[] }>();
    for (const event of events) {
      const parsed = kernelEvent.safeParse(event);
      if (!parsed.success || !parsed.data.name.endsWith('_kernel_time')) continue;
      const { args, dur } = parsed.data;
      const known = byNode.get(args.node_index);
      if (known) known.ms.push(dur / 1000);
      else byNode.set(args.node_index, { first: parsed.data, ms: [dur / 1000] });
    }
    return [...byNode.values()].map(({ first: { args }, ms }) => ({
      op: args.op_name,
      inputs: args.input_type_shape,
      outputs: args.output_type_shape,
      ms: ms.toSorted((a, b) => a - b)[Math.floor(ms.length / 10)]!,
    }));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
