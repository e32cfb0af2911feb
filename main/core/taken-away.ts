import type { Label } from '../store/labels.ts';
import type { Store } from '../store/open.ts';
import { tilesOf } from '../vision/tiles.ts';

const keyOf = (stationId: string): string => `labels.takenAway:${stationId}`;

/** Labels that the station's newest knowledge has learnt are gone, or teach other tiles: an update is due although no label is new. */
export const isTakenAway = (store: Store, stationId: string): boolean => store.settings.get(keyOf(stationId)) === true;

export const setTakenAway = (store: Store, stationId: string, taken: boolean): void => {
  if (taken !== isTakenAway(store, stationId)) store.settings.set(keyOf(stationId), taken);
};

/** After labels were given back: whether one that the newest knowledge has learnt is still gone. By numbers: all that it has learnt and that is there is marked as learnt. */
export const settleTakenAway = (store: Store, stationId: string): void => {
  const newest = store.knowledge.newest(stationId);
  const images = newest && store.audit.last('knowledge.update', newest.id)?.details['images'];
  if (typeof images !== 'number') return;
  const learnt = [...store.labels.learntByUser(stationId).values()].reduce((sum, n) => sum + n, 0);
  setTakenAway(store, stationId, learnt < images);
};

/** Marks of a defect say which tiles it teaches. */
export const isMarkedOtherwise = (store: Store, before: Label, after: Pick<Label, 'classId' | 'boxes'>): boolean =>
  JSON.stringify(before.boxes) !== JSON.stringify(after.boxes) &&
  !store.classes.get(after.classId).isOk &&
  tilesOf(store.stations.get(before.stationId).recipe) > 1;
