import { z } from 'zod';
import { verdictSchema, unsureReasonSchema, lineStatusSchema, sha256Schema } from './domain.ts';

/* What other systems of the plant may hear of, and where it is sent (main/lineio/mqtt has topics and schema as a document). */

/** One or more certificates, and nothing else: no key belongs here. */
const certificatesSchema = z
  .string()
  .trim()
  .max(65_536)
  .regex(/^(-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+$/);

const tlsSchema = z.object({
  /** PEM: the authority that the broker's certificate must come from, or that very certificate, where it is its own authority. No other is believed. */
  ca: certificatesSchema,
  /** Name that the certificate must be for; empty: the address. */
  serverName: z
    .string()
    .regex(/^[A-Za-z0-9.-]{0,253}$/)
    .default(''),
});

const broker = {
  /** Of the broker: the one address that is ever connected to. Names are not looked up. */
  address: z.union([z.ipv4(), z.ipv6()]),
  port: z.number().int().min(1).max(65_535).default(1883),
  /** First levels of every topic. */
  prefix: z
    .string()
    .regex(/^[^+#/\0][^+#\0]{0,62}$/)
    .default('mekiki'),
  user: z.string().max(64).default(''),
  /** null: in clear. */
  tls: tlsSchema.nullable().default(null),
};

export const plantEventsSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('none') }),
  z.object({ kind: z.literal('mqtt'), ...broker }),
]);
export type PlantEvents = z.infer<typeof plantEventsSchema>;

/** Whether the password that is kept may go on being used: it goes where it was given for, and nowhere else. */
export const keepsPassword = (before: PlantEvents, after: PlantEvents): boolean => {
  if (after.kind === 'none' || after.user === '') return true;
  const receiver = ({ address, port, user, tls }: Extract<PlantEvents, { kind: 'mqtt' }>) =>
    JSON.stringify([address, port, user, tls?.ca.trim(), tls?.serverName]);
  return before.kind === 'mqtt' && receiver(before) === receiver(after);
};

export const plantEventsStateSchema = z.object({
  connection: z.enum(['off', 'connecting', 'connected']),
  /** Since the start of the program or the last change. */
  sent: z.number().int(),
  waiting: z.number().int(),
  /** Given up, the oldest first, since too many waited. */
  dropped: z.number().int(),
  /** What the broker or the network said since a message was acknowledged last; null: nothing is wrong. */
  problem: z.string().nullable(),
});
export type PlantEventsState = z.infer<typeof plantEventsStateSchema>;

const station = z.object({ id: z.string(), name: z.string() });

/** One judged part, sent when its record is stored; never twice on purpose, but perhaps again after a lost acknowledgement. */
export const partMessageSchema = z.object({
  schema: z.literal('mekiki/part/1'),
  station,
  /** Number of the part's record: with the station's id it names the part. */
  seq: z.number().int(),
  at: z.iso.datetime(),
  verdict: verdictSchema,
  reason: unsureReasonSchema.nullable(),
  classId: z.string().nullable(),
  className: z.string().nullable(),
  confidence: z.number(),
  novelty: z.number(),
  modelId: z.string().nullable(),
  latencyMs: z.number(),
  errorCode: z.string().nullable(),
  /** What the PLC wrote; null: nothing. */
  lot: z.string().nullable(),
  imageSha256: sha256Schema.nullable(),
});
export type PartMessage = z.infer<typeof partMessageSchema>;

/** How a line stands; retained, so that who subscribes later hears of it too. Sent when state, model or problem change, and once a minute. */
export const lineMessageSchema = z.object({
  schema: z.literal('mekiki/line/1'),
  station,
  at: z.iso.datetime(),
  state: lineStatusSchema.shape.state,
  problem: z.object({ code: z.string(), message: z.string(), nextAction: z.string() }).nullable(),
  modelId: z.string().nullable(),
  ...lineStatusSchema.pick({ parts: true, ok: true, ng: true, unsure: true, late: true, droppedFrames: true }).shape,
});
export type LineMessage = z.infer<typeof lineMessageSchema>;
