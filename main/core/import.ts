import { readdir, stat } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { AppError, isAppError, problemOf } from '../contract/errors.ts';
import type { Station } from '../contract/domain.ts';
import { unsure } from '../inspection/decide.ts';
import { byCodeUnit } from '../learning/dataset.ts';
import { isClutter } from '../vision/clutter.ts';
import { decodeImage, encodePng } from '../vision/decode.ts';
import type { PixelImage } from '../vision/image.ts';
import type { ClassService } from './classes.ts';
import { actor, type CoreContext, type HandlersOf } from './context.ts';
import { usefulnessOf } from './ingest.ts';
import type { JobService, JobWork } from './jobs.ts';
import type { LabelService } from './labels.ts';
import type { Session } from './port.ts';

export interface ImportSource {
  /** What messages call it. */
  name: string;
  /** Where it came from, kept with the part; null: it was drawn. */
  file: string | null;
  /** Folder name; null: no label. */
  className: string | null;
  /** Pixels and conversions. IMAGE_UNREADABLE, IMAGE_TOO_LARGE, IMAGE_ANIMATED. */
  load(): Promise<{ image: PixelImage; notes: string[] }>;
}

export interface ImportService {
  handlers: HandlersOf<'import.start'>;
  /** Takes images in as parts, labels those that have a class; gives the parts' ids. Bad files are skipped by name. */
  take(
    job: JobWork,
    station: Station,
    images: { total: number; sources: Iterable<ImportSource> },
    by: { session: Session | null; userId: string },
  ): Promise<number[]>;
}

/** Ids given as the job's result. */
const RESULTS = 1_000;

/** Of a picture that no line has seen. */
export const importedUnjudged = unsure('no-model', { modelId: null, latencyMs: 0 });

type FoundFile = { file: string; name: string; className: string | null };

/** One file, `<path>/*`, or `<path>/<class>/*`. DATASET_EMPTY when there is nothing to take; NOT_FOUND for a path that is not there. */
export const listSources = async (path: string, asLabels: boolean): Promise<FoundFile[]> => {
  const found = await stat(path).catch((cause: unknown) => {
    throw new AppError('NOT_FOUND', { kind: 'folder', id: path }, { cause });
  });
  if (found.isFile()) {
    if (asLabels) throw new AppError('DATASET_EMPTY', { path });
    return [{ file: path, name: basename(path), className: null }];
  }
  const sources: FoundFile[] = [];
  const walk = async (folder: string, className: string | null, deeper: boolean): Promise<void> => {
    const entries = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !isClutter(name));
    for (const entry of entries.toSorted((a, b) => byCodeUnit(a.name, b.name))) {
      const file = join(folder, entry.name);
      if (entry.isDirectory() && deeper) await walk(file, asLabels ? (className ?? entry.name) : null, true);
      else if (entry.isFile() && (className !== null || !asLabels)) {
        sources.push({ file, name: relative(path, file).replaceAll('\\', '/'), className });
      }
    }
  };
  await walk(path, null, true);
  if (sources.length === 0) throw new AppError('DATASET_EMPTY', { path });
  return sources;
};

export const createImportService = (
  context: CoreContext,
  { jobs, labels, classes }: { jobs: JobService; labels: LabelService; classes: ClassService },
): ImportService => {
  const { store } = context;

  const take: ImportService['take'] = async (job, station, { total, sources }, { session, userId }) => {
    const partIds: number[] = [];
    /** Class of each picture of this import: one picture in two folders is a contradiction. */
    const seen = new Map<string, string | null>();
    const classIds = new Map<string, string>();
    let skipped = 0;
    let relabelled = 0;
    const startedAt = performance.now();
    const takeOne = async ({ file, name, className, load }: ImportSource): Promise<number> => {
      let classId: string | null = null;
      if (className !== null) {
        classId = classIds.get(className) ?? classes.forFolder(className, session).id;
        classIds.set(className, classId);
      }
      const { image, notes } = await load();
      const imageSha = await store.images.put(await encodePng(image));
      store.images.keep(imageSha);
      const before = seen.get(imageSha);
      if (before !== undefined && before !== className) {
        throw new AppError('CONTRADICTING_LABELS', { classes: `${before}, ${className}`, file: name });
      }
      seen.set(imageSha, className);
      return store.transaction(() => {
        const known = store.parts.byImage(station.id, imageSha);
        const { width, height } = image;
        const partId =
          known?.id ??
          store.parts.insert({
            stationId: station.id,
            origin: 'import',
            seq: 0,
            at: context.now().toISOString(),
            imageSha,
            width,
            height,
            judgement: importedUnjudged,
            notes,
            source: file,
          });
        if (classId === null) {
          if (known === null)
            store.queue.put(partId, station.id, 'imported', usefulnessOf('imported', importedUnjudged), null);
          // What is labelled so already stays as it is: who said so, and where somebody saw the defect.
        } else if (store.labels.get(station.id, imageSha)?.classId !== classId) {
          const given = { classId, boxes: [] };
          const changes = labels.label([partId], given.classId, given.boxes, userId);
          // Beside the label, and not once at the end: an import that is cut off has labelled all the same.
          labels.note(changes, given, session, { imported: name });
          relabelled += changes.filter(({ labelBefore }) => labelBefore !== null).length;
        }
        return partId;
      });
    };
    let done = 0;
    for (const source of sources) {
      job.signal.throwIfAborted();
      try {
        partIds.push(await takeOne(source));
      } catch (error) {
        // A full disk stops the import; a bad picture only itself.
        if (isAppError(error, 'DISK_FULL') || isAppError(error, 'HOME_NOT_WRITABLE')) throw error;
        skipped += 1;
        const known = isAppError(error) ? error : null;
        job.skip(
          source.name,
          known ?? new AppError('IMAGE_UNREADABLE', { file: source.name, problem: problemOf(error) }, { cause: error }),
        );
      }
      done += 1;
      const secondsLeft = ((performance.now() - startedAt) / 1000 / done) * (total - done);
      const details = { done, total, imported: partIds.length, skipped, relabelled };
      job.progress(done / total, { key: 'import.reading', details }, secondsLeft);
    }
    context.emit('queue.changed', { stationId: station.id, total: store.queue.count(station.id) });
    return partIds;
  };

  return {
    take,
    handlers: {
      async 'import.start'({ stationId, path, asLabels }, session) {
        const station = store.stations.get(stationId);
        const files = await listSources(path, asLabels);
        const { maxPixels } = station.recipe;
        const sources = files.map((found) => ({
          ...found,
          load: () => decodeImage(found.file, { name: found.name, maxPixels }),
        }));
        return jobs.start(
          {
            kind: 'import',
            stationId,
            session,
            firstStep: {
              key: 'import.reading',
              details: { done: 0, total: sources.length, imported: 0, skipped: 0, relabelled: 0 },
            },
          },
          async (job) => {
            const partIds = await take(
              job,
              station,
              { total: sources.length, sources },
              { session, userId: session.user?.id ?? '' },
            );
            store.transaction(() =>
              store.audit.append({
                user: actor(session),
                action: 'import.start',
                subject: path,
                details: { stationId, asLabels, imported: partIds.length, files: sources.length },
              }),
            );
            return partIds.slice(0, RESULTS).map(String);
          },
        );
      },
    },
  };
};
