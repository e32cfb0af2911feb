import type { Database } from 'better-sqlite3';
import { canonicalJson } from '../audit/canonical.ts';
import {
  chainEntry,
  HEAD_EVERY,
  TRAIL_START,
  type AuditEntry,
  type SignedHead,
  type StoredEntry,
} from '../audit/trail.ts';

export interface AuditEntries {
  /** Appends within the transaction that is open, so that an act and its entry stand or fall together; in one of its own where none is. */
  append(entry: { user: string; action: string; subject: string; details?: Record<string, unknown> }): AuditEntry;
  /** Newest first; `before`: numbers below it. */
  list(options: { limit: number; before?: number }): AuditEntry[];
  head(): { n: number; hash: string } | null;
  /** How many there are up to this number: as many as it says, unless some are missing. */
  count(upTo: number): number;
  /** Time of the newest entry. */
  newestAt(): string | null;
  /** Who did this last, and what was noted of it; `candidateId`: the entry whose details name it among its candidates. null: nobody. */
  last(action: string, subject: string, candidateId?: string): Pick<AuditEntry, 'n' | 'user' | 'details'> | null;
  /** Which model the trail says was activated last at a station, or gone back to; null: none ever. */
  lastActivated(stationId: string): string | null;
  /** Number of the entry with which a station went over to another model last; 0: it never did. */
  lastExchange(stationId: string): number;
  /** Set once the home's key is open; from then on every hundredth entry is signed in its own transaction. */
  signWith(sign: (head: Omit<SignedHead, 'signature'>) => SignedHead): void;
  heads(): SignedHead[];
  /** Oldest first, after this number; for verification. */
  page(after: number, limit: number): StoredEntry[];
  /** The same, all of them. */
  all(): Iterable<StoredEntry>;
}

/** Time servers step a clock by less. */
export const SET_BACK_MS = 5_000;

const PAGE = 1_000;

/** Who did this to this last. */
export const LAST_OF = 'SELECT n, user, details FROM audit WHERE action = ? AND subject = ? ORDER BY n DESC LIMIT 1';

interface Row {
  n: number;
  at: string;
  user: string;
  action: string;
  subject: string;
  details: string;
  previous_hash: string;
  hash: string;
}

/** A row whose details are no longer JSON still becomes an entry: its hash will not fit, which is what has to be said. */
const parseDetails = (text: string): Record<string, unknown> => {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return { unreadable: text };
  }
};

/** With its details as an object. */
export const readEntry = ({ detailsText, ...entry }: StoredEntry): AuditEntry => ({
  ...entry,
  details: parseDetails(detailsText),
});

const toEntry = ({ previous_hash, details, ...row }: Row): AuditEntry => ({
  ...row,
  details: parseDetails(details),
  previousHash: previous_hash,
});

