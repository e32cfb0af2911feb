import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { activeFolder } from '../audit/activation.ts';
import { threadUrl } from '../capture/thread-url.ts';
import { AppError } from '../contract/errors.ts';
import { absent, diskError, nodeFiles } from '../store/files.ts';
import { databaseFile } from '../store/home.ts';
import { repairedFile, type RepairReport } from '../store/repair.ts';
import type { Accounts } from './accounts.ts';
import {
  AUDIT_HEAD,
  ACTIVATIONS,
  BACKUP_FORMAT,
  backupBytes,
  type BackupHead,
  type BackupSeal,
} from './backup-file.ts';
import type { BackupThreadData, FromBackupThread } from './backup-thread.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { ROOT_KEY_NAME } from './home-keys.ts';
import type { JobService, JobWork } from './jobs.ts';
import { checkTarget } from './outside.ts';
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

/** The signed activations, by their names in the home. */
const readActivations = async (home: string): Promise<Map<string, Uint8Array>> => {
  const found = new Map<string, Uint8Array>();
  for (const name of (await readdir(activeFolder(home)).catch(absent)) ?? []) {
    const content = name.endsWith('.json') ? await readFile(join(activeFolder(home), name)).catch(absent) : null;
    if (content !== null) found.set(`${ACTIVATIONS}${name}`, content);
  }
  return found;
};

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
      job.signal.throwIfAborted();
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
          case 'left-out': {
            const problem = 'it is no longer what was stored, and is not in the backup';
            log.warn('picture left out of a backup', { name: message.name, problem });
            job.skip(message.name, new AppError('IMAGE_UNREADABLE', { file: message.name, problem }));
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

  /** Gives the files that have to fit the copy. Copied again where somebody activated a model meanwhile. */
  const copyDatabase = async (database: string, job: JobWork): Promise<Map<string, Uint8Array>> => {
    const step = { key: 'backup.snapshot', details: {} };
    const progress = (share: number) => job.progress(share * 0.1, step);
    for (;;) {
      const auditHead = await readFile(join(store.home, AUDIT_HEAD)).catch(absent);
      const activations = await readActivations(store.home);
      await store.snapshot(database, { signal: job.signal, progress });
      if (isDeepStrictEqual(await readActivations(store.home), activations))
        return auditHead === null ? activations : activations.set(AUDIT_HEAD, auditHead);
      await rm(database);
    }
  };

  const run = async (job: JobWork, file: string, by: string, password: string): Promise<string[]> => {
    // While it waited for its turn, and again while it was packed, somebody may have taken the name.
    await checkTarget(store.home, file);
    const part = `${file}.part`;
    const database = `${file}.part.sqlite`;
    const clean = async () => {
      for (const name of [part, database, `${database}-wal`, `${database}-shm`, `${database}-journal`])
        await rm(name, { force: true });
    };
    await clean();
    try {
      // From here on there may be a copy that somebody takes away before it has its name.
      store.transaction(() =>
        store.audit.append({ user: by, action: 'home.backupBegun', subject: file, details: { job: job.id } }),
      );
      const at = now().toISOString();
      const ofCopy = await copyDatabase(database, job);
      const plant = await secrets.get(PLANT_PASSWORD);
      const sealed = {
        [ROOT_KEY_NAME]: keys.signing.export({ type: 'pkcs8', format: 'der' }),
        ...(plant !== null && { [PLANT_PASSWORD]: plant }),
      };
      const { installation } = keys;
      const head: BackupHead = {
        format: BACKUP_FORMAT,
        at,
        by,
        installation,
        version: context.version,
        demo: store.demo,
      };
      const { home } = store;
      const seal = await pack({ home, database, ofCopy, file: part, head, secrets: sealed, password }, job);
      const bytes = await backupBytes(part);
      await checkTarget(store.home, file);
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
    store.transaction(() => {
      const { subject, details, user = 'system' } = read(JSON.parse(text));
      store.audit.append({ user, action, subject, details });
    });
    await nodeFiles.remove(file);
    await nodeFiles.syncDirectory(store.home);
  };

  /** A model whose row a repair could not read inspects nowhere, and no candidate could be compared with it. Gives them by station. */
  const dropLostModels = (): Record<string, string> => {
    const known = new Set(store.candidates.ids());
    const lost: Record<string, string> = {};
    for (const { id, activeModelId } of store.stations.list()) {
      if (activeModelId === null || known.has(activeModelId)) continue;
      store.stations.setActiveModel(id, null);
      lost[id] = activeModelId;
    }
    return lost;
  };

  return {
    handlers: {
      // A core that started found it whole; where it did not, repair-mode.ts answers.
      'home.damage': async () => null,
      async 'home.repair'() {
        throw new AppError('CONFLICT', { what: databaseFile(store.home), state: 'whole', needed: 'a damaged one' });
      },
      async 'home.backup'({ file, password }, session) {
        await checkTarget(store.home, file);
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
        const lostModels = dropLostModels();
        return {
          subject: kept ?? store.home,
          details: { ...details, lostModels },
          ...(by !== undefined && { user: by }),
        };
      });
    },
  };
};
