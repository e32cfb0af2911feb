import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/* Where a station's knowledge keeps what is not in the database; per backbone: while one is changed for another, each keeps its own. */

/** Sums per class, kept between updates. */
export const sumsDir = (home: string, stationId: string, backboneId: string): string =>
  join(home, 'knowledge', 'sums', stationId, backboneId);

/** What other stations gave. */
export const addedDir = (home: string, stationId: string, backboneId: string): string =>
  join(home, 'knowledge', 'added', stationId, backboneId);

export async function addedFiles(home: string, stationId: string, backboneId: string): Promise<string[]> {
  const folder = addedDir(home, stationId, backboneId);
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => name.endsWith('.knowledge'))
    .toSorted()
    .map((name) => join(folder, name));
}
