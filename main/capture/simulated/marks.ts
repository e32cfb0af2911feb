import type { Plane } from './plane.ts';
import type { Random } from './random.ts';

/*
 * Marks on a surface are drawn as relief and tone in a box of their own, then laid on the picture: the slope of the relief
 * against the light makes one flank bright and the other dark, as on a real groove; the tone darkens or lightens the material.
 */

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Marks {
  box: Box;
  /** Height above the surface, in units of shading per pixel of slope. */
  relief: Float32Array;
  /** Added to the grey value in proportion to it: -1 is black, +1 doubles it. */
  tone: Float32Array;
  /** How much darker hollows are than what surrounds them; 0 for shallow ones, which the lamp lights to the bottom. */
  hollow: number;
}

export interface Point {
  x: number;
  y: number;
}

export function createMarks(box: Box): Marks {
  const size = box.width * box.height;
  return { box, relief: new Float32Array(size), tone: new Float32Array(size), hollow: 1 };
}

/** Smooth step from 1 inside to 0 outside over `edge` pixels around distance 0. */
const cover = (distance: number, edge: number): number => {
  const t = Math.min(1, Math.max(0, 0.5 - distance / edge));
  return t * t * (3 - 2 * t);
};

interface Brush {
  relief?: number;
  tone?: number;
  /** Softness of the edge, pixels. */
  edge?: number;
}

const put = (marks: Marks, at: number, amount: number, brush: Brush): void => {
  // The strongest mark wins, so that strokes that cross do not add up.
  const relief = (brush.relief ?? 0) * amount;
  const tone = (brush.tone ?? 0) * amount;
  if (Math.abs(relief) > Math.abs(marks.relief[at]!)) marks.relief[at] = relief;
  if (Math.abs(tone) > Math.abs(marks.tone[at]!)) marks.tone[at] = tone;
};

/** A line through points (frame coordinates); width(t) in pixels for t = 0..1 along it. */
export function stroke(marks: Marks, points: readonly Point[], width: (t: number) => number, brush: Brush): void {
  const { box } = marks;
  const edge = brush.edge ?? 1.2;
  const last = points.length - 1;
  for (let s = 0; s < last; s += 1) {
    const a = points[s]!;
    const b = points[s + 1]!;
    const reach = Math.max(width(s / last), width((s + 1) / last)) / 2 + edge + 1;
    const x0 = Math.max(box.x, Math.floor(Math.min(a.x, b.x) - reach));
    const x1 = Math.min(box.x + box.width - 1, Math.ceil(Math.max(a.x, b.x) + reach));
    const y0 = Math.max(box.y, Math.floor(Math.min(a.y, b.y) - reach));
    const y1 = Math.min(box.y + box.height - 1, Math.ceil(Math.max(a.y, b.y) + reach));
    const dx = b.x - a.x;
    const dy = b.y - a.y;
    const length = dx * dx + dy * dy || 1;
    for (let y = y0; y <= y1; y += 1) {
      for (let x = x0; x <= x1; x += 1) {
        const t = Math.min(1, Math.max(0, ((x - a.x) * dx + (y - a.y) * dy) / length));
        const distance = Math.hypot(x - a.x - t * dx, y - a.y - t * dy);
        const half = width((s + t) / last) / 2;
        if (half <= 0) continue;
        const amount = cover(distance - half, edge) * Math.min(1, half * 2);
        if (amount > 0) put(marks, (y - box.y) * box.width + x - box.x, amount, brush);
      }
    }
  }
}

