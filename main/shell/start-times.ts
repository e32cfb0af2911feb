/*
 * How long a start takes until somebody can use the window, step by step: one line of the log per start, for a PC in a plant that starts slowly. ms since Node began in
 * its process; what the system and Chromium did before that no clock here has seen (the bench startup-packed has).
 */

export type StartStep = 'loaded' | 'ready' | 'window' | 'shown' | 'coreServes' | 'pageBegun' | 'pageRan' | 'usable';

const steps = new Map<StartStep, number>();

/**
 * A step counts the first time only: a page that is loaded again does not start the program.
 * @param at ms since 1970; default: now
 * @returns whether this was the first time
 */
export function reached(step: StartStep, at: number = Date.now()): boolean {
  if (steps.has(step)) return false;
  steps.set(step, Math.round(at - performance.timeOrigin));
  return true;
}

export const startTimes = (): Readonly<Record<string, number>> => Object.fromEntries(steps);
