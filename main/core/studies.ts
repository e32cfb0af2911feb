import { randomUUID } from 'node:crypto';
import { sha256 } from '../audit/canonical.ts';
import type { Study } from '../contract/study.ts';
import { AppError } from '../contract/errors.ts';
import type { Label } from '../store/labels.ts';
import type { RatingRow, StudyPartRow, StudyRow } from '../store/studies.ts';
import { analyseAgreement, type AgreementResult, type StudyRating } from './agreement.ts';
import { actor, userOf, type CoreContext, type HandlersOf } from './context.ts';

export interface StudyService {
  handlers: HandlersOf<
    | 'studies.list'
    | 'studies.create'
    | 'studies.next'
    | 'studies.rate'
    | 'studies.takeBack'
    | 'studies.close'
    | 'studies.report'
  >;
}

/** Parts that a study shows as disputed. */
const MOST_DISPUTED = 60;
const MODEL = '';

/** A number that looks random and is the same each time: order of parts, per person and round. */
const order = (...of: readonly (string | number)[]): string => sha256(of.join('\0'));

/**
 * Half good and half bad parts as far as there are, the bad ones spread over their classes: a study of mostly good parts says nothing of
 * escapes. Which ones is chance, fixed by the study's id.
 */
export function chooseParts(
  labels: readonly Pick<Label, 'partId' | 'imageSha' | 'classId' | 'userId'>[],
  okId: string,
  { studyId, parts }: { studyId: string; parts: number },
): StudyPartRow[] {
  const drawn = labels.toSorted((a, b) => (order(studyId, a.imageSha) < order(studyId, b.imageSha) ? -1 : 1));
  const good = drawn.filter(({ classId }) => classId === okId);
  const byClass = [
    ...Map.groupBy(
      drawn.filter(({ classId }) => classId !== okId),
      ({ classId }) => classId,
    ).values(),
  ];
  const deepest = Math.max(0, ...byClass.map((of) => of.length));
  const bad = Array.from({ length: deepest }, (_, i) => byClass.flatMap((of) => of.slice(i, i + 1))).flat();
  const wantedBad = Math.min(bad.length, Math.max(Math.ceil(parts / 2), parts - good.length));
  return [...bad.slice(0, wantedBad), ...good.slice(0, parts - wantedBad)].map(
    ({ partId, imageSha, classId, userId }) => ({ partId, imageSha, classId, labelledBy: userId }),
  );
}

