import { asAppError, isAppError } from '../../contract/errors.ts';
import type { Logger } from '../../contract/log.ts';
import type { Inspector } from '../../inspection/inspector.ts';
import { openApprovedModel } from './active-model.ts';
import type { Lane } from '../../contract/lane.ts';
import type { LineState, Setup } from './line-state.ts';
import type { Problems } from './problems.ts';
import type { LineThreads } from './threads.ts';

/** The model that judges, exchanged between two parts. */
export interface ModelSlot {
  readonly model: Inspector | null;
  /** Folder it was asked for from, whether it passed its check or not. */
  readonly bundleDir: string | null;
  /** A bundle that fails its check does not inspect, whatever ran before: every part is unsure until one passes. */
  take(at: Setup, bundleDir: string | null): Promise<void>;
  /** A bundle that fails its check leaves the model that runs in place. @throws NOT_APPROVED, BUNDLE_ALTERED, MODEL_UNREADABLE */
  swap(at: Setup, bundleDir: string): Promise<void>;
  dispose(): Promise<void>;
}

/** @param between runs between two parts. */
export function createModelSlot(
  line: LineState,
  { between, threads, problems, log }: { between: Lane; threads: LineThreads; problems: Problems; log: Logger },
): ModelSlot {
  let model: Inspector | null = null;
  let bundleDir: string | null = null;
  let threadsOfModel = 0;
  const use = (next: Inspector | null, from: string | null) =>
    between(async () => {
      const before = model;
      model = next;
      bundleDir = from;
      threads.records({ kind: 'model', modelId: next?.card.id ?? null });
      threads.lineio({ kind: 'model', modelId: next?.card.id ?? null });
      problems.set('model', null);
      line.changed = true;
      if (before !== next) await before?.dispose();
    });
  const open = async (at: Setup, dir: string) => {
    const count = at.station.threads;
    const loaded = model ? { model, threads: threadsOfModel } : null;
    const opened = await openApprovedModel(
      { home: at.home, stationId: at.station.id, bundleDir: dir, threads: count },
      loaded,
    );
    threadsOfModel = count;
    return opened;
  };
  return {
    get model() {
      return model;
    },
    get bundleDir() {
      return bundleDir;
    },
    async take(at, dir) {
      if (dir === null) return await use(null, null);
      try {
        await use(await open(at, dir), dir);
      } catch (error) {
        await use(null, dir);
        if (!isAppError(error)) log.error('model not opened', { bundleDir: dir, error });
        problems.set('model', asAppError(error, 'line'));
      }
    },
    async swap(at, dir) {
      await use(await open(at, dir), dir);
    },
    async dispose() {
      await between(() => {});
      await model?.dispose();
      model = null;
    },
  };
}
