/* Periods of a report, as the window and the command line offer them. */

/** The periods that are offered: how far back, and what one point of the trend stands for. */
export const periods = {
  day: { hours: 24, point: 'hour' },
  week: { hours: 7 * 24, point: 'hour' },
  month: { hours: 30 * 24, point: 'day' },
  year: { hours: 365 * 24, point: 'day' },
} as const;
export type Period = keyof typeof periods;

const HOUR_MS = 3_600_000;
const LONGEST_DAYS = 400;

/** What is wrong with a range of a report; null: nothing. */
export function rangeProblem({ from, to }: { from: string; to: string }): string | null {
  const ms = Date.parse(to) - Date.parse(from);
  if (ms <= 0) return 'from is not before to';
  return ms > LONGEST_DAYS * 24 * HOUR_MS ? `more than ${LONGEST_DAYS} days` : null;
}

/** `from` and `to` of a period that ends with the running hour. */
export function rangeOf(period: Period, now: Date): { from: string; to: string } {
  const to = Math.floor(now.getTime() / HOUR_MS + 1) * HOUR_MS;
  return { from: new Date(to - periods[period].hours * HOUR_MS).toISOString(), to: new Date(to).toISOString() };
}
