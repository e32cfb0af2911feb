/** Three shifts of eight hours from 06:00 of this PC's time zone, as most plants have them. */
export const shiftStarts = [6, 14, 22] as const;

/** The first change of shifts after a time. */
export function nextShiftStart(now: Date): Date {
  const start = new Date(now);
  start.setHours(shiftStarts.find((hour) => hour > now.getHours()) ?? shiftStarts[0] + 24, 0, 0, 0);
  return start;
}
