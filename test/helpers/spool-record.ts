import type { LineRecord } from '../../main/contract/line.ts';
import { unsure } from '../../main/inspection/decide.ts';

/** A record as a line without a model makes it. */
export const spoolRecord = (seq: number, notes: string[] = []): LineRecord => ({
  seq,
  at: '2026-01-02T03:04:05.000Z',
  imageSha: null,
  width: 8,
  height: 8,
  judgement: unsure('no-model', { modelId: null, latencyMs: 1 }),
  notes,
});
