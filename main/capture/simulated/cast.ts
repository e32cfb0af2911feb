import { along, place, type SurfaceKind } from './surface.ts';
import { mottle, spot, stroke, wander } from './marks.ts';
import { addScaled, boxBlur, cloud, normalise, plane, whiteNoise, type Plane } from './plane.ts';

export interface GrainBank {
  grain: Plane;
  lumps: Plane;
  mottling: Plane;
}

/** Brightness of a bumpy surface of the given grain under slanting light. */
function bumps(
  w: number,
  h: number,
  radius: number,
  deviation: number,
  random: Parameters<typeof whiteNoise>[2],
): Plane {
  const relief = whiteNoise(w, h, random);
  boxBlur(relief, radius, radius, 2);
  const shaded = plane(w, h);
  for (let y = 1; y < h; y += 1) {
    for (let x = 1; x < w; x += 1) {
      const at = y * w + x;
      shaded.data[at] = relief.data[at]! * 1.6 - relief.data[at - 1]! * 0.8 - relief.data[at - w]! * 0.8;
    }
  }
  normalise(shaded, deviation);
  return shaded;
}

/** Sand-cast, shot-blasted: grainy and uneven. */
export const cast: SurfaceKind<GrainBank, GrainBank> = {
  surface: 'cast',
  ok: { en: 'OK', ja: '良品' },
  classes: [
    { className: 'pore', names: { en: 'Blowhole', ja: '鋳巣' }, late: false },
    { className: 'crack', names: { en: 'Crack', ja: '割れ' }, late: false },
    { className: 'sand', names: { en: 'Sand inclusion', ja: '砂かみ' }, late: false },
    { className: 'cold-shut', names: { en: 'Cold shut', ja: '湯境' }, late: false },
    { className: 'scratch', names: { en: 'Scratch', ja: '引っかき傷' }, late: false },
    { className: 'dent', names: { en: 'Dent', ja: '打痕' }, late: false },
    { className: 'shrinkage', names: { en: 'Shrinkage', ja: 'ひけ巣' }, late: true },
  ],
  bank(width, height, unit, random) {
    const [w, h] = [width + Math.round(256 * unit), height + Math.round(256 * unit)];
    const grain = bumps(w, h, 1, 9, random);
    addScaled(grain, bumps(w, h, 2, 6, random));
    const lumps = bumps(w, h, Math.max(2, Math.round(6 * unit)), 5, random);
    addScaled(lumps, cloud(w, h, 45 * unit, 45 * unit, 5, random));
    return { grain, lumps, mottling: cloud(w, h, 3 * unit, 3 * unit, 1, random) };
  },
  ground(bank, picture, unit, random) {
    const reach = Math.round(256 * unit);
    const [gx, gy] = [random.whole(0, reach), random.whole(0, reach)];
    const [lx, ly] = [random.whole(0, reach), random.whole(0, reach)];
    const mean = random.between(96, 106);
    const { grain, lumps } = bank;
    for (let y = 0; y < picture.height; y += 1) {
      let g = (y + gy) * grain.width + gx;
      let l = (y + ly) * lumps.width + lx;
      let p = y * picture.width;
      for (const end = p + picture.width; p < end; p += 1, g += 1, l += 1) {
        picture.data[p] = mean + grain.data[g]! + lumps.data[l]!;
      }
    }
    return bank;
  },
  defects: {
    pore(c) {
      const { random, unit, marks } = c;
      const middle = place(c, 0.15);
      for (let i = 0; i < random.whole(1, 4); i += 1) {
        const r = random.between(8, 20) * unit;
        spot(
          marks,
          { x: middle.x + random.normal() * 26 * unit, y: middle.y + random.normal() * 26 * unit },
          { rx: r, ry: r * random.between(0.7, 1), turn: random.next() * 3, rough: 0.18, dome: true },
          { relief: -random.between(50, 85), tone: -random.between(0.45, 0.68), edge: 2.5 * unit },
          random,
        );
      }
    },
    crack(c) {
      const { random, unit, marks } = c;
      const angle = random.next() * 2 * Math.PI;
      const length = random.between(160, 340) * unit;
      const points = wander(place(c, 0.28), angle, length, { step: 5 * unit, bend: 0.38, pull: 0.14 }, random);
      const width = random.between(3, 5.5) * unit;
      const brush = { tone: -random.between(0.45, 0.7), relief: -20, edge: 1.5 * unit };
      stroke(marks, points, (t) => width * (1 - 0.75 * t), brush);
      for (let i = 0; i < random.whole(0, 2); i += 1) {
        const from = points[random.whole(2, points.length - 2)]!;
        const side = angle + (random.chance(0.5) ? 0.8 : -0.8);
        stroke(
          marks,
          wander(from, side, length * 0.3, { step: 5 * unit, bend: 0.4, pull: 0.12 }, random),
          (t) => width * 0.7 * (1 - t),
          brush,
        );
      }
    },
    sand(c) {
      const { random, unit, marks } = c;
      const middle = place(c, 0.2);
      const spread = random.between(18, 42) * unit;
      const count = random.whole(30, 70);
      for (let i = 0; i < count; i += 1) {
        const r = random.between(2, 5.5) * unit;
        const bright = random.chance(0.6);
        spot(
          marks,
          { x: middle.x + random.normal() * spread, y: middle.y + random.normal() * spread },
          { rx: r, ry: r * random.between(0.6, 1), turn: random.next() * 3, rough: 0.5 },
          { relief: bright ? 26 : -22, tone: bright ? random.between(0.25, 0.6) : -0.4, edge: 1.3 * unit },
          random,
        );
      }
    },
    'cold-shut'(c) {
      const { random, unit, marks } = c;
      marks.hollow = 0.4;
      const angle = random.next() * 2 * Math.PI;
      const points = wander(
        place(c, 0.25),
        angle,
        random.between(150, 320) * unit,
        { step: 12 * unit, bend: 0.16, pull: 0.08 },
        random,
      );
      const width = random.between(9, 16) * unit;
      stroke(marks, points, (t) => width * (0.45 + 0.55 * Math.sin(Math.PI * t)), {
        relief: -random.between(120, 190),
        tone: -random.between(0.04, 0.12),
        edge: 5 * unit,
      });
    },
    scratch(c) {
      const { random, unit, marks } = c;
      const angle = random.next() * 2 * Math.PI;
      const start = place(c, 0.2);
      for (let i = 0; i < random.whole(1, 4); i += 1) {
        const from = along(start, angle + Math.PI / 2, i * random.between(6, 14) * unit);
        const points = wander(
          from,
          angle,
          random.between(70, 220) * unit,
          { step: 8 * unit, bend: 0.02, pull: 0.4 },
          random,
        );
        const width = random.between(2.6, 4.4) * unit;
        stroke(marks, points, (t) => width * Math.sqrt(Math.sin(Math.PI * Math.min(1, t))), {
          tone: random.between(0.45, 0.85),
          relief: 16,
          edge: 1.4 * unit,
        });
      }
    },
    dent(c) {
      const { random, unit, marks } = c;
      marks.hollow = 0;
      const r = random.between(34, 64) * unit;
      spot(
        marks,
        place(c, 0.18),
        {
          rx: r * random.between(0.9, 1.5),
          ry: r * random.between(0.7, 1),
          turn: random.next() * 3,
          rough: 0.1,
          dome: true,
        },
        { relief: -random.between(11, 19) * r, tone: 0, edge: r * 0.3 },
        random,
      );
    },
    shrinkage(c) {
      const { random, unit, marks, base } = c;
      // A sponge of small linked hollows.
      const middle = place(c, 0.22);
      const spread = random.between(26, 50) * unit;
      for (let i = 0; i < random.whole(40, 90); i += 1) {
        const r = random.between(2, 7) * unit;
        spot(
          marks,
          { x: middle.x + random.normal() * spread, y: middle.y + random.normal() * spread * 0.7 },
          { rx: r * random.between(1, 1.8), ry: r, turn: random.next() * 3, rough: 0.8 },
          { relief: -random.between(25, 50), tone: -random.between(0.3, 0.55), edge: 2 * unit },
          random,
        );
      }
      mottle(marks, base.mottling, 0.35, random.whole(0, 99), random.whole(0, 99));
    },
  },
};
