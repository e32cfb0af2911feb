import type { Migration } from './migration.ts';

/** The audit trail: each entry holds the hash of the one before. The triggers stop accidents; the hashes show intent. */
export const audit: Migration = {
  version: 70,
  name: 'audit',
  up: (db) =>
    db.exec(`
      CREATE TABLE audit (
        n INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        user TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        details TEXT NOT NULL,
        previous_hash TEXT NOT NULL,
        hash TEXT NOT NULL
      ) STRICT;
      CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
      CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    `),
};
