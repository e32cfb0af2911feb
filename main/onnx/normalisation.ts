import { z } from 'zod';
import type { Backbone } from '../contract/domain.ts';
import { AppError, problemOf } from '../contract/errors.ts';

/** x = (p - mean) / std for p in 0..255, per RGB channel. */
export interface Normalisation {
  mean: [number, number, number];
  std: [number, number, number];
}

export interface SourcedNormalisation extends Normalisation {
  /** A file beside the model; nothing, so that it is DEFAULT_NORMALISATION; or the description of the backbone, which tells no more. */
  from: 'file' | 'assumed' | 'description';
}

/** Nothing in a graph tells how its input was scaled. [-1, 1] is what the MobileNet family and this program's own backbone use. */
export const DEFAULT_NORMALISATION: Readonly<Normalisation> = {
  mean: [127.5, 127.5, 127.5],
  std: [127.5, 127.5, 127.5],
};

const perChannel = z.union(
  [z.number().transform((x): [number, number, number] => [x, x, x]), z.tuple([z.number(), z.number(), z.number()])],
  { error: 'a number or [r, g, b] is needed' },
);
const statedSchema = z.object({
  mean: perChannel,
  std: perChannel.refine((values) => values.every((x) => x > 0), 'it must be above 0'),
  /** Greatest value of a pixel, as mean and std take it. */
  pixels: z.literal([1, 255]).optional(),
});

type Json = { value: unknown } | { problem: string };

const asJson = (text: string): Json => {
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { problem: `it is no JSON: ${problemOf(error)}` };
  }
};

/** Whether it is meant to state it. Of what is no JSON, the words tell. */
const meansTo = (json: Json, text: string): boolean =>
  'value' in json
    ? typeof json.value === 'object' && json.value !== null && ('mean' in json.value || 'std' in json.value)
    : /"(mean|std)"\s*:/.test(text);

const formulaIn = (text: string): unknown => {
  const formula = /\(\s*[a-z]+\s*-\s*(\d+(?:\.\d+)?)\s*\)\s*\/\s*(\d+(?:\.\d+)?)/i.exec(text);
  return formula && { mean: Number(formula[1]), std: Number(formula[2]) };
};

/** Brings what is stated to pixels of 0..255. Where it does not say of which: no value above 1 is of 0..1, the torchvision custom. */
function ofBytes({ mean, std, pixels }: z.infer<typeof statedSchema>): Normalisation {
  const greatest = pixels ?? ([...mean, ...std].every((x) => Math.abs(x) <= 1) ? 1 : 255);
  const scaled = (values: readonly number[]) => values.map((x) => x * (255 / greatest)) as [number, number, number];
  return { mean: scaled(mean), std: scaled(std) };
}

/** Files beside a model that may state it, in the order to try. */
export const sidecarNames = (modelFile: string): string[] => {
  const stem = modelFile.replace(/\.onnx$/i, '');
  return [`${modelFile}.json`, `${stem}.json`, `${modelFile}.md`, `${stem}.md`];
};

/**
 * Reads the normalisation from such a file: JSON `{"mean": x or [r, g, b], "std": …}`, or text with a formula like `(p-127.5)/127.5`. Where
 * no value is above 1 they are of pixels of 0..1, else of 0..255; JSON may say which with `"pixels": 1` or `255`. Null: it states none.
 */
export function readNormalisation(text: string): Normalisation | null {
  const read = readStated(text);
  return 'stated' in read ? ofBytes(read.stated) : null;
}

/**
 * The same, of one of `sidecarNames(modelFile)`. Null: it states none, and is no file that should.
 * @throws INVALID_INPUT where JSON is there to state it and does not: pixels scaled otherwise than its user meant give wrong answers silently
 */
export function readSidecar(file: string, text: string, modelFile: string): Normalisation | null {
  const read = readStated(text);
  if ('stated' in read) return ofBytes(read.stated);
  const [own] = sidecarNames(modelFile);
  if (file === own || (/\.json$/i.test(file) && read.meant)) {
    throw new AppError('INVALID_INPUT', { what: file, problem: read.problem });
  }
  return null;
}

type Read = { stated: z.infer<typeof statedSchema> } | { problem: string; meant: boolean };

function readStated(withMark: string): Read {
  // Editors on Windows put a byte order mark in front.
  const text = withMark.replace(/^\uFEFF/, '');
  const json = asJson(text);
  const meant = meansTo(json, text);
  const formula = meant ? null : statedSchema.safeParse(formulaIn(text)).data;
  if (formula) return { stated: formula };
  if ('problem' in json) return { problem: json.problem, meant };
  const { data, error } = statedSchema.safeParse(json.value);
  return data ? { stated: data } : { problem: problemIn(error), meant };
}

const problemIn = ({ issues }: z.ZodError): string =>
  issues.map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message)).join('; ');

export const normalisationOf = ({
  mean,
  std,
  normalisationFrom,
}: Pick<Backbone, 'mean' | 'std' | 'normalisationFrom'>): SourcedNormalisation => ({
  mean,
  std,
  from: normalisationFrom ?? 'description',
});

/** What states it beside a model that was made of one whose scaling is known: a file of its own name. Null: it is assumed, and nothing is stated. */
export const sidecarOf = (
  modelFile: string,
  { mean, std, from }: SourcedNormalisation,
): { file: string; text: string } | null =>
  from === 'assumed' ? null : { file: `${modelFile}.json`, text: `${JSON.stringify({ mean, std, pixels: 255 })}\n` };

/** What to tell where no file states it. @param file as its user calls it */
export const assumedNormalisation = (file: string): string =>
  `No file beside ${file} states how its pixels are scaled: -1 to 1 is assumed. If it was trained otherwise, state it in ${file}.json: {"mean": [r, g, b], "std": [r, g, b]}.`;
