import { stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { BUNDLE_BYTES_AT_MOST, BUNDLE_EXTENSION } from '../contract/bundle.ts';
import { AppError, assert, fileError } from '../contract/errors.ts';
import { refuseOpenHome } from '../host/home-folder.ts';

/* What the program is started with, and the bundle files among it. No Electron here, so that it can be tested without one. */

/**
 * `--setup` applies a configuration file, `--restore` makes the empty data folder from a backup, `--check [--repair]` reads it whole.
 * Empty file: none was named.
 */
export type Task =
  { option: '--setup'; file: string } | { option: '--restore'; file: string } | { option: '--check'; repair: boolean };

export interface ShellArguments {
  /** Empty: `--home` names no folder. */
  home: string | undefined;
  demo: boolean;
  kiosk: boolean;
  /** What is done without a window; then the program ends: 0 done, 1 not. */
  tasks: readonly Task[];
  user: string | undefined;
  keychain: boolean;
  /** Whole paths of the bundle files that are named: a double click on one names it. */
  files: readonly string[];
}

const isBundleName = (name: string): boolean => name.toLowerCase().endsWith(BUNDLE_EXTENSION);

/** `argv` without the program; `folder`: where relative names begin. Chromium's switches and the folder that `electron .` is given pass by. */
export function readArguments(argv: readonly string[], folder: string): ShellArguments {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: {
      home: { type: 'string' },
      demo: { type: 'boolean' },
      kiosk: { type: 'boolean' },
      setup: { type: 'string' },
      restore: { type: 'string' },
      check: { type: 'boolean' },
      repair: { type: 'boolean' },
      user: { type: 'string' },
      keychain: { type: 'boolean' },
    },
    strict: false,
    allowPositionals: true,
  });
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return {
    home: values.home === undefined ? undefined : (text(values.home) ?? ''),
    demo: values.demo === true,
    kiosk: values.kiosk === true,
    tasks: [
      ...fileTask('--setup', values.setup),
      ...fileTask('--restore', values.restore),
      ...(values.check === true ? [{ option: '--check' as const, repair: values.repair === true }] : []),
    ],
    user: text(values.user),
    keychain: values.keychain === true,
    files: positionals.filter(isBundleName).map((name) => resolve(folder, name)),
  };
}

/**
 * Of `--home "$DIR"` with no DIR nothing is left, and `--home $DIR --restore FILE` names a folder `--restore`: what was meant is neither that nor the
 * application-data folder.
 * @returns INVALID_INPUT; null: a folder is named, or none was to be
 */
export const whyNoHome = ({ home }: ShellArguments): AppError | null =>
  home === undefined || /^[^-\s]/.test(home.trim())
    ? null
    : new AppError('INVALID_INPUT', { what: '--home', problem: 'it names no folder' });

const fileTask = (option: '--setup' | '--restore', value: unknown): Task[] =>
  value === undefined ? [] : [{ option, file: typeof value === 'string' ? value : '' }];

/**
 * The one task of this start, refused before anything is started: nobody sees a window that would tell it.
 * @param alone whether no other Mekiki of this account has a window on the home
 * @throws INVALID_INPUT where no file is named, or another task beside it; HOME_IN_USE
 */
export function soleTask([task, another]: readonly Task[], { home, alone }: { home: string; alone: boolean }): Task {
  assert(task !== undefined, 'a task was asked for');
  if (another !== undefined)
    throw new AppError('INVALID_INPUT', { what: another.option, problem: `it cannot go with ${task.option}` });
  if ('file' in task && task.file === '')
    throw new AppError('INVALID_INPUT', { what: task.option, problem: 'it names no file' });
  refuseOpenHome(home, alone);
  return task;
}

const secondStartSchema = z.object({ files: z.array(z.string().min(1).max(4096)).max(64) });
/** What a second start hands to the program that runs; Chromium mixes up the order of its arguments, so they do not go as such. */
export type SecondStart = z.infer<typeof secondStartSchema>;

/** Any program of this account may send this. Whatever is not a list of whole paths to bundles asks for the window alone. */
export function filesOfSecondStart(data: unknown): readonly string[] {
  const parsed = secondStartSchema.safeParse(data);
  return parsed.success ? parsed.data.files.filter((file) => isAbsolute(file) && isBundleName(file)) : [];
}

/**
 * The one file of them that the page may ask about; null: none was named. Nothing of it is read here: what it is, the core tells to
 * whoever has signed in. INVALID_INPUT, NOT_FOUND.
 */
export async function bundleToOpen(files: readonly string[]): Promise<string | null> {
  const [file, second] = files;
  if (file === undefined) return null;
  if (second !== undefined)
    throw new AppError('INVALID_INPUT', { what: file, problem: 'one bundle can be opened at a time' });
  let found;
  try {
    found = await stat(file);
  } catch (cause) {
    throw fileError('bundle file', file, cause);
  }
  if (!found.isFile()) throw new AppError('INVALID_INPUT', { what: file, problem: 'it is no file' });
  if (found.size > BUNDLE_BYTES_AT_MOST)
    throw new AppError('INVALID_INPUT', { what: file, problem: 'it is too large for a bundle' });
  return file;
}
