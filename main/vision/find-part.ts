import type { Finder, Region, Template } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { PixelImage } from './image.ts';

/*
 * Where the part lies in a frame, against where it lay when regions were drawn. Template match: normalised cross-correlation (Lewis,
 * "Fast Normalized Cross-Correlation", 1995, eq. 2) on a pyramid. All places are tried on the coarsest level only, the best few are followed
 * down; brightness and contrast of the lamp cancel out. Turned or scaled parts are not looked for.
 */

export interface Shift {
  x: number;
  y: number;
}
const NO_SHIFT: Shift = { x: 0, y: 0 };

/** Grey values, row-major. */
interface Grey {
  width: number;
  height: number;
  data: Float32Array;
}

/** Longest side of a stored template, pixels: more finds no better place, and a template travels with every model. */
const MOST_SIDE = 128;
/** Shortest side of a template, and on the coarsest level: below it there is nothing left to recognise. */
const LEAST_SIDE = 8;
const LEAST_COARSE = 12;
/**
 * Places that are followed from each level to the next finer one, the finest first: pixels of a coarse level lie across those of the template by
 * up to half of one, so that the right place is not always the best there.
 */
const FOLLOWED = [1, 8, 16, 32];
/** Grey values of deviation below this are an even surface, which matches anything. */
const EVEN = 1;

/** Means of `scale` x `scale` pixels of a region; what is left over at its right and lower edge is not looked at. */
function reduced({ width, channels, data }: PixelImage, region: Region, scale: number): Grey {
  const out = {
    width: Math.max(1, Math.floor(region.width / scale)),
    height: Math.max(1, Math.floor(region.height / scale)),
  };
  const plane = new Float32Array(out.width * out.height);
  const [stepX, stepY] = [Math.min(scale, region.width), Math.min(scale, region.height)];
  for (let y = 0; y < out.height; y += 1) {
    for (let dy = 0; dy < stepY; dy += 1) {
      let p = ((region.y + y * scale + dy) * width + region.x) * channels;
      for (let x = 0; x < out.width; x += 1) {
        let sum = 0;
        for (let dx = 0; dx < stepX * channels; dx += 1) sum += data[p + dx]!;
        plane[y * out.width + x]! += sum;
        p += scale * channels;
      }
    }
  }
  const weight = 1 / (stepX * stepY * channels);
  for (let i = 0; i < plane.length; i += 1) plane[i]! *= weight;
  return { ...out, data: plane };
}

/** Half the size, by weights 1 3 3 1 in both directions: what is finer than the new pixels is gone, so that half a pixel aside looks alike. */
function halved({ width, height, data }: Grey): Grey {
  const [w, h] = [width >> 1, height >> 1];
  const rows = new Float32Array(w * height);
  for (let y = 0; y < height; y += 1) {
    const row = y * width;
    for (let x = 0; x < w; x += 1) {
      const p = row + 2 * x;
      const before = data[x > 0 ? p - 1 : p]!;
      const after = data[2 * x + 2 < width ? p + 2 : p + 1]!;
      rows[y * w + x] = (before + 3 * (data[p]! + data[p + 1]!) + after) / 8;
    }
  }
  const out = new Float32Array(w * h);
  for (let y = 0; y < h; y += 1) {
    const above = (y > 0 ? 2 * y - 1 : 0) * w;
    const below = (2 * y + 2 < height ? 2 * y + 2 : 2 * y + 1) * w;
    const here = 2 * y * w;
    for (let x = 0; x < w; x += 1)
      out[y * w + x] = (rows[above + x]! + 3 * (rows[here + x]! + rows[here + w + x]!) + rows[below + x]!) / 8;
  }
  return { width: w, height: h, data: out };
}

/** Mean taken off; with its length. */
function centred({ width, height, data }: Grey): Grey & { norm: number } {
  const mean = data.reduce((sum, v) => sum + v, 0) / data.length;
  const values = data.map((v) => v - mean);
  return { width, height, data: values, norm: Math.sqrt(values.reduce((sum, v) => sum + v * v, 0)) };
}

/** Correlation, -1..1, of the template with the picture at one place; 0 on an even surface. */
function correlation(picture: Grey, template: ReturnType<typeof centred>, x0: number, y0: number): number {
  let [sum, squares, dot] = [0, 0, 0];
  for (let y = 0, t = 0; y < template.height; y += 1) {
    let p = (y0 + y) * picture.width + x0;
    for (let x = 0; x < template.width; x += 1, p += 1, t += 1) {
      const v = picture.data[p]!;
      sum += v;
      squares += v * v;
      dot += v * template.data[t]!;
    }
  }
  const n = template.data.length;
  const spread = Math.sqrt(Math.max(0, squares - (sum * sum) / n));
  return spread < EVEN * Math.sqrt(n) || template.norm === 0 ? 0 : dot / (spread * template.norm);
}

interface Place {
  x: number;
  y: number;
  score: number;
}

/** Top of the parabola through three scores, -0.5..0.5 from the middle one; at the border of what was searched there are not three, and the place itself is the top. */
const peak = (before: number | undefined, here: number, after: number | undefined): number => {
  if (before === undefined || after === undefined) return 0;
  const bend = before - 2 * here + after;
  return bend < 0 ? Math.max(-0.5, Math.min(0.5, (before - after) / (2 * bend))) : 0;
};

