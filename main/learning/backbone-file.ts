import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { backboneSchema, type Backbone } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';
import { readModelFile } from '../onnx/model-file.ts';
import { DEFAULT_NORMALISATION, readSidecar, sidecarNames, type Normalisation } from '../onnx/normalisation.ts';
import { prepareBackbone } from '../onnx/prepare-backbone.ts';
import { openSession, type Tensor } from '../runtime/session.ts';
import { writeDurably } from '../store/files.ts';

export interface ImportBackboneOptions {
  /** Where the prepared copy goes: <id>.onnx and <id>.json. Made if missing. */
  folder: string;
  /** Outputs (or inner values) to use in place of those found. */
  features?: readonly string[];
  threads: number;
}

/**
 * Takes any ONNX image model as backbone: finds its input and features (or takes those named), cuts off what they do not need, runs it, and
 * writes the prepared copy. The same file, features and scaling of pixels give the same id. Weights in files beside the model are in the copy.
 * How its pixels are scaled comes from a file beside it (onnx/normalisation.ts).
 * @throws NOT_FOUND, INVALID_INPUT for that file, MODEL_UNREADABLE, MODEL_DATA_MISSING, GRAPH_INVALID, UNSUPPORTED_OP,
 *   BACKBONE_UNSUITABLE with the reason
 */
export async function importBackbone(file: string, options: ImportBackboneOptions): Promise<Backbone> {
  const normalisation = await normalisationBeside(file);
  const { bytes, backbone: described } = prepareBackbone(readModelFile(file), {
    id: slug(basename(file, extname(file))),
    file,
    source: basename(file),
    licence: 'as its file states',
    normalisation,
    ...(options.features ? { features: options.features } : {}),
  });
  const id = await idFor(described, options.folder);
  const target = join(options.folder, `${id}.onnx`);
  const backbone: Backbone = { ...described, id, file: target, normalisationFrom: normalisation.from };
  await checkByRunning(bytes, backbone, options.threads);
  await writeDurably(target, bytes);
  await writeDurably(join(options.folder, `${id}.json`), JSON.stringify({ ...backbone, file: `${id}.onnx` }, null, 2));
  return backbone;
}

/** By name and content. Features are kept by it, so the same network with its pixels scaled otherwise is another backbone. */
async function idFor({ id: name, sha256, mean, std }: Omit<Backbone, 'file'>, folder: string): Promise<string> {
  const id = `${name}-${sha256.slice(0, 8)}`;
  const known = await readImportedBackbone(folder, id).catch(() => null);
  const scaling = JSON.stringify([mean, std]);
  if (known === null || JSON.stringify([known.mean, known.std]) === scaling) return id;
  return `${id}-${createHash('sha256').update(scaling).digest('hex').slice(0, 4)}`;
}

/** A backbone that importBackbone left in a folder. @throws BACKBONE_MISSING, BUNDLE_ALTERED */
export async function readImportedBackbone(folder: string, id: string): Promise<Backbone> {
  const missing = (cause: unknown) => new AppError('BACKBONE_MISSING', { id }, { cause });
  const text = await readFile(join(folder, `${id}.json`), 'utf8').catch((cause: unknown) => {
    throw missing(cause);
  });
  const described = backboneSchema.parse(JSON.parse(text));
  const file = join(folder, `${id}.onnx`);
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw missing(cause);
  });
  if (createHash('sha256').update(bytes).digest('hex') !== described.sha256)
    throw new AppError('BUNDLE_ALTERED', { file });
  return { ...described, file };
}

const slug = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '-')
    .replace(/^[-.]+|-+$/g, '')
    .slice(0, 40) || 'backbone';

/**
 * How a model's pixels are scaled, from a file beside it; the usual way where none states it, which the caller should say.
 * @throws INVALID_INPUT for a file that is there and cannot be read, or is there to state it and does not
 */
export async function normalisationBeside(file: string): Promise<Normalisation & { from: 'file' | 'assumed' }> {
  for (const name of sidecarNames(file)) {
    const text = await textOf(name);
    const found = text === null ? null : readSidecar(name, text, file);
    if (found) return { ...found, from: 'file' };
  }
  return { ...DEFAULT_NORMALISATION, from: 'assumed' };
}

/** Null: there is no such file. */
async function textOf(file: string): Promise<string | null> {
  try {
    const found = await stat(file);
    // Opening a pipe that nobody writes to would never end. A folder is refused in the system's words.
    if (!found.isFile() && !found.isDirectory()) throw new Error('it is no file');
    return await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new AppError('INVALID_INPUT', { what: file, problem: problemOf(cause) }, { cause });
  }
}

/** Two different pictures must give two different finite answers. */
async function checkByRunning(model: Uint8Array, backbone: Backbone, threads: number): Promise<void> {
  const unsuitable = (problem: string, cause?: unknown) =>
    new AppError('BACKBONE_UNSUITABLE', { file: backbone.source, problem }, { cause });
  await using session = await openSession(model, { threads, name: backbone.source });
  const { inputSize: size, inputName } = backbone;
  const answers: Record<string, Tensor>[] = [];
  for (const step of [7, 31]) {
    const data = Float32Array.from({ length: 3 * size * size }, (_, i) => ((i * step) % 251) / 125.5 - 1);
    const feeds = { [inputName]: { type: 'float32' as const, dims: [1, 3, size, size], data } };
    answers.push(
      await session.run(feeds).catch((cause: unknown) => {
        throw unsuitable(`it does not run: ${problemOf(cause)}`, cause);
      }),
    );
  }
  const [first, second] = answers;
  for (const { name } of backbone.featureOutputs) {
    const [a, b] = [first![name]!.data as Float32Array, second![name]!.data as Float32Array];
    if (!a.every(Number.isFinite) || !b.every(Number.isFinite)) throw unsuitable(`its output "${name}" is not finite`);
    if (a.every((x, i) => x === b[i])) throw unsuitable(`its output "${name}" does not depend on the image`);
  }
}
