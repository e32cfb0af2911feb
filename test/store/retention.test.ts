import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ACTION_PARTS_OF_IMAGE, CLOSE_IF_EMPTY, createLabels, type Labels } from '../../main/store/labels.ts';
import { migrate } from '../../main/store/migrate.ts';
import { createParts } from '../../main/store/parts.ts';
import { CAME_AGAIN, createRetentionRows, type RetentionRows } from '../../main/store/retention.ts';
import { newPart, sha } from './examples.ts';

let db: Sqlite.Database;
let rows: RetentionRows;
let labels: Labels;

beforeEach(() => {
  db = new Sqlite(':memory:');
  migrate(db);
  db.exec(`
    INSERT INTO users (id, name, name_key, role, public_key, locked_private_key, certificate, created_at)
      VALUES ('u-1', 'sato', 'sato', 'supervisor', 'p', 'l', '{}', '2026-01-01T00:00:00.000Z');
    INSERT INTO stations (id, name, camera, recipe, criteria, backbone_id, threads, created_at)
      VALUES ('st-1', 'st-1', '{}', '{}', '{}', 'bb-1', 2, '2026-01-01T00:00:00.000Z');`);
  rows = createRetentionRows(db);
  labels = createLabels(db);
});
afterEach(() => {
  db.close();
});

const planOf = (sql: string, ...bound: unknown[]): string =>
  db
    .prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .all(...bound)
    .map((row) => (row as { detail: string }).detail)
    .join('\n');

const pictured = (seq: number): { partId: number; stationId: string; imageSha: string } => {
  const imageSha = sha(seq);
  return { partId: createParts(db).insert(newPart({ seq, imageSha })), stationId: 'st-1', imageSha };
};

test('pictures whose files go are looked for one by one, past any number that came again', () => {
  expect(planOf(CAME_AGAIN, { sha: sha(1) })).not.toMatch(/SCAN (images|pictures_to_remove)|IN-OPERATOR/);
  const gone = [1, 2, 3, 4, 5].map((seq) => pictured(seq).imageSha).toSorted();
  for (const each of gone) rows.removePicture(each);
  const again = gone.slice(0, 3);
  again.forEach((imageSha, n) => createParts(db).insert(newPart({ seq: 10 + n, imageSha })));
  expect(rows.toRemove(1)).toEqual([gone[3]]);
  expect(rows.toRemove(10)).toEqual(gone.slice(3));
  rows.removed(gone.slice(3));
  expect(rows.toRemove(10)).toEqual([]);
});

test('a picture that many parts share goes from so many of them at a time, and its file with the last', () => {
  const parts = createParts(db);
  const imageSha = sha(7);
  db.transaction(() => {
    for (let seq = 1; seq <= 2_500; seq += 1) parts.insert(newPart({ seq, imageSha }));
  })();
  const left = () => db.prepare('SELECT count(*) FROM parts WHERE image_sha = ?').pluck().get(imageSha);
  expect([rows.removePicture(imageSha), left(), rows.toRemove(10)]).toEqual([false, 1_500, []]);
  expect([rows.removePicture(imageSha), left(), rows.toRemove(10)]).toEqual([false, 500, []]);
  expect(rows.isPictureNamed(imageSha, '2026-01-02T00:00:00.000Z')).toBe(false);
  expect(rows.isPictureNamed(imageSha, '2026-01-01T00:00:00.000Z')).toBe(true);
  expect([rows.removePicture(imageSha), left(), rows.toRemove(10)]).toEqual([true, 0, [imageSha]]);
});

test('an action is closed with the last picture of its parts, by its number alone', () => {
  expect(planOf(CLOSE_IF_EMPTY, 1)).not.toMatch(/SCAN/);
  const forget = `DELETE FROM label_action_parts WHERE ${ACTION_PARTS_OF_IMAGE}`;
  expect(planOf(forget, 'st-1', sha(1))).not.toMatch(/SCAN/);
  const act = (...parts: ReturnType<typeof pictured>[]) =>
    labels.recordAction({
      userId: 'u-1',
      at: '2026-01-02T00:00:00.000Z',
      kind: 'skip',
      classId: null,
      changes: parts.map((part) => ({ ...part, labelBefore: null, queueStateBefore: 'open' as const })),
    });
  const [first, second, third] = [pictured(1), pictured(2), pictured(3)];
  const [pair, single, other] = [act(first, second), act(first), act(third)];
  const open = () => labels.openActions('u-1', 10).map(({ id }) => id);
  expect(open()).toEqual([other, single, pair]);
  rows.removePicture(first.imageSha);
  expect(open()).toEqual([other, pair]);
  rows.removePicture(second.imageSha);
  expect(open()).toEqual([other]);
  labels.forgetInActions('st-1', third.imageSha);
  expect(open()).toEqual([]);
});
