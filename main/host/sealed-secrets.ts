import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../contract/errors.ts';
import { absent, writeDurably } from '../store/files.ts';

/** What the system's keychain does for a program: only the same account on the same PC opens again what it sealed. */
export interface SystemCipher {
  seal(text: string): Uint8Array;
  /** @throws when this account, or this PC, did not seal it. */
  open(sealed: Uint8Array): string;
}

/** Secrets of a home under the system's keychain; the supervisor asks it on behalf of the core. */
export interface Keychain {
  get(name: string): Promise<Uint8Array | null>;
  /** DISK_FULL, HOME_NOT_WRITABLE. */
  set(name: string, value: Uint8Array): Promise<void>;
}

export const sealedFile = (home: string, name: string): string => join(home, 'secrets', `${name}.sealed`);

/** Sealed files beside where the plain ones would be. */
export const createKeychain = (home: string, cipher: SystemCipher): Keychain => ({
  async get(name) {
    const sealed = await readFile(sealedFile(home, name)).catch(absent);
    return sealed === null ? null : Buffer.from(cipher.open(sealed), 'base64');
  },
  async set(name, value) {
    const sealed = cipher.seal(Buffer.from(value).toString('base64'));
    await writeDurably(sealedFile(home, name), sealed, { mode: 0o600 });
  },
});

const ROOT_KEY = 'root.key';

/** Where the secrets of a home rest. */
export interface KeyPlace {
  /** null: files that only this account may read, as under plain Node. */
  keychain: Keychain | null;
  /** The keychain was asked for: a key that lies in a file all the same is told to whoever administers. */
  asked: boolean;
}

/**
 * The keychain, where it was asked for or has the home's key already. A home whose key lies in a file keeps it there.
 * @param cipher the system's; a text: why this session has none
 * @throws NO_KEYCHAIN for a new home: its key must not come into a file by silence. KEY_SEALED where it is the keychain that has the key.
 */
export function keyPlaceOf(
  home: string,
  { asked, cipher }: { asked: boolean; cipher: SystemCipher | string },
): KeyPlace {
  const sealed = existsSync(sealedFile(home, ROOT_KEY));
  if (!asked && !sealed) return { keychain: null, asked };
  if (typeof cipher !== 'string') return { keychain: createKeychain(home, cipher), asked };
  if (sealed) throw new AppError('KEY_SEALED', { home, name: ROOT_KEY, problem: cipher });
  if (!existsSync(join(home, 'secrets', ROOT_KEY))) throw new AppError('NO_KEYCHAIN', { home, problem: cipher });
  return { keychain: null, asked };
}
