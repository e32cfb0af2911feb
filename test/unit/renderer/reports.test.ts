import { describe, expect, test } from 'vitest';
import { bucketsOf, partsOf, rangeOf, shiftsOf, trendOf } from '../../../renderer/features/reports/report.ts';
import { csvText } from '../../../renderer/lib/csv.ts';

const local = (day: number, hour: number) => new Date(2026, 0, day, hour).toISOString();
const hours = [
  { at: local(1, 5), ok: 8, ng: 2, unsure: 0 },
  { at: local(1, 6), ok: 90, ng: 5, unsure: 5 },
  { at: local(1, 23), ok: 10, ng: 0, unsure: 0 },
  { at: local(2, 13), ok: 100, ng: 0, unsure: 0 },
];

describe('report', () => {
  test('days are those of this time zone, and hours without parts are left out', () => {
    const days = bucketsOf(hours, 'day');
    expect(days.map(partsOf)).toEqual([120, 100]);
    expect(days[0]!.start).toBe(new Date(2026, 0, 1).getTime());
    expect(bucketsOf(hours, 'hour')).toHaveLength(4);
  });

  test('the night shift goes over midnight', () => {
    expect(shiftsOf(hours).map((shift) => [shift.startHour, partsOf(shift)])).toEqual([
      [6, 200],
      [14, 0],
      [22, 20],
    ]);
  });

  test('a period ends with the running hour', () => {
    const { from, to } = rangeOf('day', new Date('2026-01-02T09:30:00Z'));
    expect([from, to]).toEqual(['2026-01-01T10:00:00.000Z', '2026-01-02T10:00:00.000Z']);
  });

  test('the trend keeps every point inside the plot, one of yield 1 at its top', () => {
    const { floor, points } = trendOf(bucketsOf(hours, 'hour'), {
      from: Date.parse(local(1, 0)),
      to: Date.parse(local(3, 0)),
    });
    expect(floor).toBe(0.79);
    for (const { x, y } of points) expect(x >= 0 && x <= 100 && y >= 0 && y <= 100).toBe(true);
    expect(points.at(-1)!.y).toBe(0);
    expect(trendOf([], { from: 0, to: 1 }).points).toEqual([]);
  });

  test('a name cannot become a formula or break the table', () => {
    expect(csvText([['=HYPERLINK("x")', 'a,"b"\nc', -3]])).toBe('\uFEFF"\'=HYPERLINK(""x"")","a,""b""\nc",-3\r\n');
  });
});
