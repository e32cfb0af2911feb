import { rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { createHash } from 'node:crypto';
import type { Station } from '../contract/domain.ts';
import { AppError } from '../contract/errors.ts';
import type { LabelledImage } from '../contract/trainer.ts';
import type { ExportHeader } from '../learning/knowledge-export.ts';
import { syncFile } from '../store/files.ts';
import type { Store } from '../store/open.ts';
import type { Backbones } from './backbones.ts';
import { classSuccessors } from './class-successors.ts';
import type { CoreContext } from './context.ts';
import { currentKnowledge } from './current-knowledge.ts';
import { featureFileOf } from './feature-file.ts';
import type { JobWork } from './jobs.ts';
import { addedFiles, sumsDir } from './knowledge-folders.ts';
import { addCounts, countByUser, giversAt } from './labelled-by.ts';
import { samplesOf } from './samples.ts';
import { withTrainer } from './trainer.ts';

/*
 * Sums that stations of this home merge from each other. Such a file names its images: one that the taking station labels later, or that its golden set judges by, is taken out before the sums are
 * used again, for in both places it would count twice, or judge what it taught. Of a file from another home nobody can tell.
 */

export interface MergedSums {
  /** Tells homes apart, and says nothing of them. */
  homeId(): string;
  /** All that a station knows, what it took in from others with it. NO_KNOWLEDGE, KNOWLEDGE_OF_OTHER_BACKBONE, CONFLICT. */
  exportAll(job: JobWork, stationId: string, file: string, by: string): Promise<void>;
  /** Own images of `fromId` for a station, but those that it has itself. `place`: where the file will lie. NO_KNOWLEDGE, KNOWLEDGE_OF_OTHER_BACKBONE, CONFLICT. */
  exportFor(job: JobWork, stationId: string, fromId: string, file: string, place: string): Promise<void>;
  /**
   * What others gave a station, without its own images; taking them out is an entry of the trail. A file of which nothing is left goes.
   * @throws CONFLICT the other station has to learn anew first
   */
  settle(job: JobWork, stationId: string, by: string): Promise<string[]>;
}

const shasOf = (images: readonly LabelledImage[]): Set<string> => new Set(images.map(({ sha }) => sha));

interface MergedFile {
  file: string;
  from: Station;
  header: ExportHeader;
}

const mergedFiles = async (store: Store, stationId: string, backboneId: string): Promise<MergedFile[]> => {
  const { readExportHeader } = await import('../learning/knowledge-export.ts');
  const stations = new Map(store.stations.list().map((station) => [`station-${station.id}.knowledge`, station]));
  const merged: MergedFile[] = [];
  for (const file of await addedFiles(store.home, stationId, backboneId)) {
    const from = stations.get(basename(file));
    if (from !== undefined) merged.push({ file, from, header: (await readExportHeader(file)).header });
  }
  return merged;
};

/** Images of other stations of this home in what a station took in, sorted; of a file that names none, what that station has labelled. */
export const mergedImages = async (store: Store, stationId: string, backboneId: string): Promise<string[]> => {
  const found = new Set<string>();
  for (const { from, header } of await mergedFiles(store, stationId, backboneId)) {
    for (const sha of header.images ?? store.labels.list(from.id).map(({ imageSha }) => imageSha)) found.add(sha);
  }
  return [...found].toSorted();
};

/**
 * Who gave the labels of those images, by user id, as it was when they were summed: what is taken away at the other station afterwards is in the sums still. Of a file that
 * does not say so, whoever gave those of today. Of a file from another home nobody knows.
 */
export const mergedLabellers = async (
  store: Store,
  stationId: string,
  backboneId: string,
): Promise<Record<string, number>> => {
  const today = ({ from, header: { images } }: MergedFile) => {
    const named = images && new Set(images);
    const labels = store.labels.list(from.id).filter(({ imageSha }) => named?.has(imageSha) ?? true);
    return countByUser(labels.map(({ userId }) => userId));
  };
  const files = await mergedFiles(store, stationId, backboneId);
  return addCounts(files.map((merged) => merged.header.labelledBy ?? today(merged)));
};

export const createMergedSums = (context: CoreContext, backbones: Pick<Backbones, 'get'>): MergedSums => {
  const { store } = context;

  const homeId = (): string => createHash('sha256').update(context.keys.rootPublicKey()).digest('hex').slice(0, 32);

  const ownImages = (stationId: string): Set<string> =>
    new Set([
      ...store.labels.list(stationId).map(({ imageSha }) => imageSha),
      ...store.golden.list(stationId).map(({ sha }) => sha),
    ]);

  /** Labels that no update has learnt yet have no features. */
  const learntBy = async (station: Station): Promise<LabelledImage[]> =>
    (await samplesOf(store, station)).filter(({ row }) => row >= 0);

  const write = async (
    job: JobWork,
    { id, backboneId, recipe, criteria }: Station,
    file: string,
    contents: {
      images: LabelledImage[];
      exports: string[];
      labelledBy: Record<string, number> | null;
      lambda: number;
      balancing: number;
    },
  ): Promise<void> => {
    const { lambda, balancing, images, exports, labelledBy } = contents;
    const backbone = await backbones.get(backboneId);
    await withTrainer(context, job, (trainer) =>
      trainer.call(
        'trainer.export',
        {
          backbone,
          recipe,
          classes: store.classes.list(),
          images,
          criteria,
          threads: context.trainerThreads,
          outDir: dirname(file),
          featureFile: featureFileOf(store.home, backbone.id),
          statisticsDir: sumsDir(store.home, id, backbone.id),
          exports,
          successors: classSuccessors(store),
          labelledBy,
          lambda,
          balancing,
          file,
          source: { home: homeId(), station: id },
          demo: store.demo,
        },
        { signal: job.signal },
      ),
    );
  };

  /** Writes a file again without some images; gives those that stay. */
  const takeOut = async (
    job: JobWork,
    { file, from, header }: MergedFile,
    taken: ReadonlySet<string>,
  ): Promise<string[]> => {
    const named = header.images && new Set(header.images);
    const labelledBy = giversAt(store, from.id);
    const wanted = (await samplesOf(store, from)).filter(({ sha }) => !taken.has(sha) && (named?.has(sha) ?? true));
    const images = wanted.filter(({ row }) => row >= 0);
    // Other views than those that were summed: what is known would go without a word.
    if (named ? images.length < wanted.length : images.length === 0 && wanted.length > 0) {
      throw new AppError('CONFLICT', {
        what: `knowledge of station ${from.name}`,
        state: 'with pictures of this station in it, and not learnt anew there since its labels or views changed',
        needed: `an update of station ${from.name} first`,
      });
    }
    if (images.length === 0) await rm(file, { force: true });
    else {
      const { lambda, balancing } = header;
      await write(job, from, file, { images, exports: [], labelledBy: labelledBy(shasOf(images)), lambda, balancing });
      await syncFile(file);
    }
    return [...shasOf(images)];
  };

  const settle: MergedSums['settle'] = async (job, stationId, by) => {
    const { backboneId } = store.stations.get(stationId);
    const taken = ownImages(stationId);
    for (const merged of await mergedFiles(store, stationId, backboneId)) {
      const { from, header } = merged;
      // Imported before this was a merge's matter: images of third stations are in it, and cannot be told apart.
      if (header.includes.length > 0) continue;
      let left = header.images;
      if (left === undefined || left.some((sha) => taken.has(sha))) {
        const before = left?.length;
        // Features are kept per backbone: the other station may have changed to another since.
        left = await takeOut(job, { ...merged, from: { ...from, backboneId } }, taken);
        const details = { fromStationId: from.id, ...(before !== undefined && { before }), left: left.length };
        store.transaction(() =>
          store.audit.append({ user: by, action: 'knowledge.takeOut', subject: stationId, details }),
        );
      }
      for (const sha of left) taken.add(sha);
    }
    return addedFiles(store.home, stationId, backboneId);
  };

  return {
    homeId,
    settle,
    async exportAll(job, stationId, file, by) {
      const station = store.stations.get(stationId);
      const { lambda, balancing } = currentKnowledge(store, station);
      const exports = await settle(job, stationId, by);
      await write(job, station, file, {
        lambda,
        balancing,
        exports,
        images: await learntBy(station),
        labelledBy: null,
      });
    },
    async exportFor(job, stationId, fromId, file, place) {
      const { backboneId } = store.stations.get(stationId);
      const from = store.stations.get(fromId);
      if (from.backboneId !== backboneId) {
        throw new AppError('KNOWLEDGE_OF_OTHER_BACKBONE', { found: from.backboneId, needed: backboneId });
      }
      const { lambda, balancing } = currentKnowledge(store, from);
      const taken = ownImages(stationId);
      for (const other of await mergedFiles(store, stationId, backboneId)) {
        if (other.file !== place) for (const sha of other.header.images ?? []) taken.add(sha);
      }
      const labelledBy = giversAt(store, from.id);
      const images = (await learntBy(from)).filter(({ sha }) => !taken.has(sha));
      await write(job, from, file, { lambda, balancing, images, exports: [], labelledBy: labelledBy(shasOf(images)) });
    },
  };
};
