import { AppError, isAppError } from '../contract/errors.ts';

/** Whatever was thrown because the signal was aborted leaves as CANCELLED, whoever noticed it first. */
export async function cancellable<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (signal?.aborted && !isAppError(cause)) throw new AppError('CANCELLED', {}, { cause });
    throw cause;
  }
}
