import { randomUUID } from 'node:crypto';
import type { Job } from '../contract/domain.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { Session } from './port.ts';

export type JobStep = Job['step'];

export interface JobWork {
  /** Aborted by jobs.cancel and by the end of the core. */
  signal: AbortSignal;
  progress(share: number, step: JobStep, secondsLeft?: number | null): void;
  /** A file that was left out, by name and why. */
  skip(file: string, error: AppError): void;
}

export interface JobService {
  handlers: HandlersOf<'jobs.list' | 'jobs.cancel'>;
  /** Queues the work; the first state is given at once, the rest comes as events. Work runs one at a time. */
  start(
    what: { kind: Job['kind']; stationId: string | null; session: Session | null; firstStep: JobStep },
    work: (job: JobWork) => Promise<string[]>,
  ): Job;
  /** A job of this kind that has not ended yet. */
  unfinished(kind: Job['kind'], stationId?: string): Job | null;
  /** Work of no job (queue ranking) steps aside while this is true. */
  busy(): boolean;
  /** Cancels all and waits for their end. */
  close(): Promise<void>;
}

const LISTED = 100;
const SKIPS_LISTED = 200;
/** Progress is told at most so often. */
const TELL_EVERY_MS = 100;

export const createJobService = (context: CoreContext): JobService => {
  const { store, log } = context;
  const running = new Map<string, { job: Job; controller: AbortController }>();
  let last: Promise<void> = Promise.resolve();

  const toProblem = (error: unknown): Job['problem'] => {
    const known = isAppError(error) ? error : null;
    const ref = randomUUID().slice(0, 8);
    if (known === null) log.error('job failed with a bug', { ref, error });
    const shown = known ?? new AppError('INTERNAL', { ref, problem: problemOf(error) });
    return { code: shown.code, message: shown.message, nextAction: shown.nextAction, details: shown.details };
  };

  // What a killed run left as running has ended: nothing of it was committed, so it can simply be started again.
  for (const job of store.jobs.unfinished()) {
    const problem = toProblem(new AppError('JOB_INTERRUPTED', { kind: job.kind }));
    store.jobs.save({ ...job, state: 'failed', secondsLeft: null, problem }, null, context.now().toISOString());
  }

  const tell = (job: Job) => context.emit('jobs.progressed', structuredClone(job));

  const run = async (
    job: Job,
    controller: AbortController,
    userId: string | null,
    work: (job: JobWork) => Promise<string[]>,
  ) => {
    const { signal } = controller;
    let toldAt = 0;
    const skipped: NonNullable<Job['skipped']> = [];
    try {
      signal.throwIfAborted();
      job.state = 'running';
      store.jobs.save(job, userId, null);
      tell(job);
      job.result = await work({
        signal,
        progress(share, step, secondsLeft = null) {
          if (signal.aborted) return;
          Object.assign(job, { progress: Math.min(1, Math.max(0, share)), step, secondsLeft });
          const at = performance.now();
          if (at - toldAt < TELL_EVERY_MS) return;
          toldAt = at;
          tell(job);
        },
        skip(file, error) {
          if (skipped.length < SKIPS_LISTED) skipped.push({ file, code: error.code, message: error.message });
          job.skipped = skipped;
        },
      });
      job.state = 'done';
      job.progress = 1;
    } catch (error) {
      job.state = signal.aborted ? 'cancelled' : 'failed';
      if (job.state === 'failed') {
        job.problem = toProblem(error);
        log.warn('job failed', { job: job.id, kind: job.kind, problem: problemOf(error) });
      }
    }
    job.secondsLeft = null;
    running.delete(job.id);
    try {
      store.jobs.save(job, userId, context.now().toISOString());
    } catch (error) {
      // A full disk may not hide how the job ended: the window still hears it.
      log.error('end of a job could not be stored', { job: job.id, error });
    }
    tell(job);
  };

  return {
    start({ kind, stationId, session, firstStep }, work) {
      const job: Job = {
        id: `j-${randomUUID().slice(0, 12)}`,
        kind,
        stationId,
        state: 'waiting',
        progress: 0,
        secondsLeft: null,
        step: firstStep,
        startedAt: context.now().toISOString(),
        problem: null,
        result: [],
      };
      const userId = session?.user?.id ?? null;
      store.jobs.save(job, userId, null);
      const controller = new AbortController();
      running.set(job.id, { job, controller });
      const first = structuredClone(job);
      last = last.then(() => run(job, controller, userId, work));
      return first;
    },
    unfinished(kind, stationId) {
      for (const { job } of running.values()) {
        if (job.kind === kind && (stationId === undefined || job.stationId === stationId)) return structuredClone(job);
      }
      return null;
    },
    busy: () => running.size > 0,
    async close() {
      for (const { controller } of running.values()) controller.abort();
      await last;
    },
    handlers: {
      'jobs.list': async () => store.jobs.list(LISTED).map((job) => structuredClone(running.get(job.id)?.job ?? job)),
      async 'jobs.cancel'({ jobId }, session) {
        const found = running.get(jobId);
        if (found === undefined) {
          const ended = store.jobs.list(LISTED).find((job) => job.id === jobId);
          if (ended !== undefined) return ended;
          throw new AppError('NOT_FOUND', { kind: 'job', id: jobId });
        }
        found.controller.abort();
        log.info('job cancelled', { job: jobId, by: actor(session) });
        return structuredClone(found.job);
      },
    },
  };
};
