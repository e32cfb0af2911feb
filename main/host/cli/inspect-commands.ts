import { readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { verifyActiveBundle } from '../../audit/activation.ts';
import { AppError } from '../../contract/errors.ts';
import type { Recipe } from '../../contract/domain.ts';
import { benchInspect } from '../../inspection/bench.ts';
import { inspectFiles } from '../../inspection/files.ts';
import { openInspector } from '../../inspection/inspector.ts';
import { isFree } from '../../store/home.ts';
import type { CoreClient } from './accounts.ts';
import { withCore } from './core-client.ts';
import { ensureDemo } from './demo.ts';
import { wholeNumber, type Action, type Context } from './context.ts';
import { EXIT, format, UsageError } from './output.ts';

interface InspectOptions {
  model?: string;
  station?: string;
  demo?: boolean;
}

/** A bundle to judge with, and whether it may only be tried. */
export interface ChosenModel {
  bundleDir: string;
  /** Whose active model it is; null: only tried. */
  stationId: string | null;
  /** The station's, for a model that names none of its own. */
  recipe: Recipe | null;
  trial: boolean;
}

export function addInspectCommands(program: Command, action: Action, exitWith: (code: number) => void): void {
  program
    .command('inspect <path>')
    .description('judge an image file, or all of a folder, with the active model')
    .option(
      '--model <file|id>',
      'try this model instead: a bundle folder, its model.onnx, or a candidate of the data folder',
    )
    .option('--station <id>', 'station (default: the only one that has an active model)')
    .option('--demo', 'with a small model of the simulated line, in an empty data folder')
    .action(
      action(async (context: Context, path: string, options: InspectOptions) => {
        const model = await chooseModel(context, options);
        const inspector = await openInspector({ bundleDir: model.bundleDir, threads: context.threads });
        try {
          const records = await inspectFiles(resolve(path), {
            inspector,
            recipe: model.recipe,
            signal: context.signal,
            onProgress: context.out.progress,
          });
          const list = model.trial ? records.map((record) => ({ ...record, trial: true })) : records;
          context.out.result(list, (rows) =>
            rows.length === 0
              ? `There is no file in ${path}.`
              : format.table(
                  rows.map((r) =>
                    'error' in r
                      ? [r.file, 'ERROR', r.error.message]
                      : [
                          r.file,
                          r.verdict.toUpperCase(),
                          `${r.className ?? '-'} ${r.confidence.toFixed(2)} (${r.model})`,
                        ],
                  ),
                ),
          );
          if (!list.some((record) => !('error' in record))) exitWith(EXIT.failed);
        } finally {
          await inspector.dispose();
        }
      }),
    );

  program
    .command('bench')
    .description('measurements on this PC')
    .command('inspect')
    .description('what the pipeline adds to the bare model run')
    .option('--model <file|id>', 'bundle folder, model.onnx, or candidate')
    .option('--station <id>', 'station (default: the only one that has an active model)')
    .option('--pairs <n>', 'alternating pairs', wholeNumber(10, 1_000_000), 1000)
    .option('--demo', 'with a small model of the simulated line, in an empty data folder')
    .action(
      action(async (context: Context, options: InspectOptions & { pairs: number }) => {
        const model = await chooseModel(context, options);
        const result = await benchInspect({
          bundleDir: model.bundleDir,
          pairs: options.pairs,
          threads: context.threads,
          signal: context.signal,
        });
        context.out.result(result, (r) =>
          format.table([
            ['', 'p50 ms', 'p99 ms'],
            ['bare', r.bareMsP50.toFixed(3), r.bareMsP99.toFixed(3)],
            ['pipeline', r.pipelineMsP50.toFixed(3), r.pipelineMsP99.toFixed(3)],
          ]),
        );
      }),
    );
}

/**
 * The model that a command works with: the one asked for, to be tried, or the active one, its approval checked.
 * @throws NO_ACTIVE_MODEL, NOT_APPROVED, BUNDLE_ALTERED, NOT_FOUND, UsageError where several stations have one and none is named
 */
export async function chooseModel(context: Context, options: InspectOptions): Promise<ChosenModel> {
  if (options.demo === true) await ensureDemo(context);
  if (options.model !== undefined) {
    const dir = await bundleFolder(options.model);
    if (dir) return { bundleDir: dir, recipe: null, stationId: null, trial: true };
  }
  if (options.model === undefined && isFree(context.home))
    throw new AppError('NO_ACTIVE_MODEL', { stationId: options.station ?? '-' });
  return await withCore(context, async (client) => {
    const state = await client.call('session.state', {});
    if (options.model !== undefined) {
      const candidate = await client.call('candidates.show', { candidateId: options.model });
      const station = (await client.call('stations.list', {})).find((s) => s.id === candidate.stationId);
      const bundleDir = join(context.home, 'bundles', candidate.id);
      return { bundleDir, recipe: station?.recipe ?? null, stationId: null, trial: true };
    }
    const station = await activeStation(client, options.station);
    const bundleDir = join(context.home, 'bundles', station.activeModelId);
    // The database row alone makes no model active: what is signed is checked here as on the line.
    const rootPublicKey = await readFile(join(context.home, 'trust', 'root.pub'), 'utf8');
    const { home } = context;
    await verifyActiveBundle({ home, bundleDir, rootPublicKey, demo: state.demo, stationId: station.id });
    return { bundleDir, recipe: station.recipe, stationId: station.id, trial: false };
  });
}

async function activeStation(client: CoreClient, asked: string | undefined) {
  const stations = await client.call('stations.list', {});
  const active = stations.filter(({ activeModelId }) => activeModelId !== null);
  if (asked === undefined && active.length > 1)
    throw new UsageError('--station', `it must name one of ${active.map(({ id }) => id).join(', ')}`);
  const station =
    asked === undefined ? (active[0] ?? stations[0]) : stations.find((s) => s.id === asked || s.name === asked);
  if (!station) throw new AppError('NO_ACTIVE_MODEL', { stationId: asked ?? '-' });
  if (station.activeModelId === null) throw new AppError('NO_ACTIVE_MODEL', { stationId: station.id });
  return { ...station, activeModelId: station.activeModelId };
}

/** Folder of a bundle that is named by itself or by its model.onnx; null if `name` is no path of one. */
async function bundleFolder(name: string): Promise<string | null> {
  const path = resolve(name);
  const info = await stat(path).catch(() => null);
  if (!info) return null;
  return info.isDirectory() ? path : dirname(path);
}
