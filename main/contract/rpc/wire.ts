import { z } from 'zod';
import { wireErrorSchema } from '../errors.ts';

/* The one wire form. What a side receives is parsed with these before anything else looks at it. */

/** Client to server. Ids are the client's, unique per connection. */
export const requestSchema = z.union([
  z.object({ id: z.number().int().min(0), method: z.string().max(200), input: z.unknown() }),
  z.object({ cancel: z.number().int().min(0) }),
  z.object({ subscribe: z.string().max(200) }),
  z.object({ unsubscribe: z.string().max(200) }),
]);
export type Request = z.infer<typeof requestSchema>;

/** Server to client. */
export const responseSchema = z.union([
  z.object({ id: z.number().int(), ok: z.literal(true), value: z.unknown() }),
  z.object({ id: z.number().int(), ok: z.literal(false), error: wireErrorSchema }),
  z.object({ event: z.string(), payload: z.unknown() }),
]);
export type Response = z.infer<typeof responseSchema>;

/** "candidates.0.id: expected string" for each problem, so that the sender sees where. At most three. */
export function zodProblem(error: z.ZodError): string {
  const lines = error.issues.map((issue) => {
    const path = issue.path.map(String).join('.');
    return path === '' ? issue.message : `${path}: ${issue.message}`;
  });
  return lines.length > 3 ? `${lines.slice(0, 3).join('; ')}; and ${lines.length - 3} more` : lines.join('; ');
}
