import { sha256 } from '../../main/audit/canonical.ts';
import { evidenceSchema, modelCardSchema, type ModelCard } from '../../main/contract/domain.ts';

/* A card and an evidence of the usual size, for what handles bundles without running them. */

export const exampleCard = (modelSha256: string): ModelCard =>
  modelCardSchema.parse({
    format: 1,
    id: 'm-1',
    createdAt: '2026-01-01T00:00:00.000Z',
    demo: false,
    stationId: 'st-1',
    backboneId: 'bb-1',
    backboneSha256: sha256('backbone'),
    knowledgeId: 'k-1',
    modelSha256,
    inputSize: 224,
    mean: [127.5, 127.5, 127.5],
    std: [127.5, 127.5, 127.5],
    classes: ['ok', 'scratch', 'pit'].map((id) => ({ id, names: { en: id, ja: id }, isOk: id === 'ok' })),
    temperature: 1,
    thresholds: { ok: 0.5, ng: 0.5, novelty: 3 },
    strategy: 'post-prune',
    precision: 'fp32',
    recipe: null,
  });

const measures = {
  accuracy: 0.9,
  balancedAccuracy: 0.9,
  interval: [0.8, 1],
  latencyMsP50: 2,
  latencyMsP99: 3,
  macs: 1,
  params: 1,
  bytes: 1,
};
export const exampleEvidence = evidenceSchema.parse({
  reference: measures,
  candidate: measures,
  speedup: 3,
  accuracyDropPp: 0,
  basis: 'an example',
  perClass: ['ok', 'scratch', 'pit'].map((classId) => ({
    classId,
    n: 20,
    reference: 0.9,
    candidate: 0.9,
    active: null,
  })),
  confusion: [
    [20, 0, 0],
    [0, 20, 0],
    [0, 0, 20],
  ],
  gates: [{ name: 'escape', limit: '5 %', measured: '1 %', bound: '3 %', outcome: 'pass', missing: 0 }],
  parity: { images: 60, equal: 60, maxLogitDifference: 0 },
  changed: [],
  environment: { cpu: 'an example', onnxruntime: '1.30.0', threads: 2 },
  dataSha256: sha256('data'),
});
