import { sha256 } from '../audit/canonical.ts';
import type { Recipe, Region, Station } from '../contract/domain.ts';
import { isAppError } from '../contract/errors.ts';
import type { LabelledImage } from '../contract/trainer.ts';
import { viewOf } from '../store/features.ts';
import type { Label } from '../store/labels.ts';
import type { Store } from '../store/open.ts';
import { decodeImage } from '../vision/decode.ts';
import { findPart, type Shift } from '../vision/find-part.ts';
import { planTiles, rotate, tilesOf, turnedSize, turnRegion } from '../vision/tiles.ts';
import { bundleDirOf, readCard } from './bundle-folder.ts';

const overlapOf = (a: Region, b: Region): number =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

/**
 * Which views of a labelled picture teach its class, where they lie on a part at its taught place. One tile that is the whole frame: the
 * frame (null). Otherwise a good part teaches every tile, a defect for each of its marks the tile that holds most of it. A defect of which nobody
 * knows the place teaches nothing: any tile could be a good one, and the whole frame is a scale that inspection never sees.
 * @param marks where the defect is, on a part at its taught place; none: not known
 */
export const viewsOf = (
  recipe: Recipe,
  size: { width: number; height: number },
  isOk: boolean,
  marks: readonly Region[],
): (Region | null)[] => {
  if (isWholeFrame(recipe)) return [null];
  const { width, height } = turnedSize(size, recipe.rotation);
  const tiles = planTiles(recipe, width, height);
  if (tiles.length === 1 || isOk) return tiles;
  const holding = marks.map((mark) => {
    const best = tiles.reduce((a, b) => (overlapOf(b, mark) > overlapOf(a, mark) ? b : a));
    return overlapOf(best, mark) > 0 ? best : null;
  });
  return tiles.filter((tile) => holding.includes(tile));
};

const isWholeFrame = (recipe: Recipe): boolean =>
  recipe.finder.kind === 'fixed' && recipe.regions.length === 0 && tilesOf(recipe) === 1;

type Rotation = Recipe['rotation'];

/** How models turn frames, by their cards, each read once; null: it cannot be told. */
const createRotationOf = (store: Store): ((modelId: string) => Promise<Rotation | null>) => {
  const known = new Map<string, Promise<Rotation | null>>();
  const read = (modelId: string) =>
    readCard(bundleDirOf(store.home, modelId)).then(
      ({ recipe }) => recipe && recipe.rotation,
      () => null,
    );
  return (modelId) => {
    const rotation = known.get(modelId) ?? read(modelId);
    known.set(modelId, rotation);
    return rotation;
  };
};

/**
 * Where a person or the model saw the defect, in the frame as it is turned now: boxes are turned with the station (stations.ts), a judged tile lies as its model turned
 * the frame. The tile of a part judged ok shows nothing of it.
 */
const marksOf = async (
  store: Store,
  { boxes, partId, imageSha }: Label,
  now: Rotation,
  rotationOf: ReturnType<typeof createRotationOf>,
): Promise<readonly Region[]> => {
  if (boxes.length > 0) return boxes;
  const judged = store.parts.find(partId)?.judgement;
  if (!judged?.tile || judged.verdict === 'ok' || judged.modelId === null) return [];
  const then = await rotationOf(judged.modelId);
  if (then === null) return [];
  const { x, y, width, height } = judged.tile;
  return [turnRegion({ x, y, width, height }, store.parts.imageSize(imageSha), then, now)];
};

/** Where parts lay on pictures that were looked at; a few thousand of them are some hundred kilobytes. */
const places = new Map<string, Shift | null>();
const MOST_PLACES = 5_000;

/** How far the part lies from its taught place on a stored picture; null: it is not there, or cannot be read. */
const shiftOn = async (store: Store, { finder, rotation, maxPixels }: Recipe, sha: string): Promise<Shift | null> => {
  if (finder.kind === 'fixed') return { x: 0, y: 0 };
  if (finder.kind === 'trigger-offset') return { x: finder.x, y: finder.y };
  const key = sha256(JSON.stringify([finder, rotation, sha]));
  const known = places.get(key);
  if (known !== undefined) return known;
  let found: Shift | null = null;
  try {
    const { image } = await decodeImage(store.images.pathOf(sha), { name: sha, maxPixels });
    found = findPart(finder, rotate(image, rotation));
  } catch (error) {
    if (!isAppError(error)) throw error;
    // Held by another program, or its disk away for a moment: only what a picture showed is known of it.
    if (error.code === 'IMAGE_UNREADABLE') return null;
  }
  if (places.size >= MOST_PLACES) places.clear();
  places.set(key, found);
  return found;
};

/** All that a station's labels teach, in the order of the images' hashes: the same labels give the same list. */
export const samplesOf = async (store: Store, station: Station): Promise<LabelledImage[]> => {
  const { recipe, backboneId } = station;
  const okIds = store.classes.okIds();
  const rotationOf = createRotationOf(store);
  const samples: LabelledImage[] = [];
  for (const label of store.labels.list(station.id)) {
    const { imageSha: sha, classId } = label;
    const isOk = okIds.has(classId);
    let marks = isOk ? [] : await marksOf(store, label, recipe.rotation, rotationOf);
    if (marks.length > 0 && tilesOf(recipe) > 1) {
      const shift = await shiftOn(store, recipe, sha);
      marks = shift === null ? [] : marks.map((mark) => ({ ...mark, x: mark.x - shift.x, y: mark.y - shift.y }));
    }
    const file = store.images.pathOf(sha);
    for (const region of viewsOf(recipe, store.parts.imageSize(sha), isOk, marks)) {
      samples.push({ sha, file, region, classId, row: store.features.row(backboneId, sha, viewOf(recipe, region)) });
    }
  }
  return samples;
};
