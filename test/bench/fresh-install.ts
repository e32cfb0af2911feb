import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchBrowser } from '../e2e/browser.ts';
import { record } from './record.ts';

/*
 * A newcomer's first minutes: the committed tree in an empty folder, `npm ci` with an empty cache, `npm start` in browser mode, until the first page can be used.
 * The only bench that uses a network: npm's registry.
 *   node main/host/build/launch.mjs test/bench/fresh-install.ts
 */
const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mekiki-fresh-'));
const tree = join(folder, 'tree');
mkdirSync(tree);
const env: NodeJS.ProcessEnv = {
  ...process.env,
  npm_config_cache: join(folder, 'cache'),
  MEKIKI_HOME: join(folder, 'home'),
};
// The Node that npm itself runs on: the one before this one, in the path of whoever has started the bench.
env['PATH'] = (env['PATH'] ?? '')
  .split(':')
  .filter((part) => !part.includes('node_modules'))
  .join(':');
for (const name of Object.keys(env)) if (/^npm_(?!config_cache)/.test(name)) delete env[name];
try {
  execFileSync('sh', ['-c', 'git archive HEAD | tar -x -C "$0"', tree], { cwd: root });
  const started = performance.now();
  const said = execFileSync('sh', ['-c', 'npm ci --no-progress 2>&1'], { cwd: tree, env, encoding: 'utf8' });
  const installed = performance.now();
  const start = spawn('npm', ['start', '--', '--browser'], {
    cwd: tree,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  let output = '';
  const url = await new Promise<string>((resolve, reject) => {
    start.stdout.on('data', (chunk: Buffer) => {
      output += String(chunk);
      const found = /http:\/\/127\.0\.0\.1:\d+\/\?token=\S+/.exec(output);
      if (found) resolve(found[0]);
    });
    start.on('exit', (code) => reject(new Error(`npm start ended with ${code}: ${output}`)));
  });
  const browser = await launchBrowser();
  const page = await browser.newPage();
  await page.goto(url);
  await page.waitForSelector('[data-testid="first-start-name"]');
  const usable = performance.now();
  await browser.close();
  // npm hands no signal on to what it started: the whole group.
  process.kill(-start.pid!, 'SIGTERM');
  await once(start, 'exit');
  record('fresh-install', 'node main/host/build/launch.mjs test/bench/fresh-install.ts', {
    seconds: {
      install: (installed - started) / 1000,
      start: (usable - installed) / 1000,
      all: (usable - started) / 1000,
    },
    npm: execFileSync('npm', ['--version'], { env, encoding: 'utf8' }).trim(),
    warnings: said.split('\n').filter((line) => /^npm warn/i.test(line)),
    note: 'empty npm cache; the speed of the registry and of the way to it is in the first figure',
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
