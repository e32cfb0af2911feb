import type { KeyObject } from 'node:crypto';
import { canonicalJson, sha256 } from './canonical.ts';
import { signBody, verifyBody } from './keys.ts';

/* The audit trail's arithmetic: each entry's hash covers its content and the hash before it. No storage here. */

export interface AuditContent {
  /** Counts from 1 without holes. */
  n: number;
  at: string;
  /** Name of the person, or `system`. */
  user: string;
  /** `area.verb`, as in the methods table. */
  action: string;
  /** What it was done to: an id or a name. */
  subject: string;
  /** Never a password or a key. */
  details: Record<string, unknown>;
}

export interface AuditEntry extends AuditContent {
  previousHash: string;
  hash: string;
}

/** The hash before the first entry. */
export const TRAIL_START = '0'.repeat(64);

/** An entry as it is kept: details as text, canonical since that is what is hashed; older ones in another order of keys. */
export interface StoredEntry extends Omit<AuditEntry, 'details'> {
  detailsText: string;
}

const text = (value: string): string => JSON.stringify(value);
/** sha256 over canonicalJson of the content and the hash before; written out, since a long trail is millions of them. */
const hashOf = (
  { n, at, user, action, subject }: Omit<AuditContent, 'details'>,
  canonicalDetails: string,
  previousHash: string,
): string =>
  sha256(
    `{"action":${text(action)},"at":${text(at)},"details":${canonicalDetails},"n":${n},` +
      `"previousHash":${text(previousHash)},"subject":${text(subject)},"user":${text(user)}}`,
  );

/**
 * Whether the entry's own hash is that of its content after this hash. Text that gives the hash as it is was never changed: no need to read it. Older programs stored what
 * JSON.stringify made. No other text is believed: SQLite takes the first of two values with one name, JSON.parse the last.
 */
const fits = (entry: AuditEntry | StoredEntry, previousHash: string): boolean => {
  if ('details' in entry) return entry.hash === hashOf(entry, canonicalJson(entry.details), previousHash);
  if (entry.hash === hashOf(entry, entry.detailsText, previousHash)) return true;
  try {
    const details: unknown = JSON.parse(entry.detailsText);
    return (
      JSON.stringify(details) === entry.detailsText &&
      entry.hash === hashOf(entry, canonicalJson(details), previousHash)
    );
  } catch {
    return false;
  }
};

/** The entry that follows the one with this hash. */
export const chainEntry = (content: AuditContent, previousHash: string): AuditEntry => ({
  ...content,
  previousHash,
  hash: hashOf(content, canonicalJson(content.details), previousHash),
});

/** The newest entry at some moment, signed by the installation. A chain that was made anew from some point on misses its heads. */
export interface SignedHead {
  n: number;
  hash: string;
  at: string;
  /** Base64, over {n, hash, at}. */
  signature: string;
}

/** Every so many entries a head is signed, in the same transaction; one more when the program closes. */
export const HEAD_EVERY = 100;
/** Purpose lines. What lies outside has its own: one of the heads within, put in its place, would cover up an end that was cut off there. */
const PURPOSES = { within: 'mekiki audit head 1', outside: 'mekiki audit newest 1' } as const;

/**
 * @param place where it will lie: within the trail's database, or outside it
 * @param rootKey the home's private key
 */
export const signHead = (
  head: Omit<SignedHead, 'signature'>,
  place: keyof typeof PURPOSES,
  rootKey: KeyObject,
): SignedHead => ({
  ...head,
  signature: signBody(PURPOSES[place], { n: head.n, hash: head.hash, at: head.at }, rootKey),
});
const headIsGenuine = (
  { n, hash, at, signature }: SignedHead,
  place: keyof typeof PURPOSES,
  rootPublicKey: string,
): boolean => verifyBody(PURPOSES[place], { n, hash, at }, signature, rootPublicKey);

export interface TrailProof {
  rootPublicKey: string;
  /** Kept in the trail's own database, ascending. */
  heads: readonly SignedHead[];
  /** Kept elsewhere; `missing`: nothing signed is. */
  outside: SignedHead | 'missing';
}

export interface TrailVerdict {
  entries: number;
  valid: boolean;
  /** Number of the first entry that was changed, is missing, does not follow from the one before, or contradicts a signed head. */
  firstBroken: number | null;
  /** Entries up to here are covered by a signature. */
  signedUpTo: number;
}

export interface TrailWalk {
  /** The next entries, in order. Gives the verdict as soon as one of them is broken; null so far. */
  take(entries: Iterable<AuditEntry | StoredEntry>): TrailVerdict | null;
  /** After the last one. */
  end(): TrailVerdict;
}

/**
 * Walks a trail, in as many steps as one likes: each entry against its hash and the one before, then the signed heads (an own hash can be
 * computed by anybody who rewrites the chain, a head cannot), then the head outside (so that cutting off the end is found).
 */
export const walkTrail = (proof: TrailProof): TrailWalk => {
  const { rootPublicKey, outside } = proof;
  const heads = new Map(proof.heads.map((head) => [head.n, head]));
  let count = 0;
  let signedUpTo = 0;
  // What is noted of a trail that has no entry yet proves that it never was noted after that.
  let metOutside =
    outside !== 'missing' &&
    outside.n === 0 &&
    outside.hash === TRAIL_START &&
    headIsGenuine(outside, 'outside', rootPublicKey);
  let previousHash = TRAIL_START;
  const broken = (firstBroken: number): TrailVerdict => ({ entries: count, valid: false, firstBroken, signedUpTo });
  return {
    take(entries) {
      for (const entry of entries) {
        count += 1;
        if (entry.n !== count || entry.previousHash !== previousHash || !fits(entry, previousHash))
          return broken(count);
        previousHash = entry.hash;
        const head = heads.get(count);
        if (head === undefined) {
          if (count % HEAD_EVERY === 0) return broken(count);
        } else {
          if (head.hash !== entry.hash || !headIsGenuine(head, 'within', rootPublicKey)) return broken(count);
          signedUpTo = count;
        }
        if (outside !== 'missing' && outside.n === count) {
          if (outside.hash !== entry.hash || !headIsGenuine(outside, 'outside', rootPublicKey)) return broken(count);
          signedUpTo = count;
          metOutside = true;
        }
      }
      return null;
    },
    end() {
      let farthest = outside === 'missing' ? 0 : outside.n;
      for (const n of heads.keys()) farthest = Math.max(farthest, n);
      if (count < farthest) return broken(count + 1);
      // It is written before the first entry, and by older programs within seconds of it: a trail of this length without it has lost it.
      if (!metOutside && count >= HEAD_EVERY) return broken(count);
      return { entries: count, valid: true, firstBroken: null, signedUpTo };
    },
  };
};

/** The whole trail at once. */
export const verifyTrail = (entries: Iterable<AuditEntry | StoredEntry>, proof: TrailProof): TrailVerdict => {
  const walk = walkTrail(proof);
  return walk.take(entries) ?? walk.end();
};
