import type { Region } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { Label, LabelAction, LabelChange } from '../store/labels.ts';
import { tilesOf } from '../vision/tiles.ts';
import { canLearn } from './can-learn.ts';
import { actor, userOf, type CoreContext, type HandlersOf } from './context.ts';
import { isLearntOtherwise } from './current-knowledge.ts';
import { usefulnessOf } from './ingest.ts';
import type { Session } from './port.ts';
import { isMarkedOtherwise, isTakenAway, setTakenAway, settleTakenAway } from './taken-away.ts';

export interface LabelService {
  handlers: HandlersOf<
    | 'labels.create'
    | 'labels.leaveOut'
    | 'labels.undo'
    | 'labels.history'
    | 'labels.list'
    | 'labels.summary'
    | 'queue.list'
    | 'queue.skip'
    | 'queue.count'
  >;
  /** Labels parts, within the caller's transaction or one of its own; gives what undo would have to put back. */
  label(partIds: number[], classId: string, boxes: readonly Region[], userId: string): LabelChange[];
  /** The entry of the trail for them, in the same transaction. */
  note(
    changes: readonly LabelChange[],
    given: { classId: string; boxes: readonly Region[] },
    /** null: the program itself. */
    session: Session | null,
    more: Record<string, unknown>,
  ): void;
}

