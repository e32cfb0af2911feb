import { z } from 'zod';
import type { Backbone } from '../contract/domain.ts';

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

const perChannel = z.union([
  z.number().transform((x): [number, number, number] => [x, x, x]),
  z.tuple([z.number(), z.number(), z.number()]),
]);
const statedSchema = z.object({
  mean: perChannel,
  std: perChannel.refine((values) => values.every((x) => x > 0), 'std must be positive'),
  /** Greatest value of a pixel, as mean and std take it. */
  pixels: z.literal([1, 255]).optional(),
});

const asJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

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
  for (const stated of [asJson(text), formulaIn(text)]) {
    const { data } = statedSchema.safeParse(stated);
    if (data) return ofBytes(data);
  }
  return null;
}

export const normalisationOf = ({
  mean,
  std,
  normalisationFrom,
}: Pick<Backbone, 'mean' | 'std' | 'normalisationFrom'>): SourcedNormalisation => ({
  mean,
  std,
  from: normalisationFrom ?? 'description',
});

/** What to tell where no file states it. @param file as its user calls it */
export const assumedNormalisation = (file: string): string =>
  `No file beside ${file} states how its pixels are scaled: -1 to 1 is assumed. If it was trained otherwise, state it in ${file}.json: {"mean": [r, g, b], "std": [r, g, b]}.`;
