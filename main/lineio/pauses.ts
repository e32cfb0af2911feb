/** Between two tries to connect, or to listen. */
export const FIRST_PAUSE_MS = 200;
const MOST_PAUSE_MS = 5_000;

export const longerPauseMs = (pauseMs: number): number => Math.min(2 * pauseMs, MOST_PAUSE_MS);
