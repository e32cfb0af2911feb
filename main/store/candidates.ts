import type { Database } from 'better-sqlite3';
import {
  candidateSchema,
  type Candidate,
  type CandidateState,
  type GoldenResult,
  type Recheck,
  type Shadow,
} from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';

export interface Activation {
  stationId: string;
  candidateId: string;
  previousId: string | null;
  kind: 'activate' | 'rollback';
  userId: string;
  at: string;
}

export interface Candidates {
  /**
   * Newest first, with the evidence in brief: `sample` is left out, and of those that are not submitted `confusion` and `changed` are empty. Whole they are a megabyte for some models of many
   * classes, and there are hundreds of models.
   */
  list(stationId: string): Candidate[];
  /** NOT_FOUND. */
  get(id: string): Candidate;
  ids(): string[];
  /** Evidence and results of a candidate as they are stored, to look for pictures in. */
  documents(id: string): string;
  /** Those that no approval stands by. */
  unapproved(): string[];
  insert(value: Candidate): void;
  setState(id: string, state: CandidateState): void;
  setApproval(id: string, approval: Candidate['approval']): void;
  setRejection(id: string, rejection: Candidate['rejection']): void;
  setActivatedAt(id: string, at: string): void;
  setShadow(id: string, shadow: Shadow): void;
  setRecheck(id: string, recheck: Recheck): void;
  setGolden(id: string, golden: GoldenResult): void;
  recordActivation(activation: Activation): void;
  /** Which model was active since when, oldest first; the first may have been before `since`. ISO 8601, `until` not included. */
  activeBetween(stationId: string, since: string, until: string): { modelId: string; since: string }[];
  /** The model to go back to from the active one: the last that was activated and not gone back from; null: none. */
  previousOf(stationId: string): string | null;
}

interface ActivationRow {
  model: string;
  /** Active until then; null: none was. */
  before: string | null;
  kind: Activation['kind'];
}

interface Row {
  id: string;
  station_id: string;
  state: string;
  created_at: string;
  knowledge_id: string;
  backbone_id: string;
  strategy: string;
  precision: string;
  ratio: number;
  input_size: number;
  bundle_sha256: string;
  offered: number;
  recommended: number;
  reason: string;
  evidence: string;
  approval: string | null;
  rejection: string | null;
  activated_at: string | null;
  shadow: string | null;
  recheck: string | null;
  golden: string | null;
  origin: string | null;
}

const parsed = (text: string | null): unknown => (text === null ? null : JSON.parse(text));

const toCandidate = (row: Row): Candidate =>
  candidateSchema.parse({
    id: row.id,
    stationId: row.station_id,
    state: row.state,
    createdAt: row.created_at,
    knowledgeId: row.knowledge_id,
    backboneId: row.backbone_id,
    strategy: row.strategy,
    precision: row.precision,
    ratio: row.ratio,
    inputSize: row.input_size,
    bundleSha256: row.bundle_sha256,
    offered: row.offered === 1,
    recommended: row.recommended === 1,
    reason: row.reason,
    evidence: JSON.parse(row.evidence),
    approval: parsed(row.approval),
    rejection: parsed(row.rejection),
    activatedAt: row.activated_at,
    ...(row.golden === null ? {} : { golden: JSON.parse(row.golden) as unknown }),
    ...(row.shadow === null ? {} : { shadow: JSON.parse(row.shadow) as unknown }),
    ...(row.recheck === null ? {} : { recheck: JSON.parse(row.recheck) as unknown }),
    origin: parsed(row.origin),
  });

