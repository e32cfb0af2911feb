import type { Backbone } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import { openSession } from '../../runtime/session.ts';
import type { Products } from '../dense.ts';
import { assembleAnomaly, fitAnomaly, planTaps, readBackbone, stackModel, stackOutput, type Fitted } from './padim.ts';

export interface GoodPart {
  input: Float32Array;
  /** Copies of one shot are held out together; undefined: not known. */
  look: string | undefined;
}

export interface GoodParts {
  backbone: Backbone;
  /** Content hash of each good part. */
  shas: readonly string[];
  /** Part as the model's input, [3, size, size] at the backbone's own size, with the perceptual hash of its picture. Null: it is left out. */
  partOf: (index: number) => Promise<GoodPart | null>;
  threads: number;
  products: Products;
  signal?: AbortSignal;
  onProgress?: (share: number) => void;
}

/**
 * From pictures of good parts to the file that the line loads.
 * @throws INVALID_INPUT with fewer than LEAST_OK_PARTS, FEATURES_NOT_FINITE, BACKBONE_UNSUITABLE, SINGULAR_STATISTICS, CANCELLED
 */
export async function learnGoodParts({
  backbone,
  shas,
  partOf,
  threads,
  products,
  signal,
  onProgress,
}: GoodParts): Promise<Fitted & { model: Uint8Array }> {
  const size = backbone.inputSize;
  const source = await readBackbone(backbone);
  const plan = await planTaps(source, backbone, size);
  const rows: Float32Array[] = [];
  const looks: GoodPart['look'][] = [];
  const learnt: string[] = [];
  {
    await using session = await openSession(stackModel(source, plan), { threads, name: backbone.id });
    for (const [i, sha] of shas.entries()) {
      if (signal?.aborted) throw new AppError('CANCELLED');
      const part = await partOf(i);
      if (part === null) continue;
      looks.push(part.look);
      learnt.push(sha);
      const feed = { type: 'float32' as const, dims: [1, 3, size, size], data: part.input };
      const outputs = await session.run({ [backbone.inputName]: feed });
      rows.push(Float32Array.from(outputs[stackOutput]!.data as Float32Array));
      onProgress?.((0.6 * (i + 1)) / shas.length);
    }
  }
  const fitted = await fitAnomaly(rows, learnt, plan, size, {
    looks,
    products,
    ...(signal ? { signal } : {}),
    onProgress: (share) => onProgress?.(0.6 + 0.4 * share),
  });
  return { ...fitted, model: assembleAnomaly(source, backbone, fitted.anomaly) };
}
