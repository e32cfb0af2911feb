import type { Region } from '../../main/contract/domain.ts';

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

/** Keeps a zoomed picture from being moved out of its view; one that fits stays in the middle. */
export function clampPan(pan: Point, picture: Size, view: Size): Point {
  const room = (large: number, small: number) => Math.max(0, (large - small) / 2);
  const x = room(picture.width, view.width);
  const y = room(picture.height, view.height);
  return { x: Math.min(x, Math.max(-x, pan.x)), y: Math.min(y, Math.max(-y, pan.y)) };
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
  const step = Math.max(1, Math.round(Math.max(frame.width, frame.height) / 64));
  const moves: Record<string, Point> = {
    ArrowLeft: { x: -step, y: 0 },
    ArrowRight: { x: step, y: 0 },
    ArrowUp: { x: 0, y: -step },
    ArrowDown: { x: 0, y: step },
  };
  const move = moves[key];
  if (!move) return undefined;
  if (sizing) {
    return {
      ...box,
      width: Math.min(frame.width - box.x, Math.max(LEAST_BOX, box.width + move.x)),
      height: Math.min(frame.height - box.y, Math.max(LEAST_BOX, box.height + move.y)),
    };
  }
  return {
    ...box,
    x: Math.min(frame.width - box.width, Math.max(0, box.x + move.x)),
    y: Math.min(frame.height - box.height, Math.max(0, box.y + move.y)),
  };
}
