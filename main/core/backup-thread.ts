import { parentPort, workerData } from 'node:worker_threads';
import { asAppError, assert, type WireError } from '../contract/errors.ts';
import { checkDatabase } from '../store/check.ts';
import { packBackup, readBackup, type BackupSeal, type PackOptions } from './backup-file.ts';

/* Checks a copy of the database, packs the backup and reads it again, beside the core's own thread: each of them reads everything there is. */

export type BackupThreadData = Omit<PackOptions, 'progress' | 'leftOut'>;
export type FromBackupThread =
  | { kind: 'progress'; step: 'check' | 'pack' | 'verify'; entries: number }
  | { kind: 'left-out'; name: string }
  | { kind: 'done'; seal: BackupSeal }
  | { kind: 'damaged'; problem: string }
  | { kind: 'failed'; error: WireError };

/** Entries between two reports. */
const TELL_EVERY = 200;

assert(parentPort, 'this file is the entry of a worker thread');
const main = parentPort;
const say = (message: FromBackupThread): void => main.postMessage(message);
const options = workerData as BackupThreadData;

const work = async (): Promise<FromBackupThread> => {
  say({ kind: 'progress', step: 'check', entries: 0 });
  const problems = checkDatabase(options.database);
  if (problems.length > 0) return { kind: 'damaged', problem: problems.slice(0, 3).join('; ') };
  const told = (step: 'pack' | 'verify') => (entries: number) => {
    if (entries % TELL_EVERY === 0) say({ kind: 'progress', step, entries });
  };
  const leftOut = (name: string) => say({ kind: 'left-out', name });
  const seal = await packBackup({ ...options, progress: told('pack'), leftOut });
  let read = 0;
  await readBackup(options.file, async (_name, content) => {
    for await (const _ of content);
    told('verify')((read += 1));
  });
  return { kind: 'done', seal };
};

try {
  say(await work());
} catch (error) {
  say({ kind: 'failed', error: asAppError(error, 'backup').toWire('backup') });
}
