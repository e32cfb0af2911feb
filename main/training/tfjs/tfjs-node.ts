import { readFileSync, realpathSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { AppError, problemOf } from '../../contract/errors.ts';

/*
 * @tensorflow/tfjs-node cannot be a dependency (its install downloads libtensorflow); where somebody installed it, it is used. It calls
 * util.isNullOrUndefined, which Node removed in 23: its modules, and no others, get a `util` that has it.
 */

const NAME = '@tensorflow/tfjs-node';
const SHIM = 'mekiki:util-with-is-null-or-undefined';

export interface TfjsNodePackage {
  /** Real path. */
  readonly folder: string;
  /** Real path of its main file, inside `folder`. */
  readonly entry: string;
  readonly version: string;
}

const inside = (folder: string, path: string): boolean => path.startsWith(folder.endsWith(sep) ? folder : folder + sep);

const unusable = (folder: string, problem: string, cause?: unknown): AppError =>
  new AppError('TFJS_NODE_UNUSABLE', { folder, problem }, cause === undefined ? undefined : { cause });

/** Reads and checks package.json and the main file; runs nothing. */
function inspect(named: string, folder: string): TfjsNodePackage {
  let real: string;
  let manifest: { name?: unknown; version?: unknown; main?: unknown };
  try {
    real = realpathSync(folder);
    manifest = JSON.parse(readFileSync(join(real, 'package.json'), 'utf8')) as typeof manifest;
  } catch (cause) {
    throw unusable(named, `its package.json cannot be read (${problemOf(cause)})`, cause);
  }
  const { name, version, main } = manifest ?? {};
  if (name !== NAME)
    throw unusable(named, `it holds ${typeof name === 'string' ? `"${name}"` : 'a package without name'}`);
  const wanted = tf.version_core;
  const minor = (of: string) => of.split('.').slice(0, 2).join('.');
  if (typeof version !== 'string' || minor(version) !== minor(wanted)) {
    throw unusable(named, `its version is ${String(version)}; ${minor(wanted)}.x is needed`);
  }
  let entry: string;
  try {
    entry = realpathSync(
      createRequire(join(real, 'package.json')).resolve(`./${typeof main === 'string' ? main : 'index.js'}`),
    );
  } catch (cause) {
    throw unusable(named, `its main file "${String(main)}" is missing`, cause);
  }
  if (!inside(real, entry)) throw unusable(named, 'its main file lies outside of it');
  return { folder: real, entry, version };
}

/**
 * The package in a folder that an engineer named: the package's own folder, or one with node_modules.
 * @throws TFJS_NODE_UNUSABLE saying what is wrong with it
 */
export function tfjsNodeIn(folder: string): TfjsNodePackage {
  let real: string;
  try {
    real = realpathSync(folder);
  } catch (cause) {
    throw unusable(folder, 'there is no such folder', cause);
  }
  let nested: string | undefined;
  try {
    nested = realpathSync(join(real, 'node_modules', NAME));
  } catch {
    // The usual case: the folder is the package itself.
  }
  if (nested === undefined) return inspect(folder, real);
  if (!inside(real, nested)) throw unusable(folder, `its ${NAME} is a link to outside of it`);
  return inspect(folder, nested);
}

/** The optional peer dependency, or undefined where it is not installed. @throws TFJS_NODE_UNUSABLE where it is, but of another version. */
export function installedTfjsNode(): TfjsNodePackage | undefined {
  const require = createRequire(import.meta.url);
  let manifest: string;
  try {
    manifest = require.resolve(`${NAME}/package.json`);
  } catch {
    return undefined;
  }
  return inspect(dirname(manifest), dirname(manifest));
}

const shimSource = `
const util = process.getBuiltinModule('util');
module.exports = Object.defineProperties({}, Object.getOwnPropertyDescriptors(util));
module.exports.isNullOrUndefined = (value) => value === null || value === undefined;
`;

/** Path of the module that asks, or '' for what is not a file. */
const asking = (parent: string | undefined): string => (parent?.startsWith('file:') ? fileURLToPath(parent) : '');

/**
 * Runs the package, which registers the backend "tensorflow". While it loads, `util` as its own files see it has isNullOrUndefined again;
 * they keep that object, nobody else ever sees it.
 * @throws TFJS_NODE_UNUSABLE when it does not load, or registers nothing
 */
export function loadTfjsNode({ folder, entry }: TfjsNodePackage): void {
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      (specifier === 'util' || specifier === 'node:util') && inside(folder, asking(context.parentURL))
        ? { url: SHIM, format: 'commonjs', shortCircuit: true }
        : next(specifier, context),
    load: (url, context, next) =>
      url === SHIM ? { format: 'commonjs', source: shimSource, shortCircuit: true } : next(url, context),
  });
  try {
    createRequire(entry)(entry);
  } catch (cause) {
    throw unusable(folder, `it does not load (${problemOf(cause)})`, cause);
  } finally {
    hooks.deregister();
  }
  if (!tf.findBackendFactory('tensorflow')) throw unusable(folder, 'it registers no backend "tensorflow"');
}
