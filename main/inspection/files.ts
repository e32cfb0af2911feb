import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Recipe, Verdict } from '../contract/domain.ts';
import { AppError, isAppError } from '../contract/errors.ts';
import { decodeImage } from '../vision/decode.ts';
import { wholeFrame, type Inspector } from './inspector.ts';
import { isClutter } from '../vision/clutter.ts';
import { recipeOf } from '../vision/tiles.ts';

/** One judged file, as the command line prints it. */
export interface FileRecord {
  file: string;
  verdict: Verdict;
  unsureReason: string | null;
  classId: string | null;
  /** English name. */
  className: string | null;
  confidence: number;
  margin: number;
  novelty: number;
  /** Id of the model that judged. */
  model: string;
  /** From the decoded picture to the verdict. */
  ms: number;
  notes: string[];
}
export interface FileFailure {
  file: string;
  error: { code: string; message: string };
}

export interface InspectFilesOptions {
  inspector: Inspector;
  /** The station's, for a model that names none of its own; null: the whole frame. */
  recipe: Recipe | null;
  signal?: AbortSignal;
  onProgress?: (line: string) => void;
}

/** Files of a folder and below, by name; what is no picture of anybody's is left out. A file is itself. */
async function filesOf(path: string): Promise<string[]> {
  const info = await stat(path).catch(() => null);
  if (!info?.isDirectory()) return [path];
  const entries = await readdir(path, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => !entry.isDirectory() && !isClutter(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/**
 * Judges files without touching archive, queue or line: one record per file, in order of name. What cannot be read or judged is
 * a failure of that file alone.
 * @throws CANCELLED
 */
export async function inspectFiles(
  paths: string | readonly string[],
  { inspector, recipe, signal, onProgress }: InspectFilesOptions,
): Promise<(FileRecord | FileFailure)[]> {
  const files = (await Promise.all((typeof paths === 'string' ? [paths] : paths).map(filesOf))).flat();
  const { card } = inspector;
  const used = recipeOf(card, recipe ?? wholeFrame);
  const names = new Map(card.classes.map((c) => [c.id, c.names.en]));
  const records: (FileRecord | FileFailure)[] = [];
  for (const file of files) {
    if (signal?.aborted) throw new AppError('CANCELLED');
    try {
      const { image, notes } = await decodeImage(file, { name: file, maxPixels: used.maxPixels });
      let failure: AppError | null = null;
      const judged = await inspector.inspect(image, { recipe: used, onError: (error) => (failure = error) });
      if (failure) throw failure;
      records.push({
        file,
        verdict: judged.verdict,
        unsureReason: judged.unsureReason,
        classId: judged.classId,
        className: judged.classId === null ? null : (names.get(judged.classId) ?? judged.classId),
        confidence: judged.confidence,
        margin: judged.margin,
        novelty: judged.novelty,
        model: card.id,
        ms: judged.latencyMs,
        notes,
      });
    } catch (error) {
      if (!isAppError(error)) throw error;
      records.push({ file, error: { code: error.code, message: error.message } });
    }
    onProgress?.(`${records.length} / ${files.length}`);
  }
  return records;
}
