import { randomUUID } from 'node:crypto';
import type { Job } from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import type { LeftJob } from '../store/jobs.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { createJobQueue, type JobStep, type JobWork, type ResumableWork, type Running } from './job-queue.ts';
import type { Session } from './port.ts';

export type { JobStep, JobWork, ResumableWork } from './job-queue.ts';

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

export const createJobService = (context: CoreContext): JobService => {
  const { store, log } = context;
  const known = new Map<Job['kind'], ResumableWork>();
  const queue = createJobQueue(context, known);
  const { running, tell, storeEnded } = queue;
  let holding: AppError | null = null;

  // What a killed run left as running: nothing of it was committed, so it can be taken up or started again.
  const interrupt = (job: Job) => {
    const problem = new AppError('JOB_INTERRUPTED', { kind: job.kind }).toProblem();
    store.jobs.save({ ...job, state: 'failed', secondsLeft: null, problem }, null, context.now().toISOString());
  };
  const left: LeftJob[] = [];
  for (const each of store.jobs.unfinished()) {
    if (each.request === undefined) interrupt(each.job);
    else left.push(each);
  }

  /** Again in the queue, from where it was. */
  const goOn = ({ job, userId, request }: LeftJob, resumable: ResumableWork): Job => {
    const step = { key: `${job.kind}.resuming`, details: {} };
    const again: Job = { ...job, state: 'waiting', secondsLeft: null, step, resumable: true, finishable: false };
    return queue.add(again, userId, (work) => resumable.work(work, request), resumable);
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
    if (reason !== null) queue.endAll(reason);
  };

  return {
    start(what, work) {
      const { job, userId } = begin(what);
      store.jobs.save(job, userId, null);
      return queue.add(job, userId, work, null, what.asked);
    },
    startResumable(what, request) {
      const resumable = resumableOf(what.kind);
      const { job: begun, userId } = begin(what);
      const job: Job = { ...begun, resumable: true };
      store.transaction(() => {
        store.jobs.save(job, userId, null);
        store.jobs.setRequest(job.id, request);
      });
      return queue.add(job, userId, (work) => resumable.work(work, request), resumable);
    },
    remember(jobId, request) {
      // One that was cancelled is not brought back by a power cut while its work ends, whatever that says of itself.
      if (running.get(jobId)?.cancelled !== true) store.jobs.setRequest(jobId, request);
    },
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
    close: () => queue.close(),
    handlers: {
      async 'jobs.list'() {
        storeEnded();
        return store.jobs.list(LISTED).map((job) => structuredClone(queue.now(job)));
      },
      async 'jobs.cancel'({ jobId }, session) {
        await rested(jobId);
        const found = running.get(jobId);
        if (found === undefined) return discard(storedJob(jobId), session);
        if (!found.cancelled) cancel(found, session);
        if (found.job.state === 'waiting') await queue.endWaiting(found);
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
        queue.pause(found);
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
        if (isRunning) queue.pause(found);
        await rested(jobId);
        const left = store.jobs.paused(jobId);
        // Somebody else was faster, with this or with a cancel.
        if (left === null) return structuredClone(running.get(jobId)?.job ?? storedJob(jobId));
        return resume({ ...left, request: early.ask(left.request) }, 'jobs.finish', session);
      },
    },
  };
};
