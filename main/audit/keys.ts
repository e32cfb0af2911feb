import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  scrypt,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { z } from 'zod';
import { AppError } from '../contract/errors.ts';
import { roleSchema } from '../contract/domain.ts';
import { canonicalJson } from './canonical.ts';

/* Keys of people (Ed25519, locked by the password) and of the home (root key), and the certificates that join the two. */

/** scrypt parameters of RFC 7914. */
export interface PasswordCost {
  N: number;
  r: number;
  p: number;
}
/** 32 MiB and about 0.1 s per attempt. */
export const PASSWORD_COST: PasswordCost = { N: 32_768, r: 8, p: 1 };
const MAX_MEMORY = 96 * 1024 * 1024;

const base64 = z.base64();
const lockedKeySchema = z.object({
  format: z.literal(1),
  kdf: z.object({ name: z.literal('scrypt'), N: z.number().int(), r: z.number().int(), p: z.number().int() }),
  salt: base64,
  nonce: base64,
  tag: base64,
  data: base64,
});

export interface UserKey {
  /** PEM, SubjectPublicKeyInfo. */
  publicKey: string;
  /** JSON: the private key (PKCS#8 DER) under AES-256-GCM with scrypt(password). Safe to store. */
  lockedPrivateKey: string;
}

const derive = (password: string, salt: Uint8Array, cost: PasswordCost): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    // Composed form: a Japanese password typed with another input method is the same password.
    scrypt(password.normalize('NFC'), salt, 32, { ...cost, maxmem: MAX_MEMORY }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });

const lockedJson = (cost: PasswordCost, parts: Record<'salt' | 'nonce' | 'tag' | 'data', Buffer>): string => {
  const texts = Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [name, bytes.toString('base64')]));
  return JSON.stringify({ format: 1, kdf: { name: 'scrypt', N: cost.N, r: cost.r, p: cost.p }, ...texts });
};

/** JSON: the secret under AES-256-GCM with scrypt(password). `boundTo`: it opens beside this very text alone. */
export const sealSecret = async (
  secret: Uint8Array,
  password: string,
  { boundTo = '', cost = PASSWORD_COST }: { boundTo?: string; cost?: PasswordCost } = {},
): Promise<string> => {
  const salt = randomBytes(16);
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', await derive(password, salt, cost), nonce);
  cipher.setAAD(Buffer.from(boundTo));
  const data = Buffer.concat([cipher.update(secret), cipher.final()]);
  return lockedJson(cost, { salt, nonce, tag: cipher.getAuthTag(), data });
};

/** Bytes of an Ed25519 private key as PKCS#8 DER (RFC 8410). */
const PRIVATE_KEY_BYTES = 48;

/** What looks like a locked private key and no password opens, at the cost of trying one: for names that do not exist. */
export const keyOfNobody = (cost: PasswordCost): string =>
  lockedJson(cost, {
    salt: randomBytes(16),
    nonce: randomBytes(12),
    tag: randomBytes(16),
    data: randomBytes(PRIVATE_KEY_BYTES),
  });

export const createUserKey = async (password: string, cost = PASSWORD_COST): Promise<UserKey> => {
  const pair = generateKeyPairSync('ed25519');
  const secret = pair.privateKey.export({ type: 'pkcs8', format: 'der' });
  return {
    publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string,
    lockedPrivateKey: await sealSecret(secret, password, { cost }),
  };
};

/** The same private key locked by another password. WRONG_PASSWORD. */
export const relockUserKey = async (
  lockedPrivateKey: string,
  password: string,
  newPassword: string,
  cost = PASSWORD_COST,
): Promise<string> => {
  const key = await unlockUserKey(lockedPrivateKey, password);
  return sealSecret(key.export({ type: 'pkcs8', format: 'der' }), newPassword, { cost });
};

/** What was sealed, or WRONG_PASSWORD (the cipher's tag tells; no separate password hash is kept). */
export const openSecret = async (sealed: string, password: string, boundTo = ''): Promise<Buffer> => {
  const locked = lockedKeySchema.parse(JSON.parse(sealed));
  // A row edited to a ruinous cost must not stop the core for minutes.
  if (locked.kdf.N > PASSWORD_COST.N * 4 || locked.kdf.r > 32 || locked.kdf.p > 4) throw new AppError('WRONG_PASSWORD');
  const key = await derive(password, Buffer.from(locked.salt, 'base64'), locked.kdf);
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(locked.nonce, 'base64'));
  decipher.setAAD(Buffer.from(boundTo));
  decipher.setAuthTag(Buffer.from(locked.tag, 'base64'));
  try {
    return Buffer.concat([decipher.update(Buffer.from(locked.data, 'base64')), decipher.final()]);
  } catch {
    // The cause would only say "unable to authenticate data": it is the password.
    throw new AppError('WRONG_PASSWORD');
  }
};

