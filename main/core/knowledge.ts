import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Backbone, DefectClass, Knowledge, Station } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { LabelledImage, Suspect } from '../contract/trainer.ts';
import { learnableFrom } from '../learning/anomaly/cold-start.ts';
import { viewOf } from '../store/features.ts';
import { nodeFiles } from '../store/files.ts';
import type { Backbones } from './backbones.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { eraseRow, featureFileOf, syncFile, trimFeatureFile } from './feature-file.ts';
import { placeOf } from './ingest.ts';
import type { JobService, JobWork } from './jobs.ts';
import type { Session } from './port.ts';
import { samplesOf } from './samples.ts';
import { withTrainer } from './trainer.ts';

export interface KnowledgeService {
  handlers: HandlersOf<
    | 'knowledge.show'
    | 'knowledge.list'
    | 'knowledge.update'
    | 'knowledge.forget'
    | 'knowledge.forgetClass'
    | 'knowledge.merge'
    | 'knowledge.export'
    | 'knowledge.import'
  >;
  /**
   * Learns all labels of the station and makes the result its newest knowledge, or changes nothing.
   * `forget`: images that are left out, and whose labels and features go in the same step.
   */
  update(job: JobWork, stationId: string, by: string, forget?: ReadonlySet<string>): Promise<Knowledge>;
}

/** A head that tells one class from nothing is no head; good parts alone have a model of their own (learning/anomaly). */
const CLASSES_NEEDED = 2;
const COLORS = 8;
/** Doubted labels that an update puts into the queue: a person's time is for new parts first. The next update brings the next ones. */
const MOST_SUSPECTS = 20;
const NONE: ReadonlySet<string> = new Set();

