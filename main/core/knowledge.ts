import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Job, Knowledge, Station } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { LabelledImage, Suspect } from '../contract/trainer.ts';
import { learnableFrom } from '../learning/anomaly/cold-start.ts';
import { viewOf } from '../store/features.ts';
import { nodeFiles, syncFile } from '../store/files.ts';
import type { Backbones } from './backbones.ts';
import { canLearn } from './can-learn.ts';
import { classSuccessors } from './class-successors.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { viewsIdOf } from './current-knowledge.ts';
import { featureFileOf, trimFeatureFile } from './feature-file.ts';
import type { ForgottenFeatures } from './forgotten-features.ts';
import { placeOf } from './ingest.ts';
import type { GoldenFilling } from './golden-filling.ts';
import type { JobService, JobWork } from './jobs.ts';
import { sumsDir } from './knowledge-folders.ts';
import { addCounts, giversAt } from './labelled-by.ts';
import { mergedImages, mergedLabellers, type MergedSums } from './merged-sums.ts';
import type { Session } from './port.ts';
import { samplesOf } from './samples.ts';
import { writeSnapshot } from './snapshots.ts';
import { isMarkedOtherwise, setTakenAway } from './taken-away.ts';
import { withTrainer } from './trainer.ts';

interface Forgotten {
  images: ReadonlySet<string>;
  /** Of which class they are: what is labelled otherwise meanwhile keeps its label. null: whatever they are labelled as. */
  classId: string | null;
  /** Nobody else has labels of the class: what other stations gave of it goes too. */
  isLast: boolean;
}

export interface KnowledgeService {
  handlers: HandlersOf<
    'knowledge.show' | 'knowledge.list' | 'knowledge.update' | 'knowledge.forget' | 'knowledge.forgetClass'
  >;
  /**
   * Learns all labels of the station and makes the result its newest knowledge, or changes nothing (but own images are taken out of what it merged).
   * `forget`: images that are left out, and whose labels and features go in the same step. `note`: what else stands or falls with the knowledge, within its transaction.
   */
  update(
    job: JobWork,
    stationId: string,
    by: string,
    options?: { forget?: Forgotten; note?: (knowledgeId: string) => void },
  ): Promise<Knowledge>;
}

/** A head that tells one class from nothing is no head; good parts alone have a model of their own (learning/anomaly). */
const CLASSES_NEEDED = 2;
/** Doubted labels that an update puts into the queue: a person's time is for new parts first. The next update brings the next ones. */
const MOST_SUSPECTS = 20;
const NONE: ReadonlySet<string> = new Set();
const NOTHING: Forgotten = { images: NONE, classId: null, isLast: false };

