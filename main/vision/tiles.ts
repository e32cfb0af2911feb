import type { Recipe, Region } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { PixelImage } from './image.ts';

interface Size {
  width: number;
  height: number;
}

/** Start and length of each of `count` equal pieces of `length` that share `overlap` of a piece with their neighbour. */
function cut(length: number, count: number, overlap: number): { at: number; size: number }[] {
  const piece = length / (count - (count - 1) * overlap);
  return Array.from({ length: count }, (_, i) => {
    const at = Math.min(length - 1, Math.round(i * piece * (1 - overlap)));
    // The last one ends at the edge, whatever was rounded before it: no pixel is left unseen.
    const end = i === count - 1 ? length : Math.min(length, Math.round(i * piece * (1 - overlap) + piece));
    return { at, size: Math.max(1, end - at) };
  });
}

/** @throws INVALID_INPUT for a whole frame that is to move */
function regionsOf({ finder, regions }: Pick<Recipe, 'finder' | 'regions'>, whole: Region): Region[] {
  if (regions.length > 0) return regions;
  if (finder.kind === 'template') return [finder.template.region];
  if (finder.kind === 'trigger-offset')
    throw new AppError('INVALID_INPUT', { what: 'the recipe', problem: 'a part that lies aside needs a region' });
  return [whole];
}

/**
 * The tiles to judge, where the part was taught, in the order regions, rows, columns; together they cover every region without a gap.
 * @param width of the frame after rotation, pixels
 * @param height of the frame after rotation, pixels
 * @throws INVALID_INPUT when a region has no pixel in common with the frame; one that sticks out is clipped.
 */
export function planTiles(
  recipe: Pick<Recipe, 'finder' | 'regions' | 'tiles'>,
  width: number,
  height: number,
): Region[] {
  const regions = regionsOf(recipe, { x: 0, y: 0, width, height });
  const { columns, rows, overlap } = recipe.tiles;
  return regions.flatMap((region, index) => {
    const right = Math.min(width, region.x + region.width);
    const bottom = Math.min(height, region.y + region.height);
    if (right <= region.x || bottom <= region.y) {
      throw new AppError('INVALID_INPUT', {
        what: `region ${index + 1}`,
        problem: `it lies outside the frame of ${width} x ${height}`,
      });
    }
    const across = cut(right - region.x, columns, overlap);
    const down = cut(bottom - region.y, rows, overlap);
    return down.flatMap((v) =>
      across.map((h) => ({ x: region.x + h.at, y: region.y + v.at, width: h.size, height: v.size })),
    );
  });
}

/**
 * How a model looks at a frame: as its card says, for that is what it was taught and validated with. A station's recipe may have changed since; it holds for
 * models whose card names none.
 */
export const recipeOf = (card: { recipe: Recipe | null }, station: Recipe): Recipe => card.recipe ?? station;

/** What of a recipe says which views of a part are looked at, as text: of equal ones a model is given the same. */
export const viewsTextOf = ({ finder, rotation, regions, tiles }: Recipe): string =>
  JSON.stringify([finder, rotation, regions, tiles]);

/** How many tiles a part is judged by. */
export const tilesOf = ({ regions, tiles }: Pick<Recipe, 'regions' | 'tiles'>): number =>
  Math.max(1, regions.length) * tiles.columns * tiles.rows;

/** Size of a frame once it is turned. */
export const turnedSize = ({ width, height }: Size, degrees: Recipe['rotation']): Size =>
  degrees % 180 === 0 ? { width, height } : { width: height, height: width };

/**
 * Where a region lies once its frame, turned by `from`, is turned by `to` instead.
 * @param frame before it is turned; what sticks out of it is clipped, to one pixel at the edge if all of it does
 */
export function turnRegion(region: Region, frame: Size, from: Recipe['rotation'], to: Recipe['rotation']): Region {
  const { width, height } = turnedSize(frame, from);
  const x = Math.min(region.x, width - 1);
  const y = Math.min(region.y, height - 1);
  const right = Math.min(region.x + region.width, width);
  const bottom = Math.min(region.y + region.height, height);
  const [across, down] = [Math.max(1, right - x), Math.max(1, bottom - y)];
  const clockwise = (to - from + 360) % 360;
  if (clockwise === 90) return { x: height - y - down, y: x, width: down, height: across };
  if (clockwise === 180) return { x: width - x - across, y: height - y - down, width: across, height: down };
  if (clockwise === 270) return { x: y, y: width - x - across, width: down, height: across };
  return region;
}

/** Turns the frame clockwise. 0 gives the image itself, not a copy. */
export function rotate(image: PixelImage, degrees: Recipe['rotation']): PixelImage {
  if (degrees === 0) return image;
  const { width, height, channels, data } = image;
  const turned: PixelImage = {
    width: degrees === 180 ? width : height,
    height: degrees === 180 ? height : width,
    channels,
    data: new Uint8Array(width * height * channels),
  };
  // Where pixel (x, y) goes: origin + x * stepX + y * stepY, counted in pixels.
  const [origin, stepX, stepY] =
    degrees === 90
      ? [height - 1, height, -1]
      : degrees === 180
        ? [width * height - 1, -1, -width]
        : [height * (width - 1), -height, 1];
  for (let y = 0, p = 0; y < height; y += 1) {
    for (let x = 0, q = origin + y * stepY; x < width; x += 1, q += stepX) {
      if (channels === 1) {
        turned.data[q] = data[p]!;
        p += 1;
      } else {
        const to = q * 3;
        turned.data[to] = data[p]!;
        turned.data[to + 1] = data[p + 1]!;
        turned.data[to + 2] = data[p + 2]!;
        p += 3;
      }
    }
  }
  return turned;
}
