import { z } from 'zod';
import {
  accountNameSchema,
  cameraConfigSchema,
  criteriaSchema,
  languageSchema,
  lineOutputSchema,
  lineSettingsSchema,
  recipeSchema,
  roleSchema,
  stationSchema,
} from '../../contract/domain.ts';
import { approvalRuleSchema } from '../../contract/methods.ts';
import { plantEventsSchema } from '../../contract/plant-events.ts';
import { retentionSchema } from '../../contract/retention.ts';
import { shiftStartsSchema } from '../../contract/shifts.ts';

/* What a configuration file may say. Values have the contract's own schemas: the file can hold nothing that the window could not set. */

/** Where the password of an account that has to be made comes from. The file never holds one. */
const passwordSourceSchema = z.union([
  z.strictObject({ environment: z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/) }),
  /** First line of this file; a relative path is from the configuration file. */
  z.strictObject({ file: z.string().min(1).max(4096) }),
]);
export type PasswordSource = z.infer<typeof passwordSourceSchema>;

const userEntrySchema = z.strictObject({
  name: accountNameSchema,
  role: roleSchema,
  disabled: z.boolean().default(false),
  /** Only for an account that has to be made. Without it a password is made and shown once. */
  password: passwordSourceSchema.optional(),
});

/** Whatever is left out stays as it is at a station that exists, and is the default at a new one; what is named is meant whole. */
const stationEntrySchema = z.strictObject({
  name: z.string().trim().min(1).max(80),
  camera: cameraConfigSchema,
  recipe: recipeSchema.optional(),
  criteria: criteriaSchema.optional(),
  /** Id; left out at a new station: the shipped one. */
  backbone: z.string().min(1).max(64).optional(),
  threads: stationSchema.shape.threads.unwrap().optional(),
  line: lineSettingsSchema.optional(),
  lineOutput: lineOutputSchema.optional(),
  /** How long pictures and records are kept (main/core/retention.ts). */
  retention: retentionSchema.optional(),
  /**
   * Folder of `<class>/*` whose images judge and never teach; a relative path is from the configuration file. Read only where the station never
   * had a golden set, classes made by the folders' names: what is in one stays.
   */
  golden: z.string().min(1).max(4096).optional(),
});

const [noEvents, mqtt] = plantEventsSchema.options;
/** Where the plant's other systems hear of parts and lines (main/core/plant-events.ts). */
const eventsEntrySchema = z.discriminatedUnion('kind', [
  noEvents,
  mqtt.extend({
    /** Of the broker. Read where the broker is set or changed; left out: what the home has. */
    password: passwordSourceSchema.optional(),
  }),
]);

export const configSchema = z.strictObject({
  /** Version of this format. */
  mekiki: z.literal(1),
  language: languageSchema.optional(),
  /** Full hours at which shifts begin, for all stations of the PC. */
  shifts: shiftStartsSchema.optional(),
  /** Whether whoever made a model may approve it (main/core/two-persons.ts). */
  twoPersons: approvalRuleSchema.optional(),
  events: eventsEntrySchema.optional(),
  users: z.array(userEntrySchema).max(500).default([]),
  stations: z.array(stationEntrySchema).max(64).default([]),
});
export type Config = z.infer<typeof configSchema>;
export type StationEntry = Config['stations'][number];
export type UserEntry = Config['users'][number];

/** Names that the home takes for the same account (main/store/users.ts). */
export const accountKey = (name: string): string => name.normalize('NFKC').trim().toLowerCase();
