import { place, type DefectContext, type SurfaceKind } from './surface.ts';
import { createMarks, spot, stroke, wander, type Box, type Marks, type Point } from './marks.ts';
import { cloud, type Plane } from './plane.ts';
import { createRandom, type Random } from './random.ts';

/** Conductors that run side by side: line i and i + 1 are neighbours at the same t. */
interface Bundle {
  lines: Point[][];
  width: number;
}
interface Pad {
  at: Point;
  r: number;
  hole: number;
}
interface Layout {
  bundles: Bundle[];
  pads: Pad[];
}
export interface BoardBank {
  layout: Layout;
  /** 0 substrate .. 1 conductor. */
  conductor: Plane;
  /** 1 tinned (pads). */
  tin: Plane;
  copperTexture: Plane;
  substrateTexture: Plane;
  margin: number;
}
/** The layout as it lies in this part's picture. */
interface Base {
  bundles: Bundle[];
  pads: Pad[];
  copper: number;
  substrate: number;
}
type Context = DefectContext<Base>;

/** All parts are one product: its layout depends on nothing but the size of the frame. Coordinates for a frame of 512. */
const LAYOUT_SEED = 4711;
/** The camera sees a part of the board, so that a flaw of a fifth of a conductor is a few pixels. */
const ZOOM = 2.5;
const VIEW: Point = { x: 232, y: 136 };

function design(random: Random): Layout {
  const pads: Pad[] = [];
  const bundles: Bundle[] = [];
  const run = (count: number, pitch: number, width: number, path: (offset: number) => Point[]) => {
    bundles.push({ width, lines: Array.from({ length: count }, (_, i) => path(i * pitch)) });
  };
  // A bus from the left edge, one jog at 45 degrees, to a connector on the right.
  run(6, 24, 8, (o) => [
    { x: -60, y: 48 + o },
    { x: 150 + o * 0.42, y: 48 + o },
    { x: 200 + o * 0.42, y: 98 + o },
    { x: 404, y: 98 + o },
  ]);
  for (let i = 0; i < 6; i += 1) pads.push({ at: { x: 414, y: 98 + i * 24 }, r: 10, hole: 4 });
  for (let i = 0; i < 6; i += 1) pads.push({ at: { x: 452, y: 98 + i * 24 }, r: 10, hole: 4 });
  run(6, 24, 8, (o) => [
    { x: 462, y: 98 + o },
    { x: 570, y: 98 + o },
  ]);
  // Lines downward.
  run(4, 30, 10, (o) => [
    { x: 60 + o, y: 250 + o * 0.42 },
    { x: 60 + o, y: 400 - o * 0.42 },
    { x: 20 + o * 0.9, y: 440 - o * 0.3 },
    { x: 20 + o * 0.9, y: 580 },
  ]);
  for (let i = 0; i < 4; i += 1) pads.push({ at: { x: 60 + i * 30, y: 246 + i * 12.6 }, r: 11, hole: 4.5 });
  // A fine fan-out.
  run(7, 16, 5.5, (o) => [
    { x: 226 + o, y: 330 },
    { x: 226 + o, y: 400 },
    { x: 282 + o, y: 456 },
    { x: 282 + o, y: 580 },
  ]);
  for (let i = 0; i < 7; i += 1) pads.push({ at: { x: 226 + i * 16, y: 322 }, r: 6.5, hole: 0 });
  // A wide supply line with vias.
  run(1, 0, 26, () => [
    { x: 410, y: 290 },
    { x: 410, y: 360 },
    { x: 470, y: 420 },
    { x: 470, y: 580 },
  ]);
  for (let i = 0; i < 5; i += 1) pads.push({ at: { x: 440 + (i % 2) * 42, y: 268 + i * 22 }, r: 8, hole: 3.5 });
  for (let i = 0; i < 4; i += 1) {
    pads.push({ at: { x: random.between(255, 370), y: random.between(20, 70) }, r: 7, hole: 3 });
  }
  return { bundles, pads };
}

const moved = (layout: Layout, dx: number, dy: number, unit: number): Layout => {
  const scale = unit * ZOOM;
  const at = (p: Point): Point => ({ x: (p.x - VIEW.x) * scale + dx, y: (p.y - VIEW.y) * scale + dy });
  return {
    bundles: layout.bundles.map((b) => ({ width: b.width * scale, lines: b.lines.map((line) => line.map(at)) })),
    pads: layout.pads.map((p) => ({ at: at(p.at), r: p.r * scale, hole: p.hole * scale })),
  };
};

