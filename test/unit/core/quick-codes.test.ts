import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Session } from '../../../main/core/port.ts';
import { PASSWORD, setUp, startWorld, type World } from './world.ts';

let world: World;
let clock: Date;
let screen: Session;
const ids = new Map<string, string>();
beforeEach(async () => {
  clock = new Date('2026-03-01T08:00:00.000Z');
  world = await startWorld({ now: () => clock });
  await setUp(world);
  for (const name of ['ito', 'mori'])
    ids.set(name, (await world.call('users.add', { name, role: 'operator', password: PASSWORD })).id);
  screen = world.core.openSession();
});
afterEach(() => world.close());

const setCode = (name: string, code: string | null) =>
  world.call('users.setQuickCode', { userId: ids.get(name)!, code });
const quick = async (code: string) => (await world.call('session.quick', { code }, screen)).user?.name;

test('a badge says who stands there, one after the other, and the trail knows', async () => {
  await setCode('ito', '0421');
  await setCode('mori', 'BADGE-77123');
  expect(await quick('0421')).toBe('ito');
  // The reader adds spaces, and full-width digits are digits.
  expect(await quick(' BADGE-77123 ')).toBe('mori');
  expect(await quick('０４２１')).toBe('ito');
  const { entries } = await world.call('audit.list', { limit: 3 });
  expect(entries.map(({ action, user }) => [action, user])).toEqual([
    ['session.quick', 'ito'],
    ['session.quick', 'mori'],
    ['session.quick', 'ito'],
  ]);
  await world.reopen();
  screen = world.core.openSession();
  expect(await quick('0421')).toBe('ito');
});

test('it reaches no other role, no disabled account, and is nobody’s once taken away', async () => {
  const users = await world.call('users.list', {});
  const technician = users.find(({ name }) => name === 'tanaka')!;
  await expect(world.call('users.setQuickCode', { userId: technician.id, code: '0000' })).rejects.toMatchObject({
    code: 'CONFLICT',
  });
  await setCode('ito', '0421');
  await expect(setCode('mori', '0421')).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
  await quick('0421');
  await expect(world.call('classes.create', { names: { en: 'pit', ja: '' } }, screen)).rejects.toMatchObject({
    code: 'NOT_ALLOWED',
  });
  await setCode('ito', null);
  await expect(quick('0421')).rejects.toMatchObject({ code: 'WRONG_CODE' });
  await setCode('ito', '0421');
  await world.call('users.disable', { userId: ids.get('ito')! });
  await expect(quick('0421')).rejects.toMatchObject({ code: 'WRONG_CODE' });
});

test('a badge of somebody who left goes to another one', async () => {
  await setCode('ito', 'BADGE-77123');
  await world.call('users.disable', { userId: ids.get('ito')! });
  await setCode('mori', 'BADGE-77123');
  await setCode('mori', 'BADGE-77123');
  expect(await quick('BADGE-77123')).toBe('mori');
});

test('a right badge between them lets nobody guess on, and slips of a day lock nobody out', async () => {
  await setCode('ito', '0421');
  await setCode('mori', 'BADGE-77123');
  const later = (ms: number) => (clock = new Date(clock.getTime() + ms));
  for (let n = 0; n < 5; n += 1) {
    await expect(quick(`200${n}`)).rejects.toMatchObject({ code: 'WRONG_CODE' });
    if (n < 4) expect(await quick('BADGE-77123')).toBe('mori');
  }
  await expect(quick('0421')).rejects.toMatchObject({ code: 'TOO_MANY_CODES' });
  later(11_000);
  await expect(quick('2005')).rejects.toMatchObject({ code: 'WRONG_CODE' });
  await expect(quick('BADGE-77123')).rejects.toMatchObject({ code: 'TOO_MANY_CODES', details: { seconds: 20 } });
  for (let n = 0; n < 20; n += 1) {
    later(30 * 60_000);
    await expect(quick(`300${n}`)).rejects.toMatchObject({ code: 'WRONG_CODE' });
    expect(await quick('0421')).toBe('ito');
  }
});

test('a clock that is set back locks nobody out for a slip', async () => {
  await setCode('ito', '0421');
  await expect(quick('2000')).rejects.toMatchObject({ code: 'WRONG_CODE' });
  clock = new Date(clock.getTime() - 3_600_000);
  expect(await quick('0421')).toBe('ito');
});

test('guessing is slowed down, longer each time, and no code is in the log', async () => {
  await setCode('ito', '0421');
  for (let n = 0; n < 5; n += 1) await expect(quick(`100${n}`)).rejects.toMatchObject({ code: 'WRONG_CODE' });
  await expect(quick('0421')).rejects.toMatchObject({
    code: 'TOO_MANY_CODES',
    message: 'Too many wrong badges or PINs.',
  });
  clock = new Date(clock.getTime() + 11_000);
  expect(await quick('0421')).toBe('ito');
  expect(world.log.map(({ text }) => text).join('\n')).not.toContain('0421');
});
