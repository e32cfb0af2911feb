import { z } from 'zod';
import { retentionSchema, type Retention } from '../contract/retention.ts';
import type { Store } from '../store/open.ts';

const settingOf = (stationId: string): string => `retention:${stationId}`;
const untilOf = (stationId: string): string => `retention.removedUntil:${stationId}`;

export const retentionOf = (store: Store, stationId: string): Retention =>
  retentionSchema.catch(retentionSchema.parse({})).parse(store.settings.get(settingOf(stationId)) ?? {});

export const setRetention = (store: Store, stationId: string, retention: Retention): void =>
  store.settings.set(settingOf(stationId), retention);

const timeSchema = z.iso.datetime().nullable().catch(null);

/** Time of the newest record that was removed; null: none was. */
export const removedUntil = (store: Store, stationId: string): string | null =>
  timeSchema.parse(store.settings.get(untilOf(stationId)) ?? null);

export const noteRemovedUntil = (store: Store, stationId: string, at: string): void => {
  if (at > (removedUntil(store, stationId) ?? '')) store.settings.set(untilOf(stationId), at);
};
