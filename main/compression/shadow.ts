import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { modelCardSchema, type Judgement } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { trainerMethods } from '../contract/trainer.ts';
import { openInspector } from '../inspection/inspector.ts';
import type { TrainerOptions } from '../learning/update.ts';
import { residentWith } from '../runtime/resident.ts';
import { decodeImage } from '../vision/decode.ts';
import { recipeOf } from '../vision/tiles.ts';
import { classesToday, same } from './evidence/verdicts.ts';

type Input = z.output<(typeof trainerMethods)['trainer.shadow']['input']>;
type Output = z.output<(typeof trainerMethods)['trainer.shadow']['output']>;

const told = ({ verdict, classId }: Judgement) => ({ verdict, classId });

/**
 * Shadow running: a candidate judges archived frames as the line would, novelty check included, beside the active model on the same frames. Nothing is
 * written.
 * @throws MODEL_UNREADABLE, BUNDLE_ALTERED, CANCELLED
 */
export async function runShadow(
  { candidateDir, activeDir, recipe, frames, threads, timeBudgetS, most, successors = [] }: Input,
  options: TrainerOptions = {},
): Promise<Output> {
  const startedAt = performance.now();
  const { today } = classesToday(successors);
  await using candidate = await openInspector({ bundleDir: candidateDir, threads });
  await using active = await openInspector({ bundleDir: activeDir, threads });
  const out: Output = { judged: 0, disagreements: 0, unreadable: 0, outOfTime: false, examples: [] };
  for (const [i, { sha, file }] of frames.entries()) {
    if (options.signal?.aborted) throw new AppError('CANCELLED');
    const elapsed = (performance.now() - startedAt) / 1000;
    // At least one frame, whatever the budget.
    if (i > 0 && elapsed > timeBudgetS) {
      out.outOfTime = true;
      break;
    }
    options.onProgress?.({
      progress: i / frames.length,
      secondsLeft: i === 0 ? null : Math.min(timeBudgetS - elapsed, (elapsed / i) * (frames.length - i)),
      step: { key: 'shadow.judge', details: { done: i, of: frames.length } },
    });
    const read = await decodeImage(file, { name: file, maxPixels: recipe.maxPixels }).catch(() => null);
    if (read === null) {
      out.unreadable += 1;
      continue;
    }
    const before = today(await active.inspect(read.image, { recipe: recipeOf(active.card, recipe) }));
    const after = today(await candidate.inspect(read.image, { recipe: recipeOf(candidate.card, recipe) }));
    out.judged += 1;
    if (same(before, after)) continue;
    out.disagreements += 1;
    if (out.examples.length < most) out.examples.push({ imageSha: sha, from: told(before), to: told(after) });
  }
  return out;
}

/** What this process holds once it has run the model of a bundle, for a process that was started for this alone. @throws CANCELLED, MODEL_UNREADABLE */
export async function weighBundle(
  { bundleDir, threads }: z.output<(typeof trainerMethods)['trainer.weigh']['input']>,
  { signal }: Pick<TrainerOptions, 'signal'> = {},
): Promise<{ rssBytes: number }> {
  const { inputSize } = modelCardSchema.parse(JSON.parse(await readFile(join(bundleDir, 'model.json'), 'utf8')));
  return { rssBytes: await residentWith(join(bundleDir, 'model.onnx'), inputSize, threads, signal) };
}
