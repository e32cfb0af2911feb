import { fullDisk } from './faults/full-disk.ts';
import { killed } from './faults/kills.ts';
import { powerCuts } from './faults/power-cuts.ts';
import { record } from './record.ts';

/*
 * What a data folder keeps when something goes wrong under it.
 *   node main/host/build/launch.mjs test/bench/faults.ts kills [500]     kill -9 of the core at random moments
 *   node main/host/build/launch.mjs test/bench/faults.ts power [2000]    power cuts, replayed from recorded system calls (needs strace)
 *   node main/host/build/launch.mjs test/bench/faults.ts full [60]       a disk that is full at every act (needs the right to mount)
 */

const [kind = 'kills', countText, seedText = '1'] = process.argv.slice(2);
const seed = Number(seedText);
/** Acts under one trace, and states per trace. */
const STEPS = 20;
const STATES_PER_RUN = 250;

const run = async (): Promise<{ wrong: string[] }> => {
  switch (kind) {
    case 'power': {
      const states = Number(countText ?? 2_000);
      return powerCuts(Math.max(1, Math.round(states / STATES_PER_RUN)), STEPS, states, seed);
    }
    case 'full':
      return fullDisk(Number(countText ?? 60), seed);
    default:
      return killed({ kills: Number(countText ?? 500), seed });
  }
};

const started = performance.now();
const result = await run();
const command = [
  'node main/host/build/launch.mjs test/bench/faults.ts',
  kind,
  countText ?? '',
  countText ? seedText : '',
]
  .join(' ')
  .trim();
record(`faults-${kind}`, command, { ...result, seconds: (performance.now() - started) / 1000 });
process.exitCode = result.wrong.length === 0 ? 0 : 1;
