import { existsSync } from 'node:fs';
import { safeStorage } from 'electron';
import type { Logger } from '../contract/log.ts';
import { createKeychain, sealedFile, type Keychain } from '../host/sealed-secrets.ts';

const ROOT_KEY = 'root.key';

/** Electron's stand-ins where a Linux session has no keychain: what they seal, anybody opens. */
const PRETENDED = new Set(['basic_text', 'unknown']);

/**
 * The system's keychain for the secrets of this home: where it was asked for, or where the home's key lies in it already. null: a file that
 * only this account may read, as under plain Node. To be called when the program is ready.
 */
export function keychainOf(home: string, asked: boolean, log: Logger): Keychain | null {
  if (!asked && !existsSync(sealedFile(home, ROOT_KEY))) return null;
  const backend = process.platform === 'linux' ? safeStorage.getSelectedStorageBackend() : process.platform;
  if (!safeStorage.isEncryptionAvailable() || PRETENDED.has(backend)) {
    log.warn('this session has no keychain', { backend });
    return null;
  }
  return createKeychain(home, {
    seal: (text) => safeStorage.encryptString(text),
    open: (sealed) => safeStorage.decryptString(Buffer.from(sealed)),
  });
}
