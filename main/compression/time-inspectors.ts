import type { Backbone } from '../contract/domain.ts';
import type { Latency } from './evidence/latency.ts';
import type { Finished } from './finish.ts';
import type { ImageSource } from './image-source.ts';
import { openContender, type Measure } from './plan/trials.ts';

const BUDGET_MS = 20_000;

/** Whole inspectors timed against each other, by the id of their card. */
export async function timeInspectors(
  items: readonly Finished[],
  options: {
    backbone: Backbone;
    source: ImageSource;
    image: number;
    threads: number;
    measure: Measure;
    signal?: AbortSignal | undefined;
  },
): Promise<Map<string, Latency>> {
  await using stack = new AsyncDisposableStack();
  const contenders = [];
  for (const { card, inspector } of items) {
    const { inputSize } = card;
    contenders.push(stack.use(await openContender(card.id, inspector, { ...options, inputName: 'image', inputSize })));
  }
  return await options.measure(contenders, { rounds: 300, warmUp: 5, signal: options.signal, budgetMs: BUDGET_MS });
}
