import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { LineRecord } from '../../main/contract/line.ts';
import { openSpool } from '../../main/inspection/spool.ts';
import { createLineHome, lineStation, listenedLine, until } from './line-home.ts';

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
  await until('40 records', () => told.length >= 40, 30_000);
  child.kill('SIGKILL');
  await once(child, 'exit');

  using spool = openSpool({ dir: join(at.home, 'spool'), stationId: station.id, acknowledged: 0 });
  expect(spool.lostRecords).toBe(0);
  const kept = [...spool.after(0)];
  expect(kept.slice(0, told.length)).toEqual(told);
  expect(kept.map((r) => r.seq)).toEqual(kept.map((_, i) => i + 1));
  expect(spool.lastSeq).toBe(kept.length);
}, 60_000);

test('while inference hangs the watchdog answers late, in time, and the hung verdict does not count', async () => {
  using at = await createLineHome();
  const line = listenedLine();
  await line.configure(
    at.home,
    lineStation({ kind: 'simulated', partsPerMinute: 1200, width: 96, height: 96 }),
    await at.bundle('m-1'),
  );
  await line.start();
  await until('parts', () => line.records.length >= 5);
  const begun = Date.now();
  // This thread owns inference and is stuck: nothing of it runs for 1.5 s.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
  const spooled = readFileSync(join(at.home, 'spool', 'st-1.ndjson'), 'utf8')
    .split('\n')
    .filter((text) => text.includes('"unsureReason":"late"'))
    .map((text) => JSON.parse(text) as LineRecord);
  // In time: they lie there before this thread could have written anything.
  expect(spooled.length).toBeGreaterThanOrEqual(1);
  expect(spooled.every((r) => r.judgement.verdict === 'unsure' && r.judgement.latencyMs >= 500)).toBe(true);
  expect(spooled.some((r) => Date.parse(r.at) >= begun)).toBe(true);
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
}, 60_000);
