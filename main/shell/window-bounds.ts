import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

/* Where the window was, kept over a restart. No Electron here, so that it can be tested without one. */

const rectangleSchema = z.object({ x: z.int(), y: z.int(), width: z.int().min(1), height: z.int().min(1) });
export type Rectangle = z.infer<typeof rectangleSchema>;
const stateSchema = z.object({
  /** Of the window when it is neither maximised nor full screen. */
  bounds: rectangleSchema,
  maximized: z.boolean(),
  fullScreen: z.boolean(),
  /** 1: as designed. */
  zoom: z.number().min(0.5).max(3),
});
export type WindowState = z.infer<typeof stateSchema>;

/** null: never kept, or not readable: the window opens as on the first day. */
export function readWindowState(file: string): WindowState | null {
  try {
    return stateSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return null;
  }
}
/** Not worth a failure: a window that opens elsewhere tomorrow is no loss. @returns whether it was written */
export function keepWindowState(file: string, state: WindowState): boolean {
  try {
    writeFileSync(file, JSON.stringify(state));
    return true;
  } catch {
    return false;
  }
}

/** Of a window's title bar, enough to take hold of it. */
const LEAST_SEEN = 120;

/**
 * The bounds on the displays that there are now (their areas without task bars): as they were where enough of the upper edge can be seen,
 * else in the middle of the first display; never larger than the display.
 */
export function fitBounds(bounds: Rectangle, displays: readonly Rectangle[]): Rectangle {
  const seen = displays.find(
    (area) =>
      Math.min(bounds.x + bounds.width, area.x + area.width) - Math.max(bounds.x, area.x) >= LEAST_SEEN &&
      bounds.y >= area.y &&
      bounds.y <= area.y + area.height - 40,
  );
  const area = seen ?? displays[0];
  if (area === undefined) return bounds;
  const width = Math.min(bounds.width, area.width);
  const height = Math.min(bounds.height, area.height);
  if (seen !== undefined) return { x: bounds.x, y: bounds.y, width, height };
  return {
    x: area.x + Math.round((area.width - width) / 2),
    y: area.y + Math.round((area.height - height) / 2),
    width,
    height,
  };
}
