import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, problemOf } from '../../contract/errors.ts';
import type { Contender } from './latency.ts';

/*
 * Energy from the counters that the processor keeps (RAPL), as Linux shows them under /sys/class/powercap: microjoules of each package since some start, wrapping at
 * max_energy_range_uj. What a package takes while idle is in it, as is whatever else runs on the PC.
 */

export interface EnergyMeter {
  /** "package-0, package-1" */
  name: string;
  /** Microjoules since the call before; 0 the first time. Wraps of the counters are undone. */
  lap(): number;
}

const POWERCAP = '/sys/class/powercap';

/** @returns the meter, or why there is none */
export function openEnergyMeter(root: string = POWERCAP): EnergyMeter | { missing: string } {
  const text = (file: string) => readFileSync(file, 'utf8').trim();
  const counter = (folder: string, file: string): number => {
    const value = Number(text(join(folder, file)));
    if (!Number.isFinite(value) || value < 0) throw new Error(`${join(folder, file)} holds no counter`);
    return value;
  };
  try {
    // intel-rapl:0 is a package (AMD has the same name); intel-rapl:0:1 a part of it; psys, where it is, holds the packages again.
    const packages = readdirSync(root)
      .filter((name) => /^intel-rapl:\d+$/.test(name))
      .map((name) => join(root, name))
      .filter((folder) => text(join(folder, 'name')).startsWith('package'))
      .map((folder) => ({ folder, last: counter(folder, 'energy_uj'), range: counter(folder, 'max_energy_range_uj') }));
    if (packages.length === 0) return { missing: `no package under ${root}` };
    return {
      name: packages.map(({ folder }) => text(join(folder, 'name'))).join(', '),
      lap() {
        let sum = 0;
        for (const each of packages) {
          const now = counter(each.folder, 'energy_uj');
          sum += now >= each.last ? now - each.last : now - each.last + each.range;
          each.last = now;
        }
        return sum;
      },
    };
  } catch (error) {
    return { missing: problemOf(error) };
  }
}

/** A counter moves about every millisecond: a turn is long against that, and short against a PC that gets warm. */
const TURN_MS = 250;
const TURNS = 4;

/**
 * Energy of one inference, taking turns.
 * @returns millijoules by name
 * @throws CANCELLED
 */
export async function measureEnergy(
  contenders: readonly Contender[],
  meter: EnergyMeter,
  { signal, turnMs = TURN_MS }: { signal?: AbortSignal | undefined; turnMs?: number } = {},
): Promise<Map<string, number>> {
  const spent = contenders.map(() => ({ microjoules: 0, runs: 0 }));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [i, { run }] of contenders.entries()) {
      const until = performance.now() + turnMs;
      meter.lap();
      do {
        if (signal?.aborted) throw new AppError('CANCELLED');
        await run();
        spent[i]!.runs += 1;
      } while (performance.now() < until);
      spent[i]!.microjoules += meter.lap();
    }
  }
  return new Map(contenders.map(({ name }, i) => [name, spent[i]!.microjoules / spent[i]!.runs / 1000]));
}
