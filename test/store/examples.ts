import {
  criteriaSchema,
  recipeSchema,
  stationSchema,
  type Judgement,
  type Station,
} from '../../main/contract/domain.ts';
import type { NewPart } from '../../main/store/parts.ts';

/* Small valid values for store and core tests. */

export const sha = (n: number): string => n.toString(16).padStart(64, '0');

export const newStation = (change: Partial<Station> = {}): Station =>
  stationSchema.parse({
    id: 'st-1',
    name: 'Line 1',
    camera: { kind: 'simulated' },
    recipe: recipeSchema.parse({}),
    criteria: criteriaSchema.parse({}),
    backboneId: 'bb-1',
    activeModelId: null,
    ...change,
  });

export const newJudgement = (change: Partial<Judgement> = {}): Judgement => ({
  verdict: 'unsure',
  unsureReason: 'low-margin',
  classId: 'ok',
  secondClassId: 'c-scratch',
  confidence: 0.6,
  margin: 0.2,
  limit: 0.9,
  novelty: 1,
  noveltyLimit: 3,
  tile: null,
  modelId: 'm-1',
  latencyMs: 5,
  errorCode: null,
  ...change,
});

export const newPart = (change: Partial<NewPart> = {}): NewPart => ({
  stationId: 'st-1',
  origin: 'line',
  seq: 1,
  at: '2026-01-01T00:00:00.000Z',
  imageSha: sha(change.seq ?? 1),
  width: 512,
  height: 512,
  judgement: newJudgement(),
  notes: [],
  source: null,
  ...change,
});
