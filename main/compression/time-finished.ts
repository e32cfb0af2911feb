import type { ModelCard, Recipe } from '../contract/domain.ts';
import { openInspector, wholeFrame, type InspectOptions, type Inspector } from '../inspection/inspector.ts';
import type { PixelImage } from '../vision/image.ts';
import { measureEnergy, openEnergyMeter } from './evidence/energy.ts';
import { speedupInterval, type Contender, type Latency } from './evidence/latency.ts';
import type { Finished } from './finish.ts';
import type { ImageSource } from './image-source.ts';
import type { Measure } from './plan/contender.ts';

export interface TimedModel {
  latency: Latency;
  /** Times as fast as the first of them: ratio of the medians. */
  speedup: number;
  /** 95 % of it; null: too few rounds to say. */
  speedupInterval: [number, number] | null;
  /** Millijoules of one inference; null: this PC does not tell. */
  energyMj: number | null;
}

/**
 * A model with one part, as the line judges it: all tiles of its recipe. The inspector stays the caller's.
 * @param frame turned already
 */
export const partContender = (
  inspector: Inspector,
  frame: PixelImage,
  recipe: Recipe = inspector.card.recipe ?? wholeFrame,
): Contender => {
  const options: InspectOptions = {
    recipe: { ...recipe, rotation: 0 },
    onError(error) {
      throw error;
    },
  };
  return { name: inspector.card.id, run: async () => void (await inspector.inspect(frame, options)) };
};

/**
 * A finished model with one part, as the line judges it: all tiles of its recipe.
 * @param frame turned already
 */
export async function openPartContender(
  model: Uint8Array,
  card: ModelCard,
  frame: PixelImage,
  threads: number,
): Promise<Contender & AsyncDisposable> {
  const inspector = await openInspector({ model, card, threads });
  return { ...partContender(inspector, frame), [Symbol.asyncDispose]: () => inspector.dispose() };
}

/** Times finished models against each other, as the line runs them; the first is what the others are compared with. */
export async function timeFinished(
  items: readonly Finished[],
  options: {
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
  const { image: frame } = await options.source.view(options.image);
  for (const { card, inspector } of items) {
    contenders.push(stack.use(await openPartContender(inspector, card, frame, options.threads)));
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
