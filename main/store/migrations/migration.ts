import type { Database } from 'better-sqlite3';

/** One step of the schema. Numbers go up by tens, so that a branch can slip one in; a released step is never edited. */
export interface Migration {
  /** The database's user_version after this step. */
  version: number;
  name: string;
  up(db: Database): void;
}
