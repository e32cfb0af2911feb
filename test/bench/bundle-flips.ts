import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { encodeBundle, openBundle } from '../../main/audit/bundle-file.ts';
import { hexOfKey } from '../../main/audit/keys.ts';
import { sha256 } from '../../main/audit/canonical.ts';
import { isAppError } from '../../main/contract/errors.ts';
import { exampleCard, exampleEvidence } from './example-bundle.ts';
import { record } from './record.ts';

/* Every single-bit flip over a sample of positions of a bundle file must be refused: all of the head, manifest and signature, and
 * of the payload evenly spread ones. */

const POSITIONS = 10_000;
const pair = generateKeyPairSync('ed25519');
const model = randomBytes(64 * 1024);
const card = exampleCard(sha256(model));
const bytes = encodeBundle(
  {
    installation: hexOfKey(pair.publicKey.export({ type: 'spki', format: 'pem' }) as string),
    demo: false,
    exportedAt: new Date().toISOString(),
    candidateId: card.id,
    stationName: 'Line 1',
    state: 'active',
    lineage: {
      knowledgeId: 'k-1',
      backboneId: card.backboneId,
      backboneSha256: card.backboneSha256,
      dataSha256: exampleEvidence.dataSha256,
    },
  },
  [
    { name: 'model.onnx', bytes: model },
    { name: 'model.json', bytes: Buffer.from(JSON.stringify(card)) },
    { name: 'evidence.json', bytes: Buffer.from(JSON.stringify(exampleEvidence)) },
  ],
  (body) => sign(null, body, pair.privateKey),
);
openBundle(bytes, 'whole');

const step = bytes.length / POSITIONS;
const positions = Array.from({ length: POSITIONS }, (_, i) => Math.floor(i * step));
const refused = { flips: 0, refused: 0, accepted: [] as number[] };
const head = 12 + bytes.readUInt32BE(8);
const started = performance.now();
for (const at of new Set([
  ...positions,
  ...Array.from({ length: head }, (_, i) => i),
  ...Array.from({ length: 64 }, (_, i) => bytes.length - 1 - i),
])) {
  for (let bit = 0; bit < 8; bit += 1) {
    bytes[at]! ^= 1 << bit;
    refused.flips += 1;
    try {
      openBundle(bytes, 'flipped');
      refused.accepted.push(at * 8 + bit);
    } catch (error) {
      if (!isAppError(error, 'BUNDLE_ALTERED')) throw error;
      refused.refused += 1;
    }
    bytes[at]! ^= 1 << bit;
  }
}
openBundle(bytes, 'whole again');
record('bundle-flips', 'node test/bench/bundle-flips.ts', {
  bytes: bytes.length,
  positions: POSITIONS,
  ...refused,
  seconds: (performance.now() - started) / 1000,
});
