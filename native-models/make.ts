import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { backboneSchema } from '../main/contract/domain.ts';
import { AppError, problemOf } from '../main/contract/errors.ts';
import {
  appendNodes,
  decodeModel,
  encodeModel,
  graphInfo,
  importTflite,
  node,
  type Model,
} from '../main/onnx/index.ts';

/*
 * Makes the models that are shipped from what npm installed. Reproducible: the same package gives the same bytes on every machine, and the
 * manifest holds their hash.
 */

const manifestEntrySchema = backboneSchema.omit({ file: true }).extend({
  /** Beside the manifest. */
  fileName: z.string(),
  opset: z.number().int(),
  inputs: z.array(z.object({ name: z.string(), type: z.string(), shape: z.array(z.union([z.number(), z.string()])) })),
  outputs: z.array(z.object({ name: z.string(), type: z.string(), channels: z.number().int() })),
  /** What it is made of: bytes from..to of a file of an npm package. */
  made: z.object({
    package: z.string(),
    version: z.string(),
    file: z.string(),
    from: z.number().int(),
    to: z.number().int(),
    sha256: z.string(),
    how: z.string(),
  }),
});
export type ManifestEntry = z.infer<typeof manifestEntrySchema>;
export const manifestSchema = z.object({ format: z.literal(1), backbones: z.array(manifestEntrySchema).min(1) });
export type Manifest = z.infer<typeof manifestSchema>;

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Folder of the manifest, when this runs from its source. */
export const sourceFolder = (): string => dirname(fileURLToPath(import.meta.url));

/** @throws BACKBONE_NOT_MADE when the manifest is missing or not of this form. */
export async function readManifest(folder: string): Promise<Manifest> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')));
  } catch (cause) {
    throw new AppError('BACKBONE_NOT_MADE', { id: 'manifest.json', problem: problemOf(cause) }, { cause });
  }
}

const notMade = (entry: ManifestEntry, problem: string, cause?: unknown) =>
  new AppError('BACKBONE_NOT_MADE', { id: entry.id, problem }, { cause });

/** The bytes the model is made of, checked. */
function readSource(entry: ManifestEntry, folder: string): Uint8Array {
  const { made } = entry;
  let file: string;
  let version: unknown;
  let bytes: Uint8Array;
  try {
    file = createRequire(join(folder, 'make.ts')).resolve(`${made.package}/package.json`);
    version = (JSON.parse(readFileSync(file, 'utf8')) as { version: unknown }).version;
    bytes = readFileSync(join(dirname(file), made.file)).subarray(made.from, made.to);
  } catch (cause) {
    throw notMade(entry, `the package ${made.package} ${made.version} is not installed`, cause);
  }
  if (version !== made.version)
    throw notMade(entry, `${made.package} is ${String(version)}, ${made.version} is needed`);
  const found = sha256(bytes);
  if (found !== made.sha256)
    throw notMade(entry, `${made.file} of ${made.package} has other content than expected (${found})`);
  return bytes;
}

/** Where in the detector's TFLite graph the stages end: each after a non-linearity, before the linear bottleneck that narrows it. */
const STAGES: Record<string, Record<string, string>> = {
  'mobilenet-v2-openimages-4': {
    // Of block 6: after its expansion, still at stride 8.
    map_s8: 'FeatureExtractor/MobilenetV2/expanded_conv_6/expand/Relu6',
    map_s16_early: 'FeatureExtractor/MobilenetV2/expanded_conv_10/depthwise/Relu6',
    // Of block 13: after its expansion (1x1 convolution, ReLU6), before its depth-wise convolution, that is still at stride 16.
    map_s16: 'FeatureExtractor/MobilenetV2/expanded_conv_13/expand/Relu6',
    map_s32: 'FeatureExtractor/MobilenetV2/expanded_conv_16/depthwise/Relu6',
  },
  // What homes of the first version know their features by.
  'mobilenet-v2-openimages': {
    map_s16: 'FeatureExtractor/MobilenetV2/expanded_conv_13/expand/Relu6',
    map_s32: 'FeatureExtractor/MobilenetV2/Conv_1/Relu6',
  },
};

