import { sha256 } from '../audit/canonical.ts';
import type { Knowledge, Recipe, Station } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { Store } from '../store/open.ts';
import { viewsTextOf } from '../vision/tiles.ts';

/*
 * Whether a station's newest knowledge is of what the station looks at now: features are of one backbone, and of the views of one recipe. Of another recipe some views may be known all
 * the same, from before or because they lie where others lay; a model made of these alone would judge tiles that nothing has taught it.
 */

/** How an update notes in the trail which views it learnt. */
export const viewsIdOf = (recipe: Recipe): string => sha256(viewsTextOf(recipe));

/** By the trail; an update that did not note its views is taken to have learnt these. */
const isOfViews = ({ audit }: Pick<Store, 'audit'>, { recipe }: Station, { id }: Knowledge): boolean => {
  const views = audit.last('knowledge.update', id)?.details['views'] ?? null;
  return views === null || views === viewsIdOf(recipe);
};

/** An update is due though no label is new: the backbone or the recipe is another one than the newest knowledge was learnt with. */
export const isLearntOtherwise = (store: Pick<Store, 'audit' | 'knowledge'>, station: Station): boolean => {
  const newest = store.knowledge.newest(station.id);
  return newest !== null && (newest.backboneId !== station.backboneId || !isOfViews(store, station, newest));
};

/** @throws NO_KNOWLEDGE, KNOWLEDGE_OF_OTHER_BACKBONE, CONFLICT where the recipe is another one since */
export const currentKnowledge = (store: Pick<Store, 'audit' | 'knowledge'>, station: Station): Knowledge => {
  const { id, name, backboneId } = station;
  const newest = store.knowledge.newest(id);
  if (newest === null) throw new AppError('NO_KNOWLEDGE', { stationId: id });
  if (newest.backboneId !== backboneId)
    throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', { found: newest.backboneId, needed: backboneId });
  if (!isOfViews(store, station, newest))
    throw new AppError('CONFLICT', {
      what: `knowledge of station ${name}`,
      state: 'of the recipe before',
      needed: `an update of station ${name} first`,
    });
  return newest;
};
