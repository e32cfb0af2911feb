import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  activeFileName,
  activeFolder,
  readActive,
  signActive,
  type ActiveModel,
  type ActiveModels,
} from '../audit/activation.ts';
import { isAppError } from '../contract/errors.ts';
import { createLane, type Lane } from '../contract/lane.ts';
import { diskError, nodeFiles, writeDurably } from '../store/files.ts';
import type { CoreContext } from './context.ts';

/** Signs which model is active, for lines to read (main/audit/activation.ts). */
export interface ActiveModelsService {
  /**
   * While `work` runs, the model that is active now and this one may inspect; afterwards this one alone, or, where the work failed, the one
   * before. One exchange per station at a time.
   */
  exchange<T>(stationId: string, to: ActiveModel, by: string, work: () => Promise<T>): Promise<T>;
  /** At the start: ends what a power cut left between two models, and signs what a version before this one activated. */
  settle(): Promise<void>;
}

/** Who activated, and when. */
type Who = Pick<ActiveModels, 'by' | 'at'>;

/** @param checkActive throws where this model's approval or the trail speaks against its being active */
export const createActiveModels = (
  { store, keys, log, now }: CoreContext,
  checkActive: (stationId: string, candidateId: string) => Promise<ActiveModel>,
): ActiveModelsService => {
  const folder = activeFolder(store.home);
  const lanes = new Map<string, Lane>();

  const textOf = (stationId: string, models: readonly ActiveModel[], { by, at }: Who): string =>
    signActive({ stationId, models: [...models], by, at }, keys.signing);
  const write = (stationId: string, models: readonly ActiveModel[], who: Who): Promise<void> =>
    writeDurably(join(folder, activeFileName(stationId)), textOf(stationId, models, who));
  /** Nothing is put in the place of what cannot be read just now: where the exchange failed, no model could inspect any more. */
  const read = (stationId: string) =>
    readActive(store.home, stationId, keys.rootPublicKey()).catch((error: unknown) => {
      throw diskError(error, join(folder, activeFileName(stationId)));
    });

  const exchangeNow = async <T>(stationId: string, to: ActiveModel, by: string, work: () => Promise<T>): Promise<T> => {
    const { activeModelId } = store.stations.get(stationId);
    const signed = await read(stationId);
    const before = signed?.models.find(({ candidateId }) => candidateId === activeModelId) ?? null;
    const other = before !== null && before.candidateId !== to.candidateId ? [before] : [];
    const who = { by, at: now().toISOString() };
    await write(stationId, [...other, to], who);
    const settled = async (models: readonly ActiveModel[], whose: Who): Promise<void> => {
      try {
        if (models.length > 0) await write(stationId, models, whose);
        else await nodeFiles.remove(join(folder, activeFileName(stationId)));
      } catch (error) {
        // Both may inspect until the next start ends it: what was decided is in the database, and stands.
        log.error('signed activation not brought to its end', { stationId, error });
      }
    };
    let result: T;
    try {
      result = await work();
    } catch (error) {
      await settled(before === null ? (signed?.models ?? []) : [before], signed ?? who);
      throw error;
    }
    await settled([to], who);
    return result;
  };

  /** A home of a version that signed no activations: what is active by its trail is signed once, and told in the trail. */
  const takeOver = async (): Promise<void> => {
    const making = join(store.home, 'trust', '.active');
    await rm(making, { recursive: true, force: true });
    await mkdir(making);
    const who = { by: 'system', at: now().toISOString() };
    const taken: { stationId: string; model: ActiveModel }[] = [];
    for (const { id: stationId, activeModelId } of store.stations.list()) {
      if (activeModelId === null) continue;
      try {
        const model = await checkActive(stationId, activeModelId);
        await writeDurably(join(making, activeFileName(stationId)), textOf(stationId, [model], who));
        taken.push({ stationId, model });
      } catch (error) {
        if (!isAppError(error)) throw error;
        log.warn('active model not signed', { stationId, activeModelId, problem: error.message });
      }
    }
    store.transaction(() => {
      for (const { stationId, model } of taken)
        store.audit.append({
          user: 'system',
          action: 'models.signActive',
          subject: model.candidateId,
          details: { stationId, bundleSha256: model.bundleSha256 },
        });
    });
    await rename(making, folder);
    await nodeFiles.syncDirectory(join(store.home, 'trust'));
  };

  const settle = async (): Promise<void> => {
    if (!existsSync(folder)) return takeOver();
    for (const { id: stationId, activeModelId } of store.stations.list()) {
      let signed: ActiveModels | null;
      try {
        signed = await read(stationId);
      } catch (error) {
        log.error('activation not looked at', { stationId, error });
        continue;
      }
      const active = signed?.models.find(({ candidateId }) => candidateId === activeModelId);
      if (signed && active && signed.models.length > 1) await write(stationId, [active], signed);
      if (activeModelId !== null && !active)
        log.error('the active model has no signed activation: a supervisor has to activate it again', {
          stationId,
          activeModelId,
        });
    }
  };

  return {
    exchange(stationId, to, by, work) {
      const lane = lanes.get(stationId) ?? createLane();
      lanes.set(stationId, lane);
      return lane(() => exchangeNow(stationId, to, by, work));
    },
    settle: () =>
      // On a full disk the program starts all the same; a line tells what it may not inspect with.
      settle().catch((error: unknown) => log.error('activations not looked through', { error })),
  };
};
