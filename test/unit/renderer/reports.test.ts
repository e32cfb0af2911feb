import { describe, expect, test } from 'vitest';
import { rangeOf } from '../../../main/contract/report-period.ts';
import { bucketsOf, droppedShare, partsOf, shiftsOf, yieldFloor } from '../../../renderer/features/reports/report.ts';
import { shiftStartsSchema } from '../../../main/contract/shifts.ts';
import { nextShiftStart, startsOf } from '../../../renderer/lib/shifts.ts';
import { csvText } from '../../../main/contract/csv.ts';

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
    const parts = (starts: number[]) => shiftsOf(hours, starts).map((shift) => [shift.startHour, partsOf(shift)]);
    expect(parts([6, 14, 22])).toEqual([
      [6, 200],
      [14, 0],
      [22, 20],
    ]);
    // Two shifts of a plant that begins at five.
    expect(parts([5, 13])).toEqual([
      [5, 110],
      [13, 110],
    ]);
    expect(nextShiftStart(new Date(2026, 0, 1, 13, 30), [5, 13]).getTime()).toBe(new Date(2026, 0, 2, 5).getTime());
    expect(nextShiftStart(new Date(2026, 0, 1, 4), [5, 13]).getTime()).toBe(new Date(2026, 0, 1, 5).getTime());
  });
  test.each([
    ['6, 14, 22', [6, 14, 22]],
    ['07:00 19:00', [7, 19]],
    // As a Japanese keyboard types it.
    ['６、１４、２２', [6, 14, 22]],
    ['７：００　１９：００', [7, 19]],
    ['0', [0]],
    ['22, 6', null],
    ['6, 6', null],
    ['24', null],
    ['6:30', null],
    ['', null],
    ['1 2 3 4 5 6 7', null],
  ])('shifts typed as "%s"', (text, starts) => {
    expect(startsOf(text)).toEqual(starts);
    if (starts !== null) expect(shiftStartsSchema.parse(starts)).toEqual(starts);
  });

  test('a period ends with the running hour', () => {
    const { from, to } = rangeOf('day', new Date('2026-01-02T09:30:00Z'));
    expect([from, to]).toEqual(['2026-01-01T10:00:00.000Z', '2026-01-02T10:00:00.000Z']);
  });

  test('dropped frames are a share of all frames of the run, the judged parts being the others', () => {
    expect(droppedShare({ parts: 100, droppedFrames: 300 })).toBe(0.75);
    expect(droppedShare({ parts: 0, droppedFrames: 2 })).toBe(1);
    expect(droppedShare({ parts: 0, droppedFrames: 0 })).toBeNull();
  });

  test('the axis of the yield begins a little below the worst bucket, and at nothing below', () => {
    expect(yieldFloor(bucketsOf(hours, 'hour'))).toBe(0.79);
    expect(yieldFloor([])).toBe(0.99);
    expect(yieldFloor([{ start: 0, ok: 0, ng: 5, unsure: 0 }])).toBe(0);
  });

  test('a name cannot become a formula or break the table', () => {
    expect(csvText([['=HYPERLINK("x")', 'a,"b"\nc', -3]])).toBe('\uFEFF"\'=HYPERLINK(""x"")","a,""b""\nc",-3\r\n');
  });
});