/** The best place of a template in a picture, in pixels of the picture, to fractions of one. */
function bestPlace(picture: Grey, template: Grey): Place {
  const pictures = [picture];
  const templates = [template];
  while (Math.min(templates.at(-1)!.width, templates.at(-1)!.height) >= 2 * LEAST_COARSE) {
    pictures.push(halved(pictures.at(-1)!));
    templates.push(halved(templates.at(-1)!));
  }
  let places: Place[] = [];
  for (let level = templates.length - 1; level >= 0; level -= 1) {
    const on = pictures[level]!;
    const of = centred(templates[level]!);
    const [lastX, lastY] = [on.width - of.width, on.height - of.height];
    const tried = new Map<number, Place>();
    const attempt = (x: number, y: number) => {
      if (x < 0 || y < 0 || x > lastX || y > lastY || tried.has(y * on.width + x)) return;
      tried.set(y * on.width + x, { x, y, score: correlation(on, of, x, y) });
    };
    if (level === templates.length - 1) {
      for (let y = 0; y <= lastY; y += 1) for (let x = 0; x <= lastX; x += 1) attempt(x, y);
    } else {
      for (const { x, y } of places)
        for (let dy = -2; dy <= 3; dy += 1) for (let dx = -2; dx <= 3; dx += 1) attempt(2 * x + dx, 2 * y + dy);
    }
    // Neighbours of a better place lead to the same one.
    const sorted = [...tried.values()].sort((a, b) => b.score - a.score || a.y - b.y || a.x - b.x);
    places = [];
    for (const place of sorted) {
      if (places.length >= (FOLLOWED[level] ?? FOLLOWED.at(-1)!)) break;
      if (places.every(({ x, y }) => Math.abs(x - place.x) > 1 || Math.abs(y - place.y) > 1)) places.push(place);
    }
    if (level > 0) continue;
    const { x, y, score } = places[0] ?? { x: 0, y: 0, score: 0 };
    const at = (px: number, py: number) => {
      attempt(px, py);
      return tried.get(py * on.width + px)?.score;
    };
    return { score, x: x + peak(at(x - 1, y), score, at(x + 1, y)), y: y + peak(at(x, y - 1), score, at(x, y + 1)) };
  }
  return { x: 0, y: 0, score: 0 };
}

/**
 * What a part is recognised by, as a recipe keeps it.
 * @param image turned as the recipe says
 * @throws INVALID_INPUT for a region outside, too small, or of one even grey
 */
export function teachTemplate(image: PixelImage, region: Region): Template {
  const invalid = (problem: string) => new AppError('INVALID_INPUT', { what: 'the template', problem });
  const { x, y, width, height } = region;
  if (x + width > image.width || y + height > image.height) throw invalid('it lies outside the picture');
  let scale = 1;
  while (Math.max(width, height) / scale > MOST_SIDE) scale *= 2;
  const grey = reduced(image, region, scale);
  if (Math.min(grey.width, grey.height) < LEAST_SIDE) throw invalid('it is too small or too narrow');
  if (centred(grey).norm < EVEN * Math.sqrt(grey.data.length))
    throw invalid('it is of one even grey: nothing to recognise');
  return {
    region,
    scale,
    width: grey.width,
    height: grey.height,
    pixels: Buffer.from(Uint8Array.from(grey.data, Math.round)).toString('base64'),
  };
}

/**
 * How far the part lies from where it was taught, in whole pixels of the turned frame.
 * @throws PART_NOT_FOUND, INVALID_INPUT for a template that does not fit the frame
 */
export function findPart(finder: Finder, image: PixelImage): Shift {
  if (finder.kind === 'fixed') return NO_SHIFT;
  if (finder.kind === 'trigger-offset') return { x: finder.x, y: finder.y };
  const { template, searchX, searchY, minScore } = finder;
  const { region, scale } = template;
  const data = Float32Array.from(Buffer.from(template.pixels, 'base64'));
  // Whole pixels of the template before the taught place: it is then one of the places that are compared, also near the edge of the frame.
  const before = (at: number, search: number) => Math.min(Math.ceil(search / scale), Math.floor(at / scale)) * scale;
  const left = region.x - before(region.x, searchX);
  const top = region.y - before(region.y, searchY);
  const window: Region = {
    x: left,
    y: top,
    width: Math.min(image.width, region.x + region.width + searchX) - left,
    height: Math.min(image.height, region.y + region.height + searchY) - top,
  };
  if (window.width < template.width * scale || window.height < template.height * scale) {
    throw new AppError('INVALID_INPUT', {
      what: 'the template',
      problem: `it was taught on a larger picture than ${image.width} x ${image.height}`,
    });
  }
  const found = bestPlace(reduced(image, window, scale), { width: template.width, height: template.height, data });
  if (found.score < minScore) {
    const problem = `the best place resembles it by ${Math.max(0, found.score).toFixed(2)}, ${minScore} are needed`;
    throw new AppError('PART_NOT_FOUND', { problem });
  }
  return {
    x: Math.round(left + found.x * scale) - region.x,
    y: Math.round(top + found.y * scale) - region.y,
  };
}

/**
 * A region where it lies on the part that was found.
 * @throws PART_NOT_FOUND when it is not wholly in the frame: what cannot be seen is not judged
 */
export function moved(region: Region, { x, y }: Shift, frame: { width: number; height: number }): Region {
  if (x === 0 && y === 0) return region;
  const there = { ...region, x: region.x + x, y: region.y + y };
  if (there.x < 0 || there.y < 0 || there.x + there.width > frame.width || there.y + there.height > frame.height) {
    throw new AppError('PART_NOT_FOUND', { problem: `it lies ${x}, ${y} pixels aside and sticks out of the picture` });
  }
  return there;
}
