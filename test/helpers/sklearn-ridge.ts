import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Backbone } from '../../main/contract/domain.ts';
import { scanDataset } from '../../main/learning/dataset.ts';
import { extractFeatures, openExtractor } from '../../main/learning/extract.ts';

const script = fileURLToPath(new URL('./sklearn_ridge.py', import.meta.url));

/** A python3 that has scikit-learn (Debian: python3-sklearn); undefined: there is none, and what needs it is skipped by name. */
export const pythonWithSklearn = ['python3', '/usr/bin/python3'].find((candidate) => {
  try {
    execFileSync(candidate, ['-c', 'import sklearn'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

export interface RidgePeer {
  accuracy: number;
  alpha: number;
  version: string;
}

/** Learns all classes of a data set at once with scikit-learn's ridge, on the features that our learners get. */
export async function sklearnRidge(dir: string, backbone: Backbone, threads: number): Promise<RidgePeer> {
  const { classes, train, test } = await scanDataset(dir);
  await using extractor = await openExtractor(backbone, { threads });
  const folder = mkdtempSync(join(tmpdir(), 'mekiki-sklearn-'));
  try {
    for (const [name, images] of [['train', train] as const, ['test', test] as const]) {
      const sources = images.map(({ file, name: told }) => ({ file, name: told, region: null }));
      const { features, failed } = await extractFeatures(extractor, sources, { onProgress: () => {} });
      if (failed.length > 0) throw failed[0]!.error;
      writeFileSync(
        join(folder, `${name}.f32`),
        Buffer.from(features.buffer, features.byteOffset, features.byteLength),
      );
      writeFileSync(
        join(folder, `${name}.i32`),
        Buffer.from(Int32Array.from(images, ({ className }) => classes.indexOf(className)).buffer),
      );
    }
    return JSON.parse(
      execFileSync(pythonWithSklearn!, [script, folder, String(backbone.features)], { encoding: 'utf8' }),
    ) as RidgePeer;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
