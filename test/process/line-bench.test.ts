import { expect, test } from 'vitest';
import { defaultEntries } from '../../main/host/children.ts';
import { driveLine } from '../../main/host/line-bench/drive-line.ts';
import { latenciesOf, quantile, slope } from '../../main/host/line-bench/figures.ts';
import { benchInspect } from '../../main/inspection/bench.ts';
import { unsure } from '../../main/inspection/decide.ts';
import { createLineHome, STATION } from './line-home.ts';

const options = {
  stationId: STATION,
  rate: 20,
  threads: 1,
  trainerThreads: 1,
  // Of a test machine nothing is known: whether parts are in time is what the command is for.
  deadlineMs: 60_000,
  size: 96,
  // Not the bundles: a packing beside this test reads them.
  entries: defaultEntries(),
  signal: new AbortController().signal,
};

test('a real line process under triggers: every one is answered, with figures of time and memory', async () => {
  using at = await createLineHome({ demo: true });
  const bundleDir = await at.bundle('m-1');
  const samples: number[] = [];
  const result = await driveLine({
    ...options,
    home: at.home,
    bundleDir,
    rate: 5,
    seconds: 4,
    trainer: 'idle',
    onSample: ({ rssBytes }) => void samples.push(rssBytes),
  });
  expect(result).toMatchObject({ parts: 20, unanswered: 0, lostRecords: 0, threads: 1, trainer: null });
  // Two triggers that a busy machine hands over at once are too soon after each other: the second is refused, which is an answer.
  // A frame that had no room is answered, too, by a record that says so.
  expect(result.refused).toBeLessThan(10);
  expect(result.verdicts).toBe(20 - result.refused);
  expect(result.ok + result.ng + result.unsure).toBe(result.verdicts);
  expect(result.latencyMsP50).toBeGreaterThan(0);
  expect(result.latencyMsP99).toBeGreaterThanOrEqual(result.latencyMsP50);
  expect(samples.length).toBeGreaterThanOrEqual(1);
  expect(result.rssBytes).toBeGreaterThanOrEqual(Math.max(...samples));
});

test('with the trainer at work beside it', async () => {
  let updates = 0;
  // How long an update takes on a machine with other work nobody knows: longer where a short run does not see the end of one.
  for (const seconds of [8, 30, 100]) {
    using at = await createLineHome({ demo: true });
    const bundleDir = await at.bundle('m-1');
    const result = await driveLine({ ...options, home: at.home, bundleDir, rate: 4, seconds, trainer: 'busy' });
    const parts = 4 * seconds;
    expect(result).toMatchObject({ parts, unanswered: 0 });
    expect(result.refused).toBeLessThan(parts / 2);
    expect(result.verdicts).toBe(parts - result.refused);
    updates = result.trainer?.updates ?? 0;
    if (updates > 0) break;
  }
  expect(updates).toBeGreaterThanOrEqual(1);
});

test('what the pipeline adds is measured until it is cut short', async () => {
  using at = await createLineHome({ demo: true });
  const bundleDir = await at.bundle('m-1');
  const signal = AbortSignal.timeout(1_000);
  await expect(benchInspect({ bundleDir, pairs: 1_000_000, threads: 1, signal })).rejects.toMatchObject({
    name: 'TimeoutError',
  });
});

test('a process that is given a retired model does not inspect with it', async () => {
  using at = await createLineHome({ demo: true });
  const bundleDir = await at.bundle('m-1');
  await at.bundle('m-2');
  at.activate(STATION, 'm-2');
  await expect(driveLine({ ...options, home: at.home, bundleDir, seconds: 1, trainer: 'idle' })).rejects.toMatchObject({
    code: 'NOT_APPROVED',
  });
});

test('a bundle that nobody approved drives no line', async () => {
  using at = await createLineHome({ demo: true });
  const bundleDir = await at.bundle('m-1', { approve: false });
  await expect(driveLine({ ...options, home: at.home, bundleDir, seconds: 1, trainer: 'idle' })).rejects.toMatchObject({
    code: 'NOT_APPROVED',
  });
});

test('latency is that of parts that had a frame', () => {
  const record = (width: number, latencyMs: number) => ({
    at: '2026-05-01T06:00:00.010Z',
    width,
    judgement: unsure('late', { modelId: 'm-1', latencyMs }),
  });
  const sentAt = Date.parse('2026-05-01T06:00:00.000Z');
  const records = [record(96, 30), record(0, 0.001), record(96, 40)];
  expect(latenciesOf(records, [sentAt, sentAt, sentAt + 5])).toEqual({ own: [30, 40], sent: [40, 45] });
});

test('quantiles by nearest rank, and the slope of a line', () => {
  expect(quantile([5, 1, 4, 2, 3], 0.5)).toBe(3);
  expect(quantile([5, 1, 4, 2, 3], 0.99)).toBe(5);
  expect(quantile([], 0.5)).toBeNaN();
  expect(slope([1, 2, 3].map((x) => ({ x, y: 7 - 2 * x })))).toBeCloseTo(-2, 12);
  expect(slope([])).toBe(0);
});
