import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bundleDigest, signApproval, verifyBundle } from '../../../main/audit/approval.ts';
import { canonicalJson, sha256 } from '../../../main/audit/canonical.ts';
import {
  createRootKey,
  createUserKey,
  issueCertificate,
  keyOfNobody,
  openRootKey,
  PASSWORD_COST,
  unlockUserKey,
} from '../../../main/audit/keys.ts';
import {
  chainEntry,
  HEAD_EVERY,
  signHead,
  TRAIL_START,
  verifyTrail as verifyWith,
  type AuditEntry,
  type StoredEntry,
  type TrailProof,
} from '../../../main/audit/trail.ts';
import { SMALL_COST } from '../../helpers/password-cost.ts';

const root = openRootKey(createRootKey());
/** Without what the case does not need: short trails have no head in the database, and a new one none outside. */
const verifyTrail = (entries: (AuditEntry | StoredEntry)[], proof: Partial<TrailProof> = {}) =>
  verifyWith(entries, {
    rootPublicKey: root.publicKey,
    heads: [],
    outside: 'missing',
    ...proof,
  });
const headOf = ({ n, hash, at }: AuditEntry, place: 'within' | 'outside' = 'within') =>
  signHead({ n, hash, at }, place, root.privateKey);

const trail = (length: number): AuditEntry[] => {
  const entries: AuditEntry[] = [];
  for (let n = 1; n <= length; n += 1) {
    const content = {
      n,
      at: '2026-01-01T00:00:00.000Z',
      user: 'sato',
      action: 'labels.create',
      subject: String(n),
      details: { n },
    };
    entries.push(chainEntry(content, entries.at(-1)?.hash ?? TRAIL_START));
  }
  return entries;
};

describe('canonical JSON', () => {
  test('is the same for the same value, and tells other values apart', () => {
    expect(canonicalJson({ b: [1, null, 'x'], a: { d: true, c: undefined } })).toBe(
      '{"a":{"d":true},"b":[1,null,"x"]}',
    );
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const plain: unknown = JSON.parse(JSON.stringify(value));
        expect(JSON.parse(canonicalJson(plain))).toEqual(plain);
      }),
    );
    expect(() => canonicalJson({ a: Number.NaN })).toThrow();
  });
});

