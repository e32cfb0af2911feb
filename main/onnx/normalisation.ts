import { z } from 'zod';

/** x = (p - mean) / std for p in 0..255, per RGB channel. */
export interface Normalisation {
  mean: [number, number, number];
  std: [number, number, number];
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
const jsonSchema = z.object({
  mean: perChannel,
  std: perChannel.refine((values) => values.every((x) => x > 0), 'std must be positive'),
});

const asJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** Files beside a model that may state it, in the order to try. */
export const sidecarNames = (modelFile: string): string[] => {
  const stem = modelFile.replace(/\.onnx$/i, '');
  return [`${modelFile}.json`, `${stem}.json`, `${modelFile}.md`, `${stem}.md`];
};

/**
 * Reads the normalisation from such a file: JSON `{"mean": x or [r, g, b], "std": …}`, or text with a formula like `(p-127.5)/127.5`. JSON
 * values for pixels of 0..1 (all of std at most 1, the torchvision custom) are brought to 0..255. Null: it states none.
 */
export function readNormalisation(text: string): Normalisation | null {
  const json = jsonSchema.safeParse(asJson(text));
  if (json.success) {
    const scale = json.data.std.every((x) => x <= 1) ? 255 : 1;
    const scaled = (values: readonly number[]) => values.map((x) => x * scale) as [number, number, number];
    return { mean: scaled(json.data.mean), std: scaled(json.data.std) };
  }
  const formula = /\(\s*[a-z]+\s*-\s*(\d+(?:\.\d+)?)\s*\)\s*\/\s*(\d+(?:\.\d+)?)/i.exec(text);
  if (!formula || !(Number(formula[2]) > 0)) return null;
  const [mean, std] = [Number(formula[1]), Number(formula[2])];
  return { mean: [mean, mean, mean], std: [std, std, std] };
}
