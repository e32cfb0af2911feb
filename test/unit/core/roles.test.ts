import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  chainEntry,
  HEAD_EVERY,
  TRAIL_START,
  verifyTrail,
  type AuditEntry,
  type TrailProof,
} from '../../../main/audit/trail.ts';
import { roleSchema, type Role } from '../../../main/contract/domain.ts';
import { methods, type MethodName } from '../../../main/contract/methods.ts';
import type { Session } from '../../../main/core/port.ts';
import { smallDisk } from '../../helpers/small-disk.ts';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

let world: World;
const sessions = new Map<Role | 'nobody', Session>();
beforeAll(async () => {
  world = await startWorld();
  await setUp(world);
  for (const role of roleSchema.options) {
    await world.call('users.add', { name: `a-${role}`, role, password: PASSWORD });
    const session = world.core.openSession();
    await world.call('session.signIn', { name: `a-${role}`, password: PASSWORD }, session);
    sessions.set(role, session);
  }
  sessions.set('nobody', world.core.openSession());
});
afterAll(() => world.close());

const names = Object.keys(methods) as MethodName[];

describe('every method asks for its role in the core', () => {
  test.each(names)('%s', async (name) => {
    const allowed: readonly string[] | 'anyone' = methods[name].roles;
    for (const [role, session] of sessions) {
      // No method takes null: whoever gets past the role is stopped by the input, and nothing happens.
      const error = await world.call(name, null as never, session).then(
        () => null,
        (problem: { code: string }) => problem.code,
      );
      const may = allowed === 'anyone' || allowed.includes(role);
      expect(error, `${role} calls ${name}`).toBe(may ? 'INVALID_INPUT' : 'NOT_ALLOWED');
    }
  });

  const open = (role: string) =>
    names.filter(
      (name) =>
        (methods[name].roles as readonly string[]).includes(role) && methods[name].roles !== ('anyone' as never),
    );
  test('an auditor only reads, and changes the own password', () => {
    expect(open('auditor').toSorted()).toEqual([
      'audit.export',
      'audit.list',
      'candidates.approvalRule',
      'session.changePassword',
      'users.list',
    ]);
  });
  test('only a supervisor decides', () => {
    for (const name of [
      'candidates.approve',
      'candidates.reject',
      'models.activate',
      'models.plan',
      'models.rollback',
      'bundles.trust',
      'users.add',
      'users.resetPassword',
      'users.makeRecovery',
      'candidates.setApprovalRule',
      'home.backup',
      'retention.set',
    ] as const)
      expect(methods[name].roles).toEqual(['supervisor']);
  });
});

describe('a row that somebody wrote into the database', () => {
  const edit = async (sql: string) => {
    await world.core.close();
    const db = new Sqlite(join(world.home, 'mekiki.sqlite'));
    db.exec(sql);
    db.close();
    await world.reopen();
  };
  const signIn = (name: string) => world.call('session.signIn', { name, password: PASSWORD });
  const signInSato = () => signIn('sato');
  const files = ['mekiki.sqlite', join('trust', 'audit-head.json')];
  let whole: Buffer[];
  beforeEach(async () => {
    await world.core.close();
    whole = files.map((name) => readFileSync(join(world.home, name)));
    await world.reopen();
  });
  afterEach(async () => {
    await world.core.close();
    for (const [i, name] of files.entries()) writeFileSync(join(world.home, name), whole[i]!);
    await world.reopen();
    await signInSato();
  });

  test('gives nobody another role, and no new password makes it true', async () => {
    await edit(`UPDATE users SET role = 'supervisor' WHERE name = 'a-operator'`);
    await expect(signIn('a-operator')).rejects.toMatchObject({ code: 'ACCOUNT_ALTERED' });
    await signInSato();
    const { id: userId } = (await world.call('users.list', {})).find(({ name }) => name === 'a-operator')!;
    await expect(
      world.call('users.resetPassword', { userId, newPassword: 'seven green bottles', password: PASSWORD }),
    ).rejects.toMatchObject({ code: 'ACCOUNT_ALTERED' });
    expect((await world.call('audit.list', {})).entries[0]).toMatchObject({ action: 'session.alteredAccount' });
  });

  test('gives nobody the key of another', async () => {
    await edit(
      `UPDATE users SET locked_private_key = (SELECT locked_private_key FROM users WHERE name = 'a-operator') WHERE name = 'a-supervisor'`,
    );
    await expect(signIn('a-supervisor')).rejects.toMatchObject({ code: 'ACCOUNT_ALTERED' });
  });

  test('makes no recovery code', async () => {
    const sha256 = createHash('sha256').update('0'.repeat(32)).digest('hex');
    const made = JSON.stringify({ sha256, by: 'sato', at: '2026-01-01T00:00:00.000Z', signature: '' });
    await edit(`INSERT OR REPLACE INTO settings (key, value) VALUES ('recovery', '${made}')`);
    const recover = { code: '0'.repeat(32), name: 'sato', newPassword: 'seven green bottles' };
    await expect(world.call('session.recover', recover)).rejects.toMatchObject({ code: 'RECOVERY_REFUSED' });
  });

  test('offers no first start again', async () => {
    await edit(`UPDATE users SET disabled = 1`);
    expect((await world.call('session.state', {})).firstStart).toBe(false);
    await expect(
      world.call('session.firstStart', { language: 'en', name: 'mallory', password: PASSWORD }),
    ).rejects.toMatchObject({ code: 'CONFLICT' });
  });
});

