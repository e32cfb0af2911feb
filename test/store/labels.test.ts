import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLabels, recentSql, WITHOUT_PLACE } from '../../main/store/labels.ts';
import { migrate } from '../../main/store/migrate.ts';
import { createParts } from '../../main/store/parts.ts';
import { newJudgement, newPart, sha } from './examples.ts';

test.for(['station_id = @stationId', 'station_id = @stationId AND class_id = @classId'])(
  'a page of labels with %s is found by an index, however many come before it',
  (which) => {
    const db = new Sqlite(':memory:');
    migrate(db);
    const plan = db
      .prepare(`EXPLAIN QUERY PLAN ${recentSql(which)}`)
      .all({ stationId: 'st-1', classId: 'ok', at: '2026', partId: 1, limit: 10 })
      .map((row) => (row as { detail: string }).detail)
      .join('\n');
    expect(plan).toMatch(
      /^SEARCH labels USING INDEX labels_recent\w* \(station_id=\? AND .*\(at,part_id\)<\(\?,\?\)\)$/,
    );
    db.close();
  },
);

/** A tile of a part as the line's judgement names it. */
const tile = { index: 1, count: 4, x: 4, y: 0, width: 4, height: 4 };

test('defects whose place nobody knows are counted as a look at every label counts them, by an index', () => {
  const label = fc.record({
    station: fc.constantFrom('st-1', 'st-2'),
    classId: fc.constantFrom('ok', 'fine', 'pit', 'scratch'),
    boxes: fc.array(fc.constantFrom({ x: 0, y: 0, width: 2, height: 2 }, { x: 5, y: 1, width: 3, height: 4 }), {
      maxLength: 3,
    }),
    verdict: fc.constantFrom('ok' as const, 'ng' as const, 'unsure' as const),
    tiled: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(label, { maxLength: 40 }), (given) => {
      const db = new Sqlite(':memory:');
      migrate(db);
      db.exec(`
        INSERT INTO users (id, name, name_key, role, public_key, locked_private_key, certificate, created_at)
          VALUES ('u-1', 'Sato', 'sato', 'supervisor', 'p', 'l', '{}', '2026-01-01T00:00:00.000Z');
        INSERT INTO stations (id, name, camera, recipe, criteria, backbone_id, threads, created_at)
          SELECT id, id, '{}', '{}', '{}', 'bb-1', 2, '2026-01-01T00:00:00.000Z' FROM (SELECT 'st-1' AS id UNION SELECT 'st-2');
        INSERT INTO classes (id, name_en, name_ja, is_ok, color, hot_key, position, created_at) VALUES
          ('ok', 'OK', '', 1, 1, '1', 1, '2026-01-01'), ('fine', 'Fine', '', 1, 1, '2', 2, '2026-01-01'),
          ('pit', 'Pit', '', 0, 2, '3', 3, '2026-01-01'), ('scratch', 'Scratch', '', 0, 2, '4', 4, '2026-01-01');`);
      const [parts, labels] = [createParts(db), createLabels(db)];
      const expected = new Map([
        ['st-1', 0],
        ['st-2', 0],
      ]);
      given.forEach(({ station, classId, boxes, verdict, tiled }, i) => {
        const judgement = newJudgement({ verdict, tile: tiled ? tile : null });
        const imageSha = sha(i + 1);
        const partId = parts.insert(newPart({ stationId: station, seq: i + 1, imageSha, judgement }));
        const at = '2026-01-02T00:00:00.000Z';
        const rest = { partId, userId: 'u-1', at, learntClassId: null, confirmed: false };
        labels.set({ stationId: station, imageSha, classId, boxes, ...rest });
        expect(labels.get(station, imageSha)?.boxes).toEqual(boxes);
        const known = boxes.length > 0 || (tiled && verdict !== 'ok');
        if (!['ok', 'fine'].includes(classId) && !known) expected.set(station, expected.get(station)! + 1);
      });
      for (const [station, n] of expected) expect(labels.countWithoutPlace(station)).toBe(n);
      const plan = db
        .prepare(`EXPLAIN QUERY PLAN ${WITHOUT_PLACE}`)
        .all('st-1')
        .map((row) => (row as { detail: string }).detail)
        .join('\n');
      expect(plan).toContain('labels_without_box');
      expect(plan).not.toMatch(/SCAN (l|p)\b/);
      db.close();
    }),
    { numRuns: 40 },
  );
});
