import { along, place, type SurfaceKind } from './surface.ts';
import { mottle, spot, stroke, wander } from './marks.ts';
import { cloud, plane, type Plane } from './plane.ts';

export interface WeaveBank {
  weave: Plane;
  mottling: Plane;
  /** Distance of neighbouring yarns, pixels. */
  pitch: number;
}
interface Yarns {
  pitch: number;
  mottling: Plane;
}

/** Plain weave, seen from above. */
export const fabric: SurfaceKind<WeaveBank, Yarns> = {
  surface: 'fabric',
  ok: { en: 'OK', ja: '良品' },
  classes: [
    { className: 'hole', names: { en: 'Hole', ja: '穴' }, late: false },
    { className: 'broken-end', names: { en: 'Broken end', ja: '経糸切れ' }, late: false },
    { className: 'thick-pick', names: { en: 'Thick pick', ja: '緯糸太さむら' }, late: false },
    { className: 'stain', names: { en: 'Stain', ja: '汚れ' }, late: false },
    { className: 'slub', names: { en: 'Slub', ja: '節' }, late: false },
    { className: 'snag', names: { en: 'Snag', ja: '引きつれ' }, late: false },
    { className: 'crease', names: { en: 'Crease', ja: 'しわ' }, late: true },
  ],
  bank(width, height, unit, random) {
    const pitch = Math.max(4, 7 * unit);
    const [w, h] = [width + Math.round(256 * unit), height + Math.round(256 * unit)];
    const sway = cloud(w, h, 30 * unit, 30 * unit, pitch * 0.16, random);
    const lift = cloud(w, h, 22 * unit, 22 * unit, pitch * 0.16, random);
    const fibres = cloud(w, h, 1, 1, 6, random);
    const weave = plane(w, h);
    for (let y = 0; y < h; y += 1) {
      for (let x = 0; x < w; x += 1) {
        const at = y * w + x;
        const u = (x + sway.data[at]!) / pitch;
        const v = (y + lift.data[at]!) / pitch;
        const [i, j] = [Math.floor(u), Math.floor(v)];
        const [fu, fv] = [u - i - 0.5, v - j - 0.5];
        // The yarn on top is round across and dives at both ends of its float.
        const warpOnTop = ((i + j) & 1) === 0;
        const across = warpOnTop ? fu : fv;
        const lengthwise = warpOnTop ? fv : fu;
        const round = Math.sqrt(Math.max(0, 1 - 3.4 * across * across));
        const dive = 1 - 1.9 * lengthwise * lengthwise;
        weave.data[at] = (warpOnTop ? 148 : 132) * (0.3 + 0.7 * round * dive) - across * 26 + fibres.data[at]! * round;
      }
    }
    return { weave, mottling: cloud(w, h, 6 * unit, 6 * unit, 1, random), pitch };
  },
  ground(bank, picture, unit, random) {
    const { weave, pitch, mottling } = bank;
    const reach = Math.round(256 * unit);
    const [ox, oy] = [random.whole(0, reach), random.whole(0, reach)];
    // Yarns differ in thickness and dye: a gain per warp yarn and per weft yarn, anew for each part.
    const gains = (length: number) => {
      const perYarn = Array.from({ length: Math.ceil(length / pitch) + 1 }, () => random.normal() * 0.035);
      return Float32Array.from({ length }, (_, i) => perYarn[Math.floor(i / pitch)]!);
    };
    const columns = gains(picture.width);
    const rows = gains(picture.height);
    const tone = random.between(0.9, 1);
    for (let y = 0; y < picture.height; y += 1) {
      let q = (y + oy) * weave.width + ox;
      const row = rows[y]! + tone;
      const p = y * picture.width;
      for (let x = 0; x < picture.width; x += 1, q += 1) picture.data[p + x] = weave.data[q]! * (row + columns[x]!);
    }
    return { pitch, mottling };
  },
  defects: {
    hole(c) {
      const { random, unit, marks } = c;
      const at = place(c, 0.15);
      const r = random.between(14, 32) * unit;
      spot(
        marks,
        at,
        { rx: r, ry: r * random.between(0.6, 1), turn: random.next() * 3, rough: 0.5 },
        { tone: -0.82, edge: 2.5 * unit },
        random,
      );
      // Ends of torn yarns reach into it.
      for (let i = 0; i < random.whole(4, 9); i += 1) {
        const angle = random.next() * 2 * Math.PI;
        const points = wander(
          along(at, angle, r * 1.15),
          angle + Math.PI + random.normal() * 0.5,
          r * random.between(0.5, 1.1),
          { step: 3 * unit, bend: 0.3, pull: 0.05 },
          random,
        );
        stroke(marks, points, () => 1.8 * unit, { relief: 24, edge: 1.2 * unit, tone: 0.35 });
      }
    },
    'broken-end'(c) {
      const { random, marks, base, width, height } = c;
      const x = random.between(0.1, 0.9) * width;
      const y0 = random.chance(0.5) ? 0 : random.between(0, 0.5) * height;
      const y1 = random.chance(0.5) ? height : y0 + random.between(0.3, 0.5) * height;
      const line = [
        { x, y: y0 },
        { x: x + random.normal() * 2, y: (y0 + y1) / 2 },
        { x, y: y1 },
      ];
      stroke(marks, line, () => base.pitch * random.between(0.8, 1), {
        tone: -random.between(0.35, 0.55),
        relief: -18,
        edge: base.pitch * 0.5,
      });
    },
    'thick-pick'(c) {
      const { random, marks, base, width, height } = c;
      const y = random.between(0.1, 0.9) * height;
      const x0 = random.chance(0.6) ? 0 : random.between(0, 0.4) * width;
      const x1 = random.chance(0.6) ? width : x0 + random.between(0.35, 0.6) * width;
      const swell = random.between(0, 6);
      const thick = base.pitch * random.between(1.9, 3);
      const points = Array.from({ length: 25 }, (_, i) => ({
        x: x0 + ((x1 - x0) * i) / 24,
        y: y + Math.sin(i / 4 + swell),
      }));
      stroke(marks, points, (t) => thick * (0.8 + 0.2 * Math.sin(9 * t + swell)), {
        relief: random.between(26, 44),
        tone: random.between(0.24, 0.42),
        edge: base.pitch * 0.6,
      });
    },
    stain(c) {
      const { random, unit, marks, base } = c;
      const at = place(c, 0.22);
      const size = random.between(28, 62) * unit;
      const tone = random.chance(0.85) ? -random.between(0.22, 0.45) : random.between(0.18, 0.3);
      for (let i = 0; i < random.whole(1, 4); i += 1) {
        spot(
          marks,
          { x: at.x + random.normal() * size * 0.5, y: at.y + random.normal() * size * 0.5 },
          {
            rx: size * random.between(0.6, 1.1),
            ry: size * random.between(0.5, 1),
            turn: random.next() * 3,
            rough: 0.35,
          },
          { tone, edge: random.between(6, 16) * unit },
          random,
        );
      }
      mottle(marks, base.mottling, 0.2, random.whole(0, 99), random.whole(0, 99));
    },
    slub(c) {
      const { random, marks, base } = c;
      const at = place(c, 0.15);
      const angle = (random.chance(0.5) ? 0 : Math.PI / 2) + random.normal() * 0.04;
      const length = base.pitch * random.between(7, 15);
      const width = base.pitch * random.between(2.2, 3.8);
      stroke(
        marks,
        wander(at, angle, length, { step: base.pitch / 2, bend: 0.05, pull: 0.3 }, random),
        (t) => width * Math.sin(Math.PI * Math.min(1, t)) ** 0.7,
        {
          relief: random.between(50, 80),
          tone: random.between(0.18, 0.36),
          edge: base.pitch * 0.5,
        },
      );
    },
    snag(c) {
      const { random, unit, marks, base } = c;
      const at = place(c, 0.25);
      // The yarn that was pulled stands out as a loop; along it the weave is tight and dark.
      const vertical = random.chance(0.5);
      const half = random.between(60, 140) * unit;
      const angle = vertical ? Math.PI / 2 : 0;
      stroke(
        marks,
        [along(at, angle, -half), at, along(at, angle, half)],
        (t) => base.pitch * (1.3 - Math.abs(t - 0.5)),
        {
          tone: -random.between(0.22, 0.34),
          relief: -16,
          edge: base.pitch * 0.8,
        },
      );
      const r = random.between(16, 32) * unit;
      const turn = random.next() * 2 * Math.PI;
      const loop = Array.from({ length: 22 }, (_, i) => {
        const a = (i / 21) * 2 * Math.PI * 0.92 + turn;
        return {
          x: at.x + Math.cos(a) * r * 0.6 + Math.cos(turn) * r * 0.6,
          y: at.y + Math.sin(a) * r + Math.sin(turn) * r * 0.6,
        };
      });
      stroke(marks, loop, () => 4.5 * unit, { relief: 60, tone: 0.5, edge: 1.5 * unit });
    },
    crease(c) {
      const { random, unit, marks } = c;
      marks.hollow = 0;
      const angle = random.between(0.3, 1.2) * (random.chance(0.5) ? 1 : -1);
      const at = place(c, 0.35);
      const half = random.between(140, 330) * unit;
      const points = wander(
        along(at, angle, -half),
        angle,
        2 * half,
        { step: 14 * unit, bend: 0.05, pull: 0.2 },
        random,
      );
      const width = random.between(12, 22) * unit;
      stroke(marks, points, (t) => width * (0.5 + 0.5 * Math.sin(Math.PI * t)), {
        relief: random.between(190, 300),
        tone: 0.05,
        edge: 14 * unit,
      });
    },
  },
};
