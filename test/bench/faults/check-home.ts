import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { verifyActiveBundle } from '../../../main/audit/activation.ts';
import { bundleDigest, verifyBundle } from '../../../main/audit/approval.ts';
import { openRootKey } from '../../../main/audit/keys.ts';
import { readBackup } from '../../../main/core/backup-file.ts';
import { migrations } from '../../../main/store/migrations/all.ts';
import { openStore } from '../../../main/store/open.ts';
import { verifyTrail, type SignedHead } from '../../../main/audit/trail.ts';
import type { Done } from './acts.ts';

/*
 * What must hold in a data folder at any moment, looked at from outside after its program died. Gives what does not hold, in words.
 */

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface Named {
  candidates: { id: string; station_id: string; state: string; bundle_sha256: string }[];
  stations: { id: string; active_model_id: string | null }[];
  pictures: string[];
  knowledge: string[];
  rows: { backbone_id: string; rows: number }[];
}

/** Rows that name files. */
const namedIn = (db: Sqlite.Database): Named => ({
  candidates: db.prepare('SELECT id, station_id, state, bundle_sha256 FROM candidates').all() as Named['candidates'],
  stations: db.prepare('SELECT id, active_model_id FROM stations').all() as Named['stations'],
  pictures: db
    .prepare(`SELECT DISTINCT image_sha FROM parts WHERE origin = 'import' AND image_sha IS NOT NULL`)
    .pluck()
    .all() as string[],
  knowledge: db.prepare('SELECT id FROM knowledge').pluck().all() as string[],
  rows: db
    .prepare('SELECT backbone_id, max("row") + 1 AS rows FROM features GROUP BY backbone_id')
    .all() as Named['rows'],
});

/** Bytes of a row of features with the tests' backbone. */
const ROW_BYTES = 16;

export const checkHome = async (base: string, done: readonly Done[]): Promise<string[]> => {
  const home = join(base, 'home');
  const wrong: string[] = [];
  const file = join(home, 'mekiki.sqlite');
  if (!existsSync(file)) return done.some(({ act }) => act === 'ready') ? ['the database is gone'] : [];

  const db = new Sqlite(file);
  try {
    const integrity = db.pragma('integrity_check') as { integrity_check: string }[];
    if (integrity[0]?.integrity_check !== 'ok') wrong.push(`integrity: ${integrity[0]?.integrity_check}`);
    if ((db.pragma('foreign_key_check') as unknown[]).length > 0) wrong.push('a row misses the row that it names');
    // While it is being made, or taken over from an earlier version: the next start goes on with it.
    if (db.pragma('user_version', { simple: true }) === migrations.at(-1)!.version) {
      await checkRows(db, home, wrong);
      wrong.push(...missing(db, done));
    }
  } finally {
    db.close();
  }

  // As the program itself would find it.
  const store = await openStore({ home, demo: false });
  try {
    const outside: SignedHead | 'missing' = existsSync(join(home, 'trust/audit-head.json'))
      ? (JSON.parse(readFileSync(join(home, 'trust/audit-head.json'), 'utf8')) as SignedHead)
      : 'missing';
    const proof = {
      rootPublicKey: existsSync(join(home, 'trust/root.pub')) ? readFileSync(join(home, 'trust/root.pub'), 'utf8') : '',
      heads: store.audit.heads(),
      outside,
    };
    const verdict = verifyTrail(store.audit.all(), proof);
    if (!verdict.valid) wrong.push(`the trail is broken at ${verdict.firstBroken} of ${verdict.entries}`);
  } finally {
    store.close();
  }
  const backups = join(base, 'backups');
  for (const name of existsSync(backups) ? readdirSync(backups) : []) {
    if (!name.endsWith('.mekiki-backup')) continue;
    await readBackup(join(backups, name)).catch((error: unknown) => wrong.push(`backup ${name}: ${String(error)}`));
  }
  return wrong;
};

/** Labels that the trail does not tell, or tells otherwise: each is written in the transaction of its label. */
function untold(db: Sqlite.Database): string[] {
  const told = new Map<string, string | null>();
  const entries = db
    .prepare(`SELECT details FROM audit WHERE action IN ('labels.create', 'labels.undo') ORDER BY n`)
    .pluck()
    .all() as string[];
  for (const details of entries) {
    const { labels } = JSON.parse(details) as { labels: { image: string; after: string | null }[] };
    for (const { image, after } of labels) told.set(image, after);
  }
  const labels = db.prepare('SELECT image_sha, class_id FROM labels').all() as {
    image_sha: string;
    class_id: string;
  }[];
  for (const { image_sha: image, class_id: classId } of labels) {
    if (told.get(image) === classId) told.delete(image);
    else return [`the label of ${image} is ${classId}, the trail says ${told.get(image) ?? 'nothing'}`];
  }
  return [...told].flatMap(([image, after]) =>
    after === null ? [] : [`the trail has a label of ${image}, the table none`],
  );
}

