import { canonicalJson, sha256 } from './canonical.ts';

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

const hashOf = ({ n, at, user, action, subject, details }: AuditContent, previousHash: string): string =>
  sha256(canonicalJson({ n, at, user, action, subject, details, previousHash }));

export const chainEntry = (content: AuditContent, previousHash: string): AuditEntry => ({
  ...content,
  previousHash,
  hash: hashOf(content, previousHash),
});

/**
 * Walks the whole trail. `firstBroken`: number of the first entry that was changed, is missing, or does not follow from the one
 * before. `head`: what the trail must at least contain (kept outside the table), so that cutting off the end is found too.
 */
export const verifyTrail = (
  entries: Iterable<AuditEntry>,
  head: { n: number; hash: string } | null = null,
): { entries: number; valid: boolean; firstBroken: number | null } => {
  let count = 0;
  let previousHash = TRAIL_START;
  let firstBroken: number | null = null;
  for (const entry of entries) {
    count += 1;
    const follows =
      entry.n === count && entry.previousHash === previousHash && entry.hash === hashOf(entry, previousHash);
    const isHead = head === null || entry.n !== head.n || entry.hash === head.hash;
    if (!(follows && isHead)) {
      firstBroken = count;
      break;
    }
    previousHash = entry.hash;
  }
  if (firstBroken === null && head !== null && count < head.n) firstBroken = count + 1;
  return { entries: count, valid: firstBroken === null, firstBroken };
};
