// Electron's binary, which its npm package fetches once. Must run under Node 20.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findNode } from './launch.mjs';

/** A hundred megabytes at 5 Mbit/s. Where the host does not answer, install.js ends by itself after some ten seconds. */
const DOWNLOAD_MS = 180_000;
const PROGRAM =
  { win32: 'electron.exe', darwin: 'Electron.app/Contents/MacOS/Electron' }[process.platform] ?? 'electron';

/** Path of the program in a folder of Electron's files; null if there is none. */
export function electronIn(folder) {
  const file = join(folder, PROGRAM);
  return existsSync(file) ? file : null;
}

/** The package's own, as its install.js takes it for installed: path.txt is written after the last file is unpacked. */
function unpackedElectron(packageFolder) {
  const read = (...path) => readFileSync(join(packageFolder, ...path), 'utf8').trim();
  try {
    const whole =
      read('path.txt') === PROGRAM &&
      read('dist', 'version').replace(/^v/, '') === JSON.parse(read('package.json')).version;
    return whole ? electronIn(join(packageFolder, 'dist')) : null;
  } catch {
    // One of them is missing: it was never unpacked, or not to the end.
    return null;
  }
}

/**
 * @param {string} packageFolder node_modules/electron
 * @param {(line: string) => void} say told before anything is fetched; what install.js says of it goes to the terminal
 * @returns {{file: string} | {why: string}}
 */
export function ensureElectron(packageFolder, say) {
  if (!existsSync(packageFolder)) return { why: 'Electron is not installed' };
  const there = unpackedElectron(packageFolder);
  if (there) return { file: there };
  say('fetching Electron once …');
  const { error } = spawnSync(findNode(), [join(packageFolder, 'install.js')], {
    stdio: 'inherit',
    timeout: DOWNLOAD_MS,
  });
  const file = unpackedElectron(packageFolder);
  if (file) return { file };
  return { why: `Electron could not be fetched${error ? ` within ${DOWNLOAD_MS / 1000} s` : ''}` };
}