describe('the trail', () => {
  test('is valid as it was written, empty too', () => {
    expect(verifyTrail([])).toEqual({ entries: 0, valid: true, firstBroken: null, signedUpTo: 0 });
    expect(verifyTrail(trail(5))).toEqual({ entries: 5, valid: true, firstBroken: null, signedUpTo: 0 });
  });

  test('the text of details is as the program writes it, or an older one did', () => {
    const content = { n: 1, at: '2026-01-01T00:00:00.000Z', user: 'sato', action: 'import.start', subject: 'cam1' };
    const { details: _, ...entry } = chainEntry({ ...content, details: { candidates: ['m-1'], b: 1 } }, TRAIL_START);
    const valid = (detailsText: string) => verifyTrail([{ ...entry, detailsText }]).valid;
    expect(valid('{"b":1,"candidates":["m-1"]}')).toBe(true);
    expect(valid('{"candidates":["m-1"],"b":1}')).toBe(true);
    // SQLite finds the first of these, JSON.parse the second.
    expect(valid('{"candidates":[],"candidates":["m-1"],"b":1}')).toBe(false);
    expect(valid('{"candidates": ["m-1"], "b": 1}')).toBe(false);
  });

  test('an entry is hashed as its canonical JSON', () => {
    const { hash, ...content } = trail(2)[1]!;
    expect(hash).toBe(sha256(canonicalJson(content)));
  });

  test('any change of any entry is found at that entry', () => {
    const changes: ((entry: AuditEntry) => AuditEntry)[] = [
      (entry) => ({ ...entry, user: 'mallory' }),
      (entry) => ({ ...entry, at: '2026-01-02T00:00:00.000Z' }),
      (entry) => ({ ...entry, action: 'labels.undo' }),
      (entry) => ({ ...entry, subject: 'other' }),
      (entry) => ({ ...entry, details: {} }),
      (entry) => ({ ...entry, hash: 'f'.repeat(64) }),
      // Hashed anew after the change: the next entry still names the old hash.
      ({ previousHash, ...entry }) => chainEntry({ ...entry, user: 'mallory' }, previousHash),
    ];
    for (const [i, change] of changes.entries()) {
      const entries = trail(4);
      entries[1] = change(entries[1]!);
      expect(verifyTrail(entries)).toMatchObject({ valid: false, firstBroken: i === changes.length - 1 ? 3 : 2 });
    }
  });

  test('a missing entry, another order, and an end that was cut off are found', () => {
    const entries = trail(4);
    expect(verifyTrail(entries.toSpliced(1, 1)).firstBroken).toBe(2);
    expect(verifyTrail([entries[1]!, entries[0]!]).firstBroken).toBe(1);
    const head = headOf(entries[3]!, 'outside');
    expect(verifyTrail(entries.slice(0, 2), { outside: head })).toMatchObject({ valid: false, firstBroken: 3 });
    expect(verifyTrail(entries, { outside: head }).valid).toBe(true);
    // The end written anew, with the same length.
    const { previousHash, ...last } = entries[3]!;
    expect(
      verifyTrail([...entries.slice(0, 3), chainEntry({ ...last, user: 'mallory' }, previousHash)], {
        outside: head,
      }).valid,
    ).toBe(false);
  });

  test('a chain that somebody wrote anew misses its signed heads', () => {
    const entries = trail(2 * HEAD_EVERY + 5);
    const heads = [HEAD_EVERY, 2 * HEAD_EVERY].map((n) => headOf(entries[n - 1]!));
    const outside = headOf(entries.at(-1)!, 'outside');
    const signed = { heads, outside };
    expect(verifyTrail(entries, signed)).toMatchObject({ valid: true, signedUpTo: entries.length });

    // From entry 50 on, every hash right again.
    const rewritten = entries.slice(0, 49);
    for (const { previousHash: _, hash: __, ...content } of entries.slice(49)) {
      rewritten.push(chainEntry({ ...content, user: 'mallory' }, rewritten.at(-1)!.hash));
    }
    expect(verifyTrail(rewritten, signed).firstBroken).toBe(HEAD_EVERY);
    // Heads taken away, or made with another key.
    expect(verifyTrail(rewritten, { ...signed, heads: [] }).firstBroken).toBe(HEAD_EVERY);
    const other = openRootKey(createRootKey());
    const forged = [HEAD_EVERY, 2 * HEAD_EVERY].map((n) => {
      const { hash, at } = rewritten[n - 1]!;
      return signHead({ n, hash, at }, 'within', other.privateKey);
    });
    expect(verifyTrail(rewritten, { ...signed, heads: forged }).firstBroken).toBe(HEAD_EVERY);
    // An entry slipped in at the end, and the end cut off.
    expect(verifyTrail(entries.slice(0, -1), signed).firstBroken).toBe(entries.length);
    expect(verifyTrail(entries, { ...signed, outside: 'missing' }).valid).toBe(false);
    // Cut off behind the last hundredth, with a head outside that is not signed, or that is of no entry.
    const cut = entries.slice(0, 2 * HEAD_EVERY + 2);
    for (const n of [cut.length, 0]) {
      const made = { n, hash: cut.at(-1)!.hash, at: cut.at(-1)!.at, signature: '' };
      expect(verifyTrail(cut, { ...signed, outside: made }).valid).toBe(false);
    }
    // Cut off at a hundredth, whose own head is put outside.
    const [, second] = heads;
    expect(verifyTrail(entries.slice(0, 2 * HEAD_EVERY), { ...signed, outside: second! }).valid).toBe(false);
  });
});

