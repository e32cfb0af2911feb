import Sqlite, { type Database } from 'better-sqlite3';
import { certificateSchema, type Certificate } from '../audit/keys.ts';
import { userSchema, type User } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';

export interface Account {
  user: User;
  publicKey: string;
  /** Locked by the password; useless without it. */
  lockedPrivateKey: string;
  certificate: Certificate;
  /** Somebody else knows the password: its owner chooses another one before anything else. */
  passwordDue: boolean;
}

export interface Users {
  list(): User[];
  get(id: string): User | null;
  account(id: string): Account | null;
  /** By name, whatever its case or width. */
  accountByName(name: string): Account | null;
  /** ALREADY_EXISTS. */
  insert(account: Account, at: Date): void;
  /** Another key, or the same one locked by another password. */
  setKey(id: string, key: Omit<Account, 'user'>): void;
  isPasswordDue(id: string): boolean;
  disable(id: string): void;
  /** Id of the account with this code; null: nobody. */
  byQuickCode(hash: string): string | null;
  /** null: none from now on. */
  setQuickCode(id: string, hash: string | null): void;
  countSupervisors(): number;
}

/** By which two names are one: case, width and spaces at the ends do not make another person. */
export const nameKey = (name: string): string => name.normalize('NFKC').trim().toLowerCase();

interface Row {
  id: string;
  name: string;
  role: string;
  disabled: number;
  public_key: string;
  locked_private_key: string;
  certificate: string;
  password_due: number;
}

const toUser = (row: Row): User =>
  userSchema.parse({ id: row.id, name: row.name, role: row.role, disabled: row.disabled === 1 });
const toAccount = (row: Row): Account => ({
  user: toUser(row),
  publicKey: row.public_key,
  lockedPrivateKey: row.locked_private_key,
  certificate: certificateSchema.parse(JSON.parse(row.certificate)),
  passwordDue: row.password_due === 1,
});

export const createUsers = (db: Database): Users => {
  const all = db.prepare('SELECT * FROM users ORDER BY created_at, id');
  const byId = db.prepare('SELECT * FROM users WHERE id = ?');
  const byName = db.prepare('SELECT * FROM users WHERE name_key = ?');
  const insert = db.prepare(`
    INSERT INTO users (id, name, name_key, role, public_key, locked_private_key, certificate, password_due, created_at)
    VALUES (@id, @name, @nameKey, @role, @publicKey, @lockedPrivateKey, @certificate, @passwordDue, @at)`);
  const setKey = db.prepare(`
    UPDATE users SET public_key = @publicKey, locked_private_key = @lockedPrivateKey, certificate = @certificate, password_due = @passwordDue
    WHERE id = @id`);
  const disable = db.prepare('UPDATE users SET disabled = 1 WHERE id = ?');
  const due = db.prepare('SELECT password_due FROM users WHERE id = ?').pluck();
  const supervisors = db.prepare(`SELECT count(*) AS n FROM users WHERE role = 'supervisor' AND disabled = 0`);
  const byCode = db.prepare('SELECT user_id FROM quick_codes WHERE hash = ?').pluck();
  const removeCode = db.prepare('DELETE FROM quick_codes WHERE user_id = ?');
  const setCode = db.prepare(
    'INSERT INTO quick_codes (user_id, hash) VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash',
  );
  const one = <T>(row: unknown, map: (row: Row) => T): T | null => (row === undefined ? null : map(row as Row));
  return {
    list: () => (all.all() as Row[]).map(toUser),
    get: (id) => one(byId.get(id), toUser),
    account: (id) => one(byId.get(id), toAccount),
    accountByName: (name) => one(byName.get(nameKey(name)), toAccount),
    insert({ user, publicKey, lockedPrivateKey, certificate, passwordDue }, at) {
      if (byName.get(nameKey(user.name)) !== undefined)
        throw new AppError('ALREADY_EXISTS', { kind: 'user', id: user.name });
      insert.run({
        id: user.id,
        name: user.name,
        nameKey: nameKey(user.name),
        role: user.role,
        publicKey,
        lockedPrivateKey,
        certificate: JSON.stringify(certificate),
        passwordDue: Number(passwordDue),
        at: at.toISOString(),
      });
    },
    setKey: (id, { publicKey, lockedPrivateKey, certificate, passwordDue }) =>
      void setKey.run({
        id,
        publicKey,
        lockedPrivateKey,
        certificate: JSON.stringify(certificate),
        passwordDue: Number(passwordDue),
      }),
    isPasswordDue: (id) => due.get(id) === 1,
    disable: (id) => void disable.run(id),
    byQuickCode: (hash) => (byCode.get(hash) as string | undefined) ?? null,
    setQuickCode: (id, hash) => void (hash === null ? removeCode.run(id) : setCode.run(id, hash)),
    countSupervisors: () => (supervisors.get() as { n: number }).n,
  };
};

/** The accounts that can still be read in a damaged database file, which is only looked at; none, where the table cannot be read. */
export const readableAccounts = (file: string): Account[] => {
  let db: Database | null = null;
  try {
    db = new Sqlite(file, { readonly: true, fileMustExist: true });
    return (db.prepare('SELECT * FROM users ORDER BY created_at, id').all() as Row[]).map(toAccount);
  } catch {
    // By its file it is known to be damaged: what it is damaged by does not matter here.
    return [];
  } finally {
    db?.close();
  }
};
