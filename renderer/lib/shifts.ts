/* Shifts by the hours at which they begin (contract/shifts.ts), in this PC's time zone. Pure. */

/** The shift that an hour of the day belongs to, by its place among the starts: before the first one it is still the last one of the day before. */
export const shiftOf = (hour: number, starts: readonly number[]): number => {
  const place = starts.findLastIndex((start) => start <= hour);
  return place < 0 ? starts.length - 1 : place;
};

/** The first change of shifts after a time. */
export function nextShiftStart(now: Date, starts: readonly number[]): Date {
  const start = new Date(now);
  start.setHours(starts.find((hour) => hour > now.getHours()) ?? (starts[0] ?? 0) + 24, 0, 0, 0);
  return start;
}

/** What somebody typed: "6, 14, 22"; null where that is no list of hours in order. */
export function startsOf(text: string): number[] | null {
  const words = text
    .normalize('NFKC')
    .split(/[\s,;、]+/)
    .filter((word) => word !== '');
  const starts = words.map((word) => (/^\d{1,2}(:00)?$/.test(word) ? Number.parseInt(word, 10) : Number.NaN));
  const inOrder = starts.every((hour, i) => hour >= 0 && hour < 24 && (i === 0 || hour > starts[i - 1]!));
  return starts.length > 0 && starts.length <= 6 && inOrder ? starts : null;
}
