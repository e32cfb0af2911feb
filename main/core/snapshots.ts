import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { canonicalJson, sha256 } from '../audit/canonical.ts';
import { AppError } from '../contract/errors.ts';
import type { Store } from '../store/open.ts';
import { mergedImages } from './merged-sums.ts';

/*
 * What a knowledge was made of: every image with the class it was learnt under, and which images of merged stations, in knowledge/<id>/data.json. The file's sha256 is the snapshot's id and lies in
 * the knowledge's row; equal data give equal ids. It is written once; un-learning an image takes its label and features, not its name out of what was.
 */

const snapshotSchema = z.object({
  format: z.literal(1),
  stationId: z.string(),
  images: z.array(z.tuple([z.string(), z.string()])),
  /** In sums that the station merged (merged-sums.ts). Not in what was written before there were lists of them. */
  others: z.array(z.string()).optional(),
});

const fileOf = (folder: string): string => join(folder, 'data.json');

/** Gives the id. */
export const writeSnapshot = async (
  folder: string,
  { stationId, images, others }: { stationId: string; images: ReadonlyMap<string, string>; others: string[] },
): Promise<string> => {
  const rows = [...images].sort(([a], [b]) => (a < b ? -1 : 1));
  const text = canonicalJson({ format: 1, stationId, images: rows, others } satisfies z.input<typeof snapshotSchema>);
  await writeFile(fileOf(folder), text, { flush: true });
  return sha256(text);
};

/**
 * Hashes of the images that a knowledge has learnt, those of merged stations of this home with them; of one from before there were snapshots, what is labelled now, and of one from before these
 * named what was merged, what is merged now. KNOWLEDGE_UNREADABLE.
 */
export const readSnapshot = async (store: Store, knowledgeId: string): Promise<string[]> => {
  // A bundle of another station brings no knowledge of this one.
  const known = store.knowledge.ids().includes(knowledgeId) ? store.knowledge.get(knowledgeId) : null;
  if (known === null) return [];
  const mergedNow = () => mergedImages(store, known.stationId, known.backboneId);
  if (known.snapshotId === undefined) {
    return [...store.labels.list(known.stationId).map(({ imageSha }) => imageSha), ...(await mergedNow())];
  }
  const file = fileOf(join(store.home, 'knowledge', knowledgeId));
  const text = await readFile(file, 'utf8');
  if (sha256(text) !== known.snapshotId)
    throw new AppError('KNOWLEDGE_UNREADABLE', { file, problem: 'it is not what its row says' });
  const { images, others } = snapshotSchema.parse(JSON.parse(text));
  return [...images.map(([sha]) => sha), ...(others ?? (await mergedNow()))];
};
