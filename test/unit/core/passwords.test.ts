import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { weaknessOf } from '../../../main/contract/password.ts';
import type { Session } from '../../../main/core/port.ts';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

let world: World;
let clock: Date;
const later = (ms: number) => {
  clock = new Date(clock.getTime() + ms);
};
const withWorld = () => {
  beforeEach(async () => {
    clock = new Date('2026-01-01T00:00:00.000Z');
    world = await startWorld({ now: () => clock });
    await setUp(world);
  });
  afterEach(() => world.close());
};

const NEW = 'seven green bottles';
const signIn = (name: string, password: string, session: Session = world.core.openSession()) =>
  world.call('session.signIn', { name, password }, session).then(() => session);
/** The core holds the database alone: it is closed for this, and nobody is signed in afterwards. */
const sql = async (text: string, ...values: string[]): Promise<Record<string, unknown>[]> => {
  await world.core.close();
  const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
  try {
    const statement = db.prepare(text);
    return statement.reader ? (statement.all(...values) as Record<string, unknown>[]) : (statement.run(...values), []);
  } finally {
    db.close();
    await world.reopen();
  }
};
const publicKeyOf = async (name: string) =>
  (await sql('SELECT public_key AS key FROM users WHERE name = ?', name))[0]!['key'];
const actions = async () => (await world.call('audit.list', {})).entries.map(({ action }) => action);

describe('a new password', () => {
  test.each([
    ['12345678', 'row'],
    ['hgfedcba', 'row'],
    ['aaaaaaaa', 'row'],
    ['abababab', 'row'],
    ['password', 'common'],
    ['Password123!', 'common'],
    ['ｐａｓｓｗｏｒｄ１', 'common'],
    ['mekikimekiki', 'common'],
    ['sato1234', 'name'],
    ['xSATO2026', 'name'],
  ])('%s is refused: %s', (password, why) => {
    expect(weaknessOf(password, 'Sato')).toBe(why);
  });
  test.each(['correct horse', 'sato likes rain in june', '目利きの三人目は誰', 'tr0ub4dor&3', '83649201'])(
    '%s may be used',
    (password) => expect(weaknessOf(password, 'sato')).toBeNull(),
  );
});

describe('a password that somebody else made', () => {
  withWorld();
  test('lets its owner do nothing but choose another one, which is told and audited', async () => {
    const { id } = await world.call('users.add', { name: 'mori', role: 'engineer', password: NEW, oneTime: true });
    const mori = await signIn('mori', NEW);
    expect((await world.call('session.state', {}, mori)).passwordDue).toBe(true);
    const due = { code: 'PASSWORD_DUE' };
    await expect(world.call('users.list', {}, mori)).rejects.toMatchObject(due);
    // What nobody needs an account for stays.
    expect(await world.call('stations.list', {}, mori)).toHaveLength(1);
    const change = (newPassword: string) => world.call('session.changePassword', { password: NEW, newPassword }, mori);
    await expect(change(NEW)).rejects.toMatchObject(due);
    await expect(change('password1')).rejects.toMatchObject({ code: 'WEAK_PASSWORD' });
    await world.reopen();
    const again = await signIn('mori', NEW);
    await expect(world.call('users.list', {}, again)).rejects.toMatchObject(due);
    await world.call('session.changePassword', { password: NEW, newPassword: 'nine blue kettles' }, again);
    expect(world.events.filter(({ name }) => name === 'session.changed').at(-1)?.payload).toMatchObject({
      passwordDue: false,
    });
    expect(await world.call('users.list', {}, again)).toContainEqual(expect.objectContaining({ id }));
    await signIn('sato', PASSWORD, world.session);
    await world.call('users.resetPassword', { userId: id, newPassword: NEW, password: PASSWORD, oneTime: true });
    await expect(world.call('users.list', {}, await signIn('mori', NEW))).rejects.toMatchObject(due);
    expect(await actions()).toContain('users.changePassword');
  });
});

