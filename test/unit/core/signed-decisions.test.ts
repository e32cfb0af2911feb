import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { certificateIsValid, verifyBody } from '../../../main/audit/keys.ts';
import { DECISION, type DecisionSignature } from '../../../main/core/signed-decisions.ts';
import { PASSWORD, setUp, startWorld, until, writeDataset, type World } from './world.ts';

/* What changes which model inspects, or takes a signature away, asks for the person: the session that was left open is not enough. */

let world: World;
let stationId: string;
let models: string[];
beforeEach(async () => {
  world = await startWorld();
  const { technician, stationId: station } = await setUp(world);
  stationId = station;
  const path = await writeDataset(join(world.home, '..', 'pictures'), { ok: 3, pit: 2 });
  await world.done(await world.call('import.start', { stationId, path, asLabels: true }, technician));
  await world.done(await world.call('knowledge.update', { stationId }, technician));
  models = [];
  for (let i = 0; i < 3; i += 1) {
    await world.done(await world.call('candidates.create', { stationId }, technician));
    const { id } = (await world.call('candidates.list', { stationId })).find(
      ({ state, offered }) => state === 'candidate' && offered,
    )!;
    await world.call('candidates.approve', { candidateId: id, password: PASSWORD, meaning: 'reviewed' });
    models.push(id);
  }
  for (const candidateId of models.slice(0, 2)) await world.call('models.activate', { candidateId });
});
afterEach(() => world.close());

const signed = { password: PASSWORD, meaning: 'it passes scratches' };
const active = async () => (await world.call('stations.list', {}))[0]!.activeModelId;
const lastEntry = async () => (await world.call('audit.list', { limit: 1 })).entries[0]!;
/** The signature in the newest entry, proved with no more than the home's root key. */
const provenSignature = async (): Promise<DecisionSignature> => {
  const file = join(world.home, '..', `trail-${Math.random()}.jsonl`);
  await world.call('audit.export', { file });
  const entries = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { details?: { signature?: DecisionSignature } });
  const { signature, ...body } = entries.findLast(({ details }) => details?.signature)!.details!.signature!;
  const rootPublicKey = readFileSync(join(world.home, 'trust', 'root.pub'), 'utf8');
  expect(certificateIsValid(body.certificate, rootPublicKey)).toBe(true);
  expect(verifyBody(DECISION, body, signature, body.certificate.publicKey)).toBe(true);
  expect(verifyBody(DECISION, { ...body, meaning: 'another' }, signature, body.certificate.publicKey)).toBe(false);
  return { ...body, signature };
};
test('a roll back asks for the password, at the rate of a sign-in, and its entry carries the signature', async () => {
  const rollBack = (password: string) =>
    world.call('models.rollback', { stationId, signature: { ...signed, password } });
  await expect(rollBack('wrong')).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
  expect(await active()).toBe(models[1]);
  expect((await rollBack(PASSWORD)).active.id).toBe(models[0]);
  expect(await lastEntry()).toMatchObject({ user: 'sato', action: 'models.rollback', subject: models[0] });
  expect(await provenSignature()).toMatchObject({
    action: 'models.rollback',
    candidateId: models[0],
    stationId,
    meaning: signed.meaning,
    certificate: { userName: 'sato', role: 'supervisor' },
  });
  expect((await world.call('audit.verify', {})).valid).toBe(true);
  const forth = (password: string) =>
    world.call('models.activate', { candidateId: models[1]!, signature: { ...signed, password } });
  for (let i = 0; i < 5; i += 1) await forth('wrong').catch(() => {});
  await expect(forth(PASSWORD)).rejects.toMatchObject({ code: 'TOO_MANY_ATTEMPTS' });
});

test('who is disabled while a model is measured makes none active', async () => {
  const { id: userId } = await world.call('users.add', { name: 'mori', role: 'supervisor', password: PASSWORD });
  const mori = world.core.openSession();
  await world.call('session.signIn', { name: 'mori', password: PASSWORD }, mori);
  const { promise: held, resolve: goOn } = Promise.withResolvers<void>();
  world.trainer.hold = held;
  const measured = world.trainer.rechecks.length;
  const activation = world.call('models.activate', { candidateId: models[2]! }, mori);
  await until(() => world.trainer.rechecks.length > measured);
  await world.call('users.disable', { userId });
  goOn();
  await expect(activation).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  expect(await active()).toBe(models[1]);
  expect(await lastEntry()).toMatchObject({ action: 'users.disable', subject: 'mori' });
});

test('going back goes further back each time, also where a model was activated twice', async () => {
  for (const candidateId of [models[2]!, models[1]!])
    await world.call('models.activate', { candidateId, signature: signed });
  const rollBack = async () => (await world.call('models.rollback', { stationId, signature: signed })).active.id;
  for (const id of [models[2], models[1], models[0]]) expect(await rollBack()).toBe(id);
  await expect(rollBack()).rejects.toMatchObject({ code: 'NO_PREVIOUS_MODEL' });
});

