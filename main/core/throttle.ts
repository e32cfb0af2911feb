import { AppError } from '../contract/errors.ts';

/** Wrong passwords that cost nothing; each further one locks the name, twice as long each time. */
const FREE_ATTEMPTS = 5;
const FIRST_LOCK_MS = 10_000;
const LONGEST_LOCK_MS = 15 * 60_000;
/** Names are the caller's words: without a bound they would fill the memory. */
const NAMES_KEPT = 1_000;

export interface Throttle {
  /** TOO_MANY_ATTEMPTS while the name is locked. */
  check(name: string): void;
  failed(name: string): void;
  succeeded(name: string): void;
}

export const createThrottle = (now: () => Date): Throttle => {
  const attempts = new Map<string, { wrong: number; lockedUntil: number }>();
  return {
    check(name) {
      const left = (attempts.get(name)?.lockedUntil ?? 0) - now().getTime();
      if (left > 0) throw new AppError('TOO_MANY_ATTEMPTS', { user: name, seconds: Math.ceil(left / 1000) });
    },
    failed(name) {
      const wrong = (attempts.get(name)?.wrong ?? 0) + 1;
      const over = wrong - FREE_ATTEMPTS;
      const lock = over < 0 ? 0 : Math.min(LONGEST_LOCK_MS, FIRST_LOCK_MS * 2 ** over);
      attempts.delete(name);
      attempts.set(name, { wrong, lockedUntil: now().getTime() + lock });
      const [oldest] = attempts.keys();
      if (attempts.size > NAMES_KEPT && oldest !== undefined) attempts.delete(oldest);
    },
    succeeded: (name) => void attempts.delete(name),
  };
};
