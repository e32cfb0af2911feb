import { along, place, type SurfaceKind } from './surface.ts';
import { mottle, spot, stroke, wander } from './marks.ts';
import { addScaled, cloud, normalise, whiteNoise, boxBlur, type Plane } from './plane.ts';

/** Two textures laid over each other at other places for each part: no two parts alike, and quick. */
export interface StreakBank {
  coarse: Plane;
  fine: Plane;
  mottling: Plane;
}

const taper = (most: number) => (t: number) =>
  most * Math.sqrt(Math.max(0, Math.sin(Math.PI * Math.min(1, Math.max(0, t)))));

/** Copies `from` at an offset onto the picture's rows, added. */
function overlay(picture: Plane, from: Plane, ox: number, oy: number, gain: number): void {
  for (let y = 0; y < picture.height; y += 1) {
    let q = (y + oy) * from.width + ox;
    let p = y * picture.width;
    for (const end = p + picture.width; p < end; p += 1, q += 1) picture.data[p]! += from.data[q]! * gain;
  }
}

/** Rolled sheet, brushed along x. */
export const brushedMetal: SurfaceKind<StreakBank, StreakBank> = {
  surface: 'brushed-metal',
  ok: { en: 'OK', ja: '良品' },
  classes: [
    { className: 'scratch', names: { en: 'Scratch', ja: '引っかき傷' }, late: false },
    { className: 'pit', names: { en: 'Pitting', ja: '点状くぼみ' }, late: false },
    { className: 'inclusion', names: { en: 'Inclusion', ja: '介在物' }, late: false },
    { className: 'stain', names: { en: 'Stain', ja: 'しみ' }, late: false },
    { className: 'dent', names: { en: 'Dent', ja: '打痕' }, late: false },
    { className: 'crazing', names: { en: 'Crazing', ja: '細かいひび' }, late: false },
    { className: 'scale', names: { en: 'Rolled-in scale', ja: 'スケール押込み' }, late: false },
    { className: 'roll-mark', names: { en: 'Roll mark', ja: 'ロールマーク' }, late: true },
  ],
  bank(width, height, unit, random) {
    const [w, h] = [width + Math.round(256 * unit), height + Math.round(256 * unit)];
    const streaks = (length: number, thickness: number, deviation: number) => {
      const made = whiteNoise(w, h, random);
      boxBlur(made, Math.round(length * unit), thickness, 2);
      normalise(made, deviation);
      return made;
    };
    const coarse = streaks(90, 1, 9);
    addScaled(coarse, cloud(w, h, 120 * unit, 26 * unit, 4, random));
    const fine = streaks(24, 0, 11);
    addScaled(fine, streaks(160, 0, 9));
    return { coarse, fine, mottling: cloud(w, h, 5 * unit, 3 * unit, 1, random) };
  },
  ground(bank, picture, unit, random) {
    picture.data.fill(random.between(112, 122));
    const reach = Math.round(256 * unit);
    overlay(picture, bank.coarse, random.whole(0, reach), random.whole(0, reach), random.between(0.8, 1.2));
    overlay(picture, bank.fine, random.whole(0, reach), random.whole(0, reach), random.between(0.8, 1.2));
    return bank;
  },
  defects: {
    scratch(c) {
      const { random, unit, marks } = c;
      const from = place(c, 0.2);
      const angle = random.between(0.12, 1.25) * (random.chance(0.5) ? 1 : -1) + (random.chance(0.5) ? Math.PI : 0);
      const count = random.chance(0.35) ? 2 : 1;
      for (let i = 0; i < count; i += 1) {
        const start = along(from, angle + Math.PI / 2, i * random.between(14, 40) * unit);
        const length = random.between(110, 300) * unit * (i === 0 ? 1 : 0.6);
        const points = wander(start, angle, length, { step: 6 * unit, bend: 0.035, pull: 0.3 }, random);
        const width = random.between(2.6, 5.4) * unit;
        const gap = random.between(0.3, 0.9);
        const broken = random.chance(0.5);
        stroke(marks, points, (t) => (broken && Math.abs(t - gap) < 0.015 ? 0 : taper(width)(t)), {
          relief: random.between(32, 60),
          tone: random.between(0.12, 0.34),
          edge: 1.6 * unit,
        });
      }
    },
    pit(c) {
      const { random, unit, marks } = c;
      const middle = place(c, 0.2);
      const count = random.whole(8, 24);
      const spread = random.between(24, 80) * unit;
      for (let i = 0; i < count; i += 1) {
        const r = random.between(2.4, 7) * unit;
        const at = { x: middle.x + random.normal() * spread, y: middle.y + random.normal() * spread * 0.8 };
        spot(
          marks,
          at,
          { rx: r * random.between(1, 1.5), ry: r * random.between(0.75, 1), rough: 0.25, dome: true },
          { relief: -random.between(25, 55), tone: -random.between(0.3, 0.55), edge: 1.8 * unit },
          random,
        );
      }
    },
    inclusion(c) {
      const { random, unit, marks } = c;
      const at = place(c, 0.2);
      const count = random.whole(1, 4);
      for (let i = 0; i < count; i += 1) {
        const start = { x: at.x + i * random.between(22, 60) * unit, y: at.y + random.between(-25, 25) * unit };
        const angle = Math.PI / 2 + random.normal() * 0.12;
        const points = wander(
          start,
          angle,
          random.between(70, 160) * unit,
          { step: 5 * unit, bend: 0.09, pull: 0.2 },
          random,
        );
        const width = random.between(4.5, 9.5) * unit;
        stroke(marks, points, taper(width), {
          relief: -random.between(4, 14),
          tone: -random.between(0.28, 0.55),
          edge: 3 * unit,
        });
      }
    },
    stain(c) {
      const { random, unit, marks, base } = c;
      const at = place(c, 0.25);
      const size = random.between(24, 62) * unit;
      const dark = -random.between(0.14, 0.3);
      for (let i = 0; i < random.whole(2, 5); i += 1) {
        spot(
          marks,
          { x: at.x + random.normal() * size * 0.6, y: at.y + random.normal() * size * 0.6 },
          {
            rx: size * random.between(0.5, 1.1),
            ry: size * random.between(0.45, 1),
            turn: random.next() * 3,
            rough: 0.4,
          },
          { tone: dark, edge: random.between(8, 20) * unit },
          random,
        );
      }
      mottle(marks, base.mottling, 0.16, random.whole(0, 99), random.whole(0, 99));
    },
    dent(c) {
      const { random, unit, marks } = c;
      marks.hollow = 0;
      const r = random.between(13, 34) * unit;
      spot(
        marks,
        place(c, 0.18),
        {
          rx: r * random.between(0.9, 1.6),
          ry: r * random.between(0.7, 1),
          turn: random.next() * 3,
          rough: 0.12,
          dome: true,
        },
        { relief: -random.between(11, 20) * r, tone: -random.between(0, 0.06), edge: r * 0.3 },
        random,
      );
    },
    crazing(c) {
      const { random, unit, marks } = c;
      const middle = place(c, 0.3);
      const spread = random.between(55, 120) * unit;
      const dark = -random.between(0.22, 0.4);
      const count = random.whole(24, 48);
      for (let i = 0; i < count; i += 1) {
        const from = { x: middle.x + random.normal() * spread, y: middle.y + random.normal() * spread };
        const points = wander(
          from,
          random.next() * 2 * Math.PI,
          random.between(35, 100) * unit,
          { step: 4 * unit, bend: 0.42, pull: 0.06 },
          random,
        );
        stroke(marks, points, () => random.between(1, 1.7) * unit, { tone: dark, relief: -7, edge: 1.4 * unit });
      }
    },
    scale(c) {
      const { random, unit, marks, base } = c;
      const middle = place(c, 0.25);
      const spread = random.between(40, 95) * unit;
      for (let i = 0; i < random.whole(14, 40); i += 1) {
        const at = { x: middle.x + random.normal() * spread * 1.4, y: middle.y + random.normal() * spread };
        const r = random.between(4, 13) * unit;
        spot(
          marks,
          at,
          {
            rx: r * random.between(1.4, 3),
            ry: r * random.between(0.4, 0.8),
            turn: random.normal() * 0.35,
            rough: 0.7,
          },
          { relief: random.between(4, 14), tone: -random.between(0.18, 0.42), edge: 3 * unit },
          random,
        );
      }
      mottle(marks, base.mottling, 0.45, random.whole(0, 99), random.whole(0, 99));
    },
    'roll-mark'(c) {
      const { random, unit, marks } = c;
      // The same flaw of a roll, printed again at each turn of it.
      const pitch = random.between(90, 150) * unit;
      const tilt = random.between(0.1, 0.3);
      const r = random.between(6, 10) * unit;
      const deep = random.between(55, 85);
      const start = { x: random.between(0.08, 0.3) * c.width, y: random.between(0.25, 0.6) * c.height };
      for (let x = 0; start.x + x < c.width * 0.95; x += pitch) {
        [0, 1, 2].forEach((k) => {
          const at = { x: start.x + x + (k * 15 - 15) * unit, y: start.y + x * tilt + (k * 25 - 25) * unit };
          const size = k === 1 ? r : r * 0.72;
          const ring = Array.from({ length: 19 }, (_, i) => ({
            x: at.x + Math.cos((i / 18) * 2 * Math.PI) * size * 0.75,
            y: at.y + Math.sin((i / 18) * 2 * Math.PI) * size,
          }));
          stroke(marks, ring, () => 3.8 * unit, { relief: deep, tone: 0.08, edge: 2 * unit });
        });
      }
    },
  },
  small: {
    scratch(c, px) {
      const { random, marks } = c;
      const from = place(c, 0.02);
      const angle = random.between(0.5, 1.25) * (random.chance(0.5) ? 1 : -1);
      const points = wander(from, angle, px - 6, { step: 2, bend: 0.05, pull: 0.3 }, random);
      const width = random.between(2, 3);
      stroke(marks, points, () => width, { relief: random.between(32, 60), tone: random.between(0.2, 0.4), edge: 1.5 });
    },
    pit(c, px) {
      const { random, marks } = c;
      const r = px / 2;
      spot(
        marks,
        place(c, 0.02),
        { rx: r, ry: r * random.between(0.75, 1), turn: random.next() * 3, rough: 0.15, dome: true },
        { relief: -random.between(25, 55), tone: -random.between(0.3, 0.55), edge: 1.8 },
        random,
      );
    },
    inclusion(c, px) {
      const { random, marks } = c;
      const points = wander(
        place(c, 0.02),
        Math.PI / 2 + random.normal() * 0.12,
        px - 6,
        { step: 2, bend: 0.09, pull: 0.2 },
        random,
      );
      const width = random.between(3, 5);
      stroke(marks, points, () => width, { relief: -random.between(4, 14), tone: -random.between(0.35, 0.6), edge: 2 });
    },
  },
};
