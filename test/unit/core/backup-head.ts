import type { BackupHead } from '../../../main/core/backup-file.ts';

/** Of a backup that is packed without a core. */
export const backupHead = (): BackupHead => ({
  format: 'mekiki backup 2',
  at: new Date().toISOString(),
  by: 'sato',
  installation: 'a'.repeat(64),
  version: '0',
  demo: false,
});
