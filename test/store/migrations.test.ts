import Sqlite, { type Database } from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { migrate, schemaVersion } from '../../main/store/migrate.ts';
import { migrations } from '../../main/store/migrations/all.ts';

/* Each migration from the version before it, over a database with rows in every table that version has. */

let db: Database;
beforeEach(() => {
  db = new Sqlite(':memory:');
  db.pragma('foreign_keys = ON');
});
afterEach(() => {
  db.close();
});

/** Rows as a program of that version would have written them; frozen, never adapted to a later schema. */
const rows: Record<number, string> = {
  10: `INSERT INTO settings (key, value) VALUES ('language', '"ja"');
       INSERT INTO users (id, name, name_key, role, public_key, locked_private_key, certificate, created_at)
       VALUES ('u-1', 'Sato', 'sato', 'supervisor', 'p', 'l', '{}', '2026-01-01T00:00:00.000Z');`,
  20: `INSERT INTO stations (id, name, camera, recipe, criteria, backbone_id, threads, created_at)
       VALUES ('st-1', 'Line 1', '{}', '{}', '{}', 'bb-1', 2, '2026-01-01T00:00:00.000Z');
       INSERT INTO classes (id, name_en, name_ja, is_ok, color, hot_key, position, created_at)
       VALUES ('ok', 'OK', '良品', 1, 1, '1', 1, '2026-01-01T00:00:00.000Z');`,
  30: `INSERT INTO images VALUES ('aa', 8, 8, '2026-01-01T00:00:00.000Z');
       INSERT INTO parts (station_id, origin, seq, at, image_sha, width, height, verdict, judgement, notes)
       VALUES ('st-1', 'line', 1, '2026-01-01T00:00:00.000Z', 'aa', 8, 8, 'ok', '{}', '[]');
       INSERT INTO gaps VALUES ('st-1', 2, 3, '2026-01-01T00:00:00.000Z');`,
  40: `INSERT INTO queue (part_id, station_id, reason, usefulness, state) VALUES (1, 'st-1', 'sent', 3, 'open');
       INSERT INTO labels (station_id, image_sha, class_id, part_id, user_id, at) VALUES ('st-1', 'aa', 'ok', 1, 'u-1', '2026-01-01');
       INSERT INTO label_actions (user_id, at, kind) VALUES ('u-1', '2026-01-01', 'label');
       INSERT INTO label_action_parts (action_id, part_id, station_id) VALUES (1, 1, 'st-1');`,
  50: `INSERT INTO features VALUES ('bb-1', 'aa', '0:frame', 0);
       INSERT INTO knowledge (id, station_id, backbone_id, created_at, classes, lambda, balancing, seconds, position)
       VALUES ('k-1', 'st-1', 'bb-1', '2026-01-01', '[]', 1, 0, 1, 1);`,
  60: `INSERT INTO candidates (id, station_id, state, created_at, knowledge_id, backbone_id, strategy, precision, ratio, input_size,
         bundle_sha256, offered, recommended, reason, evidence, position)
       VALUES ('m-1', 'st-1', 'candidate', '2026-01-01', 'k-1', 'bb-1', 'none', 'fp32', 1, 224, 'aa', 1, 1, 'r', '{}', 1);
       INSERT INTO activations (station_id, candidate_id, kind, user_id, at) VALUES ('st-1', 'm-1', 'activate', 'u-1', '2026-01-01');`,
  70: `INSERT INTO audit VALUES (1, '2026-01-01', 'sato', 'users.add', 'u-1', '{}', '0', '1');`,
  80: `INSERT INTO jobs (id, kind, state, started_at, job, position) VALUES ('j-1', 'update', 'done', '2026-01-01', '{}', 1);`,
  90: `INSERT INTO alarms (station_id, model_id, measure, at, part_id) VALUES ('st-1', 'm-1', 'novelty', '2026-01-01', 1);
       INSERT INTO monitors VALUES ('st-1', 'm-1', 1, 600, '{}');`,
  100: `UPDATE labels SET confirmed = 1;
        UPDATE queue SET doubt = '{"classId":"ok","given":0.1,"suggested":0.9,"copies":0}';`,
  200: `INSERT INTO candidates (id, station_id, state, created_at, knowledge_id, backbone_id, strategy, precision, ratio, input_size,
          bundle_sha256, offered, recommended, reason, evidence, position, origin)
        VALUES ('m-2', 'st-1', 'candidate', '2026-01-01', 'elsewhere', 'bb-1', 'none', 'fp32', 1, 224, 'aa', 1, 1, 'r', '{}', 2, '{}');`,
  210: `INSERT INTO audit_heads VALUES (1, '1', '2026-01-01', 's');`,
  300: `UPDATE stations SET line_output = '{"kind":"none"}';`,
  500: `UPDATE stations SET line = '{"deadlineMs":150}';`,
  600: `UPDATE candidates SET shadow = '{}' WHERE id = 'm-2';`,
  700: `INSERT INTO part_hours VALUES ('st-1', '2026-01-01T05', 'ok', '', 1);`,
  710: `INSERT INTO sign_in_attempts VALUES ('sato', 6, '2026-01-01', '2026-01-01');`,
  730: `UPDATE jobs SET request = '{"budgetS":90}';`,
  760: `UPDATE candidates SET recheck = '{}' WHERE id = 'm-2';`,
  800: `INSERT INTO checked_hours VALUES ('st-1', '2026-01-01T05', 'ng', 1, 1);`,
  870: `UPDATE label_actions SET class_id = 'ok';`,
  890: `INSERT INTO studies VALUES ('s-1', 'st-1', 'n', '2026-01-01', 'u-1', 2, NULL);
        INSERT INTO study_parts VALUES ('s-1', 1, 'aa', 'ok', 'u-1');
        INSERT INTO study_ratings VALUES ('s-1', 'u-1', 0, 1, 1, '2026-01-01');`,
  900: `INSERT INTO second_labels VALUES ('st-1', 'aa', 'u-1', 'ok', 'ok', 'u-1', '2026-01-01');`,
  910: `INSERT INTO golden VALUES ('st-1', 'aa', 'ok', 'sato', '2026-01-01');
        INSERT INTO golden_uses (station_id, candidate_id, set_sha256, user_name, at) VALUES ('st-1', 'm-2', 'bb', 'sato', '2026-01-01');
        UPDATE candidates SET golden = '{}' WHERE id = 'm-2';
        UPDATE knowledge SET snapshot_id = 'cc';`,
  920: `UPDATE labels SET at = '2026-01-03';`,
  930: `INSERT INTO quick_codes VALUES ('u-1', 'aa');`,
  960: `UPDATE users SET password_due = 1;`,
  970: `UPDATE labels SET box_x = 1, box_y = 1, box_width = 2, box_height = 2;`,
  1000: `INSERT INTO audit VALUES (2, '2026-01-01', 'sato', 'models.activate', 'm-1', '{"stationId":"st-1"}', '1', '2');`,
  1040: `UPDATE labels SET more_boxes = '[{"x":1,"y":1,"width":2,"height":2}]';`,
  1100: `INSERT INTO pictures_to_remove VALUES ('bb');`,
  1110: `UPDATE label_actions SET sent_back = 1;`,
  1120: `INSERT INTO golden_retirements VALUES (1, 'st-1', 'bb', 1, 'sato', '2026-01-02');
         UPDATE golden SET retirement = 1;`,
  1130: `INSERT INTO images VALUES ('dd', 8, 8, '2026-01-01T00:00:00.000Z');
         INSERT INTO golden VALUES ('st-1', 'dd', 'ok', 'sato', '2026-01-02', NULL, '{"partId":1,"boxes":[]}', NULL);
         UPDATE golden SET label = '{"partId":1,"boxes":[{"x":1,"y":1,"width":2,"height":2}]}' WHERE image_sha = 'dd';`,
  1140: `INSERT INTO audit SELECT max(n) + 1, '2026-01-03', 'sato', 'classes.merge', 'c-1', '{"into":"ok"}', 'p', 'h' FROM audit`,
};

