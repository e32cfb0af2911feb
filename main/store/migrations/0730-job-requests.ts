import type { Migration } from './migration.ts';

/** What a job was asked, so that a run after a power cut can take it up again; null: it cannot be taken up. */
export const jobRequests: Migration = {
  version: 730,
  name: 'job-requests',
  up: (db) => db.exec('ALTER TABLE jobs ADD COLUMN request TEXT;'),
};
