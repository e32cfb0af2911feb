import type { PasswordCost } from '../audit/keys.ts';
import type { User } from '../contract/domain.ts';
import { assert } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { EventName, EventPayload } from '../contract/methods.ts';
import type { Store } from '../store/open.ts';
import type { HomeKeys } from './home-keys.ts';
import type { Handlers, Processes, Session } from './port.ts';

/** What every service is made with; built once, in start.ts. */
export interface CoreContext {
  store: Store;
  keys: HomeKeys;
  log: Logger;
  processes: Processes;
  version: string;
  testRuntime: boolean;
  trainerThreads: number;
  passwordCost: PasswordCost;
  now(): Date;
  /** `sessionId`: for that session alone. */
  emit<E extends EventName>(name: E, payload: EventPayload<E>, sessionId?: string): void;
}

/** The handlers of one service. */
export type HandlersOf<M extends keyof Handlers> = Pick<Handlers, M>;

/** Who is signed in, in a method whose role nobody has who is not. */
export const userOf = ({ user }: Session): User => {
  assert(user !== null, 'the method table asks for a role, so somebody is signed in');
  return user;
};

/** Name for the audit trail. */
export const actor = (session: Session | null): string =>
  session?.user?.name ?? (session === null ? 'system' : 'anyone');