/** The private key, or WRONG_PASSWORD. */
export const unlockUserKey = async (lockedPrivateKey: string, password: string): Promise<KeyObject> =>
  createPrivateKey({ key: await openSecret(lockedPrivateKey, password), format: 'der', type: 'pkcs8' });

// ---------------------------------------------------------------- root key and certificates
export interface RootKey {
  privateKey: KeyObject;
  /** PEM, as in trust/root.pub. */
  publicKey: string;
}

/** Private part as PKCS#8 DER, for the SecretStore. */
export const createRootKey = (): Uint8Array =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' });

/** @param der PKCS#8, as createRootKey gives it. Throws for what is no key. */
export const openRootKey = (der: Uint8Array): RootKey => {
  const privateKey = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  return { privateKey, publicKey: createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string };
};

const certificateBodySchema = z.object({
  userId: z.string().min(1),
  userName: z.string().min(1),
  role: roleSchema,
  publicKey: z.string(),
  /** The home that issued it is a demo. */
  demo: z.boolean(),
  issuedAt: z.iso.datetime(),
});
export const certificateSchema = certificateBodySchema.extend({ signature: base64 });
export type Certificate = z.infer<typeof certificateSchema>;

const bytesToSign = (purpose: string, body: unknown): Buffer => Buffer.from(`${purpose}\n${canonicalJson(body)}`);

/** Ed25519 (RFC 8032) over the purpose and the canonical JSON: a signature for one purpose is none for another. */
export const signBody = (purpose: string, body: unknown, privateKey: KeyObject): string =>
  sign(null, bytesToSign(purpose, body), privateKey).toString('base64');

/** @param signature Base64, as signBody gives it */
export const verifyBody = (purpose: string, body: unknown, signature: string, publicKeyPem: string): boolean => {
  try {
    const bytes = Buffer.from(signature, 'base64');
    // One text for one signature: the last character of 64 bytes has four bits that Base64 leaves unread (RFC 4648, section 3.5).
    if (bytes.toString('base64') !== signature) return false;
    return verify(null, bytesToSign(purpose, body), createPublicKey(publicKeyPem), bytes);
  } catch {
    // A key that cannot be read verifies nothing.
    return false;
  }
};

const CERTIFICATE = 'mekiki certificate 1';

/** The home's word that this public key belongs to this person in this role. */
export const issueCertificate = (body: z.infer<typeof certificateBodySchema>, root: RootKey): Certificate => {
  const checked = certificateBodySchema.parse(body);
  return { ...checked, signature: signBody(CERTIFICATE, checked, root.privateKey) };
};

/** @param rootPublicKey PEM of the home that should have issued it */
export const certificateIsValid = (certificate: Certificate, rootPublicKey: string): boolean => {
  const { signature, ...body } = certificate;
  return verifyBody(CERTIFICATE, body, signature, rootPublicKey);
};

// ---------------------------------------------------------------- the name of an installation
/** SubjectPublicKeyInfo of an Ed25519 key (RFC 8410) is this and the raw 32 bytes. */
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex');

/** Raw public key in hexadecimal of a PEM text. Throws for a key of another kind. */
export const hexOfKey = (pem: string): string => {
  const der = createPublicKey(pem).export({ type: 'spki', format: 'der' });
  if (!der.subarray(0, SPKI_ED25519.length).equals(SPKI_ED25519)) throw new Error('this is not an Ed25519 key');
  return der.subarray(SPKI_ED25519.length).toString('hex');
};

/** PEM text, exactly as Node exports it (trust/root.pub). */
export const keyOfHex = (hex: string): string =>
  createPublicKey({
    key: Buffer.concat([SPKI_ED25519, Buffer.from(hex, 'hex')]),
    format: 'der',
    type: 'spki',
  }).export({ type: 'spki', format: 'pem' }) as string;

/** Raw 64 bytes over raw bytes. What is signed so must begin with a magic of its own: it has no purpose line. */
export const signBytes = (bytes: Uint8Array, privateKey: KeyObject): Uint8Array => sign(null, bytes, privateKey);
