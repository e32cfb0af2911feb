import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { modelCardSchema, type ModelCard } from '../contract/domain.ts';

export const bundleDirOf = (home: string, candidateId: string): string => join(home, 'bundles', candidateId);

/** The card of a bundle, whether anybody signed it or not. @throws what reading and parsing throw */
export const readCard = async (bundleDir: string): Promise<ModelCard> =>
  modelCardSchema.parse(JSON.parse(await readFile(join(bundleDir, 'model.json'), 'utf8')));
