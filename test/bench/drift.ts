import type { Judgement, Surface } from '../../main/contract/domain.ts';
import { createRandom } from '../../main/capture/simulated/random.ts';
import { STATED_RUN_LENGTH } from '../../main/learning/monitor/charts.ts';
import { createPartMonitor, REFERENCE_PARTS } from '../../main/learning/monitor/part-monitor.ts';
import { openSimulatedLine } from '../helpers/simulated-line.ts';
import { record } from './record.ts';

/*
 * The monitor on simulated lines with a real model: parts until a fading lamp and a new class are found, and false alarms in ten stationary
 * runs of 10,000 parts. Stationary runs draw from POOL rendered and judged parts with replacement: reference and watched parts alike.
 * node main/host/build/launch.mjs test/bench/drift.ts [surface ...]
 */
const POOL = 1000;
const WATCHED = 400;
const RUNS = 10;
const surfaces: Surface[] = ['brushed-metal', 'cast', 'fabric', 'printed-board'];
const named = process.argv.slice(2) as Surface[];
const rows: Record<string, unknown> = {};
for (const surface of named.length > 0 ? named : surfaces) {
  const shares: Record<string, unknown> = {};
  for (const defectShare of [0.15, 0.3]) {
    await using line = await openSimulatedLine({ surface, seed: 11, perClass: 24, size: 256, defectShare });
    const judged = async (
      from: number,
      count: number,
      change: (i: number) => { light?: number; late?: boolean } = () => ({}),
    ) => {
      const parts: Judgement[] = [];
      for (let i = 0; i < count; i += 1) parts.push(await line.inspect(from + i, change(i)));
      return parts;
    };
    const pool = await judged(0, POOL);
    /** Parts until the first alarm, and its measure; null: none in WATCHED. */
    const found = (parts: readonly Judgement[]) => {
      const monitor = createPartMonitor(pool.slice(0, REFERENCE_PARTS));
      for (const [i, part] of parts.entries()) {
        const [measure] = monitor.add(part);
        if (measure) return { parts: i + 1, measure };
      }
      return null;
    };
    const result: Record<string, unknown> = { newClass: found(await judged(20_000, WATCHED, () => ({ late: true }))) };
    if (defectShare === 0.15) {
      result['lightMinus40PercentPer1000'] = found(await judged(10_000, 200, (i) => ({ light: 1 - 0.0004 * i })));
      result['lightPlus25PercentPer1000'] = found(await judged(10_000, 200, (i) => ({ light: 1 + 0.00025 * i })));
    }
    const falseAlarms: number[] = [];
    for (let run = 1; run <= RUNS; run += 1) {
      const random = createRandom(run);
      const draw = () => pool[random.whole(0, POOL - 1)]!;
      const monitor = createPartMonitor(Array.from({ length: REFERENCE_PARTS }, draw));
      let alarms = 0;
      for (let i = 0; i < STATED_RUN_LENGTH; i += 1) alarms += monitor.add(draw()).length;
      falseAlarms.push(alarms);
    }
    shares[`defectShare ${defectShare}`] = { ...result, falseAlarmsPer10000: falseAlarms };
    process.stderr.write(`${surface} ${defectShare} ${JSON.stringify(shares[`defectShare ${defectShare}`])}\n`);
  }
  rows[surface] = shares;
}
record('drift', 'node main/host/build/launch.mjs test/bench/drift.ts', {
  reference: REFERENCE_PARTS,
  statedRunLength: STATED_RUN_LENGTH,
  rows,
});
