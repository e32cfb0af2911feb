import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import { signIn } from '../../main/host/cli/accounts.ts';
import { withCore } from '../../main/host/cli/core-client.ts';
import { followJob } from '../../main/host/cli/jobs.ts';
import { createOutput } from '../../main/host/cli/output.ts';
import { writeParts } from '../helpers/parts-on-disk.ts';

/* Ctrl-C before what a command is for has begun. */

const password = 'correct horse battery';
const cancelled = { code: 'CANCELLED' };
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-cancel-'));
  await writeParts(join(folder, 'parts'), { perClass: 20, size: 64, classes: ['ok', 'scratch'] });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const commandAt = (name: string) => {
  const abort = new AbortController();
  return {
    context: { out: createOutput(true), home: join(folder, name), threads: 1, signal: abort.signal },
    interrupt: () => abort.abort(new AppError('CANCELLED')),
  };
};

test('while the data folder opens: nothing is asked of it', async () => {
  const { context, interrupt } = commandAt('opening');
  const work = vi.fn(async () => {});
  const opening = withCore(context, work, { makes: true });
  interrupt();
  await expect(opening).rejects.toMatchObject(cancelled);
  expect(work).not.toHaveBeenCalled();
});

test('during sign-in the command ends there, and while a job is asked for the job ends', async () => {
  vi.stubEnv('MEKIKI_PASSWORD', password);
  const { context, interrupt } = commandAt('job');
  await withCore(
    context,
    async (client) => {
      await client.call('session.firstStart', { name: 'hana', password, language: 'en' });
      const [station] = await client.call('stations.list', {});
      const asked = client.call('import.start', {
        stationId: station!.id,
        path: join(folder, 'parts'),
        asLabels: true,
      });
      interrupt();
      await expect(followJob(context, client, await asked)).rejects.toMatchObject(cancelled);
      expect(await client.call('jobs.list', {})).toMatchObject([{ state: 'cancelled' }]);
      await expect(signIn(context, client, 'hana')).rejects.toMatchObject(cancelled);
    },
    { makes: true },
  );
  vi.unstubAllEnvs();
});

test('while a demo is made, where nobody is signed in: it ends with the core, and is made the next time', async () => {
  const { context, interrupt } = commandAt('demo');
  const made = withCore(
    context,
    async (client) => {
      const asked = await client.call('session.startDemo', { language: 'en' });
      setTimeout(interrupt, 1000);
      await followJob(context, client, asked);
    },
    { demo: true, makes: true },
  );
  await expect(made).rejects.toMatchObject(cancelled);
  const jobs = await withCore(commandAt('demo').context, (client) => client.call('jobs.list', {}), { demo: true });
  expect(jobs).toMatchObject([{ kind: 'demo', state: 'cancelled' }]);
});