test('nothing that a person has written out lands in the data folder, by links neither', async () => {
  const [station] = await world.call('stations.list', {});
  const link = join(world.home, '..', 'link');
  symlinkSync(world.home, link);
  for (const file of [join(world.home, 'restored.json'), join(link, 'restoring'), join(link, 'new', 'x', 'y')])
    for (const [what, written] of [
      [file, () => world.call('audit.export', { file })],
      [file, () => world.call('home.backup', { file, password: PASSWORD })],
      [file, () => world.call('bundles.export', { candidateId: 'm-any', file })],
      [file, () => world.call('knowledge.export', { stationId: station!.id, file })],
      [
        dirname(file),
        () =>
          world.call('stations.update', { stationId: station!.id, camera: { kind: 'folder', path: dirname(file) } }),
      ],
    ] as const)
      await expect(written()).rejects.toMatchObject({ code: 'INVALID_INPUT', details: { what } });
  expect(existsSync(join(world.home, 'new'))).toBe(false);
});

describe('the trail of a home', () => {
  const act = async (times: number) => {
    for (let i = 0; i < times; i += 1) await world.call('session.signIn', { name: 'sato', password: PASSWORD });
  };

  test('tells of a setting as it was and as it is', async () => {
    const [station] = await world.call('stations.list', {});
    const { id: stationId, name, threads } = station!;
    await world.call('stations.update', { stationId, name, threads: threads + 1 });
    await world.call('session.setLanguage', { language: 'ja' });
    await world.call('session.setLanguage', { language: 'ja' });
    expect(await world.call('reports.shifts', {})).toEqual({ starts: [6, 14, 22] });
    await world.call('reports.setShifts', { starts: [5, 13] });
    await world.call('reports.setShifts', { starts: [5, 13] });
    expect(await world.call('reports.shifts', {})).toEqual({ starts: [5, 13] });
    await expect(world.call('reports.setShifts', { starts: [13, 5] })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    const file = join(world.home, '..', 'settings.jsonl');
    await world.call('audit.export', { file });
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-4, -1);
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { user: 'sato', action: 'stations.update', details: { before: { threads }, changes: { threads: threads + 1 } } },
      { user: 'sato', action: 'session.setLanguage', subject: 'ja', details: { before: 'en' } },
      { user: 'sato', action: 'reports.setShifts', subject: '5, 13', details: { before: [6, 14, 22] } },
    ]);
  });

  test.each([
    'system',
    'Anyone',
    ' ｓｙｓｔｅｍ ',
    'recovery code',
    'sato\u200B',
    '\u202Eotas',
    'sa\u0000to',
    'sato\nsystem',
    'sato\uD83D',
  ])('names nobody as nobody, or as somebody else: %j', async (name) => {
    await expect(world.call('users.add', { name, role: 'supervisor', password: PASSWORD })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });

  test('tells of who left, and who let a line run and stand', async () => {
    const [station] = await world.call('stations.list', {});
    const stationId = station!.id;
    const screen = world.core.openSession();
    await world.call('line.start', { stationId });
    await world.call('line.start', { stationId });
    await world.call('line.stop', { stationId }, screen);
    await world.call('line.stop', { stationId });
    await world.call('session.signIn', { name: 'a-technician', password: PASSWORD }, screen);
    await world.call('session.signOut', {}, screen);
    await world.call('session.signOut', {}, screen);
    const { entries } = await world.call('audit.list', { limit: 4 });
    expect(entries.map(({ user, action, subject }) => [user, action, subject]).reverse()).toEqual([
      ['sato', 'line.start', stationId],
      ['anyone', 'line.stop', stationId],
      ['a-technician', 'session.signIn', 'a-technician'],
      ['a-technician', 'session.signOut', 'a-technician'],
    ]);
  });

  test('is signed as it grows and when the program closes, and can be taken away as a file', async () => {
    await act(3);
    await world.reopen();
    const verdict = await world.call('audit.verify', {});
    expect(verdict).toMatchObject({ valid: true, firstBroken: null, signedUpTo: verdict.entries });
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
    const file = join(world.home, '..', 'trail.jsonl');
    const made = await world.call('audit.export', { file });
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(made.entries + 2);
    expect(lines.slice(1, -1).map((line) => (JSON.parse(line) as { n: number }).n)).toEqual(
      Array.from({ length: made.entries }, (_, i) => i + 1),
    );
    await expect(world.call('audit.export', { file })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  });

  test('is of one moment in the file, whatever is done meanwhile', async () => {
    const newest = async () => (await world.call('audit.list', { limit: 1 })).entries[0]!.n;
    // So near before a signed head that it is signed while the file is written.
    await act(2 * HEAD_EVERY);
    while ((await newest()) % HEAD_EVERY !== HEAD_EVERY - 3) await act(1);
    const file = join(world.home, '..', 'meanwhile.jsonl');
    let writing = true;
    const made = world.call('audit.export', { file }).finally(() => (writing = false));
    for (let n = 0; writing; n += 1) {
      await world.call('session.setLanguage', { language: n % 2 === 0 ? 'en' : 'ja' });
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { entries: there } = await made;
    expect(await newest()).toBeGreaterThan(there + 1);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    const proof = JSON.parse(lines.at(-1)!) as Pick<TrailProof, 'heads' | 'outside'>;
    const entries = lines.slice(1, -1).map((line) => JSON.parse(line) as AuditEntry);
    expect(entries).toHaveLength(there);
    const rootPublicKey = readFileSync(join(world.home, 'trust', 'root.pub'), 'utf8');
    expect(verifyTrail(entries, { rootPublicKey, ...proof })).toMatchObject({ valid: true });
  });

  test('is broken by no text that a caller can send', async () => {
    await world.call('audit.export', { file: join(world.home, '..', 'half a pair \uD83D.jsonl') });
    expect(await world.call('audit.verify', {})).toMatchObject({ valid: true });
    const { entries } = await world.call('audit.list', { limit: 1 });
    expect(entries[0]).toMatchObject({
      action: 'audit.export',
      subject: expect.stringContaining('half a pair \uFFFD'),
    });
  });

  test('leaves no file where it cannot be verified', async () => {
    const file = join(world.home, '..', 'unverified.jsonl');
    const key = join(world.home, 'trust', 'root.pub');
    renameSync(key, `${key}.away`);
    await expect(world.call('audit.export', { file })).rejects.toThrow('ENOENT');
    renameSync(`${key}.away`, key);
    expect(await world.call('audit.export', { file })).toMatchObject({ valid: true });
  });

  test('is there whole or not at all, wherever a disk becomes full', async (context) => {
    // So many signatures that the last line is longer than an entry.
    await act(200);
    const { bytes } = await world.call('audit.export', { file: join(world.home, '..', 'first.jsonl') });
    const disk = join(world.home, '..', 'disk');
    mkdirSync(disk);
    const unmount = smallDisk(disk, `${4096 * Math.ceil(bytes / 4096)}`);
    context.skip(unmount === null, 'this account may not mount a small disk');
    const file = join(disk, 'trail.jsonl');
    try {
      // Each has an entry more than the one before, so that the disk ends within the last line of one of them.
      const takeAway = async (): Promise<void> => {
        await world.call('audit.export', { file });
        expect(readFileSync(file, 'utf8').endsWith('}\n')).toBe(true);
        rmSync(file);
        return takeAway();
      };
      await expect(takeAway()).rejects.toMatchObject({ code: 'DISK_FULL' });
      expect(existsSync(file)).toBe(false);
    } finally {
      unmount!();
    }
  });

  test.each([
    ['edited', `UPDATE audit SET user = 'mallory' WHERE n = 3`],
    ['deleted', 'DELETE FROM audit WHERE n = 3'],
    ['cut off', 'DELETE FROM audit WHERE n > 4'],
    [
      'reordered',
      'UPDATE audit SET n = -3 WHERE n = 3; UPDATE audit SET n = 3 WHERE n = 4; UPDATE audit SET n = 4 WHERE n = -3',
    ],
  ])('an entry that was %s is found, and stays found', async (_, sql) => {
    await world.core.close();
    const file = join(world.home, 'mekiki.sqlite');
    const whole = readFileSync(file);
    const db = new Sqlite(file);
    db.exec('DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;');
    db.exec(sql);
    db.close();
    await world.reopen();
    expect((await world.call('audit.verify', {})).valid).toBe(false);
    await world.reopen();
    expect((await world.call('audit.verify', {})).valid).toBe(false);
    await world.core.close();
    writeFileSync(file, whole);
    await world.reopen();
    expect((await world.call('audit.verify', {})).valid).toBe(true);
  });

  test.each([
    [
      'whose end was cut off',
      (db: Sqlite.Database) => db.exec('DELETE FROM audit WHERE n > (SELECT max(n) + 1 FROM audit_heads)'),
    ],
    [
      'that was written anew',
      (db: Sqlite.Database) => {
        const change = db.prepare('UPDATE audit SET user = ?, previous_hash = ?, hash = ? WHERE n = ?');
        let previousHash = TRAIL_START;
        for (const row of db.prepare('SELECT * FROM audit ORDER BY n').all() as (AuditEntry & { details: never })[]) {
          const { n, at, action, subject } = row;
          const content = { n, at, user: 'mallory', action, subject, details: JSON.parse(row.details) as object };
          const { hash } = chainEntry({ ...content, details: { ...content.details } }, previousHash);
          change.run('mallory', previousHash, hash, n);
          previousHash = hash;
        }
        db.exec('DELETE FROM audit_heads');
        // A table that earlier versions believed.
        if (db.prepare(`SELECT 1 FROM sqlite_master WHERE name = 'audit_signed_from'`).get() !== undefined)
          db.exec('UPDATE audit_signed_from SET n = (SELECT count(*) FROM audit)');
      },
    ],
  ])('one %s is found, whatever unsigned head lies beside it, and is not signed', async (_, alter) => {
    for (let i = 0; i < 105; i += 1) await world.call('session.setLanguage', { language: i % 2 === 0 ? 'ja' : 'en' });
    await world.core.close();
    const files = [join(world.home, 'mekiki.sqlite'), join(world.home, 'trust', 'audit-head.json')];
    const whole = files.map((file) => readFileSync(file));
    const db = new Sqlite(files[0]!);
    db.exec('DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete; DROP TRIGGER audit_heads_no_delete;');
    alter(db);
    const end = db.prepare('SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1').get();
    db.close();
    const unsigned = JSON.stringify(end);
    writeFileSync(files[1]!, unsigned);
    await world.reopen();
    expect((await world.call('audit.verify', {})).valid).toBe(false);
    await world.reopen();
    expect(readFileSync(files[1]!, 'utf8')).toBe(unsigned);
    expect((await world.call('audit.verify', {})).valid).toBe(false);
    await world.core.close();
    for (const [i, file] of files.entries()) writeFileSync(file, whole[i]!);
    await world.reopen();
    expect((await world.call('audit.verify', {})).valid).toBe(true);
    await world.call('session.signIn', { name: 'sato', password: PASSWORD });
  });
});
