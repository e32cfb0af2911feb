import { z } from 'zod';

/** As hexadecimal digits. */
export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);
