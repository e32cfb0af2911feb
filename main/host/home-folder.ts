import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { AppError } from '../contract/errors.ts';
import { readLock } from '../store/home.ts';

/** The data folder: what was asked for, else MEKIKI_HOME, else the platform's place for application data. */
export function homeFolder(asked?: string, env: NodeJS.ProcessEnv = process.env): string {
  const named = asked ?? env['MEKIKI_HOME'];
  if (named) return resolve(named);
  switch (process.platform) {
    case 'win32':
      return join(env['APPDATA'] ?? join(homedir(), 'AppData', 'Roaming'), 'Mekiki');
    case 'darwin':
      return join(homedir(), 'Library', 'Application Support', 'Mekiki');
    default:
      return join(env['XDG_DATA_HOME'] ?? join(homedir(), '.local', 'share'), 'mekiki');
  }
}

/**
 * Before anything is started.
 * @param alone whether no other Mekiki of this account has a window on the home
 * @throws HOME_IN_USE
 */
export function refuseOpenHome(home: string, alone: boolean): void {
  if (!alone) throw new AppError('HOME_IN_USE', { home, pid: readLock(home)?.pid ?? 0 });
}