describe('keys', () => {
  test('open with their password alone, and hold nothing in clear', async () => {
    const { lockedPrivateKey, publicKey } = await createUserKey('correct horse');
    const key = await unlockUserKey(lockedPrivateKey, 'correct horse');
    expect(key.asymmetricKeyType).toBe('ed25519');
    await expect(unlockUserKey(lockedPrivateKey, 'correct horsf')).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
    expect(lockedPrivateKey).not.toContain('PRIVATE');
    expect(publicKey).toContain('PUBLIC KEY');
    const locked = JSON.parse(lockedPrivateKey) as { kdf: { N: number } };
    locked.kdf.N = 2 ** 30;
    await expect(unlockUserKey(JSON.stringify(locked), 'correct horse')).rejects.toMatchObject({
      code: 'WRONG_PASSWORD',
    });
  });

  test('of nobody costs as much to try, and opens with nothing', async () => {
    const nobody = keyOfNobody(PASSWORD_COST);
    const { lockedPrivateKey } = await createUserKey('correct horse');
    const looks = (text: string) => {
      const { kdf, ...parts } = JSON.parse(text) as Record<string, string>;
      return { kdf, lengths: Object.entries(parts).map(([name, part]) => [name, String(part).length]) };
    };
    expect(looks(nobody)).toEqual(looks(lockedPrivateKey));
    await expect(unlockUserKey(nobody, 'correct horse')).rejects.toMatchObject({ code: 'WRONG_PASSWORD' });
  });

  test('a password is the same however it was typed', async () => {
    const { lockedPrivateKey } = await createUserKey('パスワード'.normalize('NFD'));
    await expect(unlockUserKey(lockedPrivateKey, 'パスワード'.normalize('NFC'))).resolves.toBeDefined();
  });
});

