// `npm start`: the desktop window; where no Electron can be had, the same window in a browser.
// Arguments: FILE.mekiki (a bundle to look at), --home DIR, --demo, --port N (browser mode), --browser (browser mode at once).
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { electronIn, ensureElectron } from './electron.mjs';
import { ensureProcesses, ensureRenderer } from './fresh.mjs';
import { findNode, launch, root } from './launch.mjs';
import { makeBackbone } from './prepare.mjs';

/** An Electron that ends sooner than this never showed a window. */
const FAILED_START_MS = 5000;
/** Signals of whoever wants it to end: no failure. */
const ASKED_TO_END = new Set(['SIGINT', 'SIGTERM', 'SIGHUP']);

const args = process.argv.slice(2);
const isBundle = (arg) => arg.toLowerCase().endsWith('.mekiki');
const say = (line) => console.log(`Mekiki: ${line}`);

const backboneIsThere = () => {
  const folder = join(root, 'native-models');
  return existsSync(folder) && readdirSync(folder).some((name) => name.endsWith('.onnx'));
};

/** @returns {{file: string} | {why: string}} */
function findElectron() {
  if (args.includes('--browser')) return { why: 'as asked' };
  if (process.platform === 'linux' && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY)
    return { why: 'there is no display' };
  const override = process.env.ELECTRON_OVERRIDE_DIST_PATH;
  if (override) {
    const file = electronIn(override);
    return file ? { file } : { why: `there is no Electron in ${override}` };
  }
  return ensureElectron(join(root, 'node_modules', 'electron'), say);
}

function browserMode(why) {
  say(`no desktop window (${why}); open the address below in a browser on this PC. Ctrl-C ends it.`);
  // What the desktop window opens, a browser tab is told by hand.
  for (const file of args.filter(isBundle)) say(`${file} can be imported in the window: Models, Import bundle.`);
  const served = args.filter((arg) => arg !== '--browser' && !isBundle(arg));
  launch([join(root, 'main/host/cli/main.ts'), 'serve', ...served], { cwd: root });
}

async function start() {
  if (!findNode()) return launch([]);
  const problem = backboneIsThere() ? null : makeBackbone();
  if (problem !== null)
    say(`the shipped backbone could not be made (${problem}); learning needs one: "backbones add FILE".`);
  if (await ensureRenderer()) say('built the window.');

  const found = findElectron();
  if ('why' in found) return browserMode(found.why);
  await ensureProcesses();
  const startedAt = Date.now();
  const electron = spawn(found.file, [root, ...args], { stdio: 'inherit', cwd: root });
  process.on('SIGTERM', () => electron.kill('SIGTERM'));
  process.on('SIGINT', () => {});
  electron.on('error', (error) => browserMode(error.message));
  electron.on('exit', (code, signal) => {
    if (code !== 0 && !ASKED_TO_END.has(signal) && Date.now() - startedAt < FAILED_START_MS)
      browserMode(`Electron ended with ${code ?? signal}`);
    else process.exit(code ?? (signal === 'SIGINT' ? 130 : 1));
  });
}

await start();
