import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isAppError } from '../../contract/errors.ts';
import { writeDurably } from '../../store/files.ts';

/*
 * What the layers of a backbone take on this PC, kept in a file: measuring takes seconds of each search, most of them to make the integer form. It holds for one processor,
 * runtime, number of threads and graph; where any of them differs, or the file cannot be read, it is measured again.
 */

const ms = z.number().finite().min(0);
const count = z.number().finite().min(0);
const precisionSchema = z.enum(['fp32', 'int8']);
const layerTableSchema = z.object({
  /** Layers by themselves. */
  layers: z.array(
    z.object({
      kind: z.enum(['depthwise', 'pointwise', 'convolution', 'product']),
      precision: precisionSchema,
      macs: count,
      bytes: z.object({ input: count, weight: count, output: count }),
      ms,
    }),
  ),
  /** What lies between the layers, by precision: time, and bytes that the layers move. */
  between: z.array(z.object({ precision: precisionSchema, ms, bytes: count })),
});
export type LayerTable = z.infer<typeof layerTableSchema>;

/** Raised when what is measured, or how, changes. */
const FORMAT = 1;

/** All that the times depend on. */
export interface LayerTableKey {
  cpu: string;
  onnxruntime: string;
  threads: number;
  /** Bits of integer weights: they decide which kernels run. */
  weightBits: number;
  /** sha256 of the backbone as it is measured. */
  graph: string;
  /** Input sizes that it is measured at, pixels. */
  sizes: readonly number[];
}

const keptSchema = z.object({ format: z.literal(FORMAT), key: z.unknown(), table: layerTableSchema });

/**
 * @param folder null: nothing is kept
 * @param measure null: it is not worth the time now
 */
export async function keptLayerTable(
  folder: string | null,
  key: LayerTableKey,
  measure: () => Promise<LayerTable | null>,
): Promise<LayerTable | null> {
  if (folder === null) return measure();
  const text = JSON.stringify(key);
  const name = createHash('sha256').update(text).digest('hex').slice(0, 20);
  const file = join(folder, `layers-${name}.json`);
  try {
    const kept = keptSchema.parse(JSON.parse(await readFile(file, 'utf8')));
    if (JSON.stringify(kept.key) === text && kept.table.layers.length > 0) return kept.table;
  } catch {
    // Missing or damaged.
  }
  const table = await measure();
  if (table === null) return null;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeDurably(file, JSON.stringify({ format: FORMAT, key, table }));
  } catch (error) {
    // A full disk costs the next search some seconds.
    if (!isAppError(error) && !(error instanceof Error && 'code' in error)) throw error;
  }
  return table;
}
