import { randomUUID } from 'node:crypto';
import { asAppError, isAppError, type Problem } from '../contract/errors.ts';
import { diskFullOr } from '../store/files.ts';
import type { CoreContext } from './context.ts';

/** What is kept of a failure that nobody waits for, to be shown later. A bug is logged and told by its reference alone. @param what failed, for the log */
export function toldProblem(
  { store, log }: Pick<CoreContext, 'store' | 'log'>,
  thrown: unknown,
  what: string,
): Problem {
  const error = diskFullOr(thrown, store.home);
  const ref = randomUUID().slice(0, 8);
  if (!isAppError(error)) log.error(`${what} failed with a bug`, { ref, error });
  return asAppError(error, ref).toProblem();
}