test('what a roll back brings back is told before it is signed, and no other one is', async () => {
  const previous = () => world.call('models.previous', { stationId });
  const rollBack = (candidateId: string | null) =>
    world.call('models.rollback', { stationId, signature: signed, candidateId });
  await world.call('models.activate', { candidateId: models[2]! });
  expect(await previous()).toBe(models[1]);
  await rollBack(models[1]!);
  // Further back, not forth to the one that was active a moment ago.
  expect(await previous()).toBe(models[0]);
  await expect(rollBack(models[2]!)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(await active()).toBe(models[1]);
  expect((await rollBack(models[0]!)).active.id).toBe(models[0]);
  expect(await previous()).toBeNull();
});

test('an earlier model does not come back by the way of an activation without it, now or at a time', async () => {
  const back = { candidateId: models[0]! };
  const at = new Date(Date.now() + 60_000).toISOString();
  await expect(world.call('models.activate', back)).rejects.toMatchObject({ code: 'SIGNATURE_NEEDED' });
  await expect(world.call('models.plan', { stationId, activation: { ...back, at } })).rejects.toMatchObject({
    code: 'SIGNATURE_NEEDED',
  });
  await expect(
    world.call('models.activate', { ...back, signature: { ...signed, password: 'wrong' } }),
  ).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
  expect([await active(), await world.call('models.planned', { stationId })]).toEqual([models[1], null]);
  await world.call('models.plan', { stationId, activation: { ...back, at, signature: signed } });
  expect(await provenSignature()).toMatchObject({ action: 'models.plan', candidateId: models[0] });
  expect((await world.call('models.activate', { ...back, signature: signed })).active.id).toBe(models[0]);
  expect(await provenSignature()).toMatchObject({ action: 'models.activate', candidateId: models[0] });
});

test('what became a going back while it was measured is none without it; a plan was signed when it was made', async () => {
  await world.call('line.start', { stationId });
  const { promise, resolve: go } = Promise.withResolvers<void>();
  world.trainer.hold = promise;
  const before = world.trainer.rechecks.length;
  // It is active: once more the same needs no signature.
  const late = expect(world.call('models.activate', { candidateId: models[1]! })).rejects.toMatchObject({
    code: 'SIGNATURE_NEEDED',
  });
  await expect.poll(() => world.trainer.rechecks.length).toBe(before + 1);
  await world.call('models.rollback', { stationId, signature: signed });
  go();
  await late;
  expect(await active()).toBe(models[0]);
  expect(await lastEntry()).toMatchObject({ action: 'models.rollback', subject: models[0] });
  expect(world.lines.get(stationId)!.configured.at(-1)!.bundleDir).toContain(models[0]);

  const at = new Date(Date.now() + 300).toISOString();
  await world.call('models.plan', { stationId, activation: { candidateId: models[1]!, at, signature: signed } });
  await expect.poll(active, { timeout: 20_000 }).toBe(models[1]);
});

test('the first use of an approved model is signed by its approval: none is asked for', async () => {
  const first = models[2]!;
  const at = new Date(Date.now() + 60_000).toISOString();
  expect(await world.call('models.plan', { stationId, activation: { candidateId: first, at } })).toMatchObject({ at });
  expect((await world.call('models.activate', { candidateId: first })).active.id).toBe(first);
  // Once more the same: nothing else inspects.
  await world.call('models.activate', { candidateId: first });
});

test('an approval is taken away with a signature; a candidate that has none is rejected with a reason', async () => {
  const candidateId = models[2]!;
  const reason = 'the golden set was wrong';
  await expect(world.call('candidates.reject', { candidateId, reason })).rejects.toMatchObject({
    code: 'SIGNATURE_NEEDED',
  });
  await expect(world.call('candidates.reject', { candidateId, reason, password: 'wrong' })).rejects.toMatchObject({
    code: 'WRONG_PASSWORD',
  });
  const rejected = await world.call('candidates.reject', { candidateId, reason, password: PASSWORD });
  expect(rejected).toMatchObject({ state: 'rejected', approval: null, rejection: { reason } });
  expect(await provenSignature()).toMatchObject({ action: 'candidates.reject', candidateId, meaning: reason });

  const open = (await world.call('candidates.list', { stationId })).find(({ state }) => state === 'candidate')!;
  await expect(world.call('candidates.reject', { candidateId: open.id, reason: '   ' })).rejects.toMatchObject({
    code: 'INVALID_INPUT',
  });
  expect((await world.call('candidates.reject', { candidateId: open.id, reason })).state).toBe('rejected');
});
