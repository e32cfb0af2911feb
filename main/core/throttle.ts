import { AppError } from '../contract/errors.ts';
import type { SignInAttempts } from '../store/sign-in-attempts.ts';

/** Wrong passwords that are answered at once: the last of them locks the name, and each further one twice as long. */
const FREE_ATTEMPTS = 5;
const FIRST_LOCK_MS = 10_000;
const LONGEST_LOCK_MS = 15 * 60_000;
const lockMs = (wrong: number): number =>
  wrong < FREE_ATTEMPTS ? 0 : Math.min(LONGEST_LOCK_MS, FIRST_LOCK_MS * 2 ** (wrong - FREE_ATTEMPTS));

export interface Throttle {
  /**
   * An attempt for this name, after those before it have ended: of many at once each would be let in before the first of them counts. `work`
   * begins with `check`.
   */
  inTurn<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** TOO_MANY_ATTEMPTS while the name is locked, or what `refusal` says where it is nobody's name. */
  check(name: string, refusal?: (seconds: number) => AppError): void;
  /** @param forgottenAfterMs one wrong attempt before it counts no more for each such time without another one; none given: only `succeeded` clears them */
  failed(name: string, forgottenAfterMs?: number): void;
  succeeded(name: string): void;
}

/** Kept in the store: a restart frees nobody. */
export const createThrottle = (attempts: SignInAttempts, now: () => Date): Throttle => {
  /** The last attempt that was asked for, by name. */
  const turns = new Map<string, Promise<unknown>>();
  const lock = (name: string, wrong: number): void =>
    attempts.set(name, { wrong, lockedUntil: new Date(now().getTime() + lockMs(wrong)) }, now());
  return {
    inTurn(name, work) {
      const before = turns.get(name) ?? Promise.resolve();
      const turn = before.then(work, work);
      turns.set(name, turn);
      const over = () => {
        if (turns.get(name) === turn) turns.delete(name);
      };
      turn.then(over, over);
      return turn;
    },
    check(name, refusal = (seconds) => new AppError('TOO_MANY_ATTEMPTS', { user: name, seconds })) {
      const attempt = attempts.get(name);
      const left = (attempt?.lockedUntil.getTime() ?? 0) - now().getTime();
      if (attempt === null || left <= 0) return;
      const longest = lockMs(attempt.wrong);
      // It lasts no longer than that: the clock was set back. Counted from now on, or the name would be locked until that time comes again, for years perhaps.
      if (left > longest) lock(name, attempt.wrong);
      if (longest > 0) throw refusal(Math.ceil(Math.min(left, longest) / 1000));
    },
    failed(name, forgottenAfterMs = Infinity) {
      const before = attempts.get(name) ?? { wrong: 0, lockedUntil: now() };
      // The lock began with the last wrong one, and ends when one may be tried again.
      const forgotten = Math.max(0, Math.floor((now().getTime() - before.lockedUntil.getTime()) / forgottenAfterMs));
      const wrong = Math.max(0, before.wrong - forgotten) + 1;
      lock(name, wrong);
    },
    succeeded: (name) => attempts.clear(name),
  };
};
