import { readdir, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, isAppError, problemOf } from '../../contract/errors.ts';
import { decodeImage } from '../../vision/decode.ts';
import type { Camera, CameraListener, FrameSink } from '../camera.ts';
import type { FolderCameraOptions, FolderConfig } from './camera.ts';
import { isClutter } from '../../vision/clutter.ts';

/**
 * The newest file of a watched folder, for whoever sets a station up: nothing is taken, moved or remembered, so the line finds every
 * file as if nobody had looked.
 */
export function createNewestFile(
  config: FolderConfig,
  { cameraId, maxPixels }: Pick<FolderCameraOptions, 'cameraId' | 'maxPixels'>,
): Camera {
  const stop = new AbortController();
  const { signal } = stop;
  let running: Promise<void> = Promise.resolve();

  const newest = async (): Promise<{ name: string; mark: string } | null> => {
    const entries = await readdir(config.path, { withFileTypes: true });
    let found: { name: string; mark: string; mtimeMs: number } | null = null;
    for (const { name } of entries.filter((entry) => entry.isFile() && !isClutter(entry.name))) {
      // Gone again between listing and looking.
      const info = await stat(join(config.path, name)).catch(() => null);
      if (info === null || (found !== null && info.mtimeMs < found.mtimeMs)) continue;
      found = { name, mark: `${name} ${info.size} ${info.mtimeMs}`, mtimeMs: info.mtimeMs };
    }
    return found;
  };

  const run = async (sink: FrameSink, listener: CameraListener) => {
    let shown = '';
    let told = '';
    while (!signal.aborted) {
      try {
        const file = await newest();
        if (told !== 'delivering') listener.onState({ kind: 'delivering' });
        told = 'delivering';
        if (file !== null && file.mark !== shown) {
          shown = file.mark;
          const { image, notes } = await decodeImage(join(config.path, file.name), { name: file.name, maxPixels });
          if (!sink.offer({ image, capturedAt: new Date(), notes, source: file.name })) shown = '';
        }
      } catch (error) {
        if (isAppError(error)) listener.onTrouble(error);
        else {
          const details = { cameraId, problem: `${config.path}: ${problemOf(error)}` };
          const problem = new AppError('CAMERA_LOST', details, { cause: error });
          if (told !== problem.message) listener.onState({ kind: 'lost', problem });
          told = problem.message;
          shown = '';
        }
      }
      await sleep(config.pollMs, undefined, { signal }).catch(() => {});
    }
  };

  const dispose = async () => {
    stop.abort();
    await running;
  };
  return {
    async open(sink, listener) {
      if (!isAbsolute(config.path))
        throw new AppError('CAMERA_CONFIG', { cameraId, problem: `"${config.path}" is not an absolute path` });
      running = run(sink, listener);
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}