export const createStudyService = (context: CoreContext): StudyService => {
  const { store } = context;
  const okId = (): string => store.classes.list().find(({ isOk }) => isOk)?.id ?? 'ok';
  const nameOf = (userId: string): string => store.users.get(userId)?.name ?? userId;

  const openStudy = (studyId: string): StudyRow => {
    const study = store.studies.get(studyId);
    if (study.closedAt !== null)
      throw new AppError('CONFLICT', { what: `study ${study.name}`, state: 'closed', needed: 'an open study' });
    return study;
  };
  const toStudy = (row: StudyRow): Study => {
    const parts = store.studies.parts(row.id);
    const good = okId();
    const done = new Map<string, number>();
    for (const { userId } of store.studies.ratings(row.id)) done.set(userId, (done.get(userId) ?? 0) + 1);
    return {
      id: row.id,
      stationId: row.stationId,
      name: row.name,
      createdAt: row.createdAt,
      createdBy: nameOf(row.userId),
      rounds: row.rounds,
      parts: parts.length,
      goodParts: parts.filter(({ classId }) => classId === good).length,
      closedAt: row.closedAt,
      raters: [...done].map(([userId, n]) => ({
        userId,
        name: nameOf(userId),
        done: n,
        of: parts.length * row.rounds,
      })),
    };
  };

  /** Rounds one after the other, each in an order of its own that differs from person to person. */
  const sequence = (study: StudyRow, userId: string) => {
    const parts = store.studies.parts(study.id);
    return Array.from({ length: study.rounds }, (_, round) =>
      parts
        .map(({ partId, imageSha }) => ({ partId, imageSha, round, key: order(study.id, userId, round, imageSha) }))
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
    ).flat();
  };
  const nextOf = (study: StudyRow, userId: string) => {
    const all = sequence(study, userId);
    const done = store.studies.ratings(study.id).filter((rating) => rating.userId === userId).length;
    const due = all[done];
    const state = { round: due?.round ?? study.rounds - 1, rounds: study.rounds, done, of: all.length };
    if (due === undefined) return { ...state, part: null };
    return {
      ...state,
      part: { partId: due.partId, imageSha: due.imageSha, ...store.parts.imageSize(due.imageSha) },
    };
  };

  /** The verdicts of the line, if one model gave them all. */
  const modelRatings = (parts: readonly StudyPartRow[]): { modelId: string; ratings: StudyRating[] } | null => {
    const judged = parts.map(({ partId }) => ({ partId, judgement: store.parts.get(partId).judgement }));
    const models = new Set(judged.map(({ judgement }) => judgement.modelId));
    const [modelId] = models;
    if (models.size !== 1 || modelId === null || modelId === undefined) return null;
    return {
      modelId,
      ratings: judged.map(({ partId, judgement }) => ({ rater: MODEL, partId, trial: 0, call: judgement.verdict })),
    };
  };

  return {
    handlers: {
      async 'studies.list'({ stationId }) {
        store.stations.get(stationId);
        return store.studies.list(stationId).map(toStudy);
      },
      async 'studies.create'({ stationId, name, parts, rounds }, session) {
        store.stations.get(stationId);
        const id = randomUUID();
        const labels = store.labels.list(stationId);
        const good = okId();
        const chosen = chooseParts(labels, good, { studyId: id, parts });
        if (chosen.length < parts)
          throw new AppError('TOO_FEW_IMAGES', {
            what: store.stations.get(stationId).name,
            found: chosen.length,
            needed: parts,
            missing: parts - chosen.length,
          });
        if (new Set(chosen.map(({ classId }) => classId === good)).size < 2)
          throw new AppError('TOO_FEW_CLASSES', { found: 1, needed: 2 });
        store.transaction(() => {
          const at = context.now().toISOString();
          store.studies.insert({ id, stationId, name, createdAt: at, userId: userOf(session).id, rounds }, chosen);
          store.audit.append({
            user: actor(session),
            action: 'studies.create',
            subject: id,
            details: { stationId, name, rounds, parts: chosen.length },
          });
        });
        return toStudy(store.studies.get(id));
      },
      'studies.next': async ({ studyId }, session) => nextOf(openStudy(studyId), userOf(session).id),
      async 'studies.rate'({ studyId, partId, round, good }, session) {
        const study = openStudy(studyId);
        const { id: userId } = userOf(session);
        const due = nextOf(study, userId);
        // Another window of the same person was faster.
        if (due.part?.partId !== partId || due.round !== round)
          throw new AppError('CONFLICT', { what: `part ${partId}`, state: 'judged', needed: 'the next part' });
        store.transaction(() =>
          store.studies.rate(studyId, { userId, round, partId, good, at: context.now().toISOString() }),
        );
        return nextOf(study, userId);
      },
      async 'studies.takeBack'({ studyId }, session) {
        const study = openStudy(studyId);
        const { id: userId } = userOf(session);
        const { done } = nextOf(study, userId);
        const last = sequence(study, userId)[done - 1];
        if (last !== undefined)
          store.transaction(() => {
            const { round, partId } = last;
            const taken = store.studies
              .ratings(studyId)
              .find((rating) => rating.userId === userId && rating.round === round && rating.partId === partId);
            store.studies.removeRating(studyId, { userId, round, partId });
            // The study keeps the calls that stand; what was called before is kept here alone.
            store.audit.append({
              user: actor(session),
              action: 'studies.takeBack',
              subject: studyId,
              details: { round, partId, good: taken?.good ?? null },
            });
          });
        return nextOf(study, userId);
      },
      async 'studies.close'({ studyId }, session) {
        const study = openStudy(studyId);
        store.transaction(() => {
          store.studies.close(study.id, context.now().toISOString());
          store.audit.append({ user: actor(session), action: 'studies.close', subject: study.id });
        });
        return toStudy(store.studies.get(studyId));
      },
      async 'studies.report'({ studyId }) {
        const row = store.studies.get(studyId);
        // What others said would be seen by somebody who has yet to judge.
        if (row.closedAt === null)
          throw new AppError('CONFLICT', { what: `study ${row.name}`, state: 'open', needed: 'a closed study' });
        return reportOf(row);
      },
    },
  };

  function reportOf(row: StudyRow) {
    const parts = store.studies.parts(row.id);
    const good = okId();
    const reference = parts.map(({ partId, classId }) => ({ partId, good: classId === good }));
    const ratings = store.studies.ratings(row.id);
    const people = analyseAgreement(reference, ratings.map(toCall));
    const model = modelRatings(parts);
    const withModel = model === null ? people : analyseAgreement(reference, [...ratings.map(toCall), ...model.ratings]);
    const shown = (rater: string) => (rater === MODEL ? null : nameOf(rater));
    const finishedRounds = new Map(people.raters.map(({ rater, trials }) => [rater, trials]));
    const isGood = new Map(reference.map((part) => [part.partId, part.good]));
    return {
      study: toStudy(row),
      raters: withModel.raters.map(({ rater, trials, ...rest }: AgreementResult['raters'][number]) => ({
        ...rest,
        name: shown(rater),
        rounds: trials,
        ownReference: parts.filter(({ labelledBy }) => labelledBy === rater).length,
      })),
      pairs: withModel.pairs.map(({ a, b, kappa }) => ({ a: shown(a), b: shown(b), kappa })),
      allSame: people.allSame,
      allRight: people.allRight,
      fleiss: people.fleiss,
      modelId: model?.modelId ?? null,
      disputed: parts
        .map(({ partId, imageSha }) => {
          const calls = ratings.filter(
            (rating) => rating.partId === partId && rating.round < (finishedRounds.get(rating.userId) ?? 0),
          );
          const wrong = calls.filter((rating) => rating.good !== isGood.get(partId)).length;
          return { partId, imageSha, good: isGood.get(partId) === true, wrong, calls: calls.length };
        })
        .filter(({ wrong }) => wrong > 0)
        .sort((a, b) => b.wrong - a.wrong || a.partId - b.partId)
        .slice(0, MOST_DISPUTED),
    };
  }
};

const toCall = ({ userId, round, partId, good }: RatingRow): StudyRating => ({
  rater: userId,
  partId,
  trial: round,
  call: good ? 'ok' : 'ng',
});
