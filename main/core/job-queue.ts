import type { Job } from '../contract/domain.ts';
import { isAppError, problemOf, type AppError } from '../contract/errors.ts';
import type { CoreContext } from './context.ts';
import { toldProblem } from './told-problem.ts';

/* One job after the other: how they run, pause and end, and what the database is told of it. Who may ask for what is said in jobs.ts. */

export type JobStep = Job['step'];

export interface JobWork {
  readonly id: string;
  /** Aborted by jobs.cancel and by the end of the core. */
  signal: AbortSignal;
  progress(share: number, step: JobStep, secondsLeft?: number | null): void;
  /** A file that was left out, by name and why. */
  skip(file: string, error: AppError): void;
  /** Within a transaction that stores what was made: a power cut after it finds the job done. */
  commit(result: string[]): void;
}

/** Work that goes on where it was when the program, or a process that it needs, ended. */
export interface ResumableWork {
  /** @param request as it was given to `start`, or to `remember` since */
  work(job: JobWork, request: unknown): Promise<string[]>;
  /** The job has ended for good: whatever was kept for it goes. */
  ended(jobId: string): Promise<void>;
  /** Work that can end early with what it has found: whether it is at that by its step, and what it is asked then in place of `request`. */
  early?: { isPossible(step: JobStep): boolean; ask(request: unknown): unknown };
}

/** Ends the work of a job that shall go on later. */
class Paused extends Error {}

export interface Running {
  job: Job;
  asked: string | undefined;
  userId: string | null;
  controller: AbortController;
  cancelled: boolean;
  /** Settled when the work has ended. */
  over: Promise<void>;
}

export interface JobQueue {
  /** What runs or waits for its turn, by id; also what was paused, until its work has ended. */
  readonly running: ReadonlyMap<string, Running>;
  /** The last of the queue; gives its first state. @param resumable null: it cannot go on later */
  add(
    job: Job,
    userId: string | null,
    work: (job: JobWork) => Promise<string[]>,
    resumable: ResumableWork | null,
    asked?: string,
  ): Job;
  /** @param reason why, if no person wants it */
  pause(found: Running, reason?: AppError): void;
  /** One that was cancelled before its turn: it ends now, and not when what runs has. */
  endWaiting(found: Running): Promise<void>;
  /** All but a backup end with it, or are paused where they can go on later. */
  endAll(reason: AppError): void;
  tell(job: Job): void;
  /** How it stands now; the database may know less. */
  now(job: Job): Job;
  /** What the database does not know yet is tried again. */
  storeEnded(): void;
  /** Cancels all and waits for their end; resumable jobs stay for the next run. */
  close(): Promise<void>;
}

const SKIPS_LISTED = 200;
/** Progress is told at most so often. */
const TELL_EVERY_MS = 100;

