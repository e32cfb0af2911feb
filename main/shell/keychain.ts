import { safeStorage } from 'electron';
import type { SystemCipher } from '../host/sealed-secrets.ts';

/** Electron's stand-ins where a Linux session has no keychain: what they seal, anybody opens. */
const PRETENDED = new Set(['basic_text', 'unknown']);

/** The system's keychain; a text: why this session has none. To be called when the program is ready. */
export function systemCipher(): SystemCipher | string {
  const backend = process.platform === 'linux' ? safeStorage.getSelectedStorageBackend() : process.platform;
  if (PRETENDED.has(backend)) return `the system offers "${backend}" only, which anybody opens`;
  if (!safeStorage.isEncryptionAvailable()) return `"${backend}" is there, and does not seal now`;
  return {
    seal: (text) => safeStorage.encryptString(text),
    open: (sealed) => safeStorage.decryptString(Buffer.from(sealed)),
  };
}
