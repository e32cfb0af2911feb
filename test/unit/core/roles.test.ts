import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { roleSchema, type Role } from '../../../main/contract/domain.ts';
import { methods, type MethodName } from '../../../main/contract/methods.ts';
import type { Session } from '../../../main/core/port.ts';
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
    ] as const)
      expect(methods[name].roles).toEqual(['supervisor']);
  });
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
    const file = join(world.home, '..', 'settings.jsonl');
    await world.call('audit.export', { file });
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-3, -1);
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { user: 'sato', action: 'stations.update', details: { before: { threads }, changes: { threads: threads + 1 } } },
      { user: 'sato', action: 'session.setLanguage', subject: 'ja', details: { before: 'en' } },
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
});
