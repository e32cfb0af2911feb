import type { LineStatus } from '../contract/domain.ts';

/** How a line stands that has no process, or whose process has not said yet. */
export const stopped = (stationId: string): LineStatus => ({
  stationId,
  state: 'stopped',
  camera: 'off',
  problem: null,
  modelId: null,
  startedAt: null,
  parts: 0,
  ok: 0,
  ng: 0,
  unsure: 0,
  ngByClass: {},
  droppedFrames: 0,
  triggers: 0,
  refusedTriggers: 0,
  late: 0,
  lostRecords: 0,
  partsPerMinute: 0,
  latencyMsP50: 0,
  latencyMsP99: 0,
  latencyTrend: [],
  rssBytes: 0,
  lineOutput: null,
});
