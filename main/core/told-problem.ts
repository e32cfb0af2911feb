import { randomUUID } from 'node:crypto';
import type { Job } from '../contract/domain.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import { diskFullOr } from '../store/files.ts';
import type { CoreContext } from './context.ts';

/** What is kept of a failure that nobody waits for, to be shown later. A bug is logged and told by its reference alone. @param what failed, for the log */
export function toldProblem(
  { store, log }: Pick<CoreContext, 'store' | 'log'>,
  thrown: unknown,
  what: string,
): NonNullable<Job['problem']> {
  const error = diskFullOr(thrown, store.home);
  const expected = isAppError(error) ? error : null;
  const ref = randomUUID().slice(0, 8);
  if (expected === null) log.error(`${what} failed with a bug`, { ref, error });
  const { code, message, nextAction, details } =
    expected ?? new AppError('INTERNAL', { ref, problem: problemOf(error) });
  return { code, message, nextAction, details };
}
