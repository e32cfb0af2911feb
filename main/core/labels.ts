import type { Region } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { LabelAction, LabelChange } from '../store/labels.ts';
import { tilesOf } from '../vision/tiles.ts';
import { actor, userOf, type CoreContext, type HandlersOf } from './context.ts';
import type { Session } from './port.ts';

export interface LabelService {
  handlers: HandlersOf<
    | 'labels.create'
    | 'labels.undo'
    | 'labels.history'
    | 'labels.list'
    | 'labels.summary'
    | 'queue.list'
    | 'queue.skip'
    | 'queue.count'
  >;
  /** Labels parts, within the caller's transaction or one of its own; gives what undo would have to put back. */
  label(partIds: number[], classId: string, box: Region | null, userId: string): LabelChange[];
  /** The entry of the trail for them, in the same transaction. */
  note(
    changes: readonly LabelChange[],
    given: { classId: string; box: Region | null },
    /** null: the program itself. */
    session: Session | null,
    more: Record<string, unknown>,
  ): void;
}

/** What the trail keeps of a label: the picture by its hash, and its class before and after (null: none). */
const labelForTrail = ({ partId, imageSha }: LabelChange, before: string | null, after: string | null) => ({
  part: partId,
  image: imageSha,
  before,
  after,
});

/** Actions that one call may take back. */
const MOST_UNDONE = 1000;

