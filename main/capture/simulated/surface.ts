import type { Surface } from '../../contract/domain.ts';
import type { Marks, Point } from './marks.ts';
import type { Plane } from './plane.ts';
import type { Random } from './random.ts';

export interface SurfaceClass {
  /** Stable name, also used as a folder name. */
  className: string;
  names: { en: string; ja: string };
  /** Appears on the simulated line only after a while; nobody has labelled it yet. */
  late: boolean;
}

/** Where and how one defect is drawn. Lengths are in pixels of the frame; `unit` is 1 in a frame of 512. */
export interface DefectContext<Base> {
  random: Random;
  width: number;
  height: number;
  unit: number;
  light: Point;
  picture: Plane;
  /** As large as the picture. Laid on it when the defect is drawn. */
  marks: Marks;
  /** What the ground drew on this part, e.g. where the conductors of a board lie. */
  base: Base;
}

/** One family of surfaces. `Bank`: textures made once per seed and size; `Base`: what defects need to know of this part. */
export interface SurfaceKind<Bank, Base> {
  surface: Surface;
  ok: { en: string; ja: string };
  classes: readonly SurfaceClass[];
  bank(width: number, height: number, unit: number, random: Random): Bank;
  ground(bank: Bank, picture: Plane, unit: number, random: Random): Base;
  defects: Readonly<Record<string, (context: DefectContext<Base>) => void>>;
  /** The same defect with a longest side of about `px` pixels, whatever the size of the frame; for the classes that can be so small. */
  small?: Readonly<Record<string, (context: DefectContext<Base>, px: number) => void>>;
}

/** A place at least `margin` (share of the side) away from the edge. */
export const place = ({ width, height, random }: DefectContext<unknown>, margin = 0.12): Point => ({
  x: random.between(margin, 1 - margin) * width,
  y: random.between(margin, 1 - margin) * height,
});

export const along = (from: Point, angle: number, length: number): Point => ({
  x: from.x + Math.cos(angle) * length,
  y: from.y + Math.sin(angle) * length,
});
