import { z } from 'zod';
import { sha256Schema } from '../contract/domain/values.ts';
import { wireErrorSchema } from '../contract/errors.ts';

/* What supervisor and children say to each other, beside the contracts of line and trainer. */

/** Channel `control`, opened by every child. */
export const childSaysSchema = z.union([
  /** It listens now. */
  z.object({ ready: z.literal(true) }),
  /** It cannot start (the home is in use, the database is damaged); it ends after this. */
  z.object({ failed: wireErrorSchema }),
  /** It is at work that takes as long as the home is large, and answers nothing meanwhile; until it says that this is over it is not taken for hung. */
  z.object({ busy: z.boolean() }),
]);
export type ChildSays = z.infer<typeof childSaysSchema>;
export const parentSaysSchema = z.object({ stop: z.literal(true) });
export type ParentSays = z.infer<typeof parentSaysSchema>;

/** A process that the core may ask for. */
export const processNameSchema = z.string().regex(/^(trainer|cameras|line:[^\s/]{1,64})$/);

const secretName = z.string().regex(/^[a-z][a-z.-]{0,40}$/);

/** Channel `supervisor`: the core asks for processes. Then it opens a channel of the process's name, which is relayed. */
export const supervisorMethods = {
  /** Answers when the process listens; started if it does not run, awaited if it is being restarted. */
  'processes.ensure': { input: z.object({ name: processNameSchema }), output: z.null() },
  'processes.stop': { input: z.object({ name: processNameSchema }), output: z.null() },
  'processes.running': { input: z.object({}), output: z.array(z.string()) },
  /** Lets one page read a USB camera for this station's line; null: the line wants no pictures, or a page reads already. */
  'feeds.ticket': { input: z.object({ stationId: z.string().min(1).max(64) }), output: z.string().nullable() },
  /** Whether the system's keychain keeps this home's secrets, and whether it was asked to. NO_KEYCHAIN, KEY_SEALED. */
  'secrets.kept': { input: z.object({}), output: z.object({ inKeychain: z.boolean(), asked: z.boolean() }) },
  /** Base64; null: none of this name. */
  'secrets.get': { input: z.object({ name: secretName }), output: z.string().nullable() },
  'secrets.set': { input: z.object({ name: secretName, value: z.base64() }), output: z.null() },
};

/** Channel `host`: the supervisor asks the core on behalf of the HTTP listener and the app:// protocol. */
export const hostMethods = {
  'images.read': {
    input: z.object({ sha: sha256Schema, width: z.number().int().min(16).max(4096).nullable() }),
    output: z.object({ bytes: z.instanceof(Uint8Array) }),
  },
};
/** Process that restores or checks a home that no core has open, and its channel. */
export const UPKEEP = 'upkeep';
const upkeepDone = z.object({
  /** The home can be used as it is now. */
  whole: z.boolean(),
  /** What was done and found, and what to do next: lines. */
  report: z.string(),
});
export type UpkeepDone = z.infer<typeof upkeepDone>;
export const upkeepMethods = {
  'upkeep.restore': { input: z.object({ file: z.string().min(1) }), output: upkeepDone },
  'upkeep.check': { input: z.object({ repair: z.boolean() }), output: upkeepDone },
};
export const upkeepEvents = {
  /** How far it is: a line, each second at most. */
  'upkeep.progressed': z.string(),
};
/** Channels `window`: the contract of methods.ts, one session each. */
export const noEvents = {};