describe('changing a password', () => {
  withWorld();
  test('asks for a good one, as making an account does', async () => {
    const weak = 'password1';
    for (const attempt of [
      () => world.call('users.add', { name: 'mori', role: 'operator', password: weak }),
      () => world.call('session.changePassword', { password: PASSWORD, newPassword: weak }),
    ])
      await expect(attempt()).rejects.toMatchObject({ code: 'WEAK_PASSWORD' });
  });

  test('the owner keeps the key, and other windows are signed out', async () => {
    const key = await publicKeyOf('sato');
    await signIn('sato', PASSWORD, world.session);
    const elsewhere = await signIn('sato', PASSWORD);
    await expect(world.call('session.changePassword', { password: 'wrong', newPassword: NEW })).rejects.toMatchObject({
      code: 'WRONG_PASSWORD',
    });
    await world.call('session.changePassword', { password: PASSWORD, newPassword: NEW });
    expect(elsewhere.user).toBeNull();
    expect(world.session.user?.name).toBe('sato');
    await expect(signIn('sato', PASSWORD)).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    expect(await actions()).toContain('users.changePassword');
    expect(await publicKeyOf('sato')).toBe(key);
    await signIn('sato', NEW);
  });

  test('a supervisor gives another account a new key, with the own password', async () => {
    const key = await publicKeyOf('tanaka');
    await signIn('sato', PASSWORD, world.session);
    const technician = await signIn('tanaka', PASSWORD);
    const user = technician.user!;
    const reset = { userId: user.id, newPassword: NEW };
    await expect(world.call('users.resetPassword', { ...reset, password: NEW })).rejects.toMatchObject({
      code: 'WRONG_PASSWORD',
    });
    expect(technician.user).not.toBeNull();
    await world.call('users.resetPassword', { ...reset, password: PASSWORD });
    expect(technician.user).toBeNull();
    await signIn(user.name, NEW);
    expect(await actions()).toContain('users.resetPassword');
    expect(await publicKeyOf(user.name)).not.toBe(key);
  });
});

describe('a password that is changed and reset at once', () => {
  withWorld();
  test('is the one that the supervisor gave, and due', async () => {
    const tanaka = await signIn('tanaka', PASSWORD);
    const userId = tanaka.user!.id;
    const changing = world.call(
      'session.changePassword',
      { password: PASSWORD, newPassword: 'nine blue kettles' },
      tanaka,
    );
    const reset = { userId, newPassword: NEW, password: PASSWORD, oneTime: true };
    await Promise.allSettled([changing, world.call('users.resetPassword', reset)]);
    await expect(signIn('tanaka', 'nine blue kettles')).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    const again = await signIn('tanaka', NEW);
    expect((await world.call('session.state', {}, again)).passwordDue).toBe(true);
  });
});

