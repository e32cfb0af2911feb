import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createAlarms, type Alarms } from '../../main/store/alarms.ts';
import { migrate } from '../../main/store/migrate.ts';
import { createParts } from '../../main/store/parts.ts';
import { newPart } from './examples.ts';

let db: Sqlite.Database;
let alarms: Alarms;
let seq: number;

beforeEach(() => {
  db = new Sqlite(':memory:');
  migrate(db);
  db.exec(`
    INSERT INTO stations (id, name, camera, recipe, criteria, backbone_id, threads, created_at)
      VALUES ('st-1', 'st-1', '{}', '{}', '{}', 'bb-1', 2, '2026-01-01T00:00:00.000Z');`);
  alarms = createAlarms(db);
  seq = 0;
});
afterEach(() => {
  db.close();
});

const raise = (measure: 'novelty' | 'revalidation'): number => {
  seq += 1;
  const partId = createParts(db).insert(newPart({ seq }));
  return alarms.raise({ stationId: 'st-1', modelId: 'm-1', measure, at: '2026-01-01T00:00:00.000Z', partId });
};
const listed = (openOnly: boolean, limit: number) => alarms.list('st-1', { openOnly, limit }).map(({ id }) => id);

test('an alarm that waits is listed however many have come and been acknowledged since', () => {
  const reminder = raise('revalidation');
  const later = Array.from({ length: 5 }, () => raise('novelty'));
  expect(listed(false, 3)).toEqual(later.toReversed().slice(0, 3));
  for (const id of later) alarms.acknowledge(id, 'sato', '2026-01-02T00:00:00.000Z');
  expect(listed(false, 3)).toEqual([...later.toReversed().slice(0, 2), reminder]);
  expect(listed(true, 3)).toEqual([reminder]);
  const newest = raise('novelty');
  expect(listed(false, 3)).toEqual([newest, later.at(-1), reminder]);
});