/** A spot with an uneven rim. `rough` 0..1: how far the rim departs from the ellipse. `dome`: relief falls off from the middle. */
export function spot(
  marks: Marks,
  centre: Point,
  shape: { rx: number; ry: number; turn?: number; rough?: number; dome?: boolean },
  brush: Brush,
  random: Random,
): void {
  const { box } = marks;
  const { rx, ry, turn = 0, rough = 0.2, dome = false } = shape;
  const edge = brush.edge ?? 1.5;
  const phases = [2, 3, 5, 7].map((k) => ({
    k,
    phase: random.between(0, 2 * Math.PI),
    size: (rough * 1.4 * random.next()) / k,
  }));
  const reach = Math.max(rx, ry) * (1 + rough) + edge + 1;
  const cos = Math.cos(turn);
  const sin = Math.sin(turn);
  const x0 = Math.max(box.x, Math.floor(centre.x - reach));
  const x1 = Math.min(box.x + box.width - 1, Math.ceil(centre.x + reach));
  const y0 = Math.max(box.y, Math.floor(centre.y - reach));
  const y1 = Math.min(box.y + box.height - 1, Math.ceil(centre.y + reach));
  const mean = Math.sqrt(rx * ry);
  for (let y = y0; y <= y1; y += 1) {
    for (let x = x0; x <= x1; x += 1) {
      const u = ((x - centre.x) * cos + (y - centre.y) * sin) / rx;
      const v = (-(x - centre.x) * sin + (y - centre.y) * cos) / ry;
      const r = Math.hypot(u, v);
      if (r > 2.5) continue;
      let rim = 1;
      if (rough > 0) {
        const angle = Math.atan2(v, u);
        for (const { k, phase, size } of phases) rim += size * Math.sin(k * angle + phase);
      }
      const amount = cover((r - rim) * mean, edge);
      if (amount <= 0) continue;
      const bowl = dome ? amount * Math.max(0, 1 - (r / rim) ** 2) : amount;
      const at = (y - box.y) * box.width + x - box.x;
      put(marks, at, bowl, { relief: brush.relief ?? 0 });
      put(marks, at, amount, { tone: brush.tone ?? 0 });
    }
  }
}

/** A wandering line: from `from`, `length` long, in direction `angle`, turning by up to `bend` radians per step of `step` px. */
export function wander(
  from: Point,
  angle: number,
  length: number,
  options: { step: number; bend: number; pull?: number },
  random: Random,
): Point[] {
  const points = [from];
  let heading = angle;
  let { x, y } = from;
  for (let done = 0; done < length; done += options.step) {
    heading += random.normal() * options.bend;
    // Pulled back towards where it set out, so that a crack has a direction.
    heading += (angle - heading) * (options.pull ?? 0.15);
    x += Math.cos(heading) * options.step;
    y += Math.sin(heading) * options.step;
    points.push({ x, y });
  }
  return points;
}

/** Roughens the tone inside marks, so that stains and scale are not flat. `texture` has the size of the box or more. */
export function mottle(marks: Marks, texture: Plane, strength: number, shiftX: number, shiftY: number): void {
  const { box, tone } = marks;
  for (let y = 0; y < box.height; y += 1) {
    for (let x = 0; x < box.width; x += 1) {
      const at = y * box.width + x;
      if (tone[at] === 0) continue;
      const tx = (x + shiftX) % texture.width;
      const ty = (y + shiftY) % texture.height;
      tone[at]! *= Math.max(0, 1 + strength * texture.data[ty * texture.width + tx]!);
    }
  }
}

/** Lays the marks on the picture (of the same size as their box) under light from (lightX, lightY). */
export function lay(marks: Marks, to: Plane, light: Point): void {
  const { relief, tone, hollow } = marks;
  const { width, height, data } = to;
  for (let y = 0, at = 0; y < height; y += 1) {
    const up = y > 0 ? width : 0;
    const down = y + 1 < height ? width : 0;
    for (let x = 0; x < width; x += 1, at += 1) {
      const slopeX = relief[x + 1 < width ? at + 1 : at]! - relief[x > 0 ? at - 1 : at]!;
      const slopeY = relief[at + down]! - relief[at - up]!;
      const here = relief[at]!;
      const t = tone[at]!;
      if (slopeX === 0 && slopeY === 0 && t === 0) continue;
      // Light hardly reaches the bottom of a hollow.
      const shadow = here < 0 ? Math.max(-0.35, here / 250) * hollow : 0;
      data[at] = data[at]! * (1 + t + shadow) + (slopeX * light.x + slopeY * light.y) / 2;
    }
  }
}
