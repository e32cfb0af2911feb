import { AppError } from '../contract/errors.ts';
import type { SignInAttempts } from '../store/sign-in-attempts.ts';

/** Wrong passwords that cost nothing; each further one locks the name, twice as long each time. */
const FREE_ATTEMPTS = 5;
const FIRST_LOCK_MS = 10_000;
const LONGEST_LOCK_MS = 15 * 60_000;

export interface Throttle {
  /** TOO_MANY_ATTEMPTS while the name is locked. */
  check(name: string): void;
  failed(name: string): void;
  succeeded(name: string): void;
}

/** Kept in the store: a restart frees nobody. */
export const createThrottle = (attempts: SignInAttempts, now: () => Date): Throttle => ({
  check(name) {
    // A clock that was set back must not lock a name for years.
    const left = Math.min(LONGEST_LOCK_MS, (attempts.get(name)?.lockedUntil.getTime() ?? 0) - now().getTime());
    if (left > 0) throw new AppError('TOO_MANY_ATTEMPTS', { user: name, seconds: Math.ceil(left / 1000) });
  },
  failed(name) {
    const wrong = (attempts.get(name)?.wrong ?? 0) + 1;
    const over = wrong - FREE_ATTEMPTS;
    const lock = over < 0 ? 0 : Math.min(LONGEST_LOCK_MS, FIRST_LOCK_MS * 2 ** over);
    attempts.set(name, { wrong, lockedUntil: new Date(now().getTime() + lock) }, now());
  },
  succeeded: (name) => attempts.clear(name),
});
