import type { Migration } from './migration.ts';

/** The labelling queue, the labels (one per station and image), and the actions that undo takes back. */
export const labels: Migration = {
  version: 40,
  name: 'labels',
  up: (db) =>
    db.exec(`
      CREATE TABLE queue (
        part_id INTEGER PRIMARY KEY REFERENCES parts (id),
        station_id TEXT NOT NULL,
        reason TEXT NOT NULL,
        usefulness REAL NOT NULL,
        group_id INTEGER,
        suggested_class_id TEXT,
        -- Features were looked at for order and groups.
        ranked INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL CHECK (state IN ('open', 'labelled', 'skipped'))
      ) STRICT;
      CREATE INDEX queue_order ON queue (station_id, state, usefulness DESC, part_id);
      CREATE INDEX queue_group ON queue (station_id, group_id) WHERE group_id IS NOT NULL;
      CREATE TABLE labels (
        station_id TEXT NOT NULL REFERENCES stations (id),
        image_sha TEXT NOT NULL REFERENCES images (sha),
        class_id TEXT NOT NULL REFERENCES classes (id),
        -- Region of the defect in the rotated frame, or all null.
        box_x INTEGER, box_y INTEGER, box_width INTEGER, box_height INTEGER,
        part_id INTEGER NOT NULL REFERENCES parts (id),
        user_id TEXT NOT NULL REFERENCES users (id),
        at TEXT NOT NULL,
        -- Class under which the newest knowledge has learnt it; null: not learnt yet.
        learnt_class_id TEXT,
        PRIMARY KEY (station_id, image_sha)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE label_actions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        user_id TEXT NOT NULL REFERENCES users (id),
        at TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('label', 'skip')),
        undone INTEGER NOT NULL DEFAULT 0
      ) STRICT;
      CREATE INDEX label_actions_last ON label_actions (user_id, undone, id);
      CREATE TABLE label_action_parts (
        action_id INTEGER NOT NULL REFERENCES label_actions (id),
        part_id INTEGER NOT NULL REFERENCES parts (id),
        station_id TEXT NOT NULL,
        image_sha TEXT,
        -- The whole label row before the action, as JSON; null: it had none.
        label_before TEXT,
        -- null: the part was not in the queue.
        queue_state_before TEXT,
        PRIMARY KEY (action_id, part_id)
      ) STRICT, WITHOUT ROWID;
    `),
};