/** `onQueueRead`: somebody looks at the queue, so ordering it is worth the time. */
export const createLabelService = (context: CoreContext, onQueueRead: (stationId: string) => void): LabelService => {
  const { store } = context;
  const tellQueues = (stationIds: Iterable<string>) => {
    for (const stationId of new Set(stationIds)) {
      context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
    }
  };

  const label: LabelService['label'] = (partIds, classId, box, userId) =>
    store.transaction(() => {
      const known = store.classes.get(classId);
      if (known.retired)
        throw new AppError('CONFLICT', { what: `class ${classId}`, state: 'retired', needed: 'a class in use' });
      const at = context.now().toISOString();
      const changes: LabelChange[] = [];
      for (const partId of new Set(partIds)) {
        const part = store.parts.get(partId);
        const { stationId, imageSha } = part;
        if (imageSha === null) {
          throw new AppError('INVALID_INPUT', { what: `part ${partId}`, problem: 'its picture was not stored' });
        }
        if (store.golden.has(stationId, imageSha)) throw new AppError('GOLDEN_IMAGE', { part: partId });
        const labelBefore = store.labels.get(stationId, imageSha);
        changes.push({ partId, stationId, imageSha, labelBefore, queueStateBefore: store.queue.state(partId) });
        const learntClassId = labelBefore?.learntClassId ?? null;
        // Whatever is chosen now was chosen with the doubt in sight.
        const confirmed = store.queue.state(partId) === 'open' && store.queue.item(partId)?.reason === 'suspect';
        // Before the row: a label without its picture teaches nothing.
        store.images.keep(imageSha);
        store.labels.set({ stationId, imageSha, classId, box, partId, userId, at, learntClassId, confirmed });
        store.queue.setState(partId, 'labelled');
      }
      return changes;
    });

  const note: LabelService['note'] = (changes, { classId, box }, session, more) => {
    const labels = changes.map((change) => labelForTrail(change, change.labelBefore?.classId ?? null, classId));
    store.audit.append({
      user: actor(session),
      action: 'labels.create',
      subject: classId,
      details: { labels, box, ...more },
    });
  };

  const takeBack = ({ id, kind, changes }: LabelAction, session: Session): LabelChange[] => {
    const labels = [];
    for (const change of changes) {
      const { partId, stationId, imageSha, labelBefore, queueStateBefore } = change;
      if (imageSha !== null) {
        const now = store.labels.get(stationId, imageSha)?.classId ?? null;
        const restored = labelBefore?.classId ?? null;
        if (now !== restored) labels.push(labelForTrail(change, now, restored));
        if (labelBefore === null) store.labels.remove(stationId, imageSha);
        else {
          // What was learnt meanwhile stays known, so that the label counts as fresh if it differs.
          const learntClassId = store.labels.get(stationId, imageSha)?.learntClassId ?? labelBefore.learntClassId;
          store.labels.set({ ...labelBefore, learntClassId });
        }
      }
      store.queue.setState(partId, queueStateBefore);
    }
    store.labels.setUndone(id);
    store.audit.append({ user: actor(session), action: 'labels.undo', subject: String(id), details: { kind, labels } });
    return changes;
  };

  return {
    label,
    note,
    handlers: {
      async 'labels.create'({ partIds, classId, box }, session) {
        const result = store.transaction(() => {
          const userId = userOf(session).id;
          const changes = label(partIds, classId, box, userId);
          const at = context.now().toISOString();
          const undoId = store.labels.recordAction({ userId, at, kind: 'label', classId, changes });
          note(changes, { classId, box }, session, { undoId });
          return { labelled: changes.length, undoId };
        });
        tellQueues(partIds.map((id) => store.parts.get(id).stationId));
        return result;
      },
      async 'labels.undo'({ downTo }, session) {
        const undone = store.transaction(() => {
          const open = store.labels.openActions(userOf(session).id, downTo === undefined ? 1 : MOST_UNDONE);
          const last = downTo === undefined ? open.length - 1 : open.findIndex(({ id }) => id === downTo);
          if (downTo !== undefined && last < 0)
            throw new AppError('NOT_FOUND', { kind: 'action to take back', id: String(downTo) });
          return open.slice(0, last + 1).flatMap((action) => takeBack(action, session));
        });
        tellQueues(undone.map((change) => change.stationId));
        return { partIds: [...new Set(undone.map((change) => change.partId))] };
      },
      async 'labels.history'({ stationId, limit }, session) {
        store.stations.get(stationId);
        return store.labels
          .openActions(userOf(session).id, limit, stationId)
          .map(({ id, at, kind, classId, changes }) => ({
            undoId: id,
            at,
            kind,
            classId,
            parts: changes.map(({ partId, imageSha }) => ({ partId, imageSha })),
          }));
      },
      async 'labels.list'({ stationId, classId, limit }) {
        store.stations.get(stationId);
        return store.labels
          .recent(stationId, { limit, ...(classId !== undefined && { classId }) })
          .map(({ partId, imageSha, classId: own, userId, at, learntClassId }) => ({
            partId,
            imageSha,
            classId: own,
            userId,
            at,
            learnt: learntClassId === own,
          }));
      },
      async 'labels.summary'({ stationId }) {
        const station = store.stations.get(stationId);
        const perClass = store.labels.perClass(stationId);
        const fresh = perClass.reduce((sum, row) => sum + row.fresh, 0);
        const tiled = tilesOf(station.recipe) > 1;
        return { fresh, perClass, withoutPlace: tiled ? store.labels.countWithoutPlace(stationId) : 0 };
      },
      async 'queue.list'({ stationId, limit }) {
        store.stations.get(stationId);
        onQueueRead(stationId);
        return { total: store.queue.count(stationId), items: store.queue.list(stationId, limit) };
      },
      'queue.count': async ({ stationId }) => ({ total: store.queue.count(stationId) }),
      async 'queue.skip'({ partId }, session) {
        const part = store.parts.get(partId);
        const queueStateBefore = store.queue.state(partId);
        if (queueStateBefore === null) throw new AppError('NOT_FOUND', { kind: 'queue item', id: String(partId) });
        store.transaction(() => {
          const { stationId, imageSha } = part;
          const labelBefore = imageSha === null ? null : store.labels.get(stationId, imageSha);
          store.queue.setState(partId, 'skipped');
          store.labels.recordAction({
            userId: userOf(session).id,
            at: context.now().toISOString(),
            kind: 'skip',
            classId: null,
            changes: [{ partId, stationId, imageSha, labelBefore, queueStateBefore }],
          });
          store.audit.append({
            user: actor(session),
            action: 'queue.skip',
            subject: imageSha ?? `part ${partId}`,
            details: { stationId, partId, before: queueStateBefore },
          });
        });
        tellQueues([part.stationId]);
        return {};
      },
    },
  };
};
