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
  /** Work that can end early with what it has found: whether it is at that by its step, and what it is asked then in place of `request`. */
  early?: { isPossible(step: JobStep): boolean; ask(request: unknown): unknown };
}

/** Ends the work of a job that shall go on later. */
class Paused extends Error {}

interface Running {
  job: Job;
  asked: string | undefined;
  userId: string | null;
  controller: AbortController;
  cancelled: boolean;
  /** Settled when the work has ended. */
  over: Promise<void>;
}

interface JobFacts {
  kind: Job['kind'];
  stationId: string | null;
  session: Session | null;
  firstStep: JobStep;
  /** What it was asked, where jobs of its kind and station are asked different things. */
  asked?: string;
}

export interface JobService {
  handlers: HandlersOf<'jobs.list' | 'jobs.cancel' | 'jobs.pause' | 'jobs.resume' | 'jobs.finish'>;
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
  /** One that runs or waits for its turn and was asked the same: whoever asks again gets it. Not one that is ending before it is done. */
  underWay(what: Pick<JobFacts, 'kind' | 'stationId' | 'asked'>): Job | null;
  /** A job of this kind still is at the station's data, or waits for its turn. */
  isBusy(kind: Job['kind'], stationId: string): boolean;
  /** One that was paused. */
  paused(kind: Job['kind'], stationId: string): Job | null;
  /** Work of no job (queue ranking) steps aside while this is true. */
  busy(): boolean;
  /** While there is a reason, nothing but a backup starts, and what runs ends with it, or is paused where it can go on later. null: over. */
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
  const running = new Map<string, Running>();
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
      await tidy();
      Object.assign(job, { state: 'done', progress: 1, problem: null } satisfies Partial<Job>);
    } catch (error) {
      // Paused while it waited for its turn, and perhaps queued again since.
      if (running.get(job.id)?.controller !== controller) return;
      const isKept = resumable !== null && running.get(job.id)?.cancelled !== true;
      if (isKept && signal.reason instanceof Paused) return void running.delete(job.id);
      // Left as it is for the next run.
      if (closing && isKept) return;
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
  /** Again in the queue, from where it was. */
  const goOn = ({ job, userId, request }: LeftJob, resumable: ResumableWork): Job => {
    const step = { key: `${job.kind}.resuming`, details: {} };
    const again: Job = { ...job, state: 'waiting', secondsLeft: null, step, resumable: true, finishable: false };
    return queue(again, userId, (work) => resumable.work(work, request), resumable);
  };
  /** One that was paused; asked what `left` says. */
  const resume = (left: LeftJob, action: 'jobs.resume' | 'jobs.finish', session: Session): Job => {
    if (holding !== null) throw holding;
    const job: Job = { ...left.job, state: 'waiting', problem: null, resumedAt: context.now().toISOString() };
    store.transaction(() => {
      store.jobs.save(job, left.userId, null);
      store.jobs.setRequest(job.id, left.request);
      noted(action, job, session);
    });
    const queued = goOn({ ...left, job }, resumableOf(job.kind));
    tell(queued);
    return queued;
  };
  const noted = (action: string, job: Job, session: Session): void =>
    void store.transaction(() =>
      store.audit.append({
        user: actor(session),
        action,
        subject: job.stationId ?? job.id,
        details: { job: job.id, kind: job.kind },
      }),
    );

  const queue = (
    job: Job,
    userId: string | null,
    work: (job: JobWork) => Promise<string[]>,
    resumable: ResumableWork | null,
    asked?: string,
  ): Job => {
    const controller = new AbortController();
    const first = structuredClone(job);
    last = last.then(() => run(job, controller, userId, work, resumable));
    running.set(job.id, { job, asked, userId, controller, cancelled: false, over: last });
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

  /** One that is paused has ended its work, and is stored, after this. */
  const rested = async (jobId: string): Promise<void> => {
    const found = running.get(jobId);
    if (found?.job.state === 'paused') await found.over;
    storeEnded();
  };
  const storedJob = (jobId: string): Job => {
    const job = store.jobs.list(LISTED).find(({ id }) => id === jobId) ?? store.jobs.paused(jobId)?.job;
    if (job === undefined) throw new AppError('NOT_FOUND', { kind: 'job', id: jobId });
    return job;
  };
  /** A paused job ends, and what was kept for it goes; one that has ended stays as it is. */
  const discard = async (job: Job, session: Session): Promise<Job> => {
    const left = store.jobs.paused(job.id);
    if (left === null) return job;
    const over: Job = { ...job, state: 'cancelled', problem: null };
    store.transaction(() => {
      store.jobs.setRequest(job.id, undefined);
      store.jobs.save(over, left.userId, context.now().toISOString());
    });
    noted('jobs.discard', over, session);
    await known.get(job.kind)?.ended(job.id);
    tell(over);
    return over;
  };

  const cancel = (found: Running, session: Session): void => {
    const { job, controller } = found;
    found.cancelled = true;
    controller.abort();
    try {
      // A power cut from here on does not bring it back.
      store.jobs.setRequest(job.id, undefined);
      noted('jobs.cancel', job, session);
    } catch (error) {
      // A disk that is full keeps nothing running.
      log.error('cancelling of a job could not be stored', { job: job.id, by: actor(session), error });
    }
    log.info('job cancelled', { job: job.id, by: actor(session) });
  };

  const ofKind = (kind: Job['kind'], stationId: string | null): Running[] =>
    [...running.values()].filter(({ job }) => job.kind === kind && job.stationId === stationId);

  const hold = (reason: AppError | null): void => {
    holding = reason;
    if (reason === null) return;
    for (const found of running.values()) {
      const { job, controller } = found;
      if (job.kind === 'backup' || controller.signal.aborted) continue;
      if (job.resumable) pause(found, reason);
      else controller.abort(reason);
    }
  };

  return {
    start(what, work) {
      const { job, userId } = begin(what);
      store.jobs.save(job, userId, null);
      return queue(job, userId, work, null, what.asked);
    },
    startResumable(what, request) {
      const resumable = resumableOf(what.kind);
      const { job: begun, userId } = begin(what);
      const job: Job = { ...begun, resumable: true };
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
        const again = { ...job, progress: 0, resumedAt: context.now().toISOString() };
        goOn({ job: again, userId, request }, resumable);
      }
      // The disk may have been low before there was anything to hold.
      hold(holding);
    },
    underWay({ kind, stationId, asked }) {
      const found = ofKind(kind, stationId).find((each) => each.asked === asked && !each.controller.signal.aborted);
      return found === undefined ? null : structuredClone(found.job);
    },
    isBusy: (kind, stationId) => ofKind(kind, stationId).length > 0,
    paused: (kind, stationId) =>
      store.jobs
        .list(LISTED)
        .find((job) => job.state === 'paused' && job.kind === kind && job.stationId === stationId) ?? null,
    busy: () => running.size > 0,
    hold,
    async close() {
      closing = true;
      keepUsed();
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
        await rested(jobId);
        const found = running.get(jobId);
        if (found === undefined) return discard(storedJob(jobId), session);
        if (!found.cancelled) cancel(found, session);
        return structuredClone(found.job);
      },
      async 'jobs.pause'({ jobId }, session) {
        const found = running.get(jobId);
        const { job } = found ?? { job: storedJob(jobId) };
        if (job.state === 'paused') return structuredClone(job);
        if (found === undefined || job.resumable !== true || found.controller.signal.aborted) {
          const needed = 'a job under way that can be paused';
          throw new AppError('CONFLICT', { what: `the job ${jobId}`, state: job.state, needed });
        }
        noted('jobs.pause', job, session);
        pause(found);
        return structuredClone(job);
      },
      async 'jobs.resume'({ jobId }, session) {
        await rested(jobId);
        const left = store.jobs.paused(jobId);
        if (left === null) {
          const { state } = running.get(jobId)?.job ?? storedJob(jobId);
          throw new AppError('CONFLICT', { what: `the job ${jobId}`, state, needed: 'a paused one' });
        }
        return resume(left, 'jobs.resume', session);
      },
      async 'jobs.finish'({ jobId }, session) {
        const found = running.get(jobId);
        const job = found?.job ?? storedJob(jobId);
        const isRunning = job.state === 'running' && found?.controller.signal.aborted === false;
        const early = known.get(job.kind)?.early;
        if ((!isRunning && job.state !== 'paused') || !job.finishable || !early) {
          const needed = 'a search under way';
          throw new AppError('CONFLICT', { what: `the job ${jobId}`, state: job.state, needed });
        }
        if (holding !== null) throw holding;
        if (isRunning) pause(found);
        await rested(jobId);
        const left = store.jobs.paused(jobId);
        // Somebody else was faster, with this or with a cancel.
        if (left === null) return structuredClone(running.get(jobId)?.job ?? storedJob(jobId));
        return resume({ ...left, request: early.ask(left.request) }, 'jobs.finish', session);
      },
    },
  };
};
