// Runs a script under the Node that the project needs, whatever Node npm itself runs on.
// Plain ES2020, no dependency: it has to start, and to answer clearly, under any Node.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NEEDED = [22, 18]; // better-sqlite3 13 (Node-API 10) crashes below 22.14; running .ts without a build needs 22.18
export const root = fileURLToPath(new URL('../../../', import.meta.url));

const enough = (version) => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
};

/** Path of a Node >= 22.18: this one, or the one that npm installed as an optional dependency; undefined if neither. */
export function findNode() {
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const name = `node-${platform}-${process.arch}`;
  const own = join(root, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  if (existsSync(own)) return own;
  return enough(process.versions.node) ? process.execPath : undefined;
}

/** Starts `args` under the right Node, hands signals and the exit status on. */
export function launch(args, options = {}) {
  const node = findNode();
  if (!node) {
    console.error(
      `Mekiki needs Node ${NEEDED.join('.')} or newer and this is ${process.versions.node}: run "npm ci" with optional dependencies on, or install a newer Node.`,
    );
    process.exit(1);
  }
  // Types are taken out of the sources, and they are compiled, once and not at the start of each process. Named by content; without it all works, only slower.
  const env = { NODE_COMPILE_CACHE: join(root, 'node_modules', '.cache', 'node'), ...process.env, ...options.env };
  const child = spawn(node, args, { stdio: 'inherit', ...options, env });
  // The terminal sends Ctrl-C to the whole group; a kill meant for us alone is passed on.
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  process.on('SIGINT', () => {});
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) launch(process.argv.slice(2));
