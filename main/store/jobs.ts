import type { Database } from 'better-sqlite3';
import { jobSchema, type Job } from '../contract/domain.ts';

export interface Jobs {
  /** Newest first. */
  list(limit: number): Job[];
  save(job: Job, userId: string | null, endedAt: string | null): void;
  /** Jobs that a run which ended without a word left behind. */
  unfinished(): Job[];
}

export const createJobs = (db: Database): Jobs => {
  const list = db.prepare('SELECT job FROM jobs ORDER BY position DESC LIMIT ?').pluck();
  const unfinished = db.prepare(`SELECT job FROM jobs WHERE state IN ('waiting', 'running')`).pluck();
  const save = db.prepare(`
    INSERT INTO jobs (id, kind, station_id, user_id, state, started_at, ended_at, job, position)
    VALUES (@id, @kind, @stationId, @userId, @state, @startedAt, @endedAt, @job, (SELECT coalesce(max(position), 0) + 1 FROM jobs))
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at, job = excluded.job`);
  const toJob = (text: unknown): Job => jobSchema.parse(JSON.parse(text as string));
  return {
    list: (limit) => list.all(limit).map(toJob),
    unfinished: () => unfinished.all().map(toJob),
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
