import { AppError } from '../contract/errors.ts';
import type { Label } from '../store/labels.ts';
import { actor, userOf, type CoreContext, type HandlersOf } from './context.ts';
import type { GoldenFilling } from './golden-filling.ts';
import { goldenImages } from './golden-images.ts';
import { goldenSetSha256 } from './golden.ts';
import { importedUnjudged } from './import.ts';
import type { JobService } from './jobs.ts';
import type { Session } from './port.ts';

/*
 * A golden set that judged many candidates has chosen among them, and says less of the next one each time. Retired, its pictures teach, never to judge again; what is labelled next fills a new set.
 */

export const createGoldenRefresh = (
  context: CoreContext,
  { jobs, filling }: { jobs: Pick<JobService, 'isBusy'>; filling: Pick<GoldenFilling, 'turn'> },
): { handlers: HandlersOf<'golden.refresh'> } => {
  const { store } = context;

  /** A picture that came from a folder is no part yet; whoever retires the set stands for its class. */
  const labelOf = (stationId: string, sha: string, classId: string, userId: string): Label => {
    const at = context.now().toISOString();
    const { width, height } = store.parts.imageSize(sha);
    const part = {
      stationId,
      origin: 'import' as const,
      seq: 0,
      at,
      imageSha: sha,
      width,
      height,
      judgement: importedUnjudged,
      notes: [],
      source: null,
    };
    const partId = store.parts.byImage(stationId, sha)?.id ?? store.parts.insert(part);
    return { stationId, imageSha: sha, classId, boxes: [], partId, userId, at, learntClassId: null, confirmed: false };
  };

  const refuseWhileUsed = (stationId: string): void => {
    const kind = (['golden', 'update'] as const).find((each) => jobs.isBusy(each, stationId));
    if (kind === undefined) return;
    const state = kind === 'golden' ? 'being judged' : 'waiting for an update';
    throw new AppError('CONFLICT', { what: 'the golden set', state, needed: 'one at rest' });
  };

  const refresh = (stationId: string, session: Session): { returned: number; left: number } => {
    const facts = store.golden.facts(stationId);
    if (facts === null) throw new AppError('NOT_FOUND', { kind: 'golden set', id: stationId });
    refuseWhileUsed(stationId);
    const images = goldenImages(store, stationId);
    const setSha256 = goldenSetSha256(images);
    const by = { userName: actor(session), at: context.now().toISOString() };
    return store.transaction(() => {
      store.golden.retire(stationId, { setSha256, ...by });
      const returned = images
        .filter(({ classId }) => !store.classes.get(classId).retired)
        .map(({ sha, classId, label }) => {
          const back = label ?? labelOf(stationId, sha, classId, userOf(session).id);
          store.images.keep(sha);
          store.labels.set({ ...back, classId, learntClassId: null });
          return { image: sha, classId, part: back.partId };
        });
      filling.turn(stationId, true);
      store.audit.append({
        user: by.userName,
        action: 'golden.refresh',
        subject: stationId,
        details: { set: setSha256, uses: facts.uses, images: images.length, returned },
      });
      return { returned: returned.length, left: images.length - returned.length };
    });
  };

  return {
    handlers: {
      async 'golden.refresh'({ stationId }, session) {
        store.stations.get(stationId);
        const result = refresh(stationId, session);
        context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
        context.emit('candidates.changed', { stationId });
        return result;
      },
    },
  };
};