describe('approvals', () => {
  let dir: string;
  const root = openRootKey(createRootKey());
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'mekiki-bundle-'));
    const card = {
      format: 1,
      id: 'm-1',
      createdAt: '2026-01-01T00:00:00.000Z',
      demo: false,
      stationId: 'st-1',
      backboneId: 'bb',
      backboneSha256: 'a'.repeat(64),
      knowledgeId: null,
      modelSha256: sha256('model'),
      inputSize: 32,
      mean: [0, 0, 0],
      std: [1, 1, 1],
      classes: [{ id: 'ok', names: { en: 'OK', ja: '良品' }, isOk: true }],
      temperature: 1,
      thresholds: { ok: 0.5, ng: 0.5, novelty: 1 },
      strategy: 'none',
      precision: 'fp32',
      recipe: null,
    };
    writeFileSync(join(dir, 'model.onnx'), 'model');
    writeFileSync(join(dir, 'model.json'), JSON.stringify(card));
    writeFileSync(join(dir, 'evidence.json'), '{}');
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const sign = async (role: 'supervisor' | 'technician' = 'supervisor', change: object = {}) => {
    const { publicKey, lockedPrivateKey } = await createUserKey('password', SMALL_COST);
    const user = {
      userId: 'u-1',
      userName: 'sato',
      role,
      publicKey,
      demo: false,
      issuedAt: '2026-01-01T00:00:00.000Z',
    };
    return signApproval({
      bundleDir: dir,
      candidateId: 'm-1',
      stationId: 'st-1',
      demo: false,
      meaning: 'ok',
      waiver: null,
      at: new Date('2026-01-01T00:00:00.000Z'),
      certificate: issueCertificate(user, root),
      privateKey: await unlockUserKey(lockedPrivateKey, 'password'),
      bundleSha256: await bundleDigest(dir),
      ...change,
    });
  };
  const verify = (change: object = {}) =>
    verifyBundle({ bundleDir: dir, rootPublicKey: root.publicKey, demo: false, stationId: 'st-1', ...change });

  test('a signed bundle is accepted, with the bytes that were checked', async () => {
    await expect(verify()).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    const approval = await sign();
    const { card, model, approval: read } = await verify();
    expect(card.id).toBe('m-1');
    expect(Buffer.from(model).toString()).toBe('model');
    expect(read).toEqual(approval);
    expect(readdirSync(dir).toSorted()).toEqual(['approval.json', 'evidence.json', 'model.json', 'model.onnx']);
  });

  test('one that is not there is told apart from one that cannot be read', async () => {
    const refused = (problem: string) => ({
      code: 'NOT_APPROVED',
      message: expect.stringContaining(problem) as unknown,
    });
    await expect(verify()).rejects.toMatchObject(refused('it has no approval'));
    mkdirSync(join(dir, 'approval.json'));
    await expect(verify()).rejects.toMatchObject(refused('its approval cannot be read: EISDIR'));
  });

  test('refused: other root, other station, demo, a technician’s key', async () => {
    await sign();
    await expect(verify({ rootPublicKey: openRootKey(createRootKey()).publicKey })).rejects.toMatchObject({
      code: 'NOT_APPROVED',
    });
    await expect(verify({ stationId: 'st-2' })).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    await expect(verify({ demo: true })).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    await sign('technician');
    await expect(verify()).rejects.toMatchObject({ code: 'NOT_APPROVED' });
  });

  test('every byte of model, card and evidence, and every field of the approval, is bound', async () => {
    await sign();
    for (const name of ['model.onnx', 'model.json', 'evidence.json']) {
      const before = readFileSync(join(dir, name));
      writeFileSync(join(dir, name), `${before.toString()} `);
      await expect(verify()).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
      writeFileSync(join(dir, name), before);
    }
    const file = join(dir, 'approval.json');
    const approval = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    for (const key of Object.keys(approval)) {
      if (key === 'signature' || key === 'format' || key === 'certificate') continue;
      const value = approval[key];
      const other =
        typeof value === 'boolean'
          ? !value
          : key === 'at'
            ? '2027-01-01T00:00:00.000Z'
            : key === 'bundleSha256'
              ? 'b'.repeat(64)
              : 'other';
      writeFileSync(file, JSON.stringify({ ...approval, [key]: other }));
      await expect(verify(), key).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
    }
    const { certificate } = approval as { certificate: Record<string, unknown> };
    writeFileSync(file, JSON.stringify({ ...approval, certificate: { ...certificate, userName: 'mallory' } }));
    await expect(verify()).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    // Spacing and order of keys are not content.
    writeFileSync(file, JSON.stringify(Object.fromEntries(Object.entries(approval).toReversed()), null, 4));
    await expect(verify()).resolves.toBeDefined();
  });

  test('a signature has one text: the bits that Base64 leaves unread are bound as well', async () => {
    const approval = await sign();
    const file = join(dir, 'approval.json');
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const alike = (signature: string) => {
      const last = signature.length - 3;
      const other = letters[letters.indexOf(signature[last]!) ^ 1]!;
      const text = `${signature.slice(0, last)}${other}==`;
      expect(text).not.toBe(signature);
      expect(Buffer.from(text, 'base64').equals(Buffer.from(signature, 'base64'))).toBe(true);
      return text;
    };
    writeFileSync(file, JSON.stringify({ ...approval, signature: alike(approval.signature) }));
    await expect(verify()).rejects.toMatchObject({ code: 'BUNDLE_ALTERED' });
    const { certificate } = approval;
    const twisted = { ...certificate, signature: alike(certificate.signature) };
    writeFileSync(file, JSON.stringify({ ...approval, certificate: twisted }));
    await expect(verify()).rejects.toMatchObject({ code: 'NOT_APPROVED' });
    writeFileSync(file, JSON.stringify(approval));
    await expect(verify()).resolves.toBeDefined();
  });

  test('what changed since it was looked at is not signed', async () => {
    await expect(sign('supervisor', { bundleSha256: 'c'.repeat(64) })).rejects.toMatchObject({
      code: 'BUNDLE_ALTERED',
    });
    expect(readdirSync(dir)).not.toContain('approval.json');
  });
});
