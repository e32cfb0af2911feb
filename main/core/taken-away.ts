import type { Store } from '../store/open.ts';

const keyOf = (stationId: string): string => `labels.takenAway:${stationId}`;

/** Labels that the station's newest knowledge has learnt are gone: an update is due although no label is new. */
export const isTakenAway = (store: Store, stationId: string): boolean => store.settings.get(keyOf(stationId)) === true;

export const setTakenAway = (store: Store, stationId: string, taken: boolean): void => {
  if (taken !== isTakenAway(store, stationId)) store.settings.set(keyOf(stationId), taken);
};
