import { learnableFrom } from '../learning/anomaly/cold-start.ts';
import type { Store } from '../store/open.ts';
import { addedFiles } from './knowledge-folders.ts';

/**
 * Whether an update of the station finds enough to learn from. What other stations gave may be enough where the labels are not: the solve itself then says so.
 * @param labelled parts per class id
 */
export async function canLearn(
  store: Store,
  stationId: string,
  labelled: ReadonlyMap<string, number>,
): Promise<boolean> {
  if (learnableFrom(labelled, store.classes.okIds()) !== 'nothing') return true;
  const { backboneId } = store.stations.get(stationId);
  return (await addedFiles(store.home, stationId, backboneId)).length > 0;
}
