import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, isAppError } from '../../../main/contract/errors.ts';
import { lineRecord, PASSWORD, setUp, startWorld, until, writePicture, type World } from '../../unit/core/world.ts';

/*
 * A core at work without a pause: labels, updates, compressions, approvals, activations, backups, records of a line, in a random order. Store, files, keys and services are the real ones;
 * trainer and line are the small ones of the tests, so that hundreds of kills fit into minutes (the real ones under kill -9: line-faults.ts and test/process/compress-resume.test.ts).
 */

/** What has been answered: from then on it must not be lost. */
export type Done =
  | { act: 'ready'; stationId: string }
  | { act: 'begun'; what: string }
  | { act: 'label'; partIds: number[]; classId: string }
  | { act: 'update'; knowledgeId: string }
  | { act: 'compress'; candidateIds: string[] }
  | { act: 'approve' | 'reject' | 'activate'; candidateId: string }
  | { act: 'backup'; file: string }
  | { act: 'records'; upTo: number };

/** mulberry32: the same acts for the same seed. */
export const randomOf = (seed: number) => {
  let state = seed >>> 0;
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
};

const PATIENCE_MS = 2_500;

export interface Worker {
  world: World;
  stationId: string;
  /**
   * One act, chosen at random; gives its name, and the code by which it was refused (null: it was done): DISK_FULL, or what the state explains.
   * Throws any other failure.
   */
  step(): Promise<{ what: string; refused: string | null }>;
}

export const startWorker = async (
  base: string,
  seed: number,
  told: (done: Done) => void,
  options: Parameters<typeof startWorld>[0] = {},
): Promise<Worker> => {
  const random = randomOf(seed);
  const world = await startWorld({ ...options, home: join(base, 'home') });
  const { firstStart } = await world.call('session.state', {});
  if (firstStart) await setUp(world);
  else await world.call('session.signIn', { name: 'sato', password: PASSWORD });
  const [station] = await world.call('stations.list', {});
  const stationId = station!.id;
  await world.call('line.start', { stationId });
  const line = world.lines.get(stationId)!;
  let seq = line.configured.at(-1)!.acknowledged;
  let made = 0;
  told({ act: 'ready', stationId });

  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  const candidatesIn = async (...states: string[]) =>
    (await world.call('candidates.list', { stationId })).filter((each) => states.includes(each.state));
  const acts: Record<string, () => Promise<void>> = {
    async import() {
      made += 1;
      const folder = join(base, 'pictures', `${seed}-${made}`);
      for (const name of ['ok', 'scratch']) {
        mkdirSync(join(folder, name), { recursive: true });
        for (let n = 0; n < 2; n += 1) await writePicture(join(folder, name, `${n}.png`));
      }
      await world.done(await world.call('import.start', { stationId, path: folder, asLabels: true }));
    },
    async label() {
      const { items } = await world.call('queue.list', { stationId, limit: 5 });
      const labels = await world.call('labels.list', { stationId, limit: 10 });
      const partId = pick([...items.map(({ part }) => part.id), ...labels.map((label) => label.partId)]);
      const classes = await world.call('classes.list', {});
      if (partId === undefined) return acts['import']!();
      const classId = pick(classes)!.id;
      await world.call('labels.create', { partIds: [partId], classId });
      told({ act: 'label', partIds: [partId], classId });
    },
    async update() {
      const job = await world.done(await world.call('knowledge.update', { stationId }));
      told({ act: 'update', knowledgeId: job.result[0]! });
    },
    async compress() {
      const job = await world.done(await world.call('candidates.create', { stationId }));
      told({ act: 'compress', candidateIds: job.result });
    },
    async approve() {
      const candidate = pick((await candidatesIn('candidate', 'submitted')).filter(({ offered }) => offered));
      if (candidate === undefined) return acts['compress']!();
      const candidateId = candidate.id;
      await world.call('candidates.approve', { candidateId, password: PASSWORD, meaning: 'reviewed' });
      told({ act: 'approve', candidateId });
    },
    async reject() {
      const candidate = pick(await candidatesIn('candidate', 'submitted', 'approved'));
      if (candidate === undefined) return;
      // An approved one is signed for.
      await world.call('candidates.reject', { candidateId: candidate.id, reason: 'bench', password: PASSWORD });
      told({ act: 'reject', candidateId: candidate.id });
    },
    async activate() {
      const candidate = pick(await candidatesIn('approved', 'retired'));
      if (candidate === undefined) return acts['approve']!();
      // Asked for where an earlier model comes back.
      const signature = { password: PASSWORD, meaning: 'bench' };
      await world.call('models.activate', { candidateId: candidate.id, signature });
      told({ act: 'activate', candidateId: candidate.id });
    },
    async backup() {
      const file = join(base, 'backups', `${seed}-${(made += 1)}.mekiki-backup`);
      mkdirSync(join(base, 'backups'), { recursive: true });
      await world.done(await world.call('home.backup', { file, password: PASSWORD }));
      told({ act: 'backup', file });
    },
    async records() {
      const upTo = seq + 1 + Math.floor(random() * 40);
      while (seq < upTo) line.emit([lineRecord((seq += 1), { imageSha: null })]);
      const given = performance.now();
      const stored = () => (line.acknowledged.at(-1) ?? 0) >= upTo;
      // On a full disk they wait, and the spool of a line would have them.
      await until(() => stored() || performance.now() - given > PATIENCE_MS);
      if (!stored()) throw new AppError('DISK_FULL', { path: world.home });
      told({ act: 'records', upTo });
    },
  };
  const often = ['import', 'label', 'label', 'update', 'update', 'compress', 'compress', 'approve', 'approve'];
  const order = [...often, 'reject', 'activate', 'activate', 'activate', 'backup', 'backup', 'records', 'records'];
  /** What a state refuses in order: too few labels, nothing to compress. */
  const refusals = ['TOO_FEW_IMAGES', 'TOO_FEW_CLASSES', 'NO_KNOWLEDGE', 'CONFLICT', 'NOT_APPROVED', 'DISK_FULL'];
  return {
    world,
    stationId,
    async step() {
      const what = pick(order)!;
      told({ act: 'begun', what });
      try {
        await acts[what]!();
        return { what, refused: null };
      } catch (error) {
        if (!isAppError(error) || !refusals.includes(error.code)) throw error;
        return { what, refused: error.code };
      }
    },
  };
};
