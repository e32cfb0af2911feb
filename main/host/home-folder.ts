import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

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