/** What an action was, as the window names it: one that took labels away is kept as a skip that names a class. */
const kindOf = ({ kind, classId, sentBack }: LabelAction) => {
  if (kind !== 'skip' || classId === null) return kind;
  return sentBack ? ('send-back' as const) : ('leave-out' as const);
};

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

  /** What the newest knowledge has learnt of a label does not stand any more where it is marked otherwise. */
  const noteMarks = (before: Label | null, after: Pick<Label, 'classId' | 'boxes'>): void => {
    if (before !== null && before.learntClassId !== null && isMarkedOtherwise(store, before, after))
      setTakenAway(store, before.stationId, true);
  };

  const label: LabelService['label'] = (partIds, classId, boxes, userId) =>
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
        // Parts with the very same picture have one label: undo gives it back as it was before all of them.
        const alike = changes.find((change) => change.imageSha === imageSha && change.stationId === stationId);
        const labelBefore = alike ? alike.labelBefore : store.labels.get(stationId, imageSha);
        changes.push({ partId, stationId, imageSha, labelBefore, queueStateBefore: store.queue.state(partId) });
        const learntClassId = labelBefore?.learntClassId ?? null;
        const isAsked = store.queue.state(partId) === 'open';
        // Whatever is chosen now was chosen with the doubt in sight.
        const confirmed = isAsked && store.queue.item(partId)?.reason === 'suspect';
        // Asked is which class it is: where it is somebody may have said before.
        const isPlaceKept = isAsked && boxes.length === 0 && !known.isOk;
        const marks = isPlaceKept ? (labelBefore?.boxes ?? []) : boxes;
        // Before the row: a label without its picture teaches nothing.
        store.images.keep(imageSha);
        noteMarks(labelBefore, { classId, boxes: marks });
        store.labels.set({ stationId, imageSha, classId, boxes: marks, partId, userId, at, learntClassId, confirmed });
        store.queue.setState(partId, 'labelled');
      }
      return changes;
    });

  const note: LabelService['note'] = (changes, { classId, boxes }, session, more) => {
    const labels = changes.map((change) => labelForTrail(change, change.labelBefore?.classId ?? null, classId));
    store.audit.append({
      user: actor(session),
      action: 'labels.create',
      subject: classId,
      details: { labels, boxes, ...more },
    });
  };

  /** Removes the label of a part. It waits in the queue for another one, or no longer for what was asked about this one. */
  const leaveOut = (partId: number, toQueue: boolean): LabelChange & { labelBefore: Label } => {
    const { stationId, imageSha, judgement } = store.parts.get(partId);
    const labelBefore = imageSha === null ? null : store.labels.get(stationId, imageSha);
    if (labelBefore === null) throw new AppError('NOT_FOUND', { kind: 'label of part', id: String(partId) });
    const queueStateBefore = store.queue.state(partId);
    store.labels.remove(stationId, labelBefore.imageSha);
    if (labelBefore.learntClassId !== null) setTakenAway(store, stationId, true);
    if (toQueue) {
      if (store.golden.has(stationId, labelBefore.imageSha)) throw new AppError('GOLDEN_IMAGE', { part: partId });
      // What waits already, because its label is doubted, say, is asked for that reason still.
      if (queueStateBefore !== 'open')
        store.queue.put(partId, stationId, 'returned', usefulnessOf('returned', judgement), judgement.classId);
    } else if (queueStateBefore !== null) store.queue.setState(partId, 'skipped');
    return { partId, stationId, imageSha, labelBefore, queueStateBefore };
  };

  /** Somebody else decided on the part since, or what it was could not be given to it now: then it stays as it is. */
  const staysAsItIs = (action: LabelAction, change: LabelChange, userId: string): boolean => {
    const { stationId, imageSha, labelBefore } = change;
    if (imageSha === null) return false;
    if (store.golden.has(stationId, imageSha)) return true;
    const label = store.labels.get(stationId, imageSha);
    const kind = kindOf(action);
    if (kind === 'label' && label?.userId !== userId) return true;
    if (kind !== 'label' && kind !== 'skip' && label !== null && label.userId !== userId) return true;
    if (kind === 'skip' && label?.at !== labelBefore?.at) return true;
    if (labelBefore === null || labelBefore.classId === label?.classId) return false;
    return store.classes.get(labelBefore.classId).retired;
  };

  /** Whether the station learnt anew after labels were taken away. By the trail: a clock may be set back in between. */
  const isUpdatedSince = (action: LabelAction, stationId: string): boolean => {
    const newest = store.knowledge.newest(stationId);
    if (newest === null) return false;
    const takenAway = store.audit.last(action.sentBack ? 'labels.sendBack' : 'labels.leaveOut', String(action.id));
    return (store.audit.last('knowledge.update', newest.id)?.n ?? 0) > (takenAway?.n ?? 0);
  };

  const takeBack = (action: LabelAction, session: Session): { back: LabelChange[]; left: number } => {
    const { id, changes } = action;
    const { left = [], back = [] } = Object.groupBy(changes, (change) =>
      staysAsItIs(action, change, userOf(session).id) ? 'left' : 'back',
    );
    const labels = [];
    const givenBackAt = new Set<string>();
    for (const change of back) {
      const { partId, stationId, imageSha, labelBefore, queueStateBefore } = change;
      if (imageSha !== null) {
        const label = store.labels.get(stationId, imageSha);
        const [now, restored] = [label?.classId ?? null, labelBefore?.classId ?? null];
        if (now !== restored) labels.push(labelForTrail(change, now, restored));
        if (labelBefore === null) {
          store.labels.remove(stationId, imageSha);
          if (label !== null && label.learntClassId !== null) setTakenAway(store, stationId, true);
        } else if (label === null) {
          // It was taken away: an update since then has forgotten it.
          const learntClassId = isUpdatedSince(action, stationId) ? null : labelBefore.learntClassId;
          store.labels.set({ ...labelBefore, learntClassId });
          givenBackAt.add(stationId);
        } else {
          noteMarks(label, labelBefore);
          // What was learnt meanwhile stays known, so that the label counts as fresh if it differs.
          store.labels.set({ ...labelBefore, learntClassId: label.learntClassId ?? labelBefore.learntClassId });
        }
      }
      store.queue.setState(partId, queueStateBefore);
    }
    // Once for all of them: it counts all that the station has learnt.
    for (const stationId of givenBackAt) settleTakenAway(store, stationId);
    store.labels.setUndone(id);
    store.audit.append({
      user: actor(session),
      action: 'labels.undo',
      subject: String(id),
      details: { kind: kindOf(action), labels, ...(left.length > 0 && { left: left.map(({ partId }) => partId) }) },
    });
    return { back, left: left.length };
  };

  return {
    label,
    note,
    handlers: {
      async 'labels.create'({ partIds, classId, boxes }, session) {
        const result = store.transaction(() => {
          const userId = userOf(session).id;
          const changes = label(partIds, classId, boxes, userId);
          const at = context.now().toISOString();
          const undoId = store.labels.recordAction({ userId, at, kind: 'label', classId, changes });
          note(changes, { classId, boxes }, session, { undoId });
          return { labelled: changes.length, undoId };
        });
        tellQueues(partIds.map((id) => store.parts.get(id).stationId));
        return result;
      },
      async 'labels.leaveOut'({ partIds, toQueue }, session) {
        const action = store.transaction(() => {
          const changes = [...new Set(partIds)].map((partId) => leaveOut(partId, toQueue));
          const classId = changes[0]!.labelBefore.classId;
          const at = context.now().toISOString();
          const userId = userOf(session).id;
          const id = store.labels.recordAction({ userId, at, kind: 'skip', classId, sentBack: toQueue, changes });
          store.audit.append({
            user: actor(session),
            action: toQueue ? 'labels.sendBack' : 'labels.leaveOut',
            subject: String(id),
            details: { labels: changes.map((change) => labelForTrail(change, change.labelBefore.classId, null)) },
          });
          return { id, changes };
        });
        tellQueues(action.changes.map(({ stationId }) => stationId));
        return { leftOut: action.changes.length, undoId: action.id };
      },
      async 'labels.undo'({ stationId, downTo }, session) {
        const undone = store.transaction(() => {
          const open = store.labels.openActions(userOf(session).id, downTo === undefined ? 1 : MOST_UNDONE, stationId);
          const last = downTo === undefined ? open.length - 1 : open.findIndex(({ id }) => id === downTo);
          if (downTo !== undefined && last < 0)
            throw new AppError('NOT_FOUND', { kind: 'action to take back', id: String(downTo) });
          return open.slice(0, last + 1).map((action) => takeBack(action, session));
        });
        const back = undone.flatMap((action) => action.back);
        tellQueues(back.map((change) => change.stationId));
        return {
          partIds: [...new Set(back.map((change) => change.partId))],
          left: undone.reduce((sum, action) => sum + action.left, 0),
        };
      },
      async 'labels.history'({ stationId, limit }, session) {
        store.stations.get(stationId);
        return store.labels.openActions(userOf(session).id, limit, stationId).map((action) => ({
          undoId: action.id,
          at: action.at,
          kind: kindOf(action),
          classId: action.classId,
          parts: action.changes.map(({ partId, imageSha }) => ({ partId, imageSha })),
        }));
      },
      async 'labels.list'({ stationId, classId, limit, images, before }) {
        store.stations.get(stationId);
        const nameOf = new Map(store.users.list().map(({ id, name }) => [id, name]));
        const labels =
          images === undefined
            ? store.labels.recent(stationId, {
                limit,
                ...(classId !== undefined && { classId }),
                ...(before !== undefined && { before }),
              })
            : images
                .flatMap((sha) => store.labels.get(stationId, sha) ?? [])
                .filter((label) => classId === undefined || label.classId === classId);
        return labels.map(({ partId, imageSha, classId: own, boxes, userId, at, learntClassId }) => ({
          partId,
          imageSha,
          classId: own,
          boxes: [...boxes],
          userId,
          userName: nameOf.get(userId) ?? userId,
          at,
          learnt: learntClassId === own,
        }));
      },
      async 'labels.summary'({ stationId }) {
        const station = store.stations.get(stationId);
        const perClass = store.labels.perClass(stationId);
        const fresh = perClass.reduce((sum, row) => sum + row.fresh, 0);
        const tiled = tilesOf(station.recipe) > 1;
        const withoutPlace = tiled ? store.labels.countWithoutPlace(stationId) : 0;
        const labelled = new Map(perClass.map((row) => [row.classId, row.labelled]));
        return {
          fresh,
          takenAway: isTakenAway(store, stationId),
          otherViews: isLearntOtherwise(store, station),
          perClass,
          withoutPlace,
          canLearn: await canLearn(store, stationId, labelled),
        };
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
