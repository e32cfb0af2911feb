import { readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { threadUrl } from '../capture/thread-url.ts';
import { AppError } from '../contract/errors.ts';
import { diskError, nodeFiles } from '../store/files.ts';
import { databaseFile } from '../store/home.ts';
import { repairedFile, type RepairReport } from '../store/repair.ts';
import type { Accounts } from './accounts.ts';
import type { BackupSeal } from './backup-file.ts';
import { backupBytes } from './backup-file.ts';
import type { BackupThreadData, FromBackupThread } from './backup-thread.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { ROOT_KEY_NAME } from './home-keys.ts';
import type { JobService, JobWork } from './jobs.ts';
import { refuseInHome } from './outside.ts';
import { PLANT_PASSWORD } from './plant-events.ts';
import type { SecretStore } from './port.ts';
import { restoredFile, restoredSchema } from './restore.ts';

export interface BackupService {
  handlers: HandlersOf<'home.backup' | 'home.damage' | 'home.repair'>;
  /** The last one that was verified. */
  last(): { at: string; file: string; bytes: number } | null;
  /** A home that came out of a backup, or was repaired, says so in its trail, once. */
  takeUp(): Promise<void>;
}

const SETTING = 'lastBackup';
const lastSchema = z.object({ at: z.iso.datetime(), file: z.string(), bytes: z.number().int() });

/**
 * Backups of the running home. A job, so that nothing teaches or compresses meanwhile; lines, labels and approvals go on: what they add after the copy of the database is files without a row.
 */
export const createBackupService = (
  context: CoreContext,
  jobs: JobService,
  accounts: Pick<Accounts, 'unlock'>,
  secrets: SecretStore,
): BackupService => {
  const { store, keys, now, log } = context;

  const pack = (data: BackupThreadData, job: JobWork): Promise<BackupSeal> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(threadUrl('./backup-thread', import.meta.url), { workerData: data });
      const stop = () => void worker.terminate();
      job.signal.addEventListener('abort', stop, { once: true });
      let entries = 0;
      worker.on('message', (message: FromBackupThread) => {
        switch (message.kind) {
          case 'progress': {
            if (message.step === 'pack') entries = message.entries;
            // How many there are is known when all were packed: each half creeps towards its end, and reading again is counted.
            const share = { check: 0.1, pack: 0.55 - 0.4 / (1 + message.entries / 5_000), verify: 0.55 };
            const read = message.step === 'verify' && entries > 0 ? 0.4 * Math.min(1, message.entries / entries) : 0;
            job.progress(share[message.step] + read, { key: `backup.${message.step}`, details: {} });
            break;
          }
          case 'done':
            resolve(message.seal);
            break;
          case 'damaged':
            reject(new AppError('DATABASE_CORRUPT', { file: databaseFile(store.home), problem: message.problem }));
            break;
          case 'failed':
            reject(AppError.fromWire(message.error));
        }
      });
      worker.on('error', reject);
      worker.on('exit', () => {
        job.signal.removeEventListener('abort', stop);
        reject(new AppError('CANCELLED'));
      });
    });

  const run = async (job: JobWork, file: string, by: string, password: string): Promise<string[]> => {
    const part = `${file}.part`;
    const database = `${file}.part.sqlite`;
    const clean = async () => {
      for (const name of [part, database, `${database}-wal`, `${database}-shm`, `${database}-journal`])
        await rm(name, { force: true });
    };
    if ((await nodeFiles.size(file)) !== null) throw new AppError('ALREADY_EXISTS', { kind: 'file', id: file });
    await clean();
    try {
      const auditHead = await readFile(join(store.home, 'trust', 'audit-head.json')).catch(() => null);
      const at = now().toISOString();
      const step = { key: 'backup.snapshot', details: {} };
      await store.snapshot(database, { signal: job.signal, progress: (share) => job.progress(share * 0.1, step) });
      const plant = await secrets.get(PLANT_PASSWORD);
      const sealed = {
        [ROOT_KEY_NAME]: keys.signing.export({ type: 'pkcs8', format: 'der' }),
        ...(plant !== null && { [PLANT_PASSWORD]: plant }),
      };
      const { installation } = keys;
      const head = {
        format: 'mekiki backup 1' as const,
        at,
        by,
        installation,
        version: context.version,
        demo: store.demo,
      };
      const { home } = store;
      const seal = await pack({ home, database, auditHead, file: part, head, secrets: sealed, password }, job);
      const bytes = await backupBytes(part);
      await rename(part, file);
      await nodeFiles.syncDirectory(dirname(file));
      const { entries, missingPictures, sha256 } = seal;
      store.transaction(() => {
        store.settings.set(SETTING, { at, file, bytes });
        store.audit.append({
          user: by,
          action: 'home.backup',
          subject: file,
          details: { entries, bytes, missingPictures, sha256 },
        });
        job.commit([file]);
      });
      log.info('backup made', { file, entries, bytes, missingPictures });
      return [file];
    } catch (error) {
      throw diskError(error, file);
    } finally {
      await clean().catch((error: unknown) => log.warn('left-over of a backup', { file, error }));
    }
  };

  /** What was done to the folder while no core ran becomes an entry, once. */
  const noted = async (
    file: string,
    action: string,
    read: (note: unknown) => { subject: string; details: Record<string, unknown>; user?: string },
  ): Promise<void> => {
    const text = await readFile(file, 'utf8').catch(() => null);
    if (text === null) return;
    const { subject, details, user = 'system' } = read(JSON.parse(text));
    store.transaction(() => store.audit.append({ user, action, subject, details }));
    await nodeFiles.remove(file);
    await nodeFiles.syncDirectory(store.home);
  };

  return {
    handlers: {
      // A core that started found it whole; where it did not, repair-mode.ts answers.
      'home.damage': async () => null,
      async 'home.repair'() {
        throw new AppError('CONFLICT', { what: databaseFile(store.home), state: 'whole', needed: 'a damaged one' });
      },
      async 'home.backup'({ file, password }, session) {
        await refuseInHome(store.home, file);
        const by = actor(session);
        // Also proof that this password opens the backup later.
        await accounts.unlock(by, password);
        const firstStep = { key: 'backup.snapshot', details: {} };
        return jobs.start({ kind: 'backup', stationId: null, session, firstStep }, (job) =>
          run(job, file, by, password),
        );
      },
    },
    last() {
      const last = lastSchema.safeParse(store.settings.get(SETTING));
      return last.success ? last.data : null;
    },
    async takeUp() {
      await noted(restoredFile(store.home), 'home.restore', (note) => {
        const { backup, at, ...details } = restoredSchema.parse(note);
        return { subject: backup, details: { ...details, restoredAt: at } };
      });
      await noted(repairedFile(store.home), 'home.repair', (note) => {
        const { kept, by, ...details } = note as RepairReport;
        return { subject: kept ?? store.home, details, ...(by !== undefined && { user: by }) };
      });
    },
  };
};
