import { stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { BUNDLE_BYTES_AT_MOST, BUNDLE_EXTENSION } from '../contract/bundle.ts';
import { AppError, problemOf } from '../contract/errors.ts';

/* What the program is started with, and the bundle files among it. No Electron here, so that it can be tested without one. */

export interface ShellArguments {
  home: string | undefined;
  demo: boolean;
  kiosk: boolean;
  /** Applies a configuration file, without a window, and ends: 0 done, 1 not. Empty: asked for, and no file named. */
  setup: string | undefined;
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
      user: { type: 'string' },
      keychain: { type: 'boolean' },
    },
    strict: false,
    allowPositionals: true,
  });
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return {
    home: text(values.home),
    demo: values.demo === true,
    kiosk: values.kiosk === true,
    setup: values.setup === true ? '' : text(values.setup),
    user: text(values.user),
    keychain: values.keychain === true,
    files: positionals.filter(isBundleName).map((name) => resolve(folder, name)),
  };
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
 * whoever has signed in. INVALID_INPUT, NOT_FOUND, BUNDLE_ALTERED.
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
    throw new AppError('NOT_FOUND', { kind: 'bundle file', id: file, problem: problemOf(cause) }, { cause });
  }
  if (!found.isFile()) throw new AppError('INVALID_INPUT', { what: file, problem: 'it is no file' });
  if (found.size > BUNDLE_BYTES_AT_MOST) throw new AppError('BUNDLE_ALTERED', { file, problem: 'it is too large' });
  return file;
}
