import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleDigest, signApproval, unlockUserKey, verifyApproved } from '../../main/audit/approval.ts';
import { encodeBundle, openBundle } from '../../main/audit/bundle-file.ts';
import { sha256 } from '../../main/audit/canonical.ts';
import {
  createRootKey,
  createUserKey,
  hexOfKey,
  issueCertificate,
  openRootKey,
  signBytes,
} from '../../main/audit/keys.ts';
import { isAppError } from '../../main/contract/errors.ts';
import { exampleCard, exampleEvidence } from '../helpers/example-bundle.ts';
import { record } from './record.ts';

/*
 * Every single-bit flip over a sample of positions must be refused: of a bundle as one file (all of its head, manifest and signature, and evenly spread ones of the payload), and of the files of an
 * approved model as the line process proves them (all of approval, card and evidence, and evenly spread ones of the model).
 *   node main/host/build/launch.mjs test/bench/bundle-flips.ts
 */

const POSITIONS = 10_000;
const root = openRootKey(createRootKey());

/** The four files of an approved model. */
async function approved() {
  const dir = mkdtempSync(join(tmpdir(), 'mekiki-flips-'));
  try {
    const model = randomBytes(64 * 1024);
    writeFileSync(join(dir, 'model.onnx'), model);
    writeFileSync(join(dir, 'model.json'), JSON.stringify(exampleCard(sha256(model))));
    writeFileSync(join(dir, 'evidence.json'), JSON.stringify(exampleEvidence));
    const { publicKey, lockedPrivateKey } = await createUserKey('correct horse');
    const user = { userId: 'u-1', userName: 'sato', role: 'supervisor' as const, publicKey, demo: false };
    await signApproval({
      bundleDir: dir,
      candidateId: 'm-1',
      stationId: 'st-1',
      demo: false,
      meaning: 'an example',
      waiver: null,
      at: new Date(),
      certificate: issueCertificate({ ...user, issuedAt: new Date().toISOString() }, root),
      privateKey: await unlockUserKey(lockedPrivateKey, 'correct horse'),
      bundleSha256: await bundleDigest(dir),
    });
    const read = (name: string) => readFileSync(join(dir, name));
    return { model, card: read('model.json'), evidence: read('evidence.json'), approval: read('approval.json') };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** @param dense all of these positions; beside them evenly spread ones */
function flip(bytes: Buffer, dense: Iterable<number>, open: () => void) {
  open();
  const step = bytes.length / POSITIONS;
  const spread = Array.from({ length: POSITIONS }, (_, i) => Math.floor(i * step));
  const positions = new Set([...spread, ...dense]);
  const result = { bytes: bytes.length, positions: positions.size, flips: 0, refused: 0, accepted: [] as number[] };
  for (const at of positions) {
    for (let bit = 0; bit < 8; bit += 1) {
      bytes[at]! ^= 1 << bit;
      result.flips += 1;
      try {
        open();
        result.accepted.push(at * 8 + bit);
      } catch (error) {
        if (!isAppError(error, 'BUNDLE_ALTERED') && !isAppError(error, 'NOT_APPROVED')) throw error;
        result.refused += 1;
      }
      bytes[at]! ^= 1 << bit;
    }
  }
  open();
  return result;
}
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

const started = performance.now();
const { model, card, evidence, approval } = await approved();
const { backboneId, backboneSha256 } = exampleCard(sha256(model));
const { dataSha256 } = exampleEvidence;
const file = encodeBundle(
  {
    installation: hexOfKey(root.publicKey),
    demo: false,
    exportedAt: new Date().toISOString(),
    candidateId: 'm-1',
    stationName: 'Line 1',
    state: 'active',
    lineage: { knowledgeId: 'k-1', backboneId, backboneSha256, dataSha256 },
  },
  [
    { name: 'model.onnx', bytes: model },
    { name: 'model.json', bytes: card },
    { name: 'evidence.json', bytes: evidence },
    { name: 'approval.json', bytes: approval },
  ],
  (body) => signBytes(body, root.privateKey),
);
const payloadAt = 12 + file.readUInt32BE(8);
const ofFile = flip(file, [...range(0, payloadAt), ...range(file.length - 64, file.length)], () => {
  openBundle(file, 'flipped');
});

const folder = Buffer.concat([model, card, evidence, approval]);
const ends = [model, card, evidence, approval].reduce<number[]>(
  (all, { length }) => [...all, (all.at(-1) ?? 0) + length],
  [],
);
const part = (i: number) => folder.subarray(ends[i - 1] ?? 0, ends[i]);
const ofFolder = flip(folder, range(model.length, folder.length), () => {
  verifyApproved(
    { model: part(0), card: part(1), evidence: part(2), approval: part(3).toString('utf8') },
    { where: 'flipped', rootPublicKey: root.publicKey, demo: false, stationId: 'st-1' },
  );
});
const result = { file: ofFile, folder: ofFolder, seconds: (performance.now() - started) / 1000 };
record('bundle-flips', 'node main/host/build/launch.mjs test/bench/bundle-flips.ts', result);
if (ofFile.accepted.length + ofFolder.accepted.length > 0) process.exitCode = 1;
