import type { Database } from 'better-sqlite3';

export interface SignInAttempts {
  /** null: no wrong password since the last right one. */
  get(nameKey: string): { wrong: number; lockedUntil: Date } | null;
  set(nameKey: string, attempt: { wrong: number; lockedUntil: Date }, at: Date): void;
  clear(nameKey: string): void;
}

/**
 * Names are the caller's words: without a bound they would fill the disk. Those of accounts, and of codes (they begin with a space), are few, and stay:
 * a thousand made-up names push none of them out.
 */
const NAMES_KEPT = 1_000;

export const createSignInAttempts = (db: Database): SignInAttempts => {
  const select = db.prepare('SELECT wrong, locked_until AS lockedUntil FROM sign_in_attempts WHERE name_key = ?');
  const upsert = db.prepare(`
    INSERT INTO sign_in_attempts (name_key, wrong, locked_until, at) VALUES (?, ?, ?, ?)
    ON CONFLICT (name_key) DO UPDATE SET wrong = excluded.wrong, locked_until = excluded.locked_until, at = excluded.at`);
  const clear = db.prepare('DELETE FROM sign_in_attempts WHERE name_key = ?');
  const trim = db.prepare(`
    DELETE FROM sign_in_attempts WHERE name_key IN
      (SELECT name_key FROM sign_in_attempts WHERE name_key NOT IN (SELECT name_key FROM users) AND name_key NOT LIKE ' %'
       ORDER BY at DESC LIMIT -1 OFFSET ?)`);
  return {
    get(nameKey) {
      const row = select.get(nameKey) as { wrong: number; lockedUntil: string } | undefined;
      return row === undefined ? null : { wrong: row.wrong, lockedUntil: new Date(row.lockedUntil) };
    },
    set(nameKey, { wrong, lockedUntil }, at) {
      upsert.run(nameKey, wrong, lockedUntil.toISOString(), at.toISOString());
      trim.run(NAMES_KEPT);
    },
    clear: (nameKey) => void clear.run(nameKey),
  };
};