export const createAuditEntries = (db: Database, now: () => Date): AuditEntries => {
  const last = db.prepare('SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1');
  const count = db.prepare('SELECT count(*) FROM audit WHERE n <= ?').pluck();
  const newestAt = db.prepare('SELECT at FROM audit ORDER BY n DESC LIMIT 1').pluck();
  const insert = db.prepare(`
    INSERT INTO audit (n, at, user, action, subject, details, previous_hash, hash)
    VALUES (@n, @at, @user, @action, @subject, @details, @previousHash, @hash)`);
  const page = db.prepare('SELECT * FROM audit WHERE n < ? ORDER BY n DESC LIMIT ?');
  const ascending = db.prepare(`
    SELECT n, at, user, action, subject, details AS detailsText, previous_hash AS previousHash, hash
    FROM audit WHERE n > ? ORDER BY n LIMIT ?`);
  const lastOf = db.prepare(LAST_OF);
  const lastWith = db.prepare(
    `SELECT n, user, details FROM audit WHERE action = ? AND subject = ?
       AND EXISTS (SELECT 1 FROM json_each(audit.details, '$.candidates') WHERE value = ?)
     ORDER BY n DESC LIMIT 1`,
  );
  const activations = db.prepare(
    `SELECT n, subject, details FROM audit WHERE action IN ('models.activate', 'models.rollback') ORDER BY n DESC`,
  );
  /** Newest first. */
  const activationsAt = function* (stationId: string): Iterable<Pick<AuditEntry, 'n' | 'subject' | 'details'>> {
    for (const row of activations.iterate() as Iterable<Pick<Row, 'n' | 'subject' | 'details'>>) {
      const details = parseDetails(row.details);
      if (details['stationId'] === stationId) yield { ...row, details };
    }
  };
  // Where a repair lost the trail's end its heads are still there: they stay, to tell of it, and nothing new is kept from being noted.
  const insertHead = db.prepare(
    'INSERT INTO audit_heads (n, hash, at, signature) VALUES (@n, @hash, @at, @signature) ON CONFLICT (n) DO NOTHING',
  );
  const heads = db.prepare('SELECT * FROM audit_heads ORDER BY n');
  let signer: ((head: Omit<SignedHead, 'signature'>) => SignedHead) | null = null;
  const head = () => (last.get() as { n: number; hash: string } | undefined) ?? null;
  const pageAfter = (after: number, limit: number) => ascending.all(after, limit) as StoredEntry[];
  const all = function* (): Iterable<StoredEntry> {
    for (let last = 0; ;) {
      const entries = pageAfter(last, PAGE);
      yield* entries;
      if (entries.length < PAGE) return;
      last = entries.at(-1)!.n;
    }
  };
  const newest = () => (newestAt.get() as string | undefined) ?? null;
  const add = (
    { user, action, subject, details = {} }: Parameters<AuditEntries['append']>[0],
    at: string,
  ): AuditEntry => {
    const before = head();
    // Through JSON once, so that what is hashed is what will be read back.
    const plain = JSON.parse(JSON.stringify(details)) as Record<string, unknown>;
    // Half a pair of surrogates, as a path may hold, is no text that the database gives back: the trail would be broken by it for ever.
    const [by, what] = [user.toWellFormed(), subject.toWellFormed()];
    const content = { n: (before?.n ?? 0) + 1, at, user: by, action, subject: what, details: plain };
    const entry = chainEntry(content, before?.hash ?? TRAIL_START);
    insert.run({ ...entry, details: canonicalJson(plain) });
    if (entry.n % HEAD_EVERY === 0 && signer !== null) {
      insertHead.run(signer({ n: entry.n, hash: entry.hash, at: entry.at }));
    }
    return entry;
  };
  return {
    // Whole or not at all, also where no transaction is open: a hundredth entry without its head would be a broken trail.
    append: db.transaction((entry: Parameters<AuditEntries['append']>[0]) => {
      const at = now().toISOString();
      const before = newest();
      // The order is that of the numbers, whatever the clock says; but nobody shall have to guess why the time goes back.
      if (before !== null && Date.parse(before) - Date.parse(at) > SET_BACK_MS)
        add({ user: 'system', action: 'clock.setBack', subject: 'clock', details: { before, after: at } }, at);
      return add(entry, at);
    }),
    newestAt: newest,
    list: ({ limit, before = Number.MAX_SAFE_INTEGER }) => (page.all(before, limit) as Row[]).map(toEntry),
    head,
    count: (upTo) => count.get(upTo) as number,
    last(action, subject, candidateId) {
      const found =
        candidateId === undefined ? lastOf.get(action, subject) : lastWith.get(action, subject, candidateId);
      if (found === undefined) return null;
      const row = found as Pick<Row, 'n' | 'user' | 'details'>;
      return { ...row, details: parseDetails(row.details) };
    },
    lastActivated(stationId) {
      for (const { subject } of activationsAt(stationId)) return subject;
      return null;
    },
    lastExchange(stationId) {
      for (const { n, subject, details } of activationsAt(stationId)) if (details['previous'] !== subject) return n;
      return 0;
    },
    signWith: (sign) => void (signer = sign),
    heads: () => heads.all() as SignedHead[],
    page: pageAfter,
    all,
  };
};
