import type { Migration } from './migration.ts';

/** Heads of the audit trail, signed by the installation. */
export const auditHeads: Migration = {
  version: 210,
  name: 'audit-heads',
  up: (db) =>
    db.exec(`
      CREATE TABLE audit_heads (
        n INTEGER PRIMARY KEY, hash TEXT NOT NULL, at TEXT NOT NULL, signature TEXT NOT NULL
      ) STRICT;
      CREATE TRIGGER audit_heads_no_update BEFORE UPDATE ON audit_heads BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
      CREATE TRIGGER audit_heads_no_delete BEFORE DELETE ON audit_heads BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    `),
};
