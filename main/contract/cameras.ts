import { z } from 'zod';
import { foundCameraSchema } from './domain.ts';

/* What the core asks of the process that looks for cameras. It lives as long as the question. */

export const camerasMethods = {
  /** All that answer within a second; `addresses` are asked directly as well. */
  'cameras.find': {
    input: z.object({ addresses: z.array(z.ipv4()).max(64) }),
    output: z.array(foundCameraSchema),
  },
} satisfies Record<string, { input: z.ZodType; output: z.ZodType }>;
export const camerasEvents = {} satisfies Record<string, z.ZodType>;
