import { createPublicKey, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { unlockUserKey } from '../audit/keys.ts';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import { methods, type Damage, type MethodName } from '../contract/methods.ts';
import { diskError } from '../store/files.ts';
import { databaseFile } from '../store/home.ts';
import { repairDatabase, tryRepair, type RepairReport } from '../store/repair.ts';
import { nameKey, readableAccounts, type Account } from '../store/users.ts';
import { refuseInUse } from './home-check.ts';
import { isCertified } from './home-keys.ts';
import type { Core, Handlers } from './port.ts';
import { createThrottle } from './throttle.ts';

/*
 * What serves the window where the core cannot start since its database is damaged: it tells what is damaged and what a repair would lose,
 * and repairs when an engineer or supervisor says so. Everything else answers DATABASE_CORRUPT. The account is read from the damaged file, and
 * believed by what that file cannot make up: the root key's certificate of its role, and the private key that the password opens.
 */

export interface RepairModeOptions {
  home: string;
  log: Logger;
  now?: () => Date;
  /** The database is whole again: a new core can start. */
  onRepaired(): void;
}

/** @param failure what the core could not start for */
export const createRepairMode = (
  failure: AppError,
  { home, log, now = () => new Date(), onRepaired }: RepairModeOptions,
): Core => {
  const file = databaseFile(home);
  const attempts = new Map<string, { wrong: number; lockedUntil: Date }>();
  // In memory: the database cannot be written. A restart frees a name, and takes longer than most locks do.
  const throttle = createThrottle(
    {
      get: (name) => attempts.get(name) ?? null,
      set: (name, attempt) => void attempts.set(name, attempt),
      clear: (name) => void attempts.delete(name),
    },
    now,
  );

  const accounts = (): Account[] => {
    let root: string;
    try {
      root = readFileSync(join(home, 'trust', 'root.pub'), 'utf8');
    } catch {
      return [];
    }
    return readableAccounts(file).filter(
      (account) =>
        !account.user.disabled &&
        (account.user.role === 'engineer' || account.user.role === 'supervisor') &&
        isCertified(account, root),
    );
  };
  const told = ({ problems, tables, kept }: RepairReport, hopeless: string | null): Damage => ({
    problems,
    tables,
    kept,
    hopeless,
    accounts: accounts().map(({ user: { name, role } }) => ({ name, role })),
  });

  let found: Damage | null = null;
  /** Tried once: it reads the whole database. */
  const damage = (): Damage => {
    if (found !== null) return found;
    try {
      const trial = tryRepair(home);
      // Whole by SQLite's rules and still not ours: nothing that a repair could mend.
      found = told(trial, trial.problems.length === 0 ? failure.message : null);
    } catch (raw) {
      const error = diskError(raw, home);
      // Room can be made; it is tried again then.
      if (isAppError(error, 'DISK_FULL')) throw error;
      found = told({ problems: [failure.message], tables: [], kept: null }, problemOf(error));
    }
    return found;
  };

  let repairing = false;
  const unlock = async (key: string, password: string): Promise<Account> => {
    throttle.check(key);
    const account = accounts().find(({ user }) => nameKey(user.name) === key);
    try {
      if (account === undefined) throw new AppError('WRONG_PASSWORD');
      const opened = await unlockUserKey(account.lockedPrivateKey, password);
      const own = createPublicKey(opened).export({ type: 'spki', format: 'pem' });
      if (own !== account.certificate.publicKey) throw new AppError('WRONG_PASSWORD');
      throttle.succeeded(key);
      return account;
    } catch (error) {
      if (isAppError(error, 'WRONG_PASSWORD')) throttle.failed(key);
      throw error;
    }
  };
  const repair = async (name: string, password: string): Promise<Damage> => {
    const account = await throttle.inTurn(nameKey(name), () => unlock(nameKey(name), password));
    if (damage().hopeless !== null) throw failure;
    if (repairing)
      throw new AppError('CONFLICT', { what: file, state: 'being repaired', needed: 'a damaged database' });
    repairing = true;
    try {
      await refuseInUse(home);
      const report = await repairDatabase(home, now(), account.user.name);
      log.warn('the database was repaired', { by: account.user.name, ...report });
      found = { ...damage(), kept: report.kept };
      onRepaired();
      return found;
    } finally {
      repairing = false;
    }
  };

  const refuse = async (): Promise<never> => {
    throw failure;
  };
  const closed = Object.fromEntries(Object.keys(methods).map((name) => [name, refuse])) as Record<
    MethodName,
    typeof refuse
  >;
  const handlers: Handlers = {
    ...closed,
    'home.damage': async () => damage(),
    'home.repair': ({ name, password }) => repair(name, password),
  };
  return {
    home,
    demo: false,
    handlers,
    openSession: () => ({ id: randomUUID(), user: null }),
    closeSession: () => {},
    subscribe: () => () => {},
    readImage: refuse,
    close: async () => {},
  };
};
