import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLabels } from '../../main/store/labels.ts';
import { migrate } from '../../main/store/migrate.ts';
import { createParts } from '../../main/store/parts.ts';
import { createQueue, LIST } from '../../main/store/queue.ts';
import { newPart, sha } from './examples.ts';

let db: Sqlite.Database;
let statements: string[] = [];

beforeEach(() => {
  db = new Sqlite(':memory:', { verbose: (sql) => statements.push(String(sql)) });
  migrate(db);
  db.exec(`
    INSERT INTO users (id, name, name_key, role, public_key, locked_private_key, certificate, created_at)
      VALUES ('u-1', 'sato', 'sato', 'supervisor', 'p', 'l', '{}', '2026-01-01T00:00:00.000Z');
    INSERT INTO classes (id, name_en, name_ja, is_ok, color, position, created_at)
      VALUES ('ok', 'OK', '良品', 1, 1, 1, '2026-01-01T00:00:00.000Z');
    INSERT INTO stations (id, name, camera, recipe, criteria, backbone_id, threads, created_at)
      VALUES ('st-1', 'st-1', '{}', '{}', '{}', 'bb-1', 2, '2026-01-01T00:00:00.000Z');`);
});
afterEach(() => {
  db.close();
});

test('a list asks once for all its parts, with their labels, and follows the index', () => {
  const [parts, queue] = [createParts(db), createQueue(db)];
  const ids = [1, 2, 3].map((seq) => parts.insert(newPart({ seq })));
  ids.forEach((id, n) => queue.put(id, 'st-1', 'low-margin', [0.1, 0.9, 0.5][n]!, null));
  const label = { classId: 'ok', userId: 'u-1', at: '2026-01-02T00:00:00.000Z' };
  createLabels(db).set({
    ...label,
    stationId: 'st-1',
    imageSha: sha(3),
    boxes: [],
    partId: ids[2]!,
    learntClassId: null,
    confirmed: false,
  });
  statements = [];
  const items = queue.list('st-1', 10);
  expect(statements).toHaveLength(1);
  expect(items.map(({ part }) => part)).toEqual([ids[1], ids[2], ids[0]].map((id) => parts.get(id!)));
  expect(items[1]!.part.label).toEqual({ classId: 'ok', by: 'u-1', at: label.at });
  expect(queue.item(ids[2]!)).toEqual(items[1]);
  const plan = db.prepare(`EXPLAIN QUERY PLAN ${LIST}`).all('st-1', 10) as { detail: string }[];
  expect(plan.map(({ detail }) => detail).join('\n')).not.toMatch(/SCAN|TEMP B-TREE/);
});