const contents = (): Record<string, number> => {
  const tables = db
    .prepare(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
    .pluck()
    .all() as string[];
  return Object.fromEntries(
    tables.map((table) => [table, db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number]),
  );
};

describe('migrations', () => {
  test.each(migrations.map((migration, i) => [migrations[i - 1]?.version ?? 0, migration.version] as const))(
    'from %i to %i keeps every row and leaves room for its own',
    (before, version) => {
      for (const { version: step } of migrations) {
        if (step > before) break;
        migrate(db, step);
        db.exec(rows[step]!);
      }
      const had = contents();
      expect(migrate(db, version)).toEqual([version]);
      expect(schemaVersion(db)).toBe(version);
      expect(contents()).toMatchObject(had);
      db.exec(rows[version]!);
      expect(Object.values(contents()).every((count) => count > 0)).toBe(true);
      expect(db.pragma('foreign_key_check')).toEqual([]);
    },
  );

  test('a step that fails leaves the version before it, whole', () => {
    migrate(db, 20);
    const broken = [
      ...migrations.slice(0, 2),
      { version: 30, name: 'broken', up: (d: Database) => d.exec('CREATE TABLE half (a); SELECT nothing;') },
    ];
    expect(() => migrate(db, Infinity, broken)).toThrow();
    expect(schemaVersion(db)).toBe(20);
    expect(Object.keys(contents())).not.toContain('half');
  });

  test('many steps read the references once, and what they leave dangling is not the last version', () => {
    migrate(db, 30);
    db.exec(rows[10]! + rows[20]! + rows[30]!);
    const asked = vi.spyOn(db, 'pragma');
    migrate(db, 100);
    expect(asked.mock.calls.filter(([what]) => what === 'foreign_key_check')).toHaveLength(1);
    const empty = (version: number, sql: string) => ({ version, name: 'step', up: (d: Database) => d.exec(sql) });
    const broken = [...migrations.slice(0, 10), empty(110, 'DELETE FROM stations;'), empty(120, '')];
    expect(() => migrate(db, Infinity, broken)).toThrow('up to 120');
    expect(schemaVersion(db)).toBeLessThan(120);
  });

  test('a new database gets all of them or none', () => {
    const broken = [...migrations.slice(0, 2), { version: 30, name: 'broken', up: (d: Database) => d.exec('nothing') }];
    expect(() => migrate(db, Infinity, broken)).toThrow();
    expect([schemaVersion(db), contents()]).toEqual([0, {}]);
    expect(migrate(db)).toEqual(migrations.map(({ version }) => version));
  });

  test('class ids and audit entries cannot be taken away', () => {
    migrate(db);
    db.exec(rows[20]! + rows[70]!);
    expect(() => db.exec('DELETE FROM classes')).toThrow(/never reused/);
    expect(() => db.exec('DELETE FROM audit')).toThrow(/append-only/);
    expect(() => db.exec(`UPDATE audit SET user = 'x'`)).toThrow(/append-only/);
  });
});
