import { randomBytes, scrypt } from 'node:crypto';
import { AppError } from '../contract/errors.ts';
import type { Accounts } from './accounts.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';

/*
 * Changing operators at a line that runs: a badge held to a reader, or a PIN. It says who stands there, for the trail; it opens no key and reaches no role but the operator's, so that a PIN seen over
 * a shoulder can neither label, approve nor configure. Nobody chooses a name first: the code alone says who it is, and a guesser is slowed down as with passwords.
 */

export interface QuickCodes {
  handlers: HandlersOf<'session.quick' | 'users.setQuickCode'>;
}

const SALT = 'quick.salt';
/** Name under which wrong codes are counted; no account can have it (names do not begin with a space). */
const THROTTLED = ' quick';
/** Nobody says whose code it is to be, so that a right one clears nothing: whoever has a badge could try others' PINs between two uses of it. Slips are forgotten one by one instead. */
const FORGOTTEN_AFTER_MS = 5 * 60_000;
/** About 0.05 s per try: codes are short, and what they open is little. */
const COST = { N: 16_384, r: 8, p: 1 };

export const createQuickCodes = (context: CoreContext, accounts: Accounts): QuickCodes => {
  const { store } = context;

  const hashOf = (code: string): Promise<string> => {
    let salt = store.settings.get(SALT);
    if (typeof salt !== 'string') {
      salt = randomBytes(16).toString('hex');
      store.settings.set(SALT, salt);
    }
    return new Promise((resolve, reject) => {
      // A reader types what is on the badge; spaces around it are the reader's.
      scrypt(code.normalize('NFKC').trim(), Buffer.from(String(salt), 'hex'), 32, COST, (error, key) =>
        error ? reject(error) : resolve(key.toString('hex')),
      );
    });
  };

  return {
    handlers: {
      'session.quick': ({ code }, session) =>
        accounts.throttle.inTurn(THROTTLED, async () => {
          accounts.throttle.check(THROTTLED, (seconds) => new AppError('TOO_MANY_CODES', { seconds }));
          const userId = store.users.byQuickCode(await hashOf(code));
          const account = userId === null ? null : store.users.account(userId);
          // An account may have got another role since: a code never reaches it.
          if (account === null || account.user.disabled || account.user.role !== 'operator') {
            accounts.throttle.failed(THROTTLED, FORGOTTEN_AFTER_MS);
            store.transaction(() =>
              store.audit.append({ user: 'anyone', action: 'session.wrongCode', subject: 'badge or PIN' }),
            );
            throw new AppError('WRONG_CODE');
          }
          accounts.refuseAltered(account);
          return accounts.enter(session, account.user, 'session.quick');
        }),
      async 'users.setQuickCode'({ userId, code }, session) {
        const user = store.users.get(userId);
        if (user === null || user.disabled) throw new AppError('NOT_FOUND', { kind: 'user', id: userId });
        if (user.role !== 'operator')
          throw new AppError('CONFLICT', { what: user.name, state: user.role, needed: 'an operator' });
        const hash = code === null ? null : await hashOf(code);
        const owner = hash === null ? null : store.users.byQuickCode(hash);
        // A badge of somebody who left is handed to the next one.
        const isTaken = owner !== null && owner !== userId && store.users.get(owner)?.disabled !== true;
        if (isTaken) throw new AppError('ALREADY_EXISTS', { kind: 'code', id: '••••' });
        store.transaction(() => {
          if (owner !== null) store.users.setQuickCode(owner, null);
          store.users.setQuickCode(userId, hash);
          store.audit.append({
            user: actor(session),
            action: 'users.setQuickCode',
            subject: user.name,
            details: { id: userId, set: hash !== null },
          });
        });
        return user;
      },
    },
  };
};