export const createKnowledgeService = (
  context: CoreContext,
  backbones: Backbones,
  jobs: JobService,
  {
    filling,
    merged,
    forgotten,
  }: {
    filling: Pick<GoldenFilling, 'choose' | 'take'>;
    merged: Pick<MergedSums, 'settle'>;
    forgotten: ForgottenFeatures;
  },
): KnowledgeService => {
  const { store } = context;

  /** Labelled parts per class. */
  const labelledIn = (stationId: string, without: ReadonlySet<string> = NONE): Map<string, number> => {
    const labelled = new Map<string, number>();
    for (const { imageSha, classId } of store.labels.list(stationId)) {
      if (!without.has(imageSha)) labelled.set(classId, (labelled.get(classId) ?? 0) + 1);
    }
    return labelled;
  };
  const tooFew = (labelled: ReadonlyMap<string, number>) =>
    new AppError('TOO_FEW_CLASSES', { found: labelled.size, needed: CLASSES_NEEDED });

  const checkEnough = (stationId: string, without?: ReadonlySet<string>): void => {
    const labelled = labelledIn(stationId, without);
    if (learnableFrom(labelled, store.classes.okIds()) === 'nothing') throw tooFew(labelled);
  };

  const checkLeft = async (stationId: string, without?: ReadonlySet<string>): Promise<void> => {
    const labelled = labelledIn(stationId, without);
    if (!(await canLearn(store, stationId, labelled))) throw tooFew(labelled);
  };

  /** Which of the samples without features got which row. The trainer answers in the order in which it was asked, per picture. */
  const assignRows = (samples: LabelledImage[], rows: { sha: string; row: number }[]) => {
    const waiting = Map.groupBy(rows, (found) => found.sha);
    return samples.flatMap((sample) => {
      if (sample.row >= 0) return [];
      const found = waiting.get(sample.sha)?.shift();
      return found === undefined ? [] : [{ sample, row: found.row }];
    });
  };

  /** Whether a station has labels of a class; not asked: one. */
  const isLabelled = (classId: string, except: string | null = null): boolean =>
    store.stations
      .list()
      .some(({ id }) => id !== except && store.labels.list(id).some((label) => label.classId === classId));

  /** Kept sums know a picture by its row: one that was cut off and is given again may hold another view of it. They are made again from the rows. */
  const dropSums = async (backboneId: string): Promise<void> => {
    for (const { id } of store.stations.list())
      await rm(sumsDir(store.home, id, backboneId), { recursive: true, force: true });
  };

  const update: KnowledgeService['update'] = async (job, stationId, by, { forget = NOTHING, note } = {}) => {
    const station: Station = store.stations.get(stationId);
    const backbone = await backbones.get(station.backboneId);
    const labelledBy = giversAt(store, stationId);
    const before = new Map(store.labels.list(stationId).map((label) => [label.imageSha, label]));
    const labelled = (await samplesOf(store, station)).filter((sample) => !forget.images.has(sample.sha));
    // After the labels: what was labelled meanwhile is in neither, and the next update's.
    const added = await merged.settle(job, stationId, by);
    const others = await mergedImages(store, stationId, backbone.id);
    const givenByOthers = await mergedLabellers(store, stationId, backbone.id);
    if (added.length === 0) checkEnough(stationId, forget.images);
    const withheld = await filling.choose(job, station, labelled, others);
    const samples = labelled.filter((sample) => !withheld.has(sample.sha));
    // All classes: what other stations gave may know more of them than this one's labels.
    const known = new Set(samples.map((sample) => sample.classId));
    const classes = store.classes.list().filter((each) => added.length > 0 || known.has(each.id));
    const id = `k-${randomUUID().slice(0, 12)}`;
    const outDir = join(store.home, 'knowledge', `.making-${id}`);
    const featureFile = featureFileOf(store.home, backbone.id);
    const final = join(store.home, 'knowledge', id);
    await mkdir(outDir);
    let knowledge: Knowledge;
    try {
      await trimFeatureFile(featureFile, store.features.length(backbone.id), backbone, () => dropSums(backbone.id));
      await forgotten.erase(backbone);
      const { recipe, criteria } = station;
      const { summary, rows, suspects } = await withTrainer(context, job, (trainer) =>
        trainer.call(
          'trainer.update',
          {
            backbone,
            recipe,
            classes,
            images: samples,
            criteria,
            threads: context.trainerThreads,
            outDir,
            featureFile,
            // Per backbone: while one is changed for another, each keeps its own.
            statisticsDir: sumsDir(store.home, stationId, backbone.id),
            exports: added,
            successors: classSuccessors(store, forget.isLast ? forget.classId : null),
          },
          { signal: job.signal },
        ),
      );
      const learnt = new Map(samples.map((sample) => [sample.sha, sample.classId]));
      const snapshotId = await writeSnapshot(outDir, { stationId, images: learnt, others });
      await Promise.all([
        syncFile(featureFile),
        syncFile(join(outDir, 'knowledge.json')),
        syncFile(join(outDir, 'head.f64')),
      ]);
      await nodeFiles.syncDirectory(dirname(featureFile));
      await nodeFiles.syncDirectory(outDir);
      await rename(outDir, final);
      await nodeFiles.syncDirectory(dirname(final));
      knowledge = {
        id,
        stationId,
        backboneId: backbone.id,
        createdAt: context.now().toISOString(),
        parentId: store.knowledge.newest(stationId)?.id ?? null,
        classes: summary.classes,
        lambda: summary.lambda,
        balancing: summary.balancing,
        balancedAccuracy: summary.balancedAccuracy,
        seconds: summary.seconds,
        snapshotId,
      };
      store.transaction(() => {
        for (const { sample, row } of assignRows(samples, rows)) {
          store.features.insert(backbone.id, sample.sha, viewOf(recipe, sample.region), row);
        }
        store.knowledge.insert(knowledge);
        store.labels.setLearnt(
          stationId,
          [...learnt].map(([imageSha, classId]) => ({ imageSha, classId })),
        );
        const golden = filling.take(stationId, withheld, { userName: by, at: knowledge.createdAt });
        // Taken away, or marked otherwise, while it was at work: it has learnt them as they were.
        const isOtherwise = (sha: string): boolean => {
          const [then, now] = [before.get(sha), store.labels.get(stationId, sha)];
          return now === null || (then !== undefined && isMarkedOtherwise(store, then, now));
        };
        setTakenAway(store, stationId, [...learnt.keys()].some(isOtherwise));
        store.audit.append({
          user: by,
          action: 'knowledge.update',
          subject: id,
          details: {
            stationId,
            snapshotId,
            images: learnt.size,
            ...(golden > 0 && { golden }),
            views: viewsIdOf(recipe),
            classes: summary.classes,
            parentId: knowledge.parentId,
            // By user, as it was then: two-persons.ts asks for it when a model made of this is approved.
            labelledBy: addCounts([labelledBy(learnt.keys()), givenByOthers]),
          },
        });
        forgotten.note(removeLabels(stationId, forget, by));
        note?.(id);
        queueSuspects(stationId, suspects);
        job.commit([id]);
      });
    } catch (error) {
      await Promise.all([outDir, final].map((folder) => rm(folder, { recursive: true, force: true })));
      throw error;
    }
    // The row stands: nothing from here on may take its folder away.
    context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
    await forgotten.eraseAll();
    return knowledge;
  };

  /** The surest doubts go into the queue in place of earlier ones; what was confirmed or relabelled since is left alone. */
  const queueSuspects = (stationId: string, suspects: readonly Suspect[]) => {
    store.queue.closeSuspects(stationId);
    let place = 0;
    for (const { sha, classId, suggestedClassId, given, suggested, contradicting } of suspects) {
      const label = store.labels.get(stationId, sha);
      if (label === null || label.classId !== classId || label.confirmed) continue;
      const doubt = { classId, given, suggested, copies: contradicting.length };
      const usefulness = placeOf('suspect', 1 - place / MOST_SUSPECTS);
      store.queue.putSuspect(label.partId, stationId, usefulness, suggestedClassId, doubt);
      place += 1;
      if (place === MOST_SUSPECTS) return;
    }
  };

  /** Labels, undo history, queue entries and feature rows of images; gives the rows to overwrite. */
  const removeLabels = (stationId: string, { images, classId: ofClass }: Forgotten, by: string) =>
    [...images].flatMap((imageSha) => {
      const label = store.labels.get(stationId, imageSha);
      if (label !== null) {
        if (ofClass !== null && label.classId !== ofClass) return [];
        store.labels.remove(stationId, imageSha);
        store.queue.setState(label.partId, null);
      }
      store.secondLabels.remove(stationId, imageSha);
      store.labels.forgetInActions(stationId, imageSha);
      store.audit.append({
        user: by,
        action: 'knowledge.forget',
        subject: imageSha,
        details: { stationId, classId: label?.classId ?? ofClass },
      });
      // Features belong to the picture: another station that learnt it extracts them again.
      return store.features.removeImage(imageSha);
    });

  /** Of what is labelled as the class when its turn comes. @throws NOT_FOUND, TOO_FEW_CLASSES */
  const imagesOf = async (stationId: string, classId: string): Promise<ReadonlySet<string>> => {
    const labels = store.labels.list(stationId).filter((label) => label.classId === classId);
    if (labels.length === 0) throw new AppError('NOT_FOUND', { kind: 'labelled image of class', id: classId });
    const images = new Set(labels.map(({ imageSha }) => imageSha));
    await checkLeft(stationId, images);
    return images;
  };
  const forgetClass = async (job: JobWork, stationId: string, classId: string, user: string): Promise<Knowledge> => {
    const images = await imagesOf(stationId, classId);
    const { isOk } = store.classes.get(classId);
    const isLast = !isOk && !isLabelled(classId, stationId);
    const retire = () => {
      if (isOk || isLabelled(classId)) return;
      if (!store.classes.get(classId).retired) {
        store.classes.retire(classId);
        store.audit.append({ user, action: 'classes.retire', subject: classId });
      }
      store.audit.append({ user, action: 'knowledge.forgetClass', subject: classId, details: { stationId } });
    };
    const knowledge = await update(job, stationId, user, { forget: { images, classId, isLast }, note: retire });
    context.emit('classes.changed', {});
    return knowledge;
  };

  /** @param asked the same, asked again while it waits or runs, is the same job */
  const ask = (
    { stationId, asked, step }: { stationId: string; asked: string; step: 'features' | 'forgetting' },
    session: Session,
    work: (job: JobWork) => Promise<Knowledge>,
  ): Job => {
    const what = {
      kind: 'update',
      stationId,
      session,
      firstStep: { key: `update.${step}`, details: {} },
      asked,
    } as const;
    return jobs.underWay(what) ?? jobs.start(what, async (job) => [(await work(job)).id]);
  };

  return {
    update,
    handlers: {
      async 'knowledge.show'({ stationId }) {
        store.stations.get(stationId);
        return store.knowledge.newest(stationId);
      },
      async 'knowledge.list'({ stationId }) {
        store.stations.get(stationId);
        return store.knowledge.list(stationId);
      },
      async 'knowledge.update'({ stationId }, session) {
        store.stations.get(stationId);
        await checkLeft(stationId);
        const asked = { stationId, asked: 'knowledge.update', step: 'features' } as const;
        return ask(asked, session, (job) => update(job, stationId, actor(session)));
      },
      async 'knowledge.forget'({ stationId, imageSha }, session) {
        store.stations.get(stationId);
        const label = store.labels.get(stationId, imageSha);
        if (label === null) throw new AppError('NOT_FOUND', { kind: 'labelled image', id: imageSha });
        // Said before anything is taken away: what is left must still make a knowledge.
        const forget: Forgotten = { images: new Set([imageSha]), classId: null, isLast: false };
        await checkLeft(stationId, forget.images);
        const asked = { stationId, asked: `knowledge.forget ${imageSha}`, step: 'forgetting' } as const;
        return ask(asked, session, (job) => update(job, stationId, actor(session), { forget }));
      },
      async 'knowledge.forgetClass'({ stationId, classId }, session) {
        store.classes.get(classId);
        await imagesOf(stationId, classId);
        const asked = { stationId, asked: `knowledge.forgetClass ${classId}`, step: 'forgetting' } as const;
        return ask(asked, session, (job) => forgetClass(job, stationId, classId, actor(session)));
      },
    },
  };
};
