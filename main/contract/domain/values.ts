import { z } from 'zod';

/** Ids are short texts and never positions. */
export const id = z.string().min(1).max(64);
export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);
/** 0..1 */
export const share = z.number().min(0).max(1);