export const createCandidates = (db: Database): Candidates => {
  // Cut by SQLite: what nobody is told of need not be parsed.
  const all = db.prepare(`
    SELECT id, station_id, state, created_at, knowledge_id, backbone_id, strategy, precision, ratio, input_size, bundle_sha256, offered,
      recommended, reason, approval, rejection, activated_at, shadow, recheck, golden, origin,
      CASE state WHEN 'submitted' THEN json_remove(evidence, '$.sample')
        ELSE json_set(json_remove(evidence, '$.sample'), '$.confusion', json('[]'), '$.changed', json('[]')) END AS evidence
    FROM candidates WHERE station_id = ? ORDER BY position DESC`);
  const byId = db.prepare('SELECT * FROM candidates WHERE id = ?');
  const ids = db.prepare('SELECT id FROM candidates').pluck();
  const documents = db.prepare(`SELECT concat_ws(' ', evidence, shadow, golden) FROM candidates WHERE id = ?`).pluck();
  const unapproved = db
    .prepare(`SELECT id FROM candidates WHERE state IN ('candidate', 'submitted', 'rejected')`)
    .pluck();
  const insert = db.prepare(`
    INSERT INTO candidates (id, station_id, state, created_at, knowledge_id, backbone_id, strategy, precision, ratio, input_size,
      bundle_sha256, offered, recommended, reason, evidence, origin, position)
    VALUES (@id, @stationId, @state, @createdAt, @knowledgeId, @backboneId, @strategy, @precision, @ratio, @inputSize,
      @bundleSha256, @offered, @recommended, @reason, @evidence, @origin, (SELECT coalesce(max(position), 0) + 1 FROM candidates))`);
  const setState = db.prepare('UPDATE candidates SET state = ? WHERE id = ?');
  const setApproval = db.prepare('UPDATE candidates SET approval = ? WHERE id = ?');
  const setRejection = db.prepare('UPDATE candidates SET rejection = ? WHERE id = ?');
  const setActivatedAt = db.prepare('UPDATE candidates SET activated_at = ? WHERE id = ?');
  const setGolden = db.prepare('UPDATE candidates SET golden = ? WHERE id = ?');
  const setShadow = db.prepare('UPDATE candidates SET shadow = ? WHERE id = ?');
  const setRecheck = db.prepare('UPDATE candidates SET recheck = ? WHERE id = ?');
  const insertActivation = db.prepare(`
    INSERT INTO activations (station_id, candidate_id, previous_id, kind, user_id, at)
    VALUES (@stationId, @candidateId, @previousId, @kind, @userId, @at)`);
  const activeBetween = db.prepare(`
    SELECT candidate_id AS modelId, at AS since FROM activations
    WHERE station_id = @stationId AND at < @until
      AND id >= coalesce((SELECT max(id) FROM activations WHERE station_id = @stationId AND at <= @since), 0)
    ORDER BY id`);
  const activations = db.prepare(`
    SELECT candidate_id AS model, previous_id AS before, kind FROM activations WHERE station_id = ? ORDER BY id`);
  return {
    list: (stationId) => (all.all(stationId) as Row[]).map(toCandidate),
    get(id) {
      const row = byId.get(id) as Row | undefined;
      if (row === undefined) throw new AppError('NOT_FOUND', { kind: 'candidate', id });
      return toCandidate(row);
    },
    ids: () => ids.all() as string[],
    documents: (id) => documents.get(id) as string,
    unapproved: () => unapproved.all() as string[],
    insert: (value) =>
      void insert.run({
        id: value.id,
        stationId: value.stationId,
        state: value.state,
        createdAt: value.createdAt,
        knowledgeId: value.knowledgeId,
        backboneId: value.backboneId,
        strategy: value.strategy,
        precision: value.precision,
        ratio: value.ratio,
        inputSize: value.inputSize,
        bundleSha256: value.bundleSha256,
        offered: Number(value.offered),
        recommended: Number(value.recommended),
        reason: value.reason,
        evidence: JSON.stringify(value.evidence),
        origin: value.origin ? JSON.stringify(value.origin) : null,
      }),
    setState: (id, state) => void setState.run(state, id),
    setApproval: (id, approval) => void setApproval.run(approval === null ? null : JSON.stringify(approval), id),
    setRejection: (id, rejection) => void setRejection.run(rejection === null ? null : JSON.stringify(rejection), id),
    setActivatedAt: (id, at) => void setActivatedAt.run(at, id),
    setGolden: (id, golden) => void setGolden.run(JSON.stringify(golden), id),
    setShadow: (id, shadow) => void setShadow.run(JSON.stringify(shadow), id),
    setRecheck: (id, recheck) => void setRecheck.run(JSON.stringify(recheck), id),
    recordActivation: (activation) => void insertActivation.run(activation),
    activeBetween: (stationId, since, until) =>
      activeBetween.all({ stationId, since, until }) as { modelId: string; since: string }[],
    previousOf(stationId) {
      /** Those that one goes back through, the active one last. */
      const way: string[] = [];
      const goOn = (id: string) => way.at(-1) === id || way.push(id);
      for (const { model, before, kind } of activations.iterate(stationId) as Iterable<ActivationRow>) {
        if (kind === 'rollback') way.pop();
        else if (before === null) way.length = 0;
        // Also where a repair has lost the row that says so.
        else goOn(before);
        goOn(model);
      }
      return way.at(-2) ?? null;
    },
  };
};
