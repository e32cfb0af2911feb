import type { Database } from 'better-sqlite3';
import { jobSchema, type Job } from '../contract/domain.ts';

/** A job that a run which ended without a word left behind. */
export interface LeftJob {
  job: Job;
  userId: string | null;
  /** What it was asked; undefined: it cannot be taken up again. */
  request: unknown;
}

export interface Jobs {
  /** Paused ones, and then the newest first. */
  list(limit: number): Job[];
  save(job: Job, userId: string | null, endedAt: string | null): void;
  /** @param request serialisable; undefined: it shall not be taken up */
  setRequest(jobId: string, request: unknown): void;
  /** Oldest first; without paused ones. */
  unfinished(): LeftJob[];
  /** A job that was paused; null: it is none. */
  paused(jobId: string): LeftJob | null;
  /** Ids of all jobs that go on, now or once somebody resumes them. */
  kept(): string[];
}

interface Row {
  job: string;
  user_id: string | null;
  request: string | null;
}

export const createJobs = (db: Database): Jobs => {
  const list = db.prepare(`SELECT job FROM jobs ORDER BY state = 'paused' DESC, position DESC LIMIT ?`).pluck();
  const unfinished = db.prepare(
    `SELECT job, user_id, request FROM jobs WHERE state IN ('waiting', 'running') ORDER BY position`,
  );
  const paused = db.prepare(`SELECT job, user_id, request FROM jobs WHERE state = 'paused' AND id = ?`);
  const kept = db
    .prepare(`SELECT id FROM jobs WHERE state IN ('waiting', 'running', 'paused') AND request IS NOT NULL`)
    .pluck();
  const save = db.prepare(`
    INSERT INTO jobs (id, kind, station_id, user_id, state, started_at, ended_at, job, position)
    VALUES (@id, @kind, @stationId, @userId, @state, @startedAt, @endedAt, @job, (SELECT coalesce(max(position), 0) + 1 FROM jobs))
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at, job = excluded.job`);
  const setRequest = db.prepare('UPDATE jobs SET request = ? WHERE id = ?');
  const toJob = (text: unknown): Job => jobSchema.parse(JSON.parse(text as string));
  const toLeft = (row: Row): LeftJob => ({
    job: toJob(row.job),
    userId: row.user_id,
    request: row.request === null ? undefined : JSON.parse(row.request),
  });
  return {
    list: (limit) => list.all(limit).map(toJob),
    unfinished: () => (unfinished.all() as Row[]).map(toLeft),
    paused(jobId) {
      const row = paused.get(jobId) as Row | undefined;
      return row === undefined ? null : toLeft(row);
    },
    kept: () => kept.all() as string[],
    setRequest: (jobId, request) => void setRequest.run(request === undefined ? null : JSON.stringify(request), jobId),
    save: (job, userId, endedAt) =>
      void save.run({
        id: job.id,
        kind: job.kind,
        stationId: job.stationId,
        userId,
        state: job.state,
        startedAt: job.startedAt,
        endedAt,
        job: JSON.stringify(job),
      }),
  };
};
