import Sqlite from 'better-sqlite3';
import { expect, test } from 'vitest';
import { migrate } from '../../main/store/migrate.ts';
import { createReports } from '../../main/store/reports.ts';

test('parts are counted by hour as they come, and labels tell what was wrong', () => {
  const db = new Sqlite(':memory:');
  migrate(db);
  db.exec(`
    INSERT INTO users (id, name, name_key, role, public_key, locked_private_key, certificate, created_at)
      VALUES ('u-1', 'Sato', 'sato', 'supervisor', 'p', 'l', '{}', '2026-01-01T00:00:00.000Z');
    INSERT INTO stations (id, name, camera, recipe, criteria, backbone_id, threads, created_at)
      VALUES ('st-1', 'Line 1', '{}', '{}', '{}', 'bb-1', 2, '2026-01-01T00:00:00.000Z');
    INSERT INTO classes (id, name_en, name_ja, is_ok, color, hot_key, position, created_at)
      VALUES ('ok', 'OK', '', 1, 1, '1', 1, '2026-01-01'), ('pit', 'Pit', '', 0, 2, '2', 2, '2026-01-01');
    INSERT INTO images VALUES ('aa', 8, 8, '2026-01-01'), ('bb', 8, 8, '2026-01-01');`);
  const part = db.prepare(`
    INSERT INTO parts (station_id, origin, seq, at, image_sha, width, height, verdict, class_id, judgement, notes)
    VALUES ('st-1', ?, ?, ?, ?, 8, 8, ?, ?, '{}', '[]')`);
  part.run('line', 1, '2026-01-01T08:59:59.999Z', 'aa', 'ok', 'ok');
  part.run('line', 2, '2026-01-01T09:00:00.000Z', 'bb', 'ng', 'pit');
  part.run('line', 3, '2026-01-01T09:10:00.000Z', null, 'ng', null);
  part.run('line', 4, '2026-01-01T09:20:00.000Z', null, 'unsure', 'pit');
  part.run('line', 5, '2026-01-01T09:30:00.000Z', null, 'unsure', 'ok');
  part.run('import', 0, '2026-01-01T09:40:00.000Z', null, 'ok', 'ok');
  const label = db.prepare(`
    INSERT INTO labels (station_id, image_sha, class_id, part_id, user_id, at)
    VALUES ('st-1', ?, ?, ?, 'u-1', '2026-01-02')`);
  label.run('aa', 'pit', 1);
  label.run('bb', 'ok', 2);
  const reports = createReports(db);
  const day = ['2026-01-01T00:00:00.000Z', '2026-01-02T00:00:00.000Z'] as const;
  expect(reports.hours('st-1', ...day)).toEqual([
    { hour: '2026-01-01T08', verdict: 'ok', classId: null, parts: 1 },
    { hour: '2026-01-01T09', verdict: 'ng', classId: null, parts: 1 },
    { hour: '2026-01-01T09', verdict: 'ng', classId: 'pit', parts: 1 },
    { hour: '2026-01-01T09', verdict: 'unsure', classId: null, parts: 2 },
  ]);
  expect(reports.hours('st-1', '2026-01-01T09:00:00.000Z', '2026-01-01T09:59:00.000Z')).toEqual([]);
  expect(reports.checked('st-1', ...day)).toEqual([
    { verdict: 'ng', good: true, parts: 1 },
    { verdict: 'ok', good: false, parts: 1 },
  ]);
  expect(reports.checked('st-1', '2026-01-02T00:00:00.000Z', '2026-01-03T00:00:00.000Z')).toEqual([]);

  // A label that is changed, or taken back, is counted as it is now.
  db.exec(`UPDATE labels SET class_id = 'ok' WHERE image_sha = 'aa'`);
  expect(reports.checked('st-1', ...day)).toEqual([
    { verdict: 'ng', good: true, parts: 1 },
    { verdict: 'ok', good: true, parts: 1 },
  ]);
  db.exec(`DELETE FROM labels WHERE image_sha = 'bb'`);
  expect(reports.checked('st-1', ...day)).toEqual([{ verdict: 'ok', good: true, parts: 1 }]);
  db.close();
});
