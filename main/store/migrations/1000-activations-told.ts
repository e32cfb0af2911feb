import type { Migration } from './migration.ts';

/** Activations in the trail, the newest first: which one was the last is asked whenever a line is set up, also of a trail of years. */
export const activationsTold: Migration = {
  version: 1000,
  name: 'activations-told',
  up: (db) =>
    db.exec(`CREATE INDEX audit_activations ON audit (n) WHERE action IN ('models.activate', 'models.rollback')`),
};
