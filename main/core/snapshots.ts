import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { canonicalJson, sha256 } from '../audit/canonical.ts';
import { AppError } from '../contract/errors.ts';
import type { Store } from '../store/open.ts';

/*
 * What a knowledge was made of: every image with the class it was learnt under, in knowledge/<id>/data.json. The file's sha256 is the snapshot's id and lies in the knowledge's row; equal data give
 * equal ids. It is written once; un-learning an image takes its label and features, not its name out of what was.
 */

const snapshotSchema = z.object({
  format: z.literal(1),
  stationId: z.string(),
  images: z.array(z.tuple([z.string(), z.string()])),
});

const fileOf = (folder: string): string => join(folder, 'data.json');

/** Gives the id. */
export const writeSnapshot = async (
  folder: string,
  stationId: string,
  images: ReadonlyMap<string, string>,
): Promise<string> => {
  const rows = [...images].sort(([a], [b]) => (a < b ? -1 : 1));
  const text = canonicalJson({ format: 1, stationId, images: rows } satisfies z.input<typeof snapshotSchema>);
  await writeFile(fileOf(folder), text, { flush: true });
  return sha256(text);
};

/** Hashes of the images that a knowledge has learnt; of one from before there were snapshots, what is labelled now. KNOWLEDGE_UNREADABLE. */
export const readSnapshot = async (store: Store, knowledgeId: string): Promise<string[]> => {
  // A bundle of another station brings no knowledge of this one.
  const known = store.knowledge.ids().includes(knowledgeId) ? store.knowledge.get(knowledgeId) : null;
  if (known === null) return [];
  if (known.snapshotId === undefined) return store.labels.list(known.stationId).map(({ imageSha }) => imageSha);
  const file = fileOf(join(store.home, 'knowledge', knowledgeId));
  const text = await readFile(file, 'utf8');
  if (sha256(text) !== known.snapshotId)
    throw new AppError('KNOWLEDGE_UNREADABLE', { file, problem: 'it is not what its row says' });
  return snapshotSchema.parse(JSON.parse(text)).images.map(([sha]) => sha);
};
