import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import {
  certificateIsValid,
  createRootKey,
  hexOfKey,
  issueCertificate,
  openRootKey,
  signBytes,
  type Certificate,
} from '../audit/keys.ts';
import type { User } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import { writeDurably } from '../store/files.ts';
import type { Account } from '../store/users.ts';
import type { SecretStore } from './port.ts';

/** The home's root key: certifies its people's keys. The private half never leaves the core. */
export interface HomeKeys {
  /** PEM of trust/root.pub, read anew: what the line process will read too. */
  rootPublicKey(): string;
  certify(user: User, publicKey: string, demo: boolean, at: Date): Certificate;
  /** Raw public key, hexadecimal: the installation's name towards others. */
  installation: string;
  /** Ed25519 over raw bytes that begin with a magic of their own (bundle files). */
  signBytes(bytes: Uint8Array): Uint8Array;
  /** For texts under a purpose line (audit heads, the list of trusted installations). */
  signing: KeyObject;
}

export const ROOT_KEY_NAME = 'root.key';

const secretFile = (home: string, name: string): string => join(home, 'secrets', name);
/** The root key lies in a file. */
export const isKeyInFile = (home: string): boolean => existsSync(secretFile(home, ROOT_KEY_NAME));

/** A file of mode 0600 under home/secrets: what there is without a keychain (plain Node). */
export const createFileSecretStore = (home: string, log: Logger): SecretStore => {
  const path = (name: string): string => secretFile(home, name);
  return {
    get: (name) =>
      readFile(path(name)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
        if (!existsSync(`${path(name)}.sealed`)) return null;
        throw new AppError('KEY_SEALED', {
          home,
          name,
          problem: 'it rests in the keychain of the account that opens the desktop window; nobody else has it',
        });
      }),
    async set(name, value) {
      log.warn('secret kept in a file that only this account may read: this system offers no keychain here', { name });
      await writeDurably(path(name), value, { mode: 0o600 });
    },
  };
};

/**
 * Opens the root key, or makes it in a home that has none yet.
 * ROOT_KEY_LOST: the home has accounts, but their root key is gone or is another one than trust/root.pub.
 */
export const openHomeKeys = async (home: string, secrets: SecretStore, hasAccounts: boolean): Promise<HomeKeys> => {
  const publicFile = join(home, 'trust', 'root.pub');
  const lost = (problem: string) => new AppError('ROOT_KEY_LOST', { home, problem });
  let der = await secrets.get(ROOT_KEY_NAME);
  if (der === null) {
    if (hasAccounts) throw lost('it is missing');
    der = createRootKey();
    await secrets.set(ROOT_KEY_NAME, der);
  }
  const root = openRootKey(der);
  if (!existsSync(publicFile) && !hasAccounts) await writeDurably(publicFile, root.publicKey);
  // Another public key here would let approvals count that nobody of this home gave.
  if (!existsSync(publicFile) || readFileSync(publicFile, 'utf8') !== root.publicKey)
    throw lost('trust/root.pub is not its public half');
  return {
    rootPublicKey: () => readFileSync(publicFile, 'utf8'),
    certify: (user, publicKey, demo, at) =>
      issueCertificate(
        { userId: user.id, userName: user.name, role: user.role, publicKey, demo, issuedAt: at.toISOString() },
        root,
      ),
    installation: hexOfKey(root.publicKey),
    signBytes: (bytes) => signBytes(bytes, root.privateKey),
    signing: root.privateKey,
  };
};

/** Whether the root key certified just this person, name, role and key: a row of the database alone makes nobody a supervisor. */
export const isCertified = ({ user, publicKey, certificate }: Account, rootPublicKey: string): boolean =>
  certificate.userId === user.id &&
  certificate.userName === user.name &&
  certificate.role === user.role &&
  certificate.publicKey === publicKey &&
  certificateIsValid(certificate, rootPublicKey);

/** Its first supervisor's certificate: a home that had one offers the first start to nobody, whatever is left in the users' table. */
const founderFile = (home: string): string => join(home, 'trust', 'founder.json');
export const isFounded = (home: string): boolean => existsSync(founderFile(home));
export const noteFounder = (home: string, certificate: Certificate): Promise<void> =>
  writeDurably(founderFile(home), `${JSON.stringify(certificate, null, 2)}\n`);
