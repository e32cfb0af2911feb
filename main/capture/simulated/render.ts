import type { Surface } from '../../contract/domain.ts';
import { AppError, assert } from '../../contract/errors.ts';
import type { PixelImage } from '../../vision/image.ts';
import type { Truth } from '../camera.ts';
import { brushedMetal } from './brushed-metal.ts';
import { cast } from './cast.ts';
import { fabric } from './fabric.ts';
import { createMarks, lay, type Box } from './marks.ts';
import { plane, softBlur, type Plane } from './plane.ts';
import { printedBoard } from './printed-board.ts';
import { createRandom, mixSeeds, textSeed } from './random.ts';
import type { SurfaceClass, SurfaceKind } from './surface.ts';

/* Rendered parts: a pure function of what is asked for, the same on every machine. */

const kinds: Readonly<Record<Surface, SurfaceKind<unknown, unknown>>> = {
  'brushed-metal': brushedMetal as SurfaceKind<unknown, unknown>,
  cast: cast as SurfaceKind<unknown, unknown>,
  fabric: fabric as SurfaceKind<unknown, unknown>,
  'printed-board': printedBoard as SurfaceKind<unknown, unknown>,
};

export const surfaces = Object.keys(kinds) as Surface[];

/** Defect classes of a surface, in the order in which a demo learns them; the late one last. */
export const defectClassesOf = (surface: Surface): readonly SurfaceClass[] => kinds[surface].classes;
/** Classes that can be drawn as small as a few pixels. */
export const smallDefectsOf = (surface: Surface): readonly string[] => Object.keys(kinds[surface].small ?? {});
export const okNamesOf = (surface: Surface): { en: string; ja: string } => kinds[surface].ok;

export interface RenderOptions {
  surface: Surface;
  seed: number;
  /** Number of the part; each part of a seed is another one. */
  index: number;
  /** A class of defectClassesOf(surface); null: an ok part. */
  defect: string | null;
  /** Longest side of the mark in pixels, for the classes of smallDefectsOf(surface); default: in proportion to the frame. */
  defectPx?: number | null;
  width: number;
  height: number;
  /** Brightness of the lamp; 1 is what the station was set up with. */
  light?: number;
  /** Out of focus, 0..4 steps of about half a pixel; default: a little, differing by part. */
  blur?: number;
}

const NOISE = 1 << 16;
const MAX_ATTEMPTS = 20;

/** Sensor noise of deviation 1, read from a random place for each row. */
const sensorNoise = (() => {
  let made: Float32Array | null = null;
  return () => {
    if (!made) {
      const random = createRandom(97);
      made = Float32Array.from({ length: NOISE }, () => random.normal());
    }
    return made;
  };
})();

/** Textures per surface, seed and size. Two: a station has one, a test that compares has two. */
const MAX_BANKS = 2;
const banks = new Map<string, unknown>();

function bankOf(
  kind: SurfaceKind<unknown, unknown>,
  seed: number,
  width: number,
  height: number,
  unit: number,
): unknown {
  const key = `${kind.surface} ${seed} ${width} ${height}`;
  const known = banks.get(key);
  if (known !== undefined) return known;
  if (banks.size >= MAX_BANKS) banks.delete(banks.keys().next().value!);
  const made = kind.bank(width, height, unit, createRandom(mixSeeds(textSeed(kind.surface), seed)));
  banks.set(key, made);
  return made;
}

let scratch: Plane = plane(1, 1);