/** Covers the picture with `grey` where the marks have tone; gives the box covered. */
function paint(marks: Marks, picture: Plane, grey: number): Box | null {
  let [left, top, right, bottom] = [picture.width, picture.height, -1, -1];
  for (let y = 0, p = 0; y < picture.height; y += 1) {
    for (let x = 0; x < picture.width; x += 1, p += 1) {
      const amount = Math.abs(marks.tone[p]!);
      if (amount === 0) continue;
      const before = picture.data[p]!;
      picture.data[p] = before + (grey - before) * amount;
      if (amount < 0.2 || Math.abs(before - grey) < 12) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
    }
  }
  marks.tone.fill(0);
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

interface Spotted {
  bundle: Bundle;
  line: number;
  at: Point;
  /** Direction of the conductor. */
  angle: number;
  /** The same place on the next line; null for the last. */
  neighbour: Point | null;
}

/** A place on a conductor inside the picture, away from its ends. */
function onConductor({ base, random, width, height }: Context, withNeighbour = false): Spotted {
  let found: Spotted | null = null;
  for (let tries = 0; tries < 200; tries += 1) {
    const bundle = random.pick(base.bundles as [Bundle, ...Bundle[]]);
    if (withNeighbour && bundle.lines.length < 2) continue;
    const line = random.whole(0, bundle.lines.length - (withNeighbour ? 2 : 1));
    const points = bundle.lines[line]!;
    const s = random.whole(0, points.length - 2);
    const t = random.between(0.15, 0.85);
    const on = (of: Point[]): Point => ({
      x: of[s]!.x + (of[s + 1]!.x - of[s]!.x) * t,
      y: of[s]!.y + (of[s + 1]!.y - of[s]!.y) * t,
    });
    const next = bundle.lines[line + 1];
    const angle = Math.atan2(points[s + 1]!.y - points[s]!.y, points[s + 1]!.x - points[s]!.x);
    found = { bundle, line, at: on(points), angle, neighbour: next ? on(next) : null };
    const { x, y } = found.at;
    if (x > 0.06 * width && x < 0.94 * width && y > 0.06 * height && y < 0.94 * height) break;
  }
  return found!;
}

/** Bare board before its solder mask, as an optical inspection of the etching sees it. */
export const printedBoard: SurfaceKind<BoardBank, Base> = {
  surface: 'printed-board',
  ok: { en: 'OK', ja: '良品' },
  classes: [
    { className: 'short', names: { en: 'Short', ja: 'ショート' }, late: false },
    { className: 'open', names: { en: 'Open', ja: '断線' }, late: false },
    { className: 'mousebite', names: { en: 'Mouse bite', ja: '欠け' }, late: false },
    { className: 'spur', names: { en: 'Spur', ja: '突起' }, late: false },
    { className: 'pin-hole', names: { en: 'Pinhole', ja: 'ピンホール' }, late: false },
    { className: 'spurious-copper', names: { en: 'Spurious copper', ja: '残銅' }, late: false },
    { className: 'fibre', names: { en: 'Fibre', ja: '繊維異物' }, late: true },
  ],
  bank(width, height, unit, random) {
    const margin = Math.ceil(8 * unit);
    const [w, h] = [width + 2 * margin, height + 2 * margin];
    const layout = design(createRandom(LAYOUT_SEED));
    // Frames that are not square show more or less of the board, not a stretched one; the conductors above are always in them.
    const { bundles, pads } = moved(
      layout,
      margin + (width - 512 * unit) / 2,
      margin + Math.max(0, (height - 512 * unit) / 2),
      unit,
    );
    const copper = createMarks({ x: 0, y: 0, width: w, height: h });
    const tin = createMarks(copper.box);
    const holes = createMarks(copper.box);
    const edge = 1.6 * unit;
    const drawn = createRandom(LAYOUT_SEED);
    for (const { lines, width: across } of bundles)
      for (const line of lines) stroke(copper, line, () => across, { tone: 1, edge });
    for (const { at, r, hole } of pads) {
      spot(copper, at, { rx: r, ry: r, rough: 0 }, { tone: 1, edge }, drawn);
      spot(tin, at, { rx: r * 0.86, ry: r * 0.86, rough: 0 }, { tone: 1, edge: 2 * unit }, drawn);
      if (hole > 0) spot(holes, at, { rx: hole, ry: hole, rough: 0 }, { tone: 1, edge }, drawn);
    }
    for (let i = 0; i < copper.tone.length; i += 1) {
      copper.tone[i]! *= 1 - holes.tone[i]!;
      tin.tone[i]! *= 1 - holes.tone[i]!;
      // A drilled hole is darker than the substrate.
      if (holes.tone[i]! > 0) copper.tone[i] = copper.tone[i]! - 0.35 * holes.tone[i]!;
    }
    return {
      layout,
      margin,
      conductor: { width: w, height: h, data: copper.tone },
      tin: { width: w, height: h, data: tin.tone },
      copperTexture: cloud(w + 128, h + 128, 2 * unit, 2 * unit, 5, random),
      substrateTexture: cloud(w + 128, h + 128, 5 * unit, 1, 4, random),
    };
  },
  ground(bank, picture, unit, random) {
    const { conductor, tin, copperTexture, substrateTexture, margin } = bank;
    const dx = random.whole(-Math.round(4 * unit), Math.round(4 * unit));
    const dy = random.whole(-Math.round(4 * unit), Math.round(4 * unit));
    const copper = random.between(146, 160);
    const substrate = random.between(58, 66);
    const bright = random.between(24, 36);
    const [tx, ty, sx, sy] = [random.whole(0, 127), random.whole(0, 127), random.whole(0, 127), random.whole(0, 127)];
    for (let y = 0; y < picture.height; y += 1) {
      let m = (y + margin - dy) * conductor.width + margin - dx;
      let t = (y + ty) * copperTexture.width + tx;
      let s = (y + sy) * substrateTexture.width + sx;
      let p = y * picture.width;
      for (const end = p + picture.width; p < end; p += 1, m += 1, t += 1, s += 1) {
        const c = conductor.data[m]!;
        const under = substrate + substrateTexture.data[s]!;
        picture.data[p] = under + c * (copper + copperTexture.data[t]! - under) + bright * tin.data[m]!;
      }
    }
    const ox = (picture.width - 512 * unit) / 2 + dx;
    const oy = Math.max(0, (picture.height - 512 * unit) / 2) + dy;
    return { ...moved(bank.layout, ox, oy, unit), copper, substrate };
  },
  defects: {
    short(c) {
      const { at, neighbour, bundle } = onConductor(c, true);
      const { random, unit, marks, picture, base } = c;
      const width = bundle.width * random.between(0.35, 0.9);
      const to = neighbour ?? at;
      const middle = {
        x: (at.x + to.x) / 2 + random.normal() * 2 * unit,
        y: (at.y + to.y) / 2 + random.normal() * 2 * unit,
      };
      stroke(marks, [at, middle, to], (t) => width * (1 + 0.5 * Math.abs(2 * t - 1)), { tone: 1, edge: 1.6 * unit });
      paint(marks, picture, base.copper);
    },
    open(c) {
      const { at, angle, bundle } = onConductor(c);
      const { random, unit, marks, picture, base } = c;
      const gap = Math.max(bundle.width * random.between(0.5, 1.3), 4 * unit);
      spot(
        marks,
        at,
        { rx: gap / 2, ry: bundle.width * 0.75, turn: angle + random.normal() * 0.15, rough: 0.22 },
        { tone: 1, edge: 1.6 * unit },
        random,
      );
      paint(marks, picture, base.substrate);
    },
    mousebite(c) {
      const { at, angle, bundle } = onConductor(c);
      const { random, unit, marks, picture, base } = c;
      const side = angle + (random.chance(0.5) ? 1 : -1) * (Math.PI / 2);
      const r = Math.max(bundle.width * random.between(0.42, 0.68), 4 * unit);
      const centre = { x: at.x + (Math.cos(side) * bundle.width) / 2, y: at.y + (Math.sin(side) * bundle.width) / 2 };
      spot(
        marks,
        centre,
        { rx: r * random.between(1, 1.6), ry: r, turn: angle, rough: 0.3 },
        { tone: 1, edge: 1.6 * unit },
        random,
      );
      paint(marks, picture, base.substrate);
    },
    spur(c) {
      const { at, angle, bundle } = onConductor(c);
      const { random, unit, marks, picture, base } = c;
      const side = angle + (random.chance(0.5) ? 1 : -1) * (Math.PI / 2) + random.normal() * 0.3;
      const length = bundle.width * 0.5 + random.between(14, 24) * unit;
      const width = random.between(11, 18) * unit;
      const points = wander(at, side, length, { step: 2 * unit, bend: 0.12 }, random);
      stroke(marks, points, (t) => width * (1 - 0.75 * t), { tone: 1, edge: 1.6 * unit });
      paint(marks, picture, base.copper);
    },
    'pin-hole'(c) {
      const { random, unit, marks, picture, base } = c;
      const { at, bundle } = onConductor(c);
      const r = Math.min(bundle.width * 0.36, random.between(5, 12) * unit);
      spot(marks, at, { rx: r, ry: r * random.between(0.75, 1), rough: 0.25 }, { tone: 1, edge: 1.5 * unit }, random);
      paint(marks, picture, base.substrate - 8);
    },
    'spurious-copper'(c) {
      const { random, unit, marks, picture, base } = c;
      const free = (p: Point) => {
        const grey = picture.data[Math.round(p.y) * picture.width + Math.round(p.x)];
        return grey !== undefined && grey < base.substrate + 25;
      };
      let at = place(c, 0.08);
      for (let tries = 0; tries < 40 && !free(at); tries += 1) at = place(c, 0.08);
      const r = random.between(11, 25) * unit;
      for (let i = 0; i < random.whole(1, 3); i += 1) {
        const centre = { x: at.x + random.normal() * r * 0.6, y: at.y + random.normal() * r * 0.6 };
        spot(
          marks,
          centre,
          { rx: r, ry: r * random.between(0.45, 1), turn: random.next() * 3, rough: 0.5 },
          { tone: 1, edge: 1.8 * unit },
          random,
        );
      }
      paint(marks, picture, base.copper - 4);
    },
    fibre(c) {
      const { random, unit, marks } = c;
      const points = wander(
        place(c, 0.25),
        random.next() * 2 * Math.PI,
        random.between(90, 220) * unit,
        { step: 5 * unit, bend: 0.22, pull: 0.02 },
        random,
      );
      const width = random.between(3.2, 5) * unit;
      stroke(marks, points, () => width, { tone: random.chance(0.5) ? 0.9 : -0.6, relief: 40, edge: 1.8 * unit });
    },
  },
};