/** Rows against the files that they name, and against each other. */
async function checkRows(db: Sqlite.Database, home: string, wrong: string[]): Promise<void> {
  const { candidates, stations, pictures, knowledge, rows } = namedIn(db);

  for (const sha of pictures) {
    const path = join(home, 'images', sha.slice(0, 2), `${sha}.png`);
    if (!existsSync(path) || sha256(readFileSync(path)) !== sha) wrong.push(`picture ${sha} is not whole`);
  }
  for (const id of knowledge)
    if (!existsSync(join(home, 'knowledge', id, 'knowledge.json'))) wrong.push(`knowledge ${id} has no file`);
  for (const { backbone_id: id, rows: count } of rows)
    if (statSync(join(home, 'features', `${id}.f32`)).size < count * ROW_BYTES) wrong.push('features are missing');

  wrong.push(...untold(db));

  const rootPublicKey = existsSync(join(home, 'trust/root.pub'))
    ? readFileSync(join(home, 'trust/root.pub'), 'utf8')
    : '';
  const accounts = db.prepare('SELECT count(*) FROM users').pluck().get() as number;
  const keyFile = join(home, 'secrets/root.key');
  if (accounts > 0 && (!existsSync(keyFile) || openRootKey(readFileSync(keyFile)).publicKey !== rootPublicKey))
    wrong.push('there are accounts, and the root key is not that of trust/root.pub');
  const signedOnly: string[] = [];
  for (const { id, station_id: stationId, state, bundle_sha256: sha } of candidates) {
    const bundleDir = join(home, 'bundles', id);
    if ((await bundleDigest(bundleDir).catch(() => '')) !== sha) wrong.push(`bundle ${id} is not whole`);
    const signed = await verifyBundle({ bundleDir, rootPublicKey, demo: false, stationId }).then(
      () => true,
      () => false,
    );
    if (['approved', 'active', 'retired'].includes(state) && !signed)
      wrong.push(`${id} is ${state} without a signature`);
    if (signed && ['candidate', 'submitted', 'rejected'].includes(state)) signedOnly.push(id);
  }
  // The one that was being signed or rejected when the program died; the next start takes the signature away.
  if (signedOnly.length > 1) wrong.push(`signed, and not approved: ${signedOnly.join()}`);
  for (const { id, active_model_id: active } of stations) {
    const inState = candidates
      .filter((each) => each.station_id === id && each.state === 'active')
      .map((each) => each.id);
    if (JSON.stringify(inState) !== JSON.stringify(active === null ? [] : [active]))
      wrong.push(`half an activation: station has ${active}, candidates ${inState.join()}`);
    const last = db
      .prepare('SELECT candidate_id FROM activations WHERE station_id = ? ORDER BY rowid DESC LIMIT 1')
      .pluck()
      .get(id) as string | undefined;
    if ((last ?? null) !== active) wrong.push(`half an activation: the last one was of ${last}, active is ${active}`);
    const told = db
      .prepare(
        `SELECT subject FROM audit WHERE action IN ('models.activate', 'models.rollback') ORDER BY n DESC LIMIT 1`,
      )
      .pluck()
      .get() as string | undefined;
    if ((told ?? null) !== active) wrong.push(`the trail knows of ${told}, active is ${active}`);
    if (active === null) continue;
    const input = { home, bundleDir: join(home, 'bundles', active), rootPublicKey, demo: false, stationId: id };
    await verifyActiveBundle(input).catch((error: unknown) => wrong.push(`a line refuses ${active}: ${String(error)}`));
  }
}

/** What was answered and is not there. */
function missing(db: Sqlite.Database, done: readonly Done[]): string[] {
  const wrong: string[] = [];
  const state = db.prepare('SELECT state FROM candidates WHERE id = ?').pluck();
  const label = db.prepare(
    'SELECT l.class_id FROM parts p JOIN labels l ON l.station_id = p.station_id AND l.image_sha = p.image_sha WHERE p.id = ?',
  );
  /** null: some class; a label under way when a run died may be there or not, and nobody knows of which part it was. */
  const labels = new Map<number, string | null>();
  const states = new Map<string, string>();
  let before: Done | null = null;
  for (const each of done) {
    if (each.act === 'ready' && before?.act === 'begun') for (const id of labels.keys()) labels.set(id, null);
    before = each;
    // Pictures are numbered anew in each process: an import may bring those of an earlier one, and labels them.
    if (each.act === 'begun' && each.what === 'import') for (const id of labels.keys()) labels.set(id, null);
    if (each.act === 'label') for (const id of each.partIds) labels.set(id, each.classId);
    if (each.act === 'compress') for (const id of each.candidateIds) states.set(id, 'candidate');
    if (each.act === 'approve') states.set(each.candidateId, 'approved');
    if (each.act === 'reject') states.set(each.candidateId, 'rejected');
    if (each.act === 'activate') states.set(each.candidateId, 'active');
    if (each.act === 'update' && db.prepare('SELECT 1 FROM knowledge WHERE id = ?').get(each.knowledgeId) === undefined)
      wrong.push(`knowledge ${each.knowledgeId} is lost`);
    if (each.act === 'backup' && !existsSync(each.file)) wrong.push(`backup ${each.file} is lost`);
    if (each.act === 'records') {
      const upTo = db.prepare("SELECT max(seq) FROM parts WHERE origin = 'line'").pluck().get() as number | null;
      if ((upTo ?? 0) < each.upTo) wrong.push(`records up to ${each.upTo} were acknowledged, ${upTo} are there`);
    }
  }
  // What came after an answer may have been under way when the program died: an approved model may be active by now, not a candidate again.
  const order = ['candidate', 'submitted', 'approved', 'active', 'retired'];
  for (const [id, answered] of states) {
    const now = state.get(id) as string | undefined;
    const kept = now === answered || now === 'rejected' || order.indexOf(now ?? '') >= order.indexOf(answered);
    if (!kept) wrong.push(`${id} was ${answered} and is ${now}`);
  }
  const last = done.at(-1);
  const relabelling = last?.act === 'begun' && ['label', 'import'].includes(last.what);
  for (const [id, classId] of labels) {
    const now = (label.get(id) as { class_id: string } | undefined)?.class_id;
    if (now === undefined || (classId !== null && now !== classId && !relabelling))
      wrong.push(`the label of part ${id} is lost`);
  }
  return wrong;
}
