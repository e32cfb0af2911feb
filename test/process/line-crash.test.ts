import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { LineRecord } from '../../main/contract/line.ts';
import { openSpool } from '../../main/inspection/spool.ts';
import { createLineHome, lineSettings, lineStation, listenedLine, until } from './line-home.ts';

test('kill -9: every record that was told is in the spool, and the numbering goes on', async () => {
  using at = await createLineHome();
  const station = lineStation({ kind: 'simulated', partsPerMinute: 3000, width: 96, height: 96 });
  const bundleDir = await at.bundle('m-1');
  const child = fork(fileURLToPath(new URL('line-child.ts', import.meta.url)), [
    JSON.stringify({ home: at.home, station, bundleDir }),
  ]);
  const told: LineRecord[] = [];
  child.on('message', ({ event, payload }: { event: string; payload: { records: LineRecord[] } }) => {
    if (event === 'line.recorded') told.push(...payload.records);
  });
  try {
    await until('40 records', () => told.length >= 40);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  using spool = openSpool({ dir: join(at.home, 'spool'), stationId: station.id, acknowledged: 0 });
  expect(spool.lostRecords).toBe(0);
  const kept = [...spool.after(0)].flat();
  expect(kept.slice(0, told.length)).toEqual(told);
  expect(kept.map((r) => r.seq)).toEqual(kept.map((_, i) => i + 1));
  expect(spool.lastSeq).toBe(kept.length);
});

test('while inference hangs the watchdog answers late, in time, and the hung verdict does not count', async () => {
  using at = await createLineHome();
  const line = listenedLine();
  await line.configure(
    at.home,
    lineStation(
      { kind: 'simulated', partsPerMinute: 1200, width: 96, height: 96 },
      { line: lineSettings({ deadlineMs: 500 }) },
    ),
    await at.bundle('m-1'),
  );
  await line.start();
  await until('parts', () => line.records.length >= 5);
  const begun = Date.now();
  const lateOnes = () =>
    readFileSync(join(at.home, 'spool', 'st-1.ndjson'), 'utf8')
      .split('\n')
      // The last line may be half written.
      .slice(0, -1)
      .filter((text) => text.includes('"unsureReason":"late"'))
      .map((text) => JSON.parse(text) as LineRecord);
  const sinceBegun = (records: readonly LineRecord[]) => records.some((r) => Date.parse(r.at) >= begun);
  // This thread owns inference and is stuck: nothing of it runs for 1.5 s, or for as long as a busy machine makes the watchdog wait for its turn.
  const stuck = new Int32Array(new SharedArrayBuffer(4));
  do Atomics.wait(stuck, 0, 0, 1500);
  while (!sinceBegun(lateOnes()) && Date.now() < begun + 30_000);
  // In time: they lie there before this thread could have written anything.
  const spooled = lateOnes();
  expect(spooled.length).toBeGreaterThanOrEqual(1);
  expect(spooled.every((r) => r.judgement.verdict === 'unsure' && r.judgement.latencyMs >= 500)).toBe(true);
  expect(sinceBegun(spooled)).toBe(true);
  const last = spooled.at(-1)!.seq;
  await until('verdicts again', () => line.records.some((r) => r.seq > last && r.judgement.modelId === 'm-1'));
  const status = await line.stop();
  await line.line.dispose();
  const seqs = line.records.map((r) => r.seq);
  expect(seqs).toEqual(seqs.map((_, i) => i + 1));
  for (const { seq } of spooled) expect(line.records[seq - 1]!.judgement.unsureReason).toBe('late');
  // The camera went on meanwhile: what nobody could judge in time was dropped, and is counted.
  expect(status.droppedFrames).toBeGreaterThan(0);
  expect(status.parts).toBe(line.records.length);
});
