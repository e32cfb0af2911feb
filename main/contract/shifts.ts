import { z } from 'zod';

/** Full hours of this PC's time zone at which a shift begins, in order; each lasts until the next one begins. */
export const shiftStartsSchema = z
  .array(z.number().int().min(0).max(23))
  .min(1)
  .max(6)
  .refine((starts) => starts.every((hour, i) => i === 0 || hour > starts[i - 1]!), {
    message: 'shifts begin at different hours, named in order',
  });
export type ShiftStarts = z.infer<typeof shiftStartsSchema>;

/** As most plants with three shifts have them. */
export const USUAL_SHIFTS: ShiftStarts = [6, 14, 22];