/** The MobileNetV2 of the detector, cut off before its box predictors, with its stages pooled as well. */
function mobilenetV2OpenImages(tflite: Uint8Array, entry: ManifestEntry): Model {
  const { id, made } = entry;
  const outputs = STAGES[id];
  if (outputs === undefined) throw notMade(entry, 'STAGES in native-models/make.ts has no row for it; add one');
  const maps = Object.keys(outputs);
  const label = (map: string) => map.slice('map_'.length);
  const nodes = maps.flatMap((map) => [
    node('GlobalAveragePool', [map], [`pooled_${label(map)}`]),
    node('Flatten', [`pooled_${label(map)}`], [`features_${label(map)}`], { axis: 1 }),
  ]);
  return appendNodes(importTflite(tflite, { input: 'image', outputs, file: made.file }), nodes, {
    outputs: [...maps.map((map) => `features_${label(map)}`), ...maps],
  });
}

/** @throws BACKBONE_NOT_MADE when the package is missing or differs, or nobody has said where the stages end. */
export const makeModel = (entry: ManifestEntry, folder: string): Uint8Array =>
  encodeModel(mobilenetV2OpenImages(readSource(entry, folder), entry));

/**
 * Makes the file of an entry and checks it against the manifest.
 * @throws BACKBONE_NOT_MADE when the source differs, the result has another hash, or the folder cannot be written.
 */
export async function writeModel(entry: ManifestEntry, folder: string): Promise<string> {
  const bytes = makeModel(entry, folder);
  const found = sha256(bytes);
  if (found !== entry.sha256) throw notMade(entry, `it came out as ${found}, the manifest says ${entry.sha256}`);
  const target = join(folder, entry.fileName);
  const part = `${target}.${process.pid}.part`;
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(part, bytes);
    // Two processes may make it at once: each renames a whole file of the same bytes.
    await rename(part, target);
  } catch (cause) {
    await rm(part, { force: true });
    throw notMade(entry, problemOf(cause), cause);
  }
  return target;
}

/** What of the entry follows from the model itself. */
function describe(
  bytes: Uint8Array,
): Pick<ManifestEntry, 'sha256' | 'opset' | 'inputs' | 'outputs' | 'macs' | 'params'> {
  const info = graphInfo(decodeModel(bytes));
  return {
    sha256: sha256(bytes),
    opset: info.opset,
    inputs: info.inputs.map(({ name, type, shape }) => ({
      name,
      type: type ?? '',
      shape: (shape ?? []).map((dim) => dim ?? '?'),
    })),
    outputs: info.outputs.map(({ name, type, shape }) => ({ name, type: type ?? '', channels: Number(shape?.[1]) })),
    macs: info.macs ?? 0,
    params: info.params,
  };
}

/** `npm run models -- [--check | --update]`; --update writes what the models are into the manifest (for maintainers). */
async function main(args: readonly string[]): Promise<void> {
  const folder = sourceFolder();
  const manifest = await readManifest(folder);
  if (args.includes('--update')) {
    const backbones = manifest.backbones.map((entry) => ({ ...entry, ...describe(makeModel(entry, folder)) }));
    await writeFile(join(folder, 'manifest.json'), `${JSON.stringify({ ...manifest, backbones }, null, 2)}\n`);
    return;
  }
  for (const entry of manifest.backbones) {
    if (args.includes('--check')) {
      const { sha256: found } = describe(makeModel(entry, folder));
      if (found !== entry.sha256) throw notMade(entry, `it came out as ${found}, the manifest says ${entry.sha256}`);
    } else {
      await writeModel(entry, folder);
    }
    process.stderr.write(`${entry.fileName}: ${entry.sha256}\n`);
  }
}

if (import.meta.main) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    process.stderr.write(`${error.message} ${error.nextAction}\n`);
    process.exitCode = 1;
  }
}
