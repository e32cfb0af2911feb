import type { LineSettings } from '../contract/domain.ts';
import type { ErrorCode } from '../contract/errors.ts';
import type { PixelImage } from '../vision/image.ts';
import { createFrozenCounter, measurePicture } from '../vision/picture-quality.ts';

/** Keeps pictures that say nothing about the part away from the model, which would judge them all the same. */
export interface PictureGate {
  /** Why this picture is unfit; null: it is fit. Every picture of the line, in order. */
  check(image: PixelImage, limits: LineSettings['picture']): ErrorCode | null;
}

export function createPictureGate(): PictureGate {
  const frozen = createFrozenCounter();
  return {
    check(image, { darkBelow, saturatedShareAbove, sharpnessBelow, frozenAfter }) {
      if (frozenAfter !== null && frozen.next(image) >= frozenAfter) return 'PICTURE_FROZEN';
      if (darkBelow === null && saturatedShareAbove === null && sharpnessBelow === null) return null;
      const { brightest, saturated, sharpness } = measurePicture(image);
      if (darkBelow !== null && brightest < darkBelow) return 'PICTURE_DARK';
      if (saturatedShareAbove !== null && saturated > saturatedShareAbove) return 'PICTURE_SATURATED';
      if (sharpnessBelow !== null && sharpness < sharpnessBelow) return 'PICTURE_BLURRED';
      return null;
    },
  };
}
