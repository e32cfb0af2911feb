import type { Database } from 'better-sqlite3';
import { stationSchema, type Station } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';

export interface Stations {
  list(): Station[];
  /** NOT_FOUND. */
  get(id: string): Station;
  insert(station: Station, at: Date): void;
  /** All but the active model, which has a call of its own. */
  update(station: Station): void;
  setActiveModel(id: string, modelId: string | null): void;
  /** Greatest line record number that is stored. */
  acknowledged(id: string): number;
  setAcknowledged(id: string, seq: number): void;
  insertGap(id: string, firstSeq: number, lastSeq: number, at: Date): void;
  /** Records missing from the numbering, all together. */
  lostRecords(id: string): number;
}

interface Row {
  id: string;
  name: string;
  camera: string;
  recipe: string;
  criteria: string;
  backbone_id: string;
  threads: number;
  line: string;
  line_output: string;
  active_model_id: string | null;
  acknowledged: number;
}

const toStation = (row: Row): Station =>
  stationSchema.parse({
    id: row.id,
    name: row.name,
    camera: JSON.parse(row.camera),
    recipe: JSON.parse(row.recipe),
    criteria: JSON.parse(row.criteria),
    backboneId: row.backbone_id,
    threads: row.threads,
    line: JSON.parse(row.line),
    lineOutput: JSON.parse(row.line_output),
    activeModelId: row.active_model_id,
  });

export const createStations = (db: Database): Stations => {
  const all = db.prepare('SELECT * FROM stations ORDER BY created_at, id');
  const byId = db.prepare('SELECT * FROM stations WHERE id = ?');
  const insert = db.prepare(`
    INSERT INTO stations (id, name, camera, recipe, criteria, backbone_id, threads, line, line_output, active_model_id, created_at)
    VALUES (@id, @name, @camera, @recipe, @criteria, @backboneId, @threads, @line, @lineOutput, @activeModelId, @at)`);
  const update = db.prepare(`
    UPDATE stations SET name = @name, camera = @camera, recipe = @recipe, criteria = @criteria, backbone_id = @backboneId,
      threads = @threads, line = @line, line_output = @lineOutput WHERE id = @id`);
  const setActive = db.prepare('UPDATE stations SET active_model_id = ? WHERE id = ?');
  const setAcknowledged = db.prepare('UPDATE stations SET acknowledged = ? WHERE id = ?');
  const insertGap = db.prepare('INSERT INTO gaps (station_id, first_seq, last_seq, found_at) VALUES (?, ?, ?, ?)');
  const lost = db.prepare('SELECT coalesce(sum(last_seq - first_seq + 1), 0) AS n FROM gaps WHERE station_id = ?');
  const row = (id: string): Row => {
    const found = byId.get(id) as Row | undefined;
    if (found === undefined) throw new AppError('NOT_FOUND', { kind: 'station', id });
    return found;
  };
  const values = (station: Station) => ({
    id: station.id,
    name: station.name,
    camera: JSON.stringify(station.camera),
    recipe: JSON.stringify(station.recipe),
    criteria: JSON.stringify(station.criteria),
    backboneId: station.backboneId,
    threads: station.threads,
    line: JSON.stringify(station.line),
    lineOutput: JSON.stringify(station.lineOutput),
  });
  return {
    list: () => (all.all() as Row[]).map(toStation),
    get: (id) => toStation(row(id)),
    insert: (station, at) =>
      void insert.run({ ...values(station), activeModelId: station.activeModelId, at: at.toISOString() }),
    update: (station) => void update.run(values(station)),
    setActiveModel: (id, modelId) => void setActive.run(modelId, id),
    acknowledged: (id) => row(id).acknowledged,
    setAcknowledged: (id, seq) => void setAcknowledged.run(seq, id),
    insertGap: (id, firstSeq, lastSeq, at) => void insertGap.run(id, firstSeq, lastSeq, at.toISOString()),
    lostRecords: (id) => (lost.get(id) as { n: number }).n,
  };
};
