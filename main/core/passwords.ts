import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { createUserKey, hexOfKey, relockUserKey, signBody, verifyBody } from '../audit/keys.ts';
import type { User } from '../contract/domain.ts';
import { AppError, assert } from '../contract/errors.ts';
import { refuseWeak } from '../contract/password.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import type { Accounts } from './accounts.ts';

/*
 * Passwords that change. A password locks the private key that its owner signs with, so there are two ways: the owner, who knows the old one, locks the same key anew; anybody else
 * can only give the account a new key, with a new certificate. What was signed with the earlier key stays valid: approvals carry their certificate.
 */

export interface Passwords {
  handlers: HandlersOf<'session.changePassword' | 'users.resetPassword' | 'users.makeRecovery' | 'session.recover'>;
}

const SETTING = 'recovery';
const RECOVERY = 'mekiki recovery code 1';
/** Signed by the home's key: whoever writes a row must not be able to write a code that makes him a supervisor. */
const recoverySchema = z.object({ sha256: z.string(), by: z.string(), at: z.string(), signature: z.string() });
/** Name under which wrong recovery codes are counted; no account can have it (names are not empty). */
const THROTTLED = ' recovery';

/** Crockford's base 32: no I, L, O, U, so that it can be read from paper. */
const LETTERS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const CODE_BYTES = 20;

/** 160 bits in eight groups of four. */
const newCode = (): string => {
  const bits = [...randomBytes(CODE_BYTES)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const letters = bits.match(/.{5}/g)!.map((five) => LETTERS[parseInt(five, 2)]!);
  return letters.join('').match(/.{4}/g)!.join('-');
};
/** As typed from paper: spaces, hyphens, small letters, O for 0, I and L for 1. */
const digestOf = (code: string): Buffer =>
  createHash('sha256')
    .update(code.normalize('NFKC').toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1'))
    .digest();

export const createPasswords = (context: CoreContext, accounts: Accounts): Passwords => {
  const { store, now } = context;

  /** A new key under a new password, certified; the account's sessions end. `within`: what has to happen with it or not at all. */
  const rekey = async (
    user: User,
    password: string,
    {
      by,
      action,
      passwordDue = false,
      within = () => {},
    }: { by: string; action: string; passwordDue?: boolean; within?: () => void },
  ): Promise<void> => {
    refuseWeak(password, user.name);
    const before = store.users.account(user.id);
    assert(before !== null, 'accounts are disabled, never deleted');
    // A new certificate says what the one before said, and nothing that was written into the row since.
    accounts.refuseAltered(before);
    const key = await createUserKey(password, context.passwordCost);
    const certificate = context.keys.certify(user, key.publicKey, store.demo, now());
    store.transaction(() => {
      store.users.setKey(user.id, { ...key, certificate, passwordDue });
      within();
      store.audit.append({
        user: by,
        action,
        subject: user.name,
        details: {
          id: user.id,
          oneTime: passwordDue,
          before: hexOfKey(before.publicKey),
          after: hexOfKey(key.publicKey),
        },
      });
    });
    accounts.endSessions(user.id);
  };

  const isRecovery = (code: string): boolean => {
    const kept = recoverySchema.safeParse(store.settings.get(SETTING));
    if (!kept.success) return false;
    const { signature, ...body } = kept.data;
    const digest = Buffer.from(body.sha256, 'hex');
    return (
      verifyBody(RECOVERY, body, signature, context.keys.rootPublicKey()) && timingSafeEqual(digestOf(code), digest)
    );
  };

  const enabled = (userId: string): User => {
    const user = store.users.get(userId);
    if (user === null || user.disabled) throw new AppError('NOT_FOUND', { kind: 'user', id: userId });
    return user;
  };

  return {
    handlers: {
      async 'session.changePassword'({ password, newPassword }, session) {
        assert(session.user !== null, 'the role was checked');
        const { account } = await accounts.unlock(session.user.name, password);
        refuseWeak(newPassword, account.user.name);
        if (account.passwordDue && newPassword.normalize('NFC') === password.normalize('NFC'))
          throw new AppError('PASSWORD_DUE', { user: account.user.name });
        const lockedPrivateKey = await relockUserKey(
          account.lockedPrivateKey,
          password,
          newPassword,
          context.passwordCost,
        );
        store.transaction(() => {
          // Given another one while the new one was locked: that one stays.
          if (store.users.account(account.user.id)?.lockedPrivateKey !== account.lockedPrivateKey)
            throw new AppError('WRONG_PASSWORD');
          store.users.setKey(account.user.id, { ...account, lockedPrivateKey, passwordDue: false });
          store.audit.append({
            user: account.user.name,
            action: 'users.changePassword',
            subject: account.user.name,
            details: { id: account.user.id },
          });
        });
        // Whoever knew the old one is out elsewhere.
        accounts.endSessions(account.user.id, session.id);
        accounts.tellChanged(session);
        return {};
      },
      async 'users.resetPassword'({ userId, newPassword, password, oneTime }, session) {
        const user = enabled(userId);
        // The supervisor in person: an unattended screen must not be enough to sign as somebody else.
        await accounts.unlock(actor(session), password);
        await rekey(user, newPassword, { by: actor(session), action: 'users.resetPassword', passwordDue: oneTime });
        return user;
      },
      async 'users.makeRecovery'({ password }, session) {
        const by = actor(session);
        await accounts.unlock(by, password);
        const code = newCode();
        const at = now().toISOString();
        store.transaction(() => {
          const body = { sha256: digestOf(code).toString('hex'), by, at };
          store.settings.set(SETTING, { ...body, signature: signBody(RECOVERY, body, context.keys.signing) });
          store.audit.append({ user: by, action: 'users.makeRecovery', subject: 'recovery code' });
        });
        return { code, installation: context.keys.installation, at };
      },
      async 'session.recover'({ code, name, newPassword }) {
        accounts.throttle.check(THROTTLED, (seconds) => new AppError('TOO_MANY_RECOVERY_CODES', { seconds }));
        const right = isRecovery(code);
        const account = store.users.accountByName(name);
        // One answer for a wrong code and a wrong name: neither is told to a guesser.
        if (!right || account === null || account.user.disabled || account.user.role !== 'supervisor') {
          accounts.throttle.failed(THROTTLED);
          store.transaction(() =>
            store.audit.append({ user: 'anyone', action: 'session.wrongRecovery', subject: 'recovery code' }),
          );
          throw new AppError('RECOVERY_REFUSED');
        }
        // Good for one time, also if the power fails between the two, or somebody else used it while the key was made.
        const within = () => {
          if (!isRecovery(code)) throw new AppError('RECOVERY_REFUSED');
          store.settings.set(SETTING, null);
        };
        await rekey(account.user, newPassword, { by: 'recovery code', action: 'users.recover', within });
        accounts.throttle.succeeded(THROTTLED);
        return {};
      },
    },
  };
};
