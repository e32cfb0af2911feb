import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Candidate, Job, Part, Station } from '../../main/contract/domain.ts';
import { events, methods } from '../../main/contract/methods.ts';
import { createLastingClient, type LastingClient } from '../../main/contract/rpc/lasting-client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { builtEntries } from '../../main/host/line-bench/built-entries.ts';
import { createLogger } from '../../main/host/log.ts';
import { createForkSpawnPort } from '../../main/host/spawn.ts';
import { createSupervisor, type Supervisor } from '../../main/host/supervisor.ts';
import { childSettings } from './child-settings.ts';
import { writeParts } from './parts-on-disk.ts';

/*
 * A plant PC as it is after commissioning: real supervisor, core, trainer and line (the bundles), a data folder that is no demo, a
 * model learnt from labelled parts, compressed, and approved with a signature.
 */

export interface Plant extends AsyncDisposable {
  home: string;
  supervisor: Supervisor;
  client: LastingClient<typeof methods, typeof events>;
  station: Station;
  /** Approved; the first is active. */
  models: Candidate[];
  /** Of its supervisor, for what has to be signed. */
  signature: { password: string; meaning: string };
  pidOf(kind: 'core' | 'line'): number | undefined;
  /** All records of the station, the oldest first. */
  parts(): Promise<Part[]>;
}

const name = 'hana';
const password = 'password of the supervisor';

export interface PlantOptions {
  lineOutput: Station['lineOutput'];
  line: Station['line'];
  threads: number;
  /** Models to approve. */
  models: number;
  /** Side of a frame, pixels. */
  size: number;
  say: (line: string) => void;
}

export async function openPlant(options: PlantOptions): Promise<Plant> {
  const home = await mkdtemp(join(tmpdir(), 'mekiki-plant-'));
  const log = createLogger({ process: 'bench', file: null, stderrLevel: null });
  const supervisor = createSupervisor({
    spawn: createForkSpawnPort(),
    settings: { ...childSettings(home), version: 'bench' },
    log,
    entries: await builtEntries(),
    // A process that lived for a second starts again after the first pause: the bench kills more often than any plant.
    backOff: { firstMs: 250, maxMs: 10_000, stableMs: 1_000 },
  });
  await supervisor.start();
  const client = createLastingClient<typeof methods, typeof events>(
    async () => {
      if (!supervisor.coreUp) throw new Error('the core is gone');
      const [window, ours] = createMemoryPair();
      supervisor.attachWindow(window);
      return ours;
    },
    { waitMs: 60_000, backOffMs: 50 },
  );
  const done = async (job: Job): Promise<void> => {
    for (;;) {
      const now = (await client.call('jobs.list', {})).find(({ id }) => id === job.id);
      if (now?.state === 'done') return;
      if (now && now.state !== 'waiting' && now.state !== 'running')
        throw new Error(`${job.kind}: ${now.state} ${now.problem?.message ?? ''}`);
      options.say(`${job.kind} ${Math.round(100 * (now?.progress ?? 0))} %`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };
  const dispose = async () => {
    client.close();
    await supervisor.close();
    log.close();
    await rm(home, { recursive: true, force: true });
  };

  try {
    await client.call('session.firstStart', { language: 'en', name, password });
    await client.call('session.signIn', { name, password });
    const { size, line, lineOutput, threads } = options;
    const station = await client.call('stations.add', {
      name: 'Station 1',
      camera: { kind: 'simulated', width: size, height: size },
      // Nothing is decided here about how good the models are.
      criteria: { maxEscape: 1, maxOverkill: 1, maxLatencyMsP99: 10_000, maxDropPp: 100 },
      threads,
      line,
      lineOutput,
    });
    const folder = join(home, 'labelled');
    await writeParts(folder, { perClass: 20, size });
    await done(await client.call('import.start', { stationId: station.id, path: folder, asLabels: true }));
    await done(await client.call('knowledge.update', { stationId: station.id }));
    await done(await client.call('candidates.create', { stationId: station.id, budget: 'quick' }));
    const fit = (await client.call('candidates.list', { stationId: station.id }))
      .filter((c) => c.offered && c.evidence.gates.every(({ outcome }) => outcome !== 'fail'))
      .toSorted((a, b) => Number(b.recommended) - Number(a.recommended))
      .slice(0, options.models);
    if (fit.length < options.models) throw new Error(`only ${fit.length} models can be approved`);
    const models: Candidate[] = [];
    for (const { id } of fit) {
      const { evidence } = await client.call('candidates.show', { candidateId: id });
      models.push(
        await client.call('candidates.approve', {
          candidateId: id,
          password,
          meaning: 'approved for a measurement',
          waiver: 'rendered parts, few of them',
          seenChanged: evidence.changed.map(({ imageSha }) => imageSha),
        }),
      );
    }
    await client.call('models.activate', { candidateId: models[0]!.id });
    return {
      home,
      supervisor,
      client,
      station,
      models,
      signature: { password, meaning: 'for a measurement' },
      pidOf: (kind) =>
        supervisor.processes().find(({ name }) => (kind === 'core' ? name === 'core' : name.startsWith('line:')))?.pid,
      async parts() {
        const all: Part[] = [];
        for (let before: number | undefined; ;) {
          const page = await client.call('parts.recent', {
            stationId: station.id,
            limit: 500,
            ...(before === undefined ? {} : { before }),
          });
          all.push(...page);
          before = page.at(-1)?.id;
          if (page.length < 500) break;
        }
        return all.toSorted((a, b) => a.seq - b.seq);
      },
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}
