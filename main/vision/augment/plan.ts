import type { Recipe } from '../../contract/domain.ts';
import { AppError } from '../../contract/errors.ts';
import type { Random } from './random.ts';

/** What may be done to a training image, each with its strength; 0 (the default) is off. */
export interface Augmentation {
  /** Share of images mirrored left to right. */
  flipHorizontal?: number;
  /** Share of images mirrored top to bottom. */
  flipVertical?: number;
  /** Share of images turned by 90, 180 or 270 degrees. */
  quarterTurns?: number;
  /** Turned by an angle drawn from -x..x degrees; what comes in from outside is mirrored at the edge. */
  rotateDegrees?: number;
  /** A window is cut out whose sides are (1-x)..1 of the image's, its aspect kept, and brought to full size. */
  crop?: number;
  /** Added to every pixel: -x..x of the full range 0..255. */
  brightness?: number;
  /** Distance from middle grey times (1-x)..(1+x). */
  contrast?: number;
  /** Gaussian blur of 0..x pixels (sigma, at the size the network sees). */
  blur?: number;
  /** A square of 0..x of the side is set to the mean (DeVries and Taylor 2017). */
  cutout?: number;
  /** Share lambda of the image is mixed with 1 - lambda of its neighbour in the batch, lambda from Beta(x, x) (Zhang et al. 2018). */
  mixup?: number;
}

/** Most that makes sense of each; below 0 nothing does. */
const MOST: Readonly<Record<keyof Augmentation, number>> = {
  flipHorizontal: 1,
  flipVertical: 1,
  quarterTurns: 1,
  rotateDegrees: 180,
  crop: 0.95,
  brightness: 1,
  contrast: 1,
  blur: 16,
  cutout: 1,
  mixup: 16,
};

/** @throws INVALID_INPUT naming the strength that is out of its range. */
export function checkAugmentation(augmentation: Augmentation): void {
  for (const [name, strength] of Object.entries(augmentation)) {
    const most = MOST[name as keyof Augmentation];
    const what = `augmentation.${name}`;
    if (most === undefined) throw new AppError('INVALID_INPUT', { what, problem: 'there is no such augmentation' });
    if (!(strength >= 0 && strength <= most)) {
      throw new AppError('INVALID_INPUT', { what, problem: `it must be from 0 to ${most}` });
    }
  }
}

/** What is done to one image, drawn beforehand: plain data. */
export interface AugmentationPlan {
  flipHorizontal: boolean;
  flipVertical: boolean;
  turn: Recipe['rotation'];
  degrees: number;
  /** Window in shares of the sides: of both sides its length, and of what is left over where it begins. */
  crop: { side: number; x: number; y: number };
  /** Grey levels. */
  brightness: number;
  contrast: number;
  /** Pixels at the network's size. */
  blurSigma: number;
  /** Share of the side, and the centre in shares. */
  cutout: { side: number; x: number; y: number };
  /** Weight of the image itself. */
  mixup: number;
}

/**
 * Draws what is done to one image. All numbers are drawn whatever is on, so switching one effect does not change the others.
 * @param random of this image alone: randomOf(seed, epoch, index).
 */
export function planAugmentation(augmentation: Augmentation, random: Random): AugmentationPlan {
  const { crop = 0, rotateDegrees = 0, brightness = 0, contrast = 0, blur = 0, cutout = 0, mixup = 0 } = augmentation;
  const flipHorizontal = random.next() < (augmentation.flipHorizontal ?? 0);
  const flipVertical = random.next() < (augmentation.flipVertical ?? 0);
  const turned = random.next() < (augmentation.quarterTurns ?? 0);
  const turn = ([90, 180, 270] as const)[random.below(3)]!;
  return {
    flipHorizontal,
    flipVertical,
    turn: turned ? turn : 0,
    degrees: rotateDegrees * random.between(-1, 1),
    crop: { side: 1 - crop * random.next(), x: random.next(), y: random.next() },
    brightness: 255 * brightness * random.between(-1, 1),
    contrast: 1 + contrast * random.between(-1, 1),
    blurSigma: blur * random.next(),
    cutout: { side: cutout * random.next(), x: random.next(), y: random.next() },
    mixup: mixup > 0 ? beta(mixup, random) : 1,
  };
}

/** Beta(a, a) as a ratio of two gamma variates. */
function beta(a: number, random: Random): number {
  const x = gamma(a, random);
  const y = gamma(a, random);
  return x + y > 0 ? x / (x + y) : 0.5;
}

/** Gamma(shape, 1): Marsaglia and Tsang 2000, with their boost for shapes below 1. */
function gamma(shape: number, random: Random): number {
  if (shape < 1) return gamma(shape + 1, random) * (1 - random.next()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = random.normal();
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random.next()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}
