import { randomUUID } from 'node:crypto';
import type { Job } from '../contract/domain.ts';
import { AppError, assert, isAppError, problemOf } from '../contract/errors.ts';
import type { LeftJob } from '../store/jobs.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { Session } from './port.ts';
import { toldProblem } from './told-problem.ts';

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
}

interface JobFacts {
  kind: Job['kind'];
  stationId: string | null;
  session: Session | null;
  firstStep: JobStep;
}

export interface JobService {
  handlers: HandlersOf<'jobs.list' | 'jobs.cancel'>;
  /** Queues the work; the first state is given at once, the rest comes as events. Work runs one at a time. */
  start(what: JobFacts, work: (job: JobWork) => Promise<string[]>): Job;
  /** The same for work that the next run takes up if this one ends without it; `resumable` must know its kind. */
  startResumable(what: JobFacts, request: unknown): Job;
  /** What the next run would be asked instead. */
  remember(jobId: string, request: unknown): void;
  /** Who does resumable jobs of a kind; said once, before `takeUp`. */
  resumable(kind: Job['kind'], work: ResumableWork): void;
  /** Queues what the run before left unfinished; what nobody can take up ends as interrupted. */
  takeUp(): void;
  /** A job of this kind that has not ended yet. */
  unfinished(kind: Job['kind'], stationId?: string): Job | null;
  /** Work of no job (queue ranking) steps aside while this is true. */
  busy(): boolean;
  /** While there is a reason, nothing but a backup starts, and what runs ends with it. null: over. */
  hold(reason: AppError | null): void;
  /** Cancels all and waits for their end; resumable jobs stay for the next run. */
  close(): Promise<void>;
}

const LISTED = 100;
const SKIPS_LISTED = 200;
/** Progress is told at most so often. */
const TELL_EVERY_MS = 100;

export const createJobService = (context: CoreContext): JobService => {
  const { store, log } = context;
  const running = new Map<string, { job: Job; controller: AbortController; cancelled: boolean }>();
  const known = new Map<Job['kind'], ResumableWork>();
  let last: Promise<void> = Promise.resolve();
  let closing = false;
  let holding: AppError | null = null;

  const toProblem = (thrown: unknown) => toldProblem(context, thrown, 'job');

  // What a killed run left as running: nothing of it was committed, so it can be taken up or started again.
  const interrupt = (job: Job) => {
    const problem = toProblem(new AppError('JOB_INTERRUPTED', { kind: job.kind }));
    store.jobs.save({ ...job, state: 'failed', secondsLeft: null, problem }, null, context.now().toISOString());
  };
  const left: LeftJob[] = [];
  for (const each of store.jobs.unfinished()) {
    if (each.request === undefined) interrupt(each.job);
    else left.push(each);
  }

  /** How jobs ended that the database does not know yet: a full disk may not hide it. */
  const ended = new Map<string, { job: Job; userId: string | null; at: string }>();
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
    // What cannot be removed now is removed at the next start (sweep.ts).
    const tidy = async () =>
      resumable?.ended(job.id).catch((error: unknown) => log.warn('left-over of a job', { job: job.id, error }));
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
        commit(result) {
          const done: Job = { ...job, state: 'done', progress: 1, secondsLeft: null, result };
          store.jobs.save(done, userId, context.now().toISOString());
        },
      });
      await tidy();
      job.state = 'done';
      job.progress = 1;
    } catch (error) {
      // Left as it is for the next run.
      if (closing && resumable !== null && running.get(job.id)?.cancelled !== true) return;
      await tidy();
      const held = isAppError(signal.reason) ? signal.reason : null;
      job.state = signal.aborted && held === null ? 'cancelled' : 'failed';
      if (job.state === 'failed') {
        job.problem = toProblem(held ?? error);
        log.warn('job failed', { job: job.id, kind: job.kind, problem: problemOf(error) });
      }
    }
    job.secondsLeft = null;
    running.delete(job.id);
    ended.set(job.id, { job, userId, at: context.now().toISOString() });
    storeEnded();
    tell(job);
  };

  const queue = (
    job: Job,
    userId: string | null,
    work: (job: JobWork) => Promise<string[]>,
    resumable: ResumableWork | null,
  ): Job => {
    const controller = new AbortController();
    running.set(job.id, { job, controller, cancelled: false });
    const first = structuredClone(job);
    last = last.then(() => run(job, controller, userId, work, resumable));
    return first;
  };

  const begin = ({ kind, stationId, session, firstStep }: JobFacts): { job: Job; userId: string | null } => {
    if (holding !== null && kind !== 'backup') throw holding;
    return { job: newJob(kind, stationId, firstStep), userId: session?.user?.id ?? null };
  };
  const newJob = (kind: Job['kind'], stationId: string | null, firstStep: JobStep): Job => ({
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
  });

  const resumableOf = (kind: Job['kind']): ResumableWork => {
    const found = known.get(kind);
    assert(found !== undefined, 'somebody does resumable jobs of this kind');
    return found;
  };

  return {
    start(what, work) {
      const { job, userId } = begin(what);
      store.jobs.save(job, userId, null);
      return queue(job, userId, work, null);
    },
    startResumable(what, request) {
      const resumable = resumableOf(what.kind);
      const { job, userId } = begin(what);
      store.transaction(() => {
        store.jobs.save(job, userId, null);
        store.jobs.setRequest(job.id, request);
      });
      return queue(job, userId, (work) => resumable.work(work, request), resumable);
    },
    remember: (jobId, request) => store.jobs.setRequest(jobId, request),
    resumable: (kind, work) => void known.set(kind, work),
    takeUp() {
      for (const { job, userId, request } of left.splice(0)) {
        const resumable = known.get(job.kind);
        if (resumable === undefined) {
          interrupt(job);
          continue;
        }
        log.info('job taken up again', { job: job.id, kind: job.kind });
        const step = { key: `${job.kind}.resuming`, details: {} };
        const again: Job = { ...job, state: 'waiting', progress: 0, secondsLeft: null, step };
        queue(again, userId, (work) => resumable.work(work, request), resumable);
      }
    },
    unfinished(kind, stationId) {
      for (const { job } of running.values()) {
        if (job.kind === kind && (stationId === undefined || job.stationId === stationId)) return structuredClone(job);
      }
      return null;
    },
    busy: () => running.size > 0,
    hold(reason) {
      holding = reason;
      if (reason === null) return;
      for (const { job, controller } of running.values()) if (job.kind !== 'backup') controller.abort(reason);
    },
    async close() {
      closing = true;
      for (const { controller } of running.values()) controller.abort();
      await last;
      storeEnded();
    },
    handlers: {
      async 'jobs.list'() {
        storeEnded();
        const now = (job: Job): Job => running.get(job.id)?.job ?? ended.get(job.id)?.job ?? job;
        return store.jobs.list(LISTED).map((job) => structuredClone(now(job)));
      },
      async 'jobs.cancel'({ jobId }, session) {
        const found = running.get(jobId);
        if (found === undefined) {
          const ended = store.jobs.list(LISTED).find((job) => job.id === jobId);
          if (ended !== undefined) return ended;
          throw new AppError('NOT_FOUND', { kind: 'job', id: jobId });
        }
        // A power cut from here on does not bring it back.
        store.jobs.setRequest(jobId, undefined);
        found.cancelled = true;
        found.controller.abort();
        log.info('job cancelled', { job: jobId, by: actor(session) });
        return structuredClone(found.job);
      },
    },
  };
};
