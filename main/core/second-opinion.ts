import { AppError } from '../contract/errors.ts';
import { cohenKappa, countedShare } from './agreement.ts';
import { actor, userOf, type CoreContext, type HandlersOf } from './context.ts';

export interface SecondOpinionService {
  handlers: HandlersOf<'labels.secondQueue' | 'labels.second' | 'labels.agreement'>;
}

/** Before everything that a model doubts: here two people differ. */
const USEFULNESS = 30;

/**
 * A second person labels parts without seeing the first label. Where the two agree nothing happens; where they do not, the part comes back
 * into the queue as a doubted label, for either of them to decide.
 */
export const createSecondOpinionService = (context: CoreContext): SecondOpinionService => {
  const { store } = context;
  return {
    handlers: {
      async 'labels.secondQueue'({ stationId, limit }, session) {
        store.stations.get(stationId);
        const { id } = userOf(session);
        return {
          total: store.secondLabels.countWaiting(stationId, id),
          // Blind: neither the label nor what a model says.
          parts: store.secondLabels.waiting(stationId, id, limit).map((partId) => {
            const { id: part, at, imageSha, width, height } = store.parts.get(partId);
            return { partId: part, at, imageSha, width, height };
          }),
        };
      },
      async 'labels.second'({ partId, classId }, session) {
        const { id: userId, name } = userOf(session);
        const { stationId, imageSha } = store.parts.get(partId);
        const first = imageSha === null ? null : store.labels.get(stationId, imageSha);
        if (imageSha === null || first === null)
          throw new AppError('NOT_FOUND', { kind: 'label of part', id: String(partId) });
        if (first.userId === userId)
          throw new AppError('CONFLICT', {
            what: `part ${partId}`,
            state: 'labelled by you',
            needed: 'a label of somebody else',
          });
        if (store.classes.get(classId).retired)
          throw new AppError('CONFLICT', { what: `class ${classId}`, state: 'retired', needed: 'a class in use' });
        const agrees = first.classId === classId;
        store.transaction(() => {
          const isNew = store.secondLabels.add({
            stationId,
            imageSha,
            userId,
            classId,
            firstClassId: first.classId,
            firstUserId: first.userId,
            at: context.now().toISOString(),
          });
          if (!isNew)
            throw new AppError('CONFLICT', {
              what: `part ${partId}`,
              state: 'judged by you already',
              needed: 'another part',
            });
          if (!agrees)
            store.queue.putSuspect(partId, stationId, USEFULNESS, classId, {
              classId: first.classId,
              given: null,
              suggested: null,
              copies: 0,
              by: name,
            });
          store.audit.append({
            user: actor(session),
            action: 'labels.second',
            subject: classId,
            details: { part: partId, agrees },
          });
        });
        if (!agrees) context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
        return { agrees, firstClassId: first.classId };
      },
      async 'labels.agreement'({ stationId }, session) {
        store.stations.get(stationId);
        const pairs = store.secondLabels
          .list(stationId)
          .map(({ firstClassId, classId }) => [firstClassId, classId] as const);
        const differ = Map.groupBy(
          pairs.filter(([first, second]) => first !== second),
          ([first, second]) => JSON.stringify([first, second].toSorted()),
        );
        const kappa = cohenKappa(pairs);
        return {
          waiting: session.user === null ? 0 : store.secondLabels.countWaiting(stationId, session.user.id),
          same: countedShare(kappa.agreed, kappa.n),
          kappa: kappa.kappa,
          interval: kappa.interval,
          differing: [...differ.values()]
            .map((of) => ({ classIds: of[0]!.toSorted() as [string, string], parts: of.length }))
            .sort((a, b) => b.parts - a.parts),
        };
      },
    },
  };
};
