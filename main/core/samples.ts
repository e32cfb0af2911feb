import type { Recipe, Region, Station } from '../contract/domain.ts';
import type { LabelledImage } from '../contract/trainer.ts';
import { viewOf } from '../store/features.ts';
import type { Label } from '../store/labels.ts';
import type { Store } from '../store/open.ts';
import { planTiles } from '../vision/tiles.ts';

const overlapOf = (a: Region, b: Region): number =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

/** Frame size after the recipe's rotation. */
const rotatedSize = (recipe: Recipe, { width, height }: { width: number; height: number }) =>
  recipe.rotation === 90 || recipe.rotation === 270 ? { width: height, height: width } : { width, height };

/**
 * Which views of a labelled picture teach its class. One tile that is the whole frame: the frame (null). Otherwise a good part
 * teaches every tile, a defect the tile that holds most of its box, or the tile that decided when no box was drawn. A defect of
 * which nobody knows the tile teaches the whole frame: that is the scale it was labelled at.
 */
const viewsOf = (
  label: Label,
  recipe: Recipe,
  size: { width: number; height: number },
  isOk: boolean,
  decidingTile: Region | null,
): (Region | null)[] => {
  if (recipe.regions.length === 0 && recipe.tiles.columns * recipe.tiles.rows === 1) return [null];
  const { width, height } = rotatedSize(recipe, size);
  const tiles = planTiles(recipe, width, height);
  if (tiles.length === 1 || isOk) return tiles;
  const marked = label.box ?? decidingTile;
  if (marked === null) return [null];
  const best = tiles.reduce((a, b) => (overlapOf(b, marked) > overlapOf(a, marked) ? b : a));
  return overlapOf(best, marked) > 0 ? [best] : [null];
};

/** All that a station's labels teach, in the order of the images' hashes: the same labels give the same list. */
export const samplesOf = (store: Store, station: Station): LabelledImage[] => {
  const okIds = new Set(store.classes.list().flatMap((known) => (known.isOk ? [known.id] : [])));
  return store.labels.list(station.id).flatMap((label) => {
    const size = store.parts.imageSize(label.imageSha);
    const tile = store.parts.find(label.partId)?.judgement.tile ?? null;
    const deciding = tile === null ? null : { x: tile.x, y: tile.y, width: tile.width, height: tile.height };
    const file = store.images.pathOf(label.imageSha);
    return viewsOf(label, station.recipe, size, okIds.has(label.classId), deciding).map((region) => ({
      sha: label.imageSha,
      file,
      region,
      classId: label.classId,
      row: store.features.row(station.backboneId, label.imageSha, viewOf(station.recipe.rotation, region)),
    }));
  });
};
