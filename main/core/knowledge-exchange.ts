import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backbone, DefectClass, Knowledge } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { ExportHeader } from '../learning/knowledge-export.ts';
import type { Backbones } from './backbones.ts';
import type { ClassService } from './classes.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { currentKnowledge } from './current-knowledge.ts';
import { refuseOtherMark } from './demo-mark.ts';
import { featureFileOf } from './feature-file.ts';
import type { JobService, JobWork } from './jobs.ts';
import type { KnowledgeService } from './knowledge.ts';
import { addedDir, addedFiles, sumsDir } from './knowledge-folders.ts';
import type { MergedSums } from './merged-sums.ts';
import { checkTarget } from './outside.ts';
import { samplesOf } from './samples.ts';
import { noteTakenIn, takeIn } from './taking-in.ts';
import { withTrainer } from './trainer.ts';

/*
 * Knowledge of other stations, as sums without images: of this home (merge) or by file (import). What a station gave before is replaced by what
 * it gives now, and sums that hold the same station's images twice are refused: a part that counts twice pulls the head towards it.
 */

export interface KnowledgeExchange {
  handlers: HandlersOf<'knowledge.merge' | 'knowledge.export' | 'knowledge.import' | 'knowledge.check'>;
}

/** What an export may replace: a mistyped path must not cost somebody's file. */
const isExport = async (file: string): Promise<boolean> => {
  const { readExportHeader } = await import('../learning/knowledge-export.ts');
  return readExportHeader(file).then(
    () => true,
    () => false,
  );
};

const nameOf = ({ home, station }: { home: string; station: string }): string => `${home} ${station}`;
/** All stations whose images are in a file. */
const stationsIn = ({ source, includes }: ExportHeader): string[] =>
  [...(source ? [source] : []), ...includes].map(nameOf);

export const createKnowledgeExchange = (
  context: CoreContext,
  backbones: Backbones,
  jobs: JobService,
  {
    knowledge: { update },
    merged,
    classes,
  }: { knowledge: Pick<KnowledgeService, 'update'>; merged: MergedSums; classes: Pick<ClassService, 'adopt'> },
): KnowledgeExchange => {
  const { store } = context;

  /** Classes that only the other home knows, under their ids; after a look at the whole file, for a class cannot be taken back. */
  const addClasses = async (
    file: string,
    given: readonly { classId: string; names?: DefectClass['names'] | undefined }[],
    backbone: Backbone,
    by: string,
  ): Promise<void> => {
    const unknown = given.filter(({ classId }) => !store.classes.has(classId));
    if (unknown.length === 0) return;
    const { readExport } = await import('../learning/knowledge-export.ts');
    const stages = backbone.featureOutputs.map(({ channels }) => channels);
    await readExport(file, { backboneSha256: backbone.sha256, stages });
    const brought = unknown.map(({ classId: id, names = { en: id, ja: id } }) => ({ id, names }));
    classes.adopt(brought, by, file);
  };

  const noteOf = (action: string, user: string, details: Record<string, string>) => (knowledgeId: string) => {
    store.audit.append({ user, action, subject: knowledgeId, details });
    noteTakenIn(store);
  };

  /** Own images of another station of this home. */
  const mergeFrom = async (job: JobWork, stationId: string, fromId: string, by: string): Promise<Knowledge> => {
    const { backboneId } = store.stations.get(stationId);
    const place = join(addedDir(store.home, stationId, backboneId), `station-${fromId}.knowledge`);
    return takeIn(
      store,
      place,
      (file) => merged.exportFor(job, stationId, fromId, file, place),
      () => update(job, stationId, by, { note: noteOf('knowledge.merge', by, { stationId, fromStationId: fromId }) }),
    );
  };

  const importFrom = async (job: JobWork, stationId: string, file: string, by: string): Promise<Knowledge> => {
    const backbone = await backbones.get(store.stations.get(stationId).backboneId);
    const { readExportHeader } = await import('../learning/knowledge-export.ts');
    const { header } = await readExportHeader(file);
    if (header.backboneSha256 !== backbone.sha256) {
      throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', { found: header.backboneId, needed: backbone.id });
    }
    refuseOtherMark(store, file, header);
    const { source, bodySha256 } = header;
    const ours = merged.homeId();
    // Its images can be told apart here, and only a merge does that.
    const known = store.stations.list().find(({ id }) => source?.home === ours && source.station === id);
    if (known !== undefined && known.id !== stationId) {
      throw new AppError('CONFLICT', {
        what: `knowledge of station ${known.name}`,
        state: 'of this data folder',
        needed: 'a merge with that station, without a file',
      });
    }
    const name = !source
      ? bodySha256
      : source.home === ours
        ? `station-${source.station}`
        : `home-${source.home}-${source.station}`;
    const place = join(addedDir(store.home, stationId, backbone.id), `${name}.knowledge`);
    const taken = new Map([[nameOf({ home: ours, station: stationId }), 'this station']]);
    for (const other of await addedFiles(store.home, stationId, backbone.id)) {
      const before = (await readExportHeader(other)).header;
      if (before.bodySha256 === bodySha256) throw new AppError('ALREADY_EXISTS', { kind: 'knowledge', id: file });
      if (other !== place) for (const station of stationsIn(before)) taken.set(station, 'what was added before');
    }
    for (const station of stationsIn(header)) {
      const where = taken.get(station);
      if (where === undefined) continue;
      throw new AppError('CONFLICT', {
        what: `knowledge of station ${station.split(' ')[1]}`,
        state: `already in ${where}`,
        needed: 'a file with the images of other stations only',
      });
    }
    await addClasses(file, header.classes, backbone, by);
    return takeIn(
      store,
      place,
      (made) => copyFile(file, made),
      () => update(job, stationId, by, { note: noteOf('knowledge.import', by, { stationId, file, bodySha256 }) }),
    );
  };

  /** Names of classes whose kept sums differ from sums made anew. NO_KNOWLEDGE, KNOWLEDGE_OF_OTHER_BACKBONE, CONFLICT. */
  const check = async (job: JobWork, stationId: string): Promise<string[]> => {
    const station = store.stations.get(stationId);
    // Of another backbone or recipe there are no sums that it could compare: nothing looked at is nothing found.
    currentKnowledge(store, station);
    const backbone = await backbones.get(station.backboneId);
    const images = (await samplesOf(store, station)).filter(({ row }) => row >= 0);
    const { differing } = await withTrainer(context, job, (trainer) =>
      trainer.call(
        'trainer.check',
        {
          backbone,
          images,
          threads: context.trainerThreads,
          featureFile: featureFileOf(store.home, backbone.id),
          statisticsDir: sumsDir(store.home, stationId, backbone.id),
        },
        { signal: job.signal },
      ),
    );
    return differing;
  };

  return {
    handlers: {
      async 'knowledge.export'({ stationId, file }, session) {
        store.stations.get(stationId);
        await checkTarget(store.home, file, isExport);
        return jobs.start(
          { kind: 'update', stationId, session, firstStep: { key: 'update.solve', details: {} } },
          async (job) => {
            // While it waited for its turn, somebody's file may have come there.
            await checkTarget(store.home, file, isExport);
            await merged.exportAll(job, stationId, file, actor(session));
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
      async 'knowledge.check'({ stationId }, session) {
        store.stations.get(stationId);
        return jobs.start(
          { kind: 'update', stationId, session, firstStep: { key: 'update.check', details: {} } },
          (job) => check(job, stationId),
        );
      },
    },
  };
};
