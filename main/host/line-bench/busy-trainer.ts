import { createHash, randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureShippedBackbone } from '../../../native-models/shipped.ts';
import { renderDataset } from '../../capture/simulated/render.ts';
import { criteriaSchema, recipeSchema, type Backbone, type DefectClass } from '../../contract/domain.ts';
import { AppError, isAppError } from '../../contract/errors.ts';
import type { Client } from '../../contract/rpc/api.ts';
import type { LabelledImage, trainerEvents, trainerMethods } from '../../contract/trainer.ts';
import { encodePng } from '../../vision/decode.ts';

/** Few, so that learning and compressing take turns; each is the real work of an update. */
const PER_CLASS = 16;
const SIZE = 256;
const BUDGET_S = 120;

export interface TrainerWork {
  updates: number;
  compressions: number;
}

/**
 * Keeps a trainer process at work until the signal: an update from rendered, labelled parts, then their compression, and again.
 * @param folder for its files; made here
 * @returns what was finished
 * @throws what the trainer says, TRAINER_FAILED when it dies
 */
export async function keepTrainerBusy(
  trainer: Client<typeof trainerMethods, typeof trainerEvents>,
  { folder, threads, signal }: { folder: string; threads: number; signal: AbortSignal },
): Promise<TrainerWork> {
  const backbone = await ensureShippedBackbone();
  const { images, classes } = await writeParts(join(folder, 'parts'), signal);
  const work: TrainerWork = { updates: 0, compressions: 0 };
  try {
    while (!signal.aborted) {
      const round = join(folder, randomUUID());
      await oneRound(trainer, { backbone, images, classes, threads, round, signal, work });
      await rm(round, { recursive: true, force: true });
    }
  } catch (error) {
    if (signal.aborted) return work;
    throw isAppError(error, 'DISCONNECTED')
      ? new AppError('TRAINER_FAILED', { problem: 'its process ended' }, { cause: error })
      : error;
  }
  return work;
}

async function oneRound(
  trainer: Client<typeof trainerMethods, typeof trainerEvents>,
  options: {
    backbone: Backbone;
    images: LabelledImage[];
    classes: DefectClass[];
    threads: number;
    round: string;
    signal: AbortSignal;
    work: TrainerWork;
  },
): Promise<void> {
  const { backbone, images, classes, threads, round, signal, work } = options;
  const knowledgeDir = join(round, 'knowledge');
  const outDir = join(round, 'candidates');
  await mkdir(knowledgeDir, { recursive: true });
  await mkdir(outDir, { recursive: true });
  const featureFile = join(round, 'features.f32');
  const base = {
    backbone,
    recipe: recipeSchema.parse({}),
    classes,
    criteria: criteriaSchema.parse({ maxEscape: 1, maxOverkill: 1, maxLatencyMsP99: 10_000, maxDropPp: 100 }),
    threads,
    featureFile,
  };
  const { rows } = await trainer.call('trainer.update', { ...base, images, outDir: knowledgeDir }, { signal });
  work.updates += 1;
  const rowOf = new Map(rows.map(({ sha, row }) => [sha, row]));
  await trainer.call(
    'trainer.compress',
    {
      ...base,
      images: images.map((image) => ({ ...image, row: rowOf.get(image.sha) ?? image.row })),
      outDir,
      knowledgeDir,
      knowledgeId: 'bench',
      stationId: 'bench',
      demo: true,
      timeBudgetS: BUDGET_S,
      activeBundleDir: null,
      lineThreads: threads,
      candidateIds: Array.from({ length: 16 }, (_, i) => `bench-${i}`),
    },
    { signal },
  );
  work.compressions += 1;
}

async function writeParts(folder: string, signal: AbortSignal) {
  await mkdir(folder, { recursive: true });
  const images: LabelledImage[] = [];
  const names = new Set<string>();
  for (const { image, className } of renderDataset({
    surface: 'brushed-metal',
    seed: 11,
    perClass: PER_CLASS,
    width: SIZE,
    height: SIZE,
  })) {
    signal.throwIfAborted();
    const png = await encodePng(image);
    const sha = createHash('sha256').update(png).digest('hex');
    const file = join(folder, `${sha}.png`);
    await writeFile(file, png);
    images.push({ sha, file, region: null, classId: className, row: -1 });
    names.add(className);
  }
  const classes: DefectClass[] = [...names].map((name, i) => ({
    id: name,
    names: { en: name, ja: name },
    isOk: name === 'ok',
    color: (i % 8) + 1,
    hotKey: null,
    retired: false,
  }));
  return { images, classes };
}
