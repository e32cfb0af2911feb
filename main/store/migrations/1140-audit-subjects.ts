import type { Migration } from './migration.ts';

/** Who did something to something last is asked of the trail for every class of a golden set and every retired class: of a trail of years too. */
export const auditSubjects: Migration = {
  version: 1140,
  name: 'audit-subjects',
  up: (db) => db.exec(`CREATE INDEX audit_subjects ON audit (action, subject)`),
};
