import { BOXES_AT_MOST, type Region } from '../../main/contract/domain.ts';

/* Geometry of a picture in its view and of a box on it. Pixels; pure. */

export interface Point {
  x: number;
  y: number;
}
export interface Size {
  width: number;
  height: number;
}

/** A box smaller than this is a slip of the pointer. */
const LEAST_BOX = 4;

/** What is looked at: how much larger than the whole, and which point of the frame is in the middle (shares of its width and height). */
export interface Look {
  zoom: number;
  x: number;
  y: number;
}
export const wholePicture: Look = { zoom: 1, x: 0.5, y: 0.5 };
/** Screen pixels per pixel of the frame that the zoom ends at: single pixels can be counted. */
const MOST_SCALE = 16;

export interface Placed {
  /** Screen pixels per pixel of the frame. */
  scale: number;
  size: Size;
  /** Of the frame's corner in the view, px. */
  left: number;
  top: number;
  /** Part of the frame that is in sight, in shares of it. */
  seen: { x: number; y: number; width: number; height: number };
}

const fitOf = (frame: Size, view: Size): number => Math.min(view.width / frame.width, view.height / frame.height);
/** The zoom at which one pixel of the frame is one pixel of the screen; 1 at least. */
export const trueSize = (frame: Size, view: Size): number => Math.max(1, 1 / fitOf(frame, view));
const mostZoom = (frame: Size, view: Size): number => Math.max(1, MOST_SCALE / fitOf(frame, view));

/** Where the frame lies in its view. One that fits stays in the middle; a larger one leaves no gap at its edges. */
export function placed(look: Look, frame: Size, view: Size): Placed {
  const scale = fitOf(frame, view) * look.zoom;
  const size = { width: frame.width * scale, height: frame.height * scale };
  const start = (at: number, large: number, room: number) =>
    large <= room ? (room - large) / 2 : Math.min(0, Math.max(room - large, room / 2 - at * large));
  const left = start(look.x, size.width, view.width);
  const top = start(look.y, size.height, view.height);
  return {
    scale,
    size,
    left,
    top,
    seen: {
      x: Math.max(0, -left / size.width),
      y: Math.max(0, -top / size.height),
      width: Math.min(1, view.width / size.width),
      height: Math.min(1, view.height / size.height),
    },
  };
}

/** Takes the edges into account, so that the next move starts from what is seen. */
const settled = (look: Look, frame: Size, view: Size): Look => {
  const { seen } = placed(look, frame, view);
  return { zoom: look.zoom, x: seen.x + seen.width / 2, y: seen.y + seen.height / 2 };
};

/** Larger or smaller by a factor, with the frame's point under `at` (px in the view) kept where it is. */
export function zoomedAt(look: Look, factor: number, at: Point, frame: Size, view: Size): Look {
  const { left, top, size } = placed(look, frame, view);
  const zoom = Math.min(mostZoom(frame, view), Math.max(1, look.zoom * factor));
  const share = { x: (at.x - left) / size.width, y: (at.y - top) / size.height };
  const grown = zoom / look.zoom;
  return settled(
    {
      zoom,
      x: share.x + (view.width / 2 - at.x) / (size.width * grown),
      y: share.y + (view.height / 2 - at.y) / (size.height * grown),
    },
    frame,
    view,
  );
}

/** Moved by px of the screen. */
export function movedBy(look: Look, by: Point, frame: Size, view: Size): Look {
  const { size } = placed(look, frame, view);
  return settled({ zoom: look.zoom, x: look.x - by.x / size.width, y: look.y - by.y / size.height }, frame, view);
}

/** The box between two corners, inside the frame; null when it is too small to be meant. */
export function boxOf(a: Point, b: Point, frame: Size): Region | null {
  const within = (value: number, most: number) => Math.min(most, Math.max(0, Math.round(value)));
  const left = within(Math.min(a.x, b.x), frame.width);
  const top = within(Math.min(a.y, b.y), frame.height);
  const width = within(Math.max(a.x, b.x), frame.width) - left;
  const height = within(Math.max(a.y, b.y), frame.height) - top;
  return width < LEAST_BOX || height < LEAST_BOX ? null : { x: left, y: top, width, height };
}

/** How far a key moves or sizes a box, pixels. */
const stepOf = (frame: Size): number => Math.max(1, Math.round(Math.max(frame.width, frame.height) / 64));

/**
 * Drawing without a pointer: Enter sets a box in the middle, arrows move it, Shift with arrows sizes it, Delete takes it away.
 * @returns the new box; undefined when the key means nothing here.
 */
export function boxByKey(box: Region | null, key: string, sizing: boolean, frame: Size): Region | null | undefined {
  if (key === 'Enter' && !box)
    return boxOf(
      { x: frame.width * 0.35, y: frame.height * 0.35 },
      { x: frame.width * 0.65, y: frame.height * 0.65 },
      frame,
    );
  if (!box) return undefined;
  if (key === 'Delete' || key === 'Backspace') return null;
  const step = stepOf(frame);
  const moves: Record<string, Point> = {
    ArrowLeft: { x: -step, y: 0 },
    ArrowRight: { x: step, y: 0 },
    ArrowUp: { x: 0, y: -step },
    ArrowDown: { x: 0, y: step },
  };
  const move = moves[key];
  if (!move) return undefined;
  return dragged(box, sizing ? { right: true, bottom: true } : WHOLE, move, frame);
}