describe('the recovery code', () => {
  withWorld();
  const recover = (code: string, name = 'sato') =>
    world.call('session.recover', { code, name, newPassword: NEW }, world.core.openSession());

  test('gives a supervisor a new key once, however it is typed, also after a restart', async () => {
    const { code } = await world.call('users.makeRecovery', { password: PASSWORD });
    expect(code).toMatch(/^([0-9A-HJKMNP-TV-Z]{4}-){7}[0-9A-HJKMNP-TV-Z]{4}$/);
    const key = await publicKeyOf('sato');
    await recover(code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o'));
    expect(await publicKeyOf('sato')).not.toBe(key);
    await signIn('sato', NEW, world.session);
    expect(await actions()).toContain('users.recover');
    await expect(recover(code)).rejects.toMatchObject({ code: 'RECOVERY_REFUSED' });
  });

  test('works once for two who type it at once', async () => {
    await world.call('users.add', { name: 'mori', role: 'supervisor', password: PASSWORD });
    const { code } = await world.call('users.makeRecovery', { password: PASSWORD });
    const outcomes = await Promise.allSettled([recover(code, 'sato'), recover(code, 'mori')]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(outcomes).toContainEqual(
      expect.objectContaining({ reason: expect.objectContaining({ code: 'RECOVERY_REFUSED' }) as unknown }),
    );
  });

  test('a newer one makes it void; wrong ones are slowed down and recorded; nobody but a supervisor', async () => {
    const { code: first } = await world.call('users.makeRecovery', { password: PASSWORD });
    const { code } = await world.call('users.makeRecovery', { password: PASSWORD });
    await expect(recover(first)).rejects.toMatchObject({ code: 'RECOVERY_REFUSED' });
    await expect(recover(code, 'tanaka')).rejects.toMatchObject({ code: 'RECOVERY_REFUSED' });
    for (let i = 0; i < 3; i += 1) await expect(recover('0000')).rejects.toMatchObject({ code: 'RECOVERY_REFUSED' });
    await expect(recover(code)).rejects.toMatchObject({
      code: 'TOO_MANY_RECOVERY_CODES',
      message: 'Too many wrong recovery codes.',
    });
    expect(await actions()).toContain('session.wrongRecovery');
    later(20_000);
    await recover(code);
  });

  test('is stored as a hash alone', async () => {
    const { code } = await world.call('users.makeRecovery', { password: PASSWORD });
    const stored = JSON.stringify(await sql('SELECT * FROM settings'));
    expect(stored).not.toContain(code);
    expect(stored).not.toContain(code.replaceAll('-', ''));
  });
});

describe('lock-out', () => {
  withWorld();
  test('outlives a restart, and a clock that was set back locks nobody for long', async () => {
    for (let i = 0; i < 6; i += 1) await signIn('sato', 'wrong').catch(() => {});
    await world.reopen();
    await expect(signIn('sato', PASSWORD)).rejects.toMatchObject({ code: 'TOO_MANY_ATTEMPTS' });
    later(-10 * 365 * 86_400_000);
    await expect(signIn('sato', PASSWORD)).rejects.toMatchObject({
      code: 'TOO_MANY_ATTEMPTS',
      details: { seconds: 10 },
    });
    later(11_000);
    expect((await signIn('sato', PASSWORD)).user?.name).toBe('sato');
  });
  test('is not escaped by trying many at once, passwords or codes', async () => {
    const tries = Array.from({ length: 24 }, (_, n) => n);
    const codes = (outcomes: PromiseSettledResult<unknown>[]) =>
      outcomes.map((one) => (one.status === 'rejected' ? (one.reason as { code: string }).code : 'in'));
    const passwords = codes(await Promise.allSettled(tries.map((n) => signIn('sato', `wrong ${n}`))));
    expect(passwords.filter((code) => code === 'WRONG_PASSWORD')).toHaveLength(5);
    expect(passwords.slice(5).every((code) => code === 'TOO_MANY_ATTEMPTS')).toBe(true);
    const quick = (n: number) => world.call('session.quick', { code: `100${n}` }, world.core.openSession());
    const pins = codes(await Promise.allSettled(tries.map(quick)));
    expect(pins.filter((code) => code === 'WRONG_CODE')).toHaveLength(5);
  });
  test('is not escaped by a thousand other names', async () => {
    for (let i = 0; i < 6; i += 1) await signIn('sato', 'wrong').catch(() => {});
    await sql(`INSERT INTO sign_in_attempts (name_key, wrong, locked_until, at)
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) SELECT 'x' || i, 9, '2027', '2027' FROM n`);
    await signIn('nobody', 'wrong').catch(() => {});
    await expect(signIn('sato', PASSWORD)).rejects.toMatchObject({ code: 'TOO_MANY_ATTEMPTS' });
  });
  test('keeps a bounded number of names', async () => {
    await sql(`INSERT INTO sign_in_attempts (name_key, wrong, locked_until, at)
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) SELECT 'x' || i, 1, '2026', '2025' FROM n`);
    await signIn('nobody', 'wrong').catch(() => {});
    expect((await sql('SELECT count(*) AS n FROM sign_in_attempts'))[0]!['n']).toBe(1000);
  });
});

describe('nobody at the window', () => {
  withWorld();
  test('signs a supervisor out after a quarter of an hour, and work keeps nobody in', async () => {
    const window = await signIn('sato', PASSWORD);
    await world.call('session.active', {}, window);
    later(14 * 60_000);
    // A list that refreshes itself is nobody's presence.
    await world.call('users.list', {}, window);
    later(60_000);
    await expect(world.call('users.list', {}, window)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    expect(window.user).toBeNull();
    await signIn('sato', PASSWORD, world.session);
    expect(await actions()).toContain('session.timedOut');
  });
  test('is signed out though the trail takes no entry', async () => {
    await sql(
      `CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.action = 'session.timedOut' BEGIN SELECT RAISE(ABORT, 'no room'); END`,
    );
    const window = await signIn('sato', PASSWORD);
    await world.call('session.active', {}, window);
    later(15 * 60_000);
    await expect(world.call('users.list', {}, window)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    expect(world.log.filter(({ level }) => level === 'error')).toMatchObject([
      { text: expect.stringContaining('no room') },
    ]);
  });
  test('somebody at it stays in; a command never times out', async () => {
    const window = await signIn('sato', PASSWORD);
    const command = await signIn('sato', PASSWORD);
    for (let i = 0; i < 10; i += 1) {
      await world.call('session.active', {}, window);
      later(10 * 60_000);
      await world.call('users.list', {}, window);
    }
    await world.call('users.list', {}, command);
  });
  test('an operator stays', async () => {
    await world.call('users.add', { name: 'op-1', role: 'operator', password: PASSWORD });
    const window = await signIn('op-1', PASSWORD);
    await world.call('session.active', {}, window);
    later(12 * 3_600_000);
    await world.call('session.state', {}, window);
    expect(window.user?.name).toBe('op-1');
  });
});
