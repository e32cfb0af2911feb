import type { Backbone, EvidenceOfSums } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { Successors } from '../contract/trainer.ts';
import type { Products } from '../learning/dense.ts';
import { embed, embeddingSize, type Stages } from '../learning/embedding.ts';
import { picturesPerClass } from '../learning/folds.ts';
import { asTheyAre, countsOf, type OtherSums } from '../learning/held-out-heads.ts';
import { readExport } from '../learning/knowledge-export.ts';
import { nearDuplicateRadii } from '../learning/near-duplicates.ts';
import { inFolds, representativeRows, type LedgerRow } from '../learning/selection.ts';
import { Statistics } from '../learning/statistics.ts';
import { fitFeatureMap, isPoor, mapSums, type MapFit } from '../learning/statistics-map.ts';

/*
 * What a station took in from others as sums, in the head of its candidates. Sums are of the backbone's features: the uncompressed model has these, and they are added as they are; a
 * compressed one has others, and they are mapped (learning/statistics-map.ts). The evidence says which.
 */

export interface SumsOfOthers {
  /** On the features of the uncompressed backbone. */
  statistics: Statistics;
  /** sha256 of each file's sums. */
  files: string[];
  /** How many of them do not name their images: own ones may be in them. */
  unlisted: number;
  /** Raw features of the labelled images by the uncompressed backbone; null: these are what the model itself gives. */
  from: Float32Array | null;
}

/**
 * @returns null where no other station gave anything of a class that is still one
 * @throws KNOWLEDGE_UNREADABLE, KNOWLEDGE_OF_OTHER_BACKBONE, BUNDLE_ALTERED, NOT_FOUND
 */
export async function readSumsOfOthers(
  exports: readonly string[],
  backbone: Backbone,
  successors?: Successors,
): Promise<SumsOfOthers | null> {
  const stages = backbone.featureOutputs.map(({ channels }) => channels);
  const statistics = new Statistics(embeddingSize(stages));
  const files: string[] = [];
  let unlisted = 0;
  for (const file of exports) {
    const given = await readExport(file, { backboneSha256: backbone.sha256, stages, successors });
    statistics.merge(given.statistics);
    files.push(given.header.bodySha256);
    if (given.header.images === undefined) unlisted += 1;
  }
  return statistics.classIds.length === 0 ? null : { statistics, files, unlisted, from: null };
}

/** Rows that the fit of the map is judged by: a class without pictures here is mapped as a class that was held out. */
function heldApart(
  rows: readonly number[],
  ledger: readonly LedgerRow[],
  others: Statistics,
): { groups: number[][]; heldOut: MapFit['heldOut'] } {
  const byClass = Map.groupBy(rows.keys(), (i) => ledger[rows[i]!]!.classId);
  const unknown = others.classIds.some((id) => !byClass.has(id));
  if (unknown && byClass.size > 1) return { groups: [...byClass.values()], heldOut: 'classes' };
  const sample = inFolds(rows, ledger, nearDuplicateRadii);
  const foldOf = new Map(sample.rows.map((row, i) => [row, sample.folds[i]!]));
  return { groups: [...Map.groupBy(rows.keys(), (i) => foldOf.get(rows[i]!)!).values()], heldOut: 'folds' };
}

/**
 * Sums on a model's own features.
 * @param features raw features of the labelled images by the model
 * @returns `fit` null: nothing had to be mapped
 * @throws CANCELLED, SINGULAR_STATISTICS
 */
export async function carryOver(
  { statistics, from }: SumsOfOthers,
  features: Float32Array,
  options: { stages: Stages; ledger: readonly LedgerRow[]; products: Products; signal?: AbortSignal | undefined },
): Promise<{ others: OtherSums; fit: MapFit | null }> {
  const { stages, ledger, products, signal } = options;
  if (from === null) return { others: asTheyAre(statistics, products), fit: null };
  const rows = representativeRows(ledger);
  const map = await fitFeatureMap(
    embed(from, stages, rows),
    embed(features, stages, rows),
    heldApart(rows, ledger, statistics),
    products,
    signal,
  );
  const others: OtherSums = {
    counts: countsOf(statistics),
    samples: 0,
    async weighted(weights, held) {
      if (signal?.aborted) throw new AppError('CANCELLED');
      const some = held ? await map.of(rows.flatMap((row, i) => (held.has(row) ? [] : [i]))) : map;
      return mapSums(statistics, weights, some, products);
    },
  };
  return { others, fit: map.fit };
}

/** What evidence says of them. */
export function evidenceOfSums(
  { statistics, files, unlisted }: SumsOfOthers,
  fit: MapFit | null,
  ledger: readonly LedgerRow[],
): EvidenceOfSums {
  const here = picturesPerClass(ledger);
  const classes = statistics.classIds.map((classId) => ({
    classId,
    parts: statistics.count(classId),
    here: here.get(classId) ?? 0,
  }));
  return { classes, files, unlisted, map: fit && { ...fit, poor: isPoor(fit) } };
}

/** The same in words, to follow how accuracies were found. @param nameOf a class, for people */
export function basisOfSums(
  { classes, unlisted = 0, map }: EvidenceOfSums,
  nameOf: (classId: string) => string,
): string {
  const given = classes.map(({ classId, parts }) => `${nameOf(classId)} (${parts})`).join(', ');
  const unseen = classes.filter(({ here }) => here === 0).map(({ classId }) => nameOf(classId));
  const held = map?.heldOut === 'classes' ? ' on classes held out, ' : ' on folds held out, ';
  const fit = map && `R² ${map.r2.toFixed(2)}${held}${map.images} pictures`;
  return [
    map === null
      ? `; from sums of other stations, without their pictures, added exactly: ${given}`
      : `; from sums of other stations, without their pictures, mapped to this model by least squares (${fit}): ${given}`,
    ...(map?.poor ? ['; the map is poor: how such parts are judged is uncertain'] : []),
    ...(unlisted > 0 ? ['; sums that came by file may hold pictures of this station as well'] : []),
    ...(unseen.length > 0 ? [`; not measured here, no pictures: ${unseen.join(', ')}`] : []),
  ].join('');
}
