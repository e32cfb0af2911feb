import { AppError, assert } from '../contract/errors.ts';
import type { Recipe } from '../contract/domain.ts';
import type { InspectorSource } from '../inspection/inspector.ts';
import { judgeTile, worstOf, type TileJudgement } from '../inspection/decide.ts';
import { partOf, type LedgerRow } from '../learning/folds.ts';
import { judgedRows, sampleOf, sampleOfParts } from '../learning/selection.ts';
import { openDeployedJudge } from './deployed-judge.ts';
import type { Verdict } from './evidence/verdicts.ts';
import type { Finished } from './finish.ts';
import type { ImageSource } from './image-source.ts';

/* Verdicts of models on a station's labelled parts, each by the first ledger row of its part. */

interface JudgedTile {
  row: number;
  judgement: TileJudgement;
}

/** What the judged tiles of each part come to. */
function byPart(tiles: readonly JudgedTile[], ledger: readonly LedgerRow[]): Map<number, Verdict> {
  const parts = [...Map.groupBy(tiles, ({ row }) => partOf(ledger, row)).values()];
  return new Map(
    parts.map((own) => {
      const { judgement } = own[worstOf(own.map((tile) => tile.judgement))]!;
      return [own[0]!.row, { truth: ledger[own[0]!.row]!.classId, judgement }];
    }),
  );
}

/** Verdicts that the model would give each part had it not learnt from the part's fold. */
export function heldOutVerdicts(
  { validation, card }: Pick<Finished, 'validation' | 'card'>,
  ledger: readonly LedgerRow[],
): Map<number, Verdict> {
  const { rows, classIds, logits } = validation;
  assert(
    classIds.every((id, c) => card.classes[c]!.id === id),
    'card and validation name the classes in one order',
  );
  const width = classIds.length;
  const tiles = judgedRows(validation, ledger).map((i): JudgedTile => {
    const values = logits.data.subarray(i * width, (i + 1) * width);
    // Held-out novelty of a part is not known: below every limit.
    return { row: rows[i]!, judgement: judgeTile({ logits: values, novelty: -Number.MAX_VALUE }, card) };
  });
  return byPart(tiles, ledger);
}

/** Classes of which not all rows are held out, there being too many: a further part would take the place of another. @param rows held out */
export function crowdedClasses(rows: readonly number[], ledger: readonly LedgerRow[]): Set<string> {
  const taken = new Set(rows);
  return new Set(ledger.flatMap(({ classId }, row) => (taken.has(row) ? [] : [classId])));
}

/** Of a recipe with tiles, those that a model inspects anew: it runs on each, where held-out verdicts are made of features that are known. */
const MOST_INSPECTED = 4000;

/**
 * Verdicts of a model as it inspects, on parts that held-out verdicts are of.
 * @param images of the source, one per ledger row
 * @param recipe that the rows are views of: a model that was made with another one judges each part whole
 * @throws CANCELLED, MODEL_UNREADABLE, BUNDLE_ALTERED
 */
export async function deployedVerdicts(
  model: InspectorSource,
  options: {
    source: ImageSource;
    images: readonly number[];
    ledger: readonly LedgerRow[];
    recipe: Recipe;
    signal?: AbortSignal | undefined;
  },
): Promise<Map<number, Verdict>> {
  const { images, ledger, signal } = options;
  await using judge = await openDeployedJudge(model, options.source, options.recipe);
  const tiles: JudgedTile[] = [];
  const sample = sampleOfParts(ledger, MOST_INSPECTED) ?? sampleOf(ledger);
  for (const i of judgedRows(sample, ledger)) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    const row = sample.rows[i]!;
    tiles.push({ row, judgement: await judge.judge(images[row]!) });
  }
  return byPart(tiles, ledger);
}