/** Where a box is held: the edges that follow the pointer. All four: the box is moved. */
export interface Edges {
  left?: boolean;
  top?: boolean;
  right?: boolean;
  bottom?: boolean;
}
const WHOLE: Edges = { left: true, top: true, right: true, bottom: true };

/** The box after its held edges went so far; inside the frame, and no smaller than a box can be. */
export function dragged(box: Region, { left, top, right, bottom }: Edges, by: Point, frame: Size): Region {
  const along = (at: number, size: number, move: number, first: boolean, last: boolean, room: number) => {
    const within = (value: number, least: number, most: number) => Math.round(Math.min(most, Math.max(least, value)));
    if (first && last) return { at: within(at + move, 0, room - size), size };
    if (last) return { at, size: within(size + move, LEAST_BOX, room - at) };
    if (!first) return { at, size };
    const start = within(at + move, 0, at + size - LEAST_BOX);
    return { at: start, size: at + size - start };
  };
  const x = along(box.x, box.width, by.x, left === true, right === true, frame.width);
  const y = along(box.y, box.height, by.y, top === true, bottom === true, frame.height);
  return { x: x.at, y: y.at, width: x.size, height: y.size };
}

export interface Grip {
  box: number;
  edges: Edges;
}

/**
 * What a press at a point of the frame takes hold of: edges of the chosen box, else the topmost box as a whole.
 * @param reach so near is on an edge, pixels of the frame
 */
export function gripAt({ boxes, chosen }: Boxes, at: Point, reach: number): Grip | null {
  const box = boxes[chosen];
  if (box) {
    const [right, bottom] = [box.x + box.width, box.y + box.height];
    const near = (a: number, b: number) => Math.abs(a - b) <= reach;
    const beside = at.x >= box.x - reach && at.x <= right + reach && at.y >= box.y - reach && at.y <= bottom + reach;
    const edges = { right: near(at.x, right), bottom: near(at.y, bottom), left: false, top: false };
    // Of a box so small that both are near, the last one.
    edges.left = !edges.right && near(at.x, box.x);
    edges.top = !edges.bottom && near(at.y, box.y);
    if (beside && Object.values(edges).includes(true)) return { box: chosen, edges };
  }
  const inside = boxAt(boxes, at);
  return inside < 0 ? null : { box: inside, edges: WHOLE };
}

/** The pointer over it, as CSS names it. */
export function cursorOf(grip: Grip | null): string | null {
  if (grip === null) return null;
  const { left, top, right, bottom } = grip.edges;
  if (left && right) return 'move';
  if ((left && top) || (right && bottom)) return 'nwse-resize';
  if ((left && bottom) || (right && top)) return 'nesw-resize';
  return left || right ? 'ew-resize' : 'ns-resize';
}

/** The boxes of a label and which of them keys mean; -1: none. */
export interface Boxes {
  boxes: readonly Region[];
  chosen: number;
}

/** The topmost box under a point of the frame; -1: none. */
export const boxAt = (boxes: readonly Region[], { x, y }: Point): number =>
  boxes.findLastIndex((box) => x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height);

/**
 * As boxByKey for one of several: Enter sets one more, a little beside those before it; Page Up and Page Down choose another one.
 * @returns undefined when the key means nothing here.
 */
export function boxesByKey({ boxes, chosen }: Boxes, key: string, sizing: boolean, frame: Size): Boxes | undefined {
  if (key === 'Enter') {
    const [first, step] = [boxByKey(null, key, false, frame), stepOf(frame)];
    if (!first || boxes.length >= BOXES_AT_MOST) return undefined;
    const aside = (at: number, size: number, room: number) => Math.min(room - size, at + boxes.length * step);
    const more = {
      ...first,
      x: aside(first.x, first.width, frame.width),
      y: aside(first.y, first.height, frame.height),
    };
    return { boxes: [...boxes, more], chosen: boxes.length };
  }
  const box = boxes[chosen];
  if (!box) return undefined;
  if (key === 'PageUp' || key === 'PageDown') {
    const by = key === 'PageDown' ? 1 : -1;
    return { boxes, chosen: (chosen + by + boxes.length) % boxes.length };
  }
  const next = boxByKey(box, key, sizing, frame);
  if (next === undefined) return undefined;
  return next === null ? without({ boxes, chosen }) : { boxes: boxes.with(chosen, next), chosen };
}

/** Takes the chosen box away; the one before it is chosen then. */
export const without = ({ boxes, chosen }: Boxes): Boxes => {
  const rest = boxes.filter((_, i) => i !== chosen);
  return { boxes: rest, chosen: Math.min(rest.length - 1, Math.max(0, chosen - 1)) };
};