/** @throws INVALID_INPUT for a defect that the surface does not have. */
export function renderPart(options: RenderOptions): { image: PixelImage; truth: Truth } {
  const { surface, seed, index, defect, defectPx = null, width, height, light = 1 } = options;
  const kind = kinds[surface];
  // Small frames show a part of the surface rather than marks of less than a pixel.
  const unit = Math.max(128, Math.min(width, height)) / 512;
  const random = createRandom(mixSeeds(textSeed(surface), seed, index, 1));
  if (scratch.width !== width || scratch.height !== height) scratch = plane(width, height);
  const picture = scratch;
  const base = kind.ground(bankOf(kind, seed, width, height, unit), picture, unit, random);

  let box: Box | null = null;
  if (defect !== null) {
    const draw = defectPx === null ? kind.defects[defect] : kind.small?.[defect];
    if (!draw) {
      const small = defectPx === null ? '' : ' that can be so small';
      throw new AppError('INVALID_INPUT', { what: 'defect', problem: `${surface} has no defect "${defect}"${small}` });
    }
    const before = picture.data.slice();
    // The lamp stands to the upper left; a little elsewhere for each part.
    const angle = random.between(-2.6, -2.1);
    const light = { x: Math.cos(angle), y: Math.sin(angle) };
    // A mark may come to lie outside the frame or on what looks like it: then it is tried elsewhere, for a label must be true.
    for (let attempt = 0; attempt < MAX_ATTEMPTS && box === null; attempt += 1) {
      const marks = createMarks({ x: 0, y: 0, width, height });
      const of = createRandom(mixSeeds(textSeed(defect), seed, index, 2 + attempt));
      draw({ random: of, width, height, unit, light, picture, marks, base }, defectPx ?? 0);
      lay(marks, picture, light);
      box = changed(before, picture);
    }
    assert(box, `a ${defect} can be drawn on ${width} x ${height}`);
  }
  const blur = options.blur ?? random.between(0, 0.6);
  for (let left = blur; left > 0.05; left -= 1) softBlur(picture, Math.min(1, left));
  return {
    image: expose(picture, light * random.between(0.96, 1.04), random),
    truth: { className: defect ?? 'ok', box },
  };
}

/** Box around what differs by more than sensor noise. */
function changed(before: Float32Array, after: Plane): Box | null {
  let [left, top, right, bottom] = [after.width, after.height, -1, -1];
  for (let y = 0, p = 0; y < after.height; y += 1) {
    for (let x = 0; x < after.width; x += 1, p += 1) {
      if (Math.abs(after.data[p]! - before[p]!) < 6) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
    }
  }
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** Light falls off from a point that differs by part; the sensor adds noise and rounds. */
function expose(picture: Plane, gain: number, random: ReturnType<typeof createRandom>): PixelImage {
  const { width, height, data } = picture;
  const out = new Uint8Array(width * height);
  const noise = sensorNoise();
  const cx = random.between(0.35, 0.65) * width;
  const cy = random.between(0.35, 0.65) * height;
  const fall = random.between(0.1, 0.28) / (width * width + height * height);
  const grain = random.between(1.2, 2.4);
  const columns = new Float32Array(width);
  for (let x = 0; x < width; x += 1) columns[x] = (x - cx) * (x - cx) * fall;
  for (let y = 0, p = 0; y < height; y += 1) {
    const row = 1 - (y - cy) * (y - cy) * fall;
    let n = random.whole(0, NOISE - 1);
    for (let x = 0; x < width; x += 1, p += 1) {
      const v = data[p]! * gain * (row - columns[x]!) + noise[n]! * grain + 0.5;
      n = (n + 1) & (NOISE - 1);
      out[p] = v < 0 ? 0 : v > 255 ? 255 : v;
    }
  }
  return { width, height, channels: 1, data: out };
}

export interface DatasetOptions {
  surface: Surface;
  seed: number;
  /** Parts per class. */
  perClass: number;
  width: number;
  height: number;
  /** 'ok' or defect classes; default: ok and every class that is not late, as a technician who has not met it would have. */
  classes?: readonly string[];
}

/** Labelled parts for training sets, tests and benchmarks: class after class, made one at a time. */
export function* renderDataset(
  options: DatasetOptions,
): Generator<{ image: PixelImage; className: string; index: number; truth: Truth }> {
  const { surface, seed, perClass, width, height } = options;
  const early = defectClassesOf(surface).filter((c) => !c.late);
  const classes = options.classes ?? ['ok', ...early.map((c) => c.className)];
  for (const className of classes) {
    for (let i = 0; i < perClass; i += 1) {
      // An index of its own per class: the ground of a scratched part is not that of an ok one.
      const index = mixSeeds(textSeed(className), i);
      const defect = className === 'ok' ? null : className;
      yield { ...renderPart({ surface, seed, index, defect, width, height }), className, index };
    }
  }
}
