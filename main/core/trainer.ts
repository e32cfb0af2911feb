import { AppError, isAppError } from '../contract/errors.ts';
import type { CoreContext } from './context.ts';
import type { JobWork } from './jobs.ts';
import type { TrainerClient } from './port.ts';

/** Its process ended, which another attempt may get past; not: it answered with a failure. */
export const isTrainerLost = (error: unknown): boolean =>
  isAppError(error, 'TRAINER_FAILED') && isAppError(error.cause, 'DISCONNECTED');

/**
 * Lets a job use the trainer process: its progress becomes the job's, its crash becomes TRAINER_FAILED, and a cancelled call ends
 * the process, because what it was doing would go on otherwise. Files it left half-made are the caller's to remove.
 */
export const withTrainer = async <T>(
  { processes, log }: Pick<CoreContext, 'processes' | 'log'>,
  job: Pick<JobWork, 'signal' | 'progress'>,
  work: (trainer: TrainerClient) => Promise<T>,
): Promise<T> => {
  job.signal.throwIfAborted();
  let trainer: TrainerClient;
  try {
    trainer = await processes.trainer();
  } catch (cause) {
    throw isAppError(cause, 'DISCONNECTED')
      ? new AppError('TRAINER_FAILED', { problem: cause.message }, { cause })
      : cause;
  }
  const dispose = trainer.on('trainer.progressed', ({ progress, step, secondsLeft }) =>
    job.progress(progress, step, secondsLeft),
  );
  try {
    return await work(trainer);
  } catch (cause) {
    if (job.signal.aborted) {
      await processes.stop('trainer').catch((error: unknown) => log.warn('trainer did not stop', { error }));
      throw cause;
    }
    if (isAppError(cause, 'DISCONNECTED')) {
      throw new AppError('TRAINER_FAILED', { problem: 'its process ended unexpectedly' }, { cause });
    }
    if (isAppError(cause, 'INTERNAL')) throw new AppError('TRAINER_FAILED', { problem: cause.message }, { cause });
    throw cause;
  } finally {
    dispose();
    trainer.close?.();
  }
};
