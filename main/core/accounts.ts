import { createPublicKey, randomUUID, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { createUserKey, keyOfNobody, unlockUserKey } from '../audit/keys.ts';
import { languageSchema, type Role, type User } from '../contract/domain.ts';
import { AppError, assert, isAppError } from '../contract/errors.ts';
import { sessionStateSchema } from '../contract/methods.ts';
import { refuseWeak } from '../contract/password.ts';
import { nameKey, type Account } from '../store/users.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { isCertified, isFounded, noteFounder } from './home-keys.ts';
import type { Session } from './port.ts';
import { createIdle } from './idle.ts';
import { createThrottle, type Throttle } from './throttle.ts';

type SessionState = z.output<typeof sessionStateSchema>;

export interface Accounts {
  handlers: HandlersOf<
    | 'session.state'
    | 'session.firstStart'
    | 'session.accounts'
    | 'session.signIn'
    | 'session.signOut'
    | 'session.active'
    | 'session.setLanguage'
    | 'users.list'
    | 'users.add'
    | 'users.disable'
  >;
  openSession(): Session;
  closeSession(session: Session): void;
  /** Puts in what the store says about the person now: a disabled account and one that nobody sits at are signed out. */
  refresh(session: Session): void;
  /** Before whatever needs a role: PASSWORD_DUE. */
  refusePasswordDue(session: Session): void;
  /** ACCOUNT_ALTERED where the row is not what the home's key certified; an entry of the trail. */
  refuseAltered(account: Account): void;
  /** The account with its private key; WRONG_PASSWORD, TOO_MANY_ATTEMPTS, ACCOUNT_ALTERED. Takes about as long for a name that does not exist. */
  unlock(name: string, password: string): Promise<{ account: Account; privateKey: KeyObject }>;
  /** Signs the person in there, whoever was before, and writes it into the trail. */
  enter(session: Session, user: User, action: 'session.signIn' | 'session.quick'): SessionState;
  /** Tells the window of the session how it stands. */
  tellChanged(session: Session): void;
  /** Signs the account out everywhere but there. */
  endSessions(userId: string, exceptSessionId?: string): void;
  throttle: Throttle;
  /** Notes outside the database that there is a supervisor, in a home of a version that did not. */
  start(): Promise<void>;
  /** Stops the clock that looks for idle sessions. */
  close(): void;
  /** Makes an account. ALREADY_EXISTS, WEAK_PASSWORD. */
  create(name: string, role: Role, password: string): Promise<Account>;
  /** `by` null: the program itself. */
  setLanguage(language: 'en' | 'ja', by: Session | null): void;
  state(session: Session): SessionState;
}

/** Signed out at the latest so long after the time is over. */
const LOOK_EVERY_MS = 10_000;

/** Whom the trail names where it was no account. */
const NO_ACCOUNT = new Set(['system', 'anyone', 'recovery code']);
/**
 * A name as it is kept. The trail knows people by it: none may read as another one, or as none at all.
 * @throws INVALID_INPUT
 */
const checkName = (name: string): string => {
  const normal = name.normalize('NFC').trim();
  const refuse = (problem: string) => new AppError('INVALID_INPUT', { what: 'name', problem });
  if (normal === '') throw refuse('it is empty');
  if (NO_ACCOUNT.has(nameKey(normal))) throw refuse(`"${normal}" is no person in the audit trail`);
  return normal;
};

/** Shown to anyone: a demo is for trying out, and its keys count nowhere else. */
export const demoAccounts: SessionState['demoAccounts'] = [
  { name: 'demo-supervisor', password: 'mekiki-demo', role: 'supervisor' },
  { name: 'demo-technician', password: 'mekiki-demo', role: 'technician' },
];

/** `prepareHome`: called within the transaction that makes the first supervisor (default station, class ok). */
export const createAccounts = (context: CoreContext, prepareHome: () => Promise<() => void>): Accounts => {
  const { store, now } = context;
  const throttle = createThrottle(store.signInAttempts, now);
  const idle = createIdle(now);
  const sessions = new Map<string, Session>();
  /** To try a password on when the name does not exist, so that the answer takes as long. */
  const decoy = keyOfNobody(context.passwordCost);

  let founded = isFounded(store.home);
  const isFirstStart = (): boolean => !founded && store.users.countSupervisors() === 0;
  const found = async (account: Account): Promise<void> => {
    try {
      await noteFounder(store.home, account.certificate);
      founded = true;
    } catch (error) {
      // The next start tries again.
      context.log.error('the first supervisor could not be noted outside the database', { error });
    }
  };

  const state = (session: Session): SessionState => ({
    version: context.version,
    firstStart: isFirstStart(),
    demo: store.demo,
    demoAccounts: store.demo ? demoAccounts.filter(({ name }) => store.users.accountByName(name) !== null) : [],
    language: languageSchema.catch('en').parse(store.settings.get('language')),
    user: session.user,
    passwordDue: session.user !== null && store.users.isPasswordDue(session.user.id),
    testRuntime: context.testRuntime,
    now: now().toISOString(),
  });
  const tellChanged = (session: Session) => context.emit('session.changed', state(session), session.id);

  const makeAccount = async (name: string, role: Role, password: string, passwordDue = false): Promise<Account> => {
    const kept = checkName(name);
    if (store.users.accountByName(kept) !== null) throw new AppError('ALREADY_EXISTS', { kind: 'user', id: kept });
    const user: User = { id: `u-${randomUUID().slice(0, 8)}`, name: kept, role, disabled: false };
    refuseWeak(password, kept);
    const key = await createUserKey(password, context.passwordCost);
    return { user, ...key, certificate: context.keys.certify(user, key.publicKey, store.demo, now()), passwordDue };
  };
  const insertAccount = (account: Account, by: string) => {
    store.users.insert(account, now());
    store.audit.append({
      user: by,
      action: 'users.add',
      subject: account.user.name,
      details: { id: account.user.id, role: account.user.role, oneTime: account.passwordDue },
    });
  };

  const altered = (account: Account): AppError => {
    const subject = account.user.name;
    store.transaction(() => store.audit.append({ user: 'anyone', action: 'session.alteredAccount', subject }));
    return new AppError('ACCOUNT_ALTERED', { user: subject });
  };
  const refuseAltered = (account: Account): void => {
    if (!isCertified(account, context.keys.rootPublicKey())) throw altered(account);
  };

  const unlock: Accounts['unlock'] = (name, password) => {
    const key = nameKey(name);
    return throttle.inTurn(key, () => unlockNow(key, name, password));
  };
  const unlockNow = async (key: string, name: string, password: string) => {
    throttle.check(key);
    const account = store.users.accountByName(name);
    try {
      const privateKey = await unlockUserKey(account?.lockedPrivateKey ?? decoy, password);
      // Disabled, or given another password, while this one was tried.
      const asItIs = store.users.accountByName(name);
      if (account === null || asItIs?.user.disabled !== false || asItIs.lockedPrivateKey !== account.lockedPrivateKey)
        throw new AppError('WRONG_PASSWORD');
      refuseAltered(account);
      const own = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' });
      if (own !== account.certificate.publicKey) throw altered(account);
      throttle.succeeded(key);
      return { account, privateKey };
    } catch (error) {
      if (!isAppError(error, 'WRONG_PASSWORD')) throw error;
      throttle.failed(key);
      store.transaction(() =>
        store.audit.append({
          user: 'anyone',
          action: 'session.wrongPassword',
          subject: account?.user.name ?? 'an unknown name',
        }),
      );
      throw error;
    }
  };

  const endSessions: Accounts['endSessions'] = (userId, exceptSessionId) => {
    for (const each of sessions.values()) {
      if (each.user?.id !== userId || each.id === exceptSessionId) continue;
      each.user = null;
      tellChanged(each);
    }
  };

  /** True when it was signed out. */
  const endIdle = (session: Session): boolean => {
    if (session.user === null || store.demo || !idle.isOver(session)) return false;
    const { name } = session.user;
    // First: a full disk, which takes no entry, keeps nobody signed in. Nor may it end the core, and the clock has nobody to tell.
    session.user = null;
    try {
      store.transaction(() => store.audit.append({ user: name, action: 'session.timedOut', subject: name }));
    } catch (error) {
      context.log.error('end of a session not noted', { user: name, error });
    }
    return true;
  };
  const looking = setInterval(() => {
    for (const session of sessions.values()) if (endIdle(session)) tellChanged(session);
  }, LOOK_EVERY_MS);
  looking.unref();

  const enter: Accounts['enter'] = (session, user, action) => {
    store.transaction(() => store.audit.append({ user: user.name, action, subject: user.name }));
    session.user = user;
    tellChanged(session);
    return state(session);
  };

  const setLanguage: Accounts['setLanguage'] = (language, by) => {
    const before = store.settings.get('language') ?? null;
    if (language === before) return;
    store.transaction(() => {
      store.settings.set('language', language);
      const user = actor(by);
      store.audit.append({ user, action: 'session.setLanguage', subject: language, details: { before } });
    });
    for (const session of sessions.values()) tellChanged(session);
  };

  return {
    state,
    refuseAltered,
    unlock,
    throttle,
    async start() {
      if (founded) return;
      const supervisor = store.users.list().find(({ role }) => role === 'supervisor');
      const account = supervisor && store.users.account(supervisor.id);
      if (account) await found(account);
    },
    tellChanged,
    endSessions,
    enter,
    close: () => clearInterval(looking),
    setLanguage,
    openSession() {
      const session: Session = { id: randomUUID(), user: null };
      sessions.set(session.id, session);
      return session;
    },
    closeSession: (session) => void sessions.delete(session.id),
    refresh(session) {
      if (session.user === null) return;
      if (endIdle(session)) return tellChanged(session);
      const user = store.users.get(session.user.id);
      session.user = user === null || user.disabled ? null : user;
    },
    refusePasswordDue({ user }) {
      if (user !== null && store.users.isPasswordDue(user.id)) throw new AppError('PASSWORD_DUE', { user: user.name });
    },
    async create(name, role, password) {
      const account = await makeAccount(name, role, password);
      store.transaction(() => insertAccount(account, 'system'));
      return account;
    },
    handlers: {
      'session.state': async (_input, session) => state(session),
      'session.accounts': async () =>
        store.users
          .list()
          .filter((user) => !user.disabled)
          .map(({ name, role }) => ({ name, role })),
      async 'session.firstStart'({ language, name, password }, session) {
        const refuseSecond = () => {
          if (!isFirstStart()) {
            throw new AppError('CONFLICT', { what: 'this data folder', state: 'set up', needed: 'a new one' });
          }
        };
        refuseSecond();
        const account = await makeAccount(name, 'supervisor', password);
        const makeFirstThings = await prepareHome();
        store.transaction(() => {
          // Again: another window may have been quicker while the key was made.
          refuseSecond();
          insertAccount(account, account.user.name);
          store.settings.set('language', language);
          makeFirstThings();
        });
        await found(account);
        session.user = account.user;
        for (const each of sessions.values()) tellChanged(each);
        context.emit('stations.changed', {});
        context.emit('classes.changed', {});
        return state(session);
      },
      async 'session.signIn'({ name, password }, session) {
        const { account } = await unlock(name, password);
        return enter(session, account.user, 'session.signIn');
      },
      async 'session.active'(_input, session) {
        idle.active(session);
        return {};
      },
      async 'session.signOut'(_input, session) {
        const { user } = session;
        session.user = null;
        if (user !== null)
          store.transaction(() =>
            store.audit.append({ user: user.name, action: 'session.signOut', subject: user.name }),
          );
        tellChanged(session);
        return state(session);
      },
      async 'session.setLanguage'({ language }, session) {
        setLanguage(language, session);
        return state(session);
      },
      'users.list': async () => store.users.list(),
      async 'users.add'({ name, role, password, oneTime }, session) {
        const account = await makeAccount(name, role, password, oneTime);
        store.transaction(() => insertAccount(account, actor(session)));
        return account.user;
      },
      async 'users.disable'({ userId }, session) {
        const user = store.users.get(userId);
        if (user === null) throw new AppError('NOT_FOUND', { kind: 'user', id: userId });
        if (user.role === 'supervisor' && !user.disabled && store.users.countSupervisors() === 1) {
          throw new AppError('CONFLICT', {
            what: user.name,
            state: 'the only supervisor',
            needed: 'another supervisor',
          });
        }
        store.transaction(() => {
          store.users.disable(userId);
          store.audit.append({ user: actor(session), action: 'users.disable', subject: user.name });
        });
        endSessions(userId);
        const now = store.users.get(userId);
        assert(now !== null, 'accounts are disabled, never deleted');
        return now;
      },
    },
  };
};
