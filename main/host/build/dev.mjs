// `npm run dev`: the window from its sources with hot reload, core and lines from theirs, in a browser and with the simulated line. No Electron, nothing built.
// Arguments: --home DIR (default dist/dev-home, kept between runs), --port N (of the page, default 5173).
// For developers on their own PC: whoever opens the page is let in without the launch token.
import { watch } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createServer } from 'vite';
import { FEED_PATH, RPC_PATH } from '../server.ts';
import { serve } from '../serve.ts';
import { root } from './launch.mjs';
import { makeBackbone } from './prepare.mjs';

/** Editors write a file in several steps. */
const SETTLED_MS = 300;

const { values } = parseArgs({
  options: {
    home: { type: 'string', default: join(root, 'dist', 'dev-home') },
    port: { type: 'string', default: '5173' },
  },
});
const problem = makeBackbone();
if (problem !== null) console.error(`Mekiki: no shipped backbone (${problem}).`);
const serving = await serve({ home: values.home, port: 0, demo: true });

const own = `http://127.0.0.1:${serving.port}`;
const admitted = await fetch(serving.url, { redirect: 'manual' });
const cookie = admitted.headers.get('set-cookie').split(';')[0];
/** To the listener of browser mode as if the page came from it. */
const proxied = { target: own, changeOrigin: true, headers: { cookie, origin: own } };
const vite = await createServer({
  configFile: join(root, 'renderer', 'vite.config.ts'),
  server: {
    host: '127.0.0.1',
    port: Number(values.port),
    strictPort: true,
    // What begins with ^ is a pattern there.
    proxy: {
      [RPC_PATH.source]: { ...proxied, ws: true },
      [FEED_PATH.source]: { ...proxied, ws: true },
      '/image': proxied,
    },
    // The window imports the contract.
    fs: { allow: [root] },
  },
});
await vite.listen();
console.log(`Mekiki: http://127.0.0.1:${values.port}/ follows the sources; Ctrl-C ends it.`);

// The supervisor starts what ends again, from the changed source. A change of the supervisor itself needs a new start.
let settling;
const watcher = watch(join(root, 'main'), { recursive: true }, (_event, file) => {
  if (!file?.endsWith('.ts')) return;
  clearTimeout(settling);
  settling = setTimeout(() => {
    console.log(`Mekiki: ${file} has changed; core and lines start again.`);
    for (const { pid } of serving.supervisor.processes()) if (pid !== undefined) process.kill(pid, 'SIGTERM');
  }, SETTLED_MS);
});

let ending = false;
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, async () => {
    if (ending) return;
    ending = true;
    watcher.close();
    await vite.close();
    await serving.close();
    process.exit(0);
  });
