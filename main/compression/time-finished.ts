import type { Backbone } from '../contract/domain.ts';
import { measureEnergy, openEnergyMeter } from './evidence/energy.ts';
import { speedupInterval, type Latency } from './evidence/latency.ts';
import type { Finished } from './finish.ts';
import type { ImageSource } from './image-source.ts';
import { openContender, type Measure } from './plan/trials.ts';

export interface TimedModel {
  latency: Latency;
  /** Times as fast as the first of them: ratio of the medians. */
  speedup: number;
  /** 95 % of it; null: too few rounds to say. */
  speedupInterval: [number, number] | null;
  /** Millijoules of one inference; null: this PC does not tell. */
  energyMj: number | null;
}

/** Times finished models against each other, as the line runs them; the first is what the others are compared with. */
export async function timeFinished(
  items: readonly Finished[],
  options: {
    backbone: Backbone;
    source: ImageSource;
    image: number;
    threads: number;
    measure: Measure;
    rounds: number;
    budgetMs: number;
    signal?: AbortSignal | undefined;
  },
): Promise<{ models: Map<string, TimedModel>; energy: string }> {
  const { measure, rounds, budgetMs, signal } = options;
  await using stack = new AsyncDisposableStack();
  const contenders = [];
  for (const { card, inspector } of items) {
    const { inputSize } = card;
    contenders.push(stack.use(await openContender(card.id, inspector, { ...options, inputName: 'image', inputSize })));
  }
  const latencies = await measure(contenders, { rounds, warmUp: 5, signal, budgetMs });
  const meter = openEnergyMeter();
  const energies = 'missing' in meter ? null : await measureEnergy(contenders, meter, { signal });
  const first = latencies.get(items[0]!.card.id)!;
  return {
    models: new Map(
      [...latencies].map(([id, latency]) => [
        id,
        {
          latency,
          speedup: first.p50 / latency.p50,
          speedupInterval: speedupInterval(first, latency),
          energyMj: energies?.get(id) ?? null,
        },
      ]),
    ),
    energy:
      'missing' in meter ? `not told by this PC: ${meter.missing}` : `RAPL of ${meter.name}, what is idle included`,
  };
}