/** @param known who does resumable jobs, by kind */
export const createJobQueue = (context: CoreContext, known: ReadonlyMap<Job['kind'], ResumableWork>): JobQueue => {
  const { store, log } = context;
  const running = new Map<string, Running>();
  let last: Promise<void> = Promise.resolve();
  let closing = false;

  /** How jobs ended, or that they were paused (`at` null), which the database does not know yet: a full disk may not hide it. */
  const ended = new Map<string, { job: Job; userId: string | null; at: string | null }>();
  const storeEnded = (): void => {
    try {
      for (const [id, { job, userId, at }] of ended) {
        store.jobs.save(job, userId, at);
        ended.delete(id);
      }
    } catch (error) {
      log.error('end of a job could not be stored; tried again', { jobs: [...ended.keys()], error });
    }
  };
  const tell = (job: Job) => context.emit('jobs.progressed', structuredClone(job));

  // What cannot be removed now is removed at the next start (sweep.ts).
  const tidy = async (resumable: ResumableWork | null | undefined, jobId: string) =>
    resumable?.ended(jobId).catch((error: unknown) => log.warn('left-over of a job', { job: jobId, error }));
  const end = (job: Job, userId: string | null): void => {
    job.secondsLeft = null;
    running.delete(job.id);
    ended.set(job.id, { job, userId, at: context.now().toISOString() });
    storeEnded();
    tell(job);
  };

  const run = async (
    job: Job,
    controller: AbortController,
    userId: string | null,
    work: (job: JobWork) => Promise<string[]>,
    resumable: ResumableWork | null,
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
        id: job.id,
        signal,
        progress(share, step, secondsLeft = null) {
          if (signal.aborted) return;
          const finishable = known.get(job.kind)?.early?.isPossible(step) ?? false;
          Object.assign(job, { progress: Math.min(1, Math.max(0, share)), step, secondsLeft, finishable });
          const at = performance.now();
          if (at - toldAt < TELL_EVERY_MS) return;
          toldAt = at;
          tell(job);
        },
        skip(file, error) {
          if (skipped.length < SKIPS_LISTED) skipped.push({ file, code: error.code, message: error.message });
          job.skipped = skipped;
        },
        commit(result) {
          const done: Job = { ...job, state: 'done', progress: 1, secondsLeft: null, problem: null, result };
          store.jobs.save(done, userId, context.now().toISOString());
        },
      });
      await tidy(resumable, job.id);
      Object.assign(job, { state: 'done', progress: 1, problem: null } satisfies Partial<Job>);
    } catch (error) {
      // Paused or cancelled while it waited for its turn, and perhaps queued again since.
      if (running.get(job.id)?.controller !== controller) return;
      const isKept = resumable !== null && running.get(job.id)?.cancelled !== true;
      if (isKept && signal.reason instanceof Paused) return void running.delete(job.id);
      // Left as it is for the next run.
      if (closing && isKept) return;
      await tidy(resumable, job.id);
      const held = isAppError(signal.reason) ? signal.reason : null;
      job.state = signal.aborted && held === null ? 'cancelled' : 'failed';
      if (job.state === 'failed') {
        job.problem = toldProblem(context, held ?? error, 'job');
        log.warn('job failed', { job: job.id, kind: job.kind, problem: problemOf(error) });
      }
    }
    end(job, userId);
  };

  /** Seconds of the job's own, without its pauses. */
  const usedSeconds = ({ startedAt, resumedAt = startedAt, usedSeconds: before = 0 }: Job): number =>
    before + Math.max(0, (context.now().getTime() - Date.parse(resumedAt)) / 1000);
  /** Stored before its work has ended: a power cut meanwhile does not take it up. @param reason null: a person wants it */
  const pause = ({ job, userId, controller }: Running, reason: AppError | null = null): void => {
    // One that waits for its turn has nothing to end.
    if (job.state === 'waiting') running.delete(job.id);
    const problem = reason?.toProblem() ?? null;
    const change = {
      state: 'paused',
      secondsLeft: null,
      usedSeconds: usedSeconds(job),
      problem,
    } satisfies Partial<Job>;
    Object.assign(job, change);
    ended.set(job.id, { job: structuredClone(job), userId, at: null });
    storeEnded();
    tell(job);
    controller.abort(new Paused());
  };
  /** What is taken up by the next run goes on counting from here: the time without the program is nobody's. */
  const keepUsed = (): void => {
    try {
      for (const { job, userId, request } of store.jobs.unfinished()) {
        const now = running.get(job.id)?.job;
        if (request === undefined || now === undefined) continue;
        store.jobs.save({ ...job, usedSeconds: usedSeconds(now) }, userId, null);
      }
    } catch (error) {
      log.warn('used time of jobs could not be stored', { error });
    }
  };

  const add: JobQueue['add'] = (job, userId, work, resumable, asked) => {
    const controller = new AbortController();
    const first = structuredClone(job);
    last = last.then(() => run(job, controller, userId, work, resumable));
    running.set(job.id, { job, asked, userId, controller, cancelled: false, over: last });
    return first;
  };

  return {
    running,
    add,
    pause,
    async endWaiting({ job, userId }) {
      job.state = 'cancelled';
      end(job, userId);
      if (job.resumable) await tidy(known.get(job.kind), job.id);
    },
    endAll(reason) {
      for (const found of running.values()) {
        const { job, controller } = found;
        if (job.kind === 'backup' || controller.signal.aborted) continue;
        if (job.resumable) pause(found, reason);
        else controller.abort(reason);
      }
    },
    tell,
    now: (job) => running.get(job.id)?.job ?? ended.get(job.id)?.job ?? job,
    storeEnded,
    async close() {
      closing = true;
      keepUsed();
      for (const { controller } of running.values()) controller.abort();
      await last;
      storeEnded();
    },
  };
};
