import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { criteriaSchema, type Job } from '../../main/contract/domain.ts';
import { silentLog } from '../../main/contract/log.ts';
import type { events, methods } from '../../main/contract/methods.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createForkSpawnPort } from '../../main/host/spawn.ts';
import { createSupervisor, type Supervisor } from '../../main/host/supervisor.ts';
import { smallBackboneFile, texture } from '../unit/compression/small-data.ts';

/* A station's compression through the real processes, which are killed in the middle of it. */

let folder: string;
let home: string;
let supervisor: Supervisor;
let stationId: string;

const until = async (look: () => boolean | Promise<boolean>, what: string) => {
  for (const deadline = Date.now() + 600_000; Date.now() < deadline;) {
    if (await look()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`did not happen in time: ${what}`);
};
const start = async () => {
  supervisor = createSupervisor({
    spawn: createForkSpawnPort(),
    settings: {
      home,
      demo: false,
      version: '1.0.0',
      testRuntime: false,
      logLevel: 'info',
      stderrLevel: null,
      trainerThreads: 1,
    },
    log: silentLog,
    backOff: { firstMs: 20, maxMs: 200, stableMs: 60_000 },
  });
  await supervisor.start();
};
const connect = async () => {
  await until(() => supervisor.coreUp, 'the core serves');
  const [near, far] = createMemoryPair();
  supervisor.attachWindow(far);
  const client = createClient<typeof methods, typeof events>(near);
  await client.call('session.signIn', { name: 'hana', password: 'correct horse' }).catch(() => {});
  return client;
};
type Client = Awaited<ReturnType<typeof connect>>;
const jobOf = async (client: Client, { id }: Job) => (await client.call('jobs.list', {})).find((job) => job.id === id)!;
const ended = async (client: Client, job: Job): Promise<Job> => {
  await until(async () => !['waiting', 'running'].includes((await jobOf(client, job)).state), 'the job ends');
  return jobOf(client, job);
};
const pidOf = (name: string) => supervisor.processes().find((each) => each.name === name)!.pid!;
const ids = (place: string) => readdirSync(join(home, place)).toSorted();
/** Trials that are kept for a job: file and inode, which a second measurement would change. */
const kept = (job: Job): Map<string, number> => {
  try {
    const [search] = readdirSync(join(home, 'work', job.id));
    const dir = join(home, 'work', job.id, search!);
    const files = readdirSync(dir).filter((name) => /-(fp32|int8)\.json$/.test(name));
    return new Map(files.map((name) => [name, statSync(join(dir, name)).ino]));
  } catch {
    return new Map();
  }
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mekiki-resume-job-'));
  home = join(folder, 'home');
  for (const [kind, name] of ['coarse', 'fine', 'ok'].entries()) {
    mkdirSync(join(folder, 'set', name), { recursive: true });
    for (let i = 0; i < 24; i++) writeFileSync(join(folder, 'set', name, `${i}.png`), await texture(kind, 300 + i));
  }
  await smallBackboneFile(folder);
  await start();
  const client = await connect();
  await client.call('session.firstStart', { language: 'en', name: 'hana', password: 'correct horse' });
  const backbone = await client.call('backbones.add', { file: join(folder, 'small.onnx') });
  const [station] = await client.call('stations.list', {});
  stationId = station!.id;
  // Nothing loses too much: the search ends by itself, whatever the clock says.
  const criteria = criteriaSchema.parse({ ...station!.criteria, maxDropPp: 100 });
  await client.call('stations.update', { stationId, backboneId: backbone.id, criteria });
  const path = join(folder, 'set');
  expect(await ended(client, await client.call('import.start', { stationId, path, asLabels: true }))).toMatchObject({
    state: 'done',
  });
  const learnt = await ended(client, await client.call('knowledge.update', { stationId }));
  expect(learnt).toMatchObject({ state: 'done' });
}, 300_000);
afterAll(async () => {
  await supervisor.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What a try that failed has left under way is no part of the next one. */
beforeEach(async () => {
  await supervisor.close();
  await start();
  const client = await connect();
  for (const job of await client.call('jobs.list', {})) {
    if (!['waiting', 'running', 'paused'].includes(job.state)) continue;
    await client.call('jobs.cancel', { jobId: job.id });
    await ended(client, job);
  }
});

describe('a compression of a station', { timeout: 1_800_000 }, () => {
  test('goes on after kill -9 of the trainer, of core and trainer, after a pause, and after the program was closed', async () => {
    let client = await connect();
    const list = () => client.call('candidates.list', { stationId });
    const created = async () =>
      (await client.call('audit.list', {})).entries.filter(({ action }) => action === 'candidates.create').length;
    const [before, bundlesBefore, createdBefore] = [await list(), ids('bundles'), await created()];
    const job = await client.call('candidates.create', { stationId, budget: 'lunch' });
    await until(() => kept(job).size >= 1, 'a trial is kept');
    const first = kept(job);
    process.kill(pidOf('trainer'), 'SIGKILL');
    await until(() => kept(job).size > first.size, 'a trial is kept after the trainer came back');
    const second = kept(job);
    for (const [name, inode] of first) expect(second.get(name)).toBe(inode);

    process.kill(pidOf('trainer'), 'SIGKILL');
    const core = pidOf('core');
    process.kill(core, 'SIGKILL');
    await until(() => supervisor.coreUp && pidOf('core') !== core, 'the core is back');
    client = await connect();
    expect(await jobOf(client, job)).toMatchObject({ problem: null });
    await until(() => kept(job).size > second.size, 'a trial is kept after the core came back');
    const third = kept(job);
    for (const [name, inode] of second) expect(third.get(name)).toBe(inode);

    // A person holds it: it is so still when the program was closed meanwhile, until somebody lets it go on.
    await client.call('jobs.pause', { jobId: job.id });
    expect(await jobOf(client, job)).toMatchObject({ state: 'paused' });
    await supervisor.close();
    const atPause = kept(job);
    await start();
    client = await connect();
    expect(await jobOf(client, job)).toMatchObject({ state: 'paused' });
    for (const [name, inode] of third) expect(atPause.get(name)).toBe(inode);
    expect(kept(job)).toEqual(atPause);
    await client.call('jobs.resume', { jobId: job.id });

    await supervisor.close();
    for (const [name, inode] of atPause) expect(kept(job).get(name)).toBe(inode);
    await start();
    client = await connect();
    // The same one, not another beside it.
    expect((await client.call('candidates.create', { stationId, budget: 'lunch' })).id).toBe(job.id);
    // In the morning somebody has enough: what all of them measured is finished, and nothing more is measured.
    await until(async () => (await jobOf(client, job)).step.key === 'compress.try', 'the search goes on');
    await client.call('jobs.finish', { jobId: job.id });
    const done = await ended(client, job);
    expect(done).toMatchObject({ state: 'done', problem: null, progress: 1 });
    const candidates = (await list()).filter(({ id }) => !before.some((other) => other.id === id));
    expect(candidates.map(({ id }) => id).toSorted()).toEqual(done.result.toSorted());
    expect(candidates.length).toBeGreaterThan(1);
    expect(ids('bundles').filter((id) => !bundlesBefore.includes(id))).toEqual(done.result.toSorted());
    expect(ids('work')).toEqual([]);
    expect(await created()).toBe(createdBefore + 1);
  });

  test('leaves nothing when it is cancelled, also after it was taken up again', async () => {
    let client = await connect();
    const bundles = ids('bundles');
    const job = await client.call('candidates.create', { stationId, budget: 'lunch' });
    await until(() => kept(job).size >= 1, 'a trial is kept');
    const core = pidOf('core');
    process.kill(core, 'SIGKILL');
    await until(() => supervisor.coreUp && pidOf('core') !== core, 'the core is back');
    client = await connect();
    await client.call('jobs.cancel', { jobId: job.id });
    expect(await ended(client, job)).toMatchObject({ state: 'cancelled' });
    expect(ids('work')).toEqual([]);
    expect(ids('bundles')).toEqual(bundles);
    await supervisor.close();
    await start();
    client = await connect();
    expect(await jobOf(client, job)).toMatchObject({ state: 'cancelled' });
  });
});
