import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { candidateSchema, type Candidate } from '../../main/contract/domain.ts';
import { openStore, type Store } from '../../main/store/open.ts';
import { exampleEvidence } from '../helpers/example-bundle.ts';
import { newStation, sha } from './examples.ts';

let base: string;
let store: Store;
beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'mekiki-candidates-'));
  store = await openStore({ home: join(base, 'home'), demo: false });
  store.stations.insert(newStation(), new Date());
});
afterEach(() => {
  store.close();
  rmSync(base, { recursive: true });
});

const evidence = {
  ...exampleEvidence,
  changed: [
    {
      imageSha: sha(1),
      truthClassId: 'ok',
      from: { verdict: 'ok', classId: 'ok' },
      to: { verdict: 'ng', classId: null },
      kind: 'worse',
    },
  ],
  sample: { rotation: 0, pictures: [{ imageSha: sha(1), region: null, logits: [0.25] }], made: [] },
};
const made = (id: string, state: Candidate['state']): Candidate =>
  candidateSchema.parse({
    id,
    stationId: 'st-1',
    state,
    createdAt: '2026-01-01T00:00:00.000Z',
    knowledgeId: 'k-1',
    backboneId: 'bb-1',
    strategy: 'post-prune',
    precision: 'fp32',
    ratio: 0.5,
    inputSize: 32,
    bundleSha256: sha(3),
    offered: true,
    recommended: false,
    reason: 'test',
    evidence,
    approval: null,
    rejection: null,
    activatedAt: null,
    origin: null,
  });

test('a list has whole what is to be decided on, and the rest in brief; one alone is whole', () => {
  store.candidates.insert(made('m-1', 'submitted'));
  store.candidates.insert(made('m-2', 'candidate'));
  const { sample: _, ...listed } = evidence;
  expect(store.candidates.list('st-1')).toEqual([
    { ...made('m-2', 'candidate'), evidence: { ...listed, confusion: [], changed: [] } },
    { ...made('m-1', 'submitted'), evidence: listed },
  ]);
  expect(store.candidates.get('m-2')).toEqual(made('m-2', 'candidate'));
});
