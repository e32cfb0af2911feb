import { randomUUID } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';

/** What the system's keychain does for a program: only the same account on the same PC opens again what it sealed. */
export interface SystemCipher {
  seal(text: string): Uint8Array;
  /** @throws when this account, or this PC, did not seal it. */
  open(sealed: Uint8Array): string;
}

/** Secrets of a home under the system's keychain; the supervisor asks it on behalf of the core. */
export interface Keychain {
  get(name: string): Promise<Uint8Array | null>;
  set(name: string, value: Uint8Array): Promise<void>;
}

export const sealedFile = (home: string, name: string): string => join(home, 'secrets', `${name}.sealed`);

/** Sealed files beside where the plain ones would be. */
export const createKeychain = (home: string, cipher: SystemCipher): Keychain => ({
  async get(name) {
    const sealed = await readFile(sealedFile(home, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    return sealed === null ? null : Buffer.from(cipher.open(sealed), 'base64');
  },
  async set(name, value) {
    const file = sealedFile(home, name);
    const temporary = `${file}.${randomUUID()}.tmp`;
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(cipher.seal(Buffer.from(value).toString('base64')));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  },
});
