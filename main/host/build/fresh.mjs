// What `npm start` needs before it can start, and whether it is there and newer than its sources.
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './launch.mjs';

/** Newest change in files or folders, ms since 1970; what is missing does not count. */
function newest(paths) {
  let latest = 0;
  for (const path of paths) {
    if (!existsSync(path)) continue;
    const found = statSync(path);
    latest = Math.max(latest, found.mtimeMs);
    if (found.isDirectory() && !path.endsWith('node_modules'))
      latest = Math.max(latest, newest(readdirSync(path).map((name) => join(path, name))));
  }
  return latest;
}

/**
 * Runs `make` unless a mark of an earlier run is newer than every source. A run that fails leaves no mark.
 * @param {string} name of the mark in dist/
 * @param {string[]} sources relative to the root
 * @param {string} result file or folder that has to be there, relative to the root
 * @param {() => Promise<void>} make
 */
export async function ensureFresh(name, sources, result, make) {
  const mark = join(root, 'dist', `.${name}-built`);
  const since = newest(sources.map((path) => join(root, path)));
  if (existsSync(join(root, result)) && existsSync(mark) && statSync(mark).mtimeMs > since) return false;
  // The time before the work: what changes while it runs is newer than the mark.
  const started = new Date();
  rmSync(mark, { force: true });
  await make();
  mkdirSync(dirname(mark), { recursive: true });
  writeFileSync(mark, '');
  utimesSync(mark, started, started);
  return true;
}

/** The window, built when missing or older than its sources. */
export const ensureRenderer = async () => {
  const { buildRenderer } = await import('./build.mjs');
  return ensureFresh(
    'renderer',
    ['renderer', 'main/contract', 'package.json'],
    'dist/renderer/index.html',
    buildRenderer,
  );
};

/** The bundles that Electron runs. */
export const ensureProcesses = async () => {
  const { buildProcesses } = await import('./build.mjs');
  const sources = ['main', 'package.json'];
  return ensureFresh('processes', sources, 'dist/shell/main.cjs', () => buildProcesses());
};
