import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { AppError, assert, problemOf } from '../../contract/errors.ts';
import { installedTfjsNode, loadTfjsNode, tfjsNodeIn } from './tfjs-node.ts';

export type BackendName = 'native' | 'wasm' | 'cpu';

export interface BackendOptions {
  /** Default: the fastest that loads, in the order native, wasm, cpu. */
  backend?: BackendName;
  /** A folder with `@tensorflow/tfjs-node` that an engineer named. Its code is run: off by default. */
  tfjsNodeFolder?: string;
}

/** What the graph runs on, and why that. */
export interface BackendChoice {
  readonly name: BackendName;
  /** As TensorFlow.js calls it. */
  readonly registered: 'tensorflow' | 'wasm' | 'cpu';
  /** One sentence for a person. */
  readonly why: string;
  /** Faster ones that were tried first. */
  readonly refused: readonly { readonly name: BackendName; readonly problem: string }[];
}

const require = createRequire(import.meta.url);

async function activate(registered: string): Promise<void> {
  assert(await tf.setBackend(registered), `TensorFlow.js starts its backend "${registered}" or throws`);
  await tf.ready();
}

async function startNative({ tfjsNodeFolder }: BackendOptions): Promise<void> {
  const found = tfjsNodeFolder === undefined ? installedTfjsNode() : tfjsNodeIn(tfjsNodeFolder);
  if (!found) throw new Error('@tensorflow/tfjs-node is not installed');
  if (!tf.findBackend('tensorflow')) loadTfjsNode(found);
  await activate('tensorflow');
}

/** The .wasm file of the installed package is read from disk: setWasmPaths without the platform's fetch makes Node's loader use the file system. */
async function startWasm(): Promise<void> {
  if (!tf.findBackendFactory('wasm')) {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    const folder = join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist');
    const files = ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm', 'tfjs-backend-wasm-threaded-simd.wasm'];
    const missing = files.find((file) => !existsSync(join(folder, file)));
    if (missing) throw new Error(`${missing} is missing in its package`);
    setWasmPaths(Object.fromEntries(files.map((file) => [file, join(folder, file)])));
  }
  // Emscripten's start-up takes over the process's last-resort handlers; they belong to the trainer.
  const events = ['uncaughtException', 'unhandledRejection'] as const;
  const before = new Map(events.map((event) => [event, new Set(process.rawListeners(event))]));
  try {
    await activate('wasm');
  } finally {
    for (const event of events) {
      for (const listener of process.rawListeners(event)) {
        if (!before.get(event)!.has(listener)) process.removeListener(event, listener as () => void);
      }
    }
  }
}

async function startCpu(): Promise<void> {
  await import('@tensorflow/tfjs-backend-cpu');
  await activate('cpu');
}

const backends: readonly {
  name: BackendName;
  registered: BackendChoice['registered'];
  what: string;
  start: (options: BackendOptions) => Promise<void>;
}[] = [
  { name: 'native', registered: 'tensorflow', what: 'TensorFlow through @tensorflow/tfjs-node', start: startNative },
  { name: 'wasm', registered: 'wasm', what: 'WebAssembly, one thread', start: startWasm },
  { name: 'cpu', registered: 'cpu', what: 'plain JavaScript', start: startCpu },
];

/**
 * Starts the backend that training will run on.
 * @throws TFJS_NODE_UNUSABLE for a named folder that does not hold what it should; TRAINER_FAILED when the wanted backend does not start
 */
export async function chooseBackend(options: BackendOptions = {}): Promise<BackendChoice> {
  const { backend, tfjsNodeFolder } = options;
  const refused: { name: BackendName; problem: string }[] = [];
  for (const { name, registered, what, start } of backends) {
    if (backend && backend !== name) continue;
    try {
      await start(options);
    } catch (cause) {
      // A folder that someone named and a backend that someone chose are not silently replaced by another.
      if (name === 'native' && tfjsNodeFolder !== undefined) throw cause;
      const problem = problemOf(cause);
      if (backend) throw new AppError('TRAINER_FAILED', { problem: `TensorFlow.js (${name}): ${problem}` }, { cause });
      refused.push({ name, problem });
      continue;
    }
    const reason = backend
      ? 'chosen'
      : ['the fastest that loads', ...refused.map((other) => `${other.name}: ${other.problem}`)].join('; ');
    return { name, registered, why: `${what} (${reason})`, refused };
  }
  const problem = `no backend of TensorFlow.js starts (${refused.map((other) => `${other.name}: ${other.problem}`).join('; ')})`;
  throw new AppError('TRAINER_FAILED', { problem });
}

/** Makes a started backend the current one, at once: whatever else runs in this process may have chosen another. */
export function use({ registered }: BackendChoice): void {
  if (tf.getBackend() === registered) return;
  // Of a backend that is started the switch happens before the first await inside.
  void tf.setBackend(registered);
  assert(tf.getBackend() === registered, 'the backend was started when it was chosen');
}