export const createKnowledgeService = (
  context: CoreContext,
  backbones: Backbones,
  jobs: JobService,
): KnowledgeService => {
  const { store } = context;

  const checkEnough = (stationId: string, without: ReadonlySet<string> = NONE): void => {
    const labelled = new Map<string, number>();
    for (const { imageSha, classId } of store.labels.list(stationId)) {
      if (!without.has(imageSha)) labelled.set(classId, (labelled.get(classId) ?? 0) + 1);
    }
    const okIds = new Set(store.classes.list().flatMap(({ id, isOk }) => (isOk ? [id] : [])));
    if (learnableFrom(labelled, okIds) === 'nothing') {
      throw new AppError('TOO_FEW_CLASSES', { found: labelled.size, needed: CLASSES_NEEDED });
    }
  };

  const sumsOf = (stationId: string, backboneId: string) =>
    join(store.home, 'knowledge', 'sums', stationId, backboneId);
  /** What other stations gave, per backbone. */
  const addedDir = (stationId: string, backboneId: string) =>
    join(store.home, 'knowledge', 'added', stationId, backboneId);
  const addedFiles = async (stationId: string, backboneId: string): Promise<string[]> => {
    const folder = addedDir(stationId, backboneId);
    const names = await readdir(folder).catch(() => []);
    return names
      .filter((name) => name.endsWith('.knowledge'))
      .toSorted()
      .map((name) => join(folder, name));
  };

  /** What other stations gave may be enough where the labels are not: the solve itself then says so. */
  const checkLeft = async (stationId: string, without: ReadonlySet<string> = NONE): Promise<void> => {
    const { backboneId } = store.stations.get(stationId);
    if ((await addedFiles(stationId, backboneId)).length === 0) checkEnough(stationId, without);
  };

  /** `without`: pictures left out, and then also what the station took in from others. */
  const exportTo = async (
    job: JobWork,
    stationId: string,
    file: string,
    without: ReadonlySet<string> | null = null,
  ): Promise<void> => {
    const station = store.stations.get(stationId);
    const newest = store.knowledge.newest(stationId);
    if (!newest) throw new AppError('NO_KNOWLEDGE', { stationId });
    const backbone = await backbones.get(station.backboneId);
    if (newest.backboneId !== backbone.id) {
      throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', { found: newest.backboneId, needed: backbone.id });
    }
    await withTrainer(context, job, async (trainer) =>
      trainer.call(
        'trainer.export',
        {
          backbone,
          recipe: station.recipe,
          classes: store.classes.list(),
          // Labels that no update has learnt yet have no features.
          images: samplesOf(store, station).filter(({ row, sha }) => row >= 0 && !without?.has(sha)),
          criteria: station.criteria,
          threads: context.trainerThreads,
          outDir: dirname(file),
          featureFile: featureFileOf(store.home, backbone.id),
          statisticsDir: sumsOf(stationId, backbone.id),
          exports: without ? [] : await addedFiles(stationId, backbone.id),
          lambda: newest.lambda,
          balancing: newest.balancing,
          file,
        },
        { signal: job.signal },
      ),
    );
  };

  /** Classes that only the other home knows, under their ids; after a look at the whole file, for a class cannot be taken back. */
  const addClasses = async (
    file: string,
    given: readonly { classId: string; names?: DefectClass['names'] | undefined }[],
    backbone: Backbone,
  ): Promise<void> => {
    const unknown = given.filter(({ classId }) => !store.classes.has(classId));
    if (unknown.length === 0) return;
    const { readExport } = await import('../learning/knowledge-export.ts');
    const stages = backbone.featureOutputs.map(({ channels }) => channels);
    await readExport(file, { backboneSha256: backbone.sha256, stages });
    const taken = new Set(store.classes.list().flatMap(({ names, retired }) => (retired ? [] : [names.en, names.ja])));
    for (const { classId, names = { en: classId, ja: classId } } of unknown) {
      for (const name of [names.en, names.ja]) {
        // Two ids for one name: which of them is meant is for people to say.
        if (taken.has(name)) throw new AppError('ALREADY_EXISTS', { kind: 'class', id: name });
      }
    }
    store.transaction(() => {
      for (const { classId, names = { en: classId, ja: classId } } of unknown) {
        const color = (store.classes.list().length % COLORS) + 1;
        store.classes.insert({ id: classId, names, isOk: false, color, hotKey: null, retired: false }, context.now());
      }
    });
    context.emit('classes.changed', {});
  };

  /** Own images of another station of this home; what it gave before is replaced, so nothing counts twice. */
  const mergeFrom = async (job: JobWork, stationId: string, fromId: string, by: string): Promise<Knowledge> => {
    const { backboneId } = store.stations.get(stationId);
    const folder = addedDir(stationId, backboneId);
    const place = join(folder, `station-${fromId}.knowledge`);
    const [made, before] = [`${place}.new`, `${place}.before`];
    await mkdir(folder, { recursive: true });
    try {
      // A picture that both have labelled is learnt once, by this station's label.
      const own = new Set(store.labels.list(stationId).map(({ imageSha }) => imageSha));
      await exportTo(job, fromId, made, own);
      if (store.stations.get(fromId).backboneId !== backboneId) {
        throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', {
          found: store.stations.get(fromId).backboneId,
          needed: backboneId,
        });
      }
      const had = (await stat(place).catch(() => null)) !== null;
      if (had) await rename(place, before);
      try {
        await rename(made, place);
        await syncFile(place);
        const knowledge = await update(job, stationId, by);
        store.transaction(() =>
          store.audit.append({
            user: by,
            action: 'knowledge.merge',
            subject: knowledge.id,
            details: { stationId, fromStationId: fromId },
          }),
        );
        return knowledge;
      } catch (error) {
        await rm(place, { force: true });
        if (had) await rename(before, place);
        throw error;
      }
    } finally {
      await Promise.all([made, before].map((file) => rm(file, { force: true })));
    }
  };

  /** Takes a file in, and back out again when the knowledge cannot be solved with it. */
  const importFrom = async (job: JobWork, stationId: string, file: string, by: string): Promise<Knowledge> => {
    const backbone = await backbones.get(store.stations.get(stationId).backboneId);
    const { readExportHeader } = await import('../learning/knowledge-export.ts');
    const { header } = await readExportHeader(file);
    if (header.backboneSha256 !== backbone.sha256) {
      throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', { found: header.backboneId, needed: backbone.id });
    }
    await addClasses(file, header.classes, backbone);
    const folder = addedDir(stationId, backbone.id);
    const place = join(folder, `${header.bodySha256}.knowledge`);
    await mkdir(folder, { recursive: true });
    if (await stat(place).catch(() => null)) throw new AppError('ALREADY_EXISTS', { kind: 'knowledge', id: file });
    try {
      await copyFile(file, place);
      await syncFile(place);
      const knowledge = await update(job, stationId, by);
      store.transaction(() =>
        store.audit.append({
          user: by,
          action: 'knowledge.import',
          subject: knowledge.id,
          details: { stationId, file, bodySha256: header.bodySha256 },
        }),
      );
      return knowledge;
    } catch (error) {
      await rm(place, { force: true });
      throw error;
    }
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

  const update: KnowledgeService['update'] = async (job, stationId, by, forget) => {
    const station: Station = store.stations.get(stationId);
    const backbone = await backbones.get(station.backboneId);
    const added = await addedFiles(stationId, backbone.id);
    if (added.length === 0) checkEnough(stationId, forget);
    const samples = samplesOf(store, station).filter((sample) => !forget?.has(sample.sha));
    // All classes: what other stations gave may know more of them than this one's labels.
    const known = new Set(samples.map((sample) => sample.classId));
    const classes = store.classes.list().filter((each) => added.length > 0 || known.has(each.id));
    const id = `k-${randomUUID().slice(0, 12)}`;
    const outDir = join(store.home, 'knowledge', `.making-${id}`);
    const featureFile = featureFileOf(store.home, backbone.id);
    const final = join(store.home, 'knowledge', id);
    await mkdir(outDir);
    try {
      await trimFeatureFile(featureFile, store.features.length(backbone.id), backbone);
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
            statisticsDir: sumsOf(stationId, backbone.id),
            exports: added,
          },
          { signal: job.signal },
        ),
      );
      await Promise.all([
        syncFile(featureFile),
        syncFile(join(outDir, 'knowledge.json')),
        syncFile(join(outDir, 'head.f64')),
      ]);
      await rename(outDir, final);
      await nodeFiles.syncDirectory(dirname(final));
      const knowledge: Knowledge = {
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
      };
      const erased = store.transaction(() => {
        for (const { sample, row } of assignRows(samples, rows)) {
          store.features.insert(backbone.id, sample.sha, viewOf(recipe.rotation, sample.region), row);
        }
        store.knowledge.insert(knowledge);
        const learnt = new Map(samples.map((sample) => [sample.sha, sample.classId]));
        store.labels.setLearnt(
          stationId,
          [...learnt].map(([imageSha, classId]) => ({ imageSha, classId })),
        );
        store.audit.append({
          user: by,
          action: 'knowledge.update',
          subject: id,
          details: { stationId, images: learnt.size, classes: summary.classes, parentId: knowledge.parentId },
        });
        const gone = [...(forget ?? NONE)].flatMap((sha) => removeLabel(stationId, sha, by));
        queueSuspects(stationId, suspects);
        return gone;
      });
      context.emit('queue.changed', { stationId, total: store.queue.count(stationId) });
      for (const { backboneId, row } of erased) {
        const { features } = await backbones.get(backboneId);
        await eraseRow(featureFileOf(store.home, backboneId), row, features);
      }
      return knowledge;
    } catch (error) {
      await Promise.all([outDir, final].map((folder) => rm(folder, { recursive: true, force: true })));
      throw error;
    }
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

  /** Label, undo history, queue entry and feature rows of an image; gives the rows to overwrite. */
  const removeLabel = (stationId: string, imageSha: string, by: string) => {
    const label = store.labels.get(stationId, imageSha);
    if (label === null) return [];
    store.labels.remove(stationId, imageSha);
    store.labels.forgetInActions(stationId, imageSha);
    store.queue.setState(label.partId, null);
    store.audit.append({
      user: by,
      action: 'knowledge.forget',
      subject: imageSha,
      details: { stationId, classId: label.classId },
    });
    // Features belong to the picture: another station that learnt it extracts them again.
    return store.features.removeImage(imageSha);
  };

  const startUpdate = (stationId: string, session: Session) =>
    jobs.start(
      { kind: 'update', stationId, session, firstStep: { key: 'update.features', details: {} } },
      async (job) => [(await update(job, stationId, actor(session))).id],
    );

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
        return jobs.unfinished('update', stationId) ?? startUpdate(stationId, session);
      },
      async 'knowledge.export'({ stationId, file }, session) {
        store.stations.get(stationId);
        return jobs.start(
          { kind: 'update', stationId, session, firstStep: { key: 'update.solve', details: {} } },
          async (job) => {
            await exportTo(job, stationId, file);
            store.transaction(() =>
              store.audit.append({
                user: actor(session),
                action: 'knowledge.export',
                subject: stationId,
                details: { file },
              }),
            );
            return [file];
          },
        );
      },
      async 'knowledge.import'({ stationId, file }, session) {
        store.stations.get(stationId);
        return jobs.start(
          { kind: 'update', stationId, session, firstStep: { key: 'update.solve', details: {} } },
          async (job) => [(await importFrom(job, stationId, file, actor(session))).id],
        );
      },
      async 'knowledge.forget'({ stationId, imageSha }, session) {
        store.stations.get(stationId);
        const label = store.labels.get(stationId, imageSha);
        if (label === null) throw new AppError('NOT_FOUND', { kind: 'labelled image', id: imageSha });
        // Said before anything is taken away: what is left must still make a knowledge.
        await checkLeft(stationId, new Set([imageSha]));
        return jobs.start(
          { kind: 'update', stationId, session, firstStep: { key: 'update.forgetting', details: {} } },
          async (job) => [(await update(job, stationId, actor(session), new Set([imageSha]))).id],
        );
      },
      async 'knowledge.forgetClass'({ stationId, classId }, session) {
        store.classes.get(classId);
        const shas = new Set(
          store.labels.list(stationId).flatMap((label) => (label.classId === classId ? [label.imageSha] : [])),
        );
        if (shas.size === 0) throw new AppError('NOT_FOUND', { kind: 'labelled image of class', id: classId });
        await checkLeft(stationId, shas);
        return jobs.start(
          { kind: 'update', stationId, session, firstStep: { key: 'update.forgetting', details: {} } },
          async (job) => {
            const { id } = await update(job, stationId, actor(session), shas);
            const { isOk, retired } = store.classes.get(classId);
            const left = store.stations
              .list()
              .some((station) => store.labels.list(station.id).some((label) => label.classId === classId));
            if (!left && !isOk && !retired) {
              store.transaction(() => {
                store.classes.retire(classId);
                store.audit.append({ user: actor(session), action: 'classes.retire', subject: classId });
              });
              context.emit('classes.changed', {});
            }
            return [id];
          },
        );
      },
      async 'knowledge.merge'({ stationId, fromStationId }, session) {
        store.stations.get(stationId);
        store.stations.get(fromStationId);
        if (stationId === fromStationId) {
          throw new AppError('INVALID_INPUT', { what: 'the other station', problem: 'it is this station' });
        }
        return jobs.start(
          { kind: 'update', stationId, session, firstStep: { key: 'update.solve', details: {} } },
          async (job) => [(await mergeFrom(job, stationId, fromStationId, actor(session))).id],
        );
      },
    },
  };
};
