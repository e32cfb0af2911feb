import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const build = fileURLToPath(new URL('../../main/host/build/', import.meta.url));

/** What `npm start` needs, built, with a shell script in the place of Electron and of the command line. */
async function builtProgram(electron: string): Promise<{ root: string } & AsyncDisposable> {
  const root = await mkdtemp(join(tmpdir(), 'mekiki-start-'));
  const put = async (path: string, text: string, mode = 0o644) => {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), text, { mode });
  };
  await cp(build, join(root, 'main/host/build'), { recursive: true });
  await put('main/host/cli/main.ts', "console.log('in a browser');");
  await put('native-models/any.onnx', '');
  await put('electron/electron', `#!/bin/sh\n${electron}\n`, 0o755);
  for (const made of ['renderer/index.html', 'shell/main.cjs', '.renderer-built', '.processes-built'])
    await put(join('dist', made), '');
  return { root, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

const started = (root: string) => {
  const child = spawn(process.execPath, [join(root, 'main/host/build/start.mjs')], {
    env: { ...process.env, DISPLAY: ':9', ELECTRON_OVERRIDE_DIST_PATH: join(root, 'electron') },
    stdio: ['ignore', 'pipe', 'inherit'],
    // As a terminal has it: Ctrl-C reaches the whole group.
    detached: true,
  });
  let told = '';
  child.stdout.on('data', (text: Buffer) => (told += String(text)));
  return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, told })) };
};

test.skipIf(process.platform === 'win32')('Ctrl-C soon after npm start ends it, in no browser either', async () => {
  // Not before start.mjs hears signals.
  await using program = await builtProgram('sleep 1; echo window; exec sleep 60');
  const { child, ended } = started(program.root);
  await once(child.stdout, 'data');
  process.kill(-child.pid!, 'SIGINT');
  expect(await ended).toEqual({ code: 130, told: 'window\n' });
});

test.skipIf(process.platform === 'win32')('an Electron that cannot start is replaced by a browser', async () => {
  await using program = await builtProgram('exit 3');
  const { code, told } = await started(program.root).ended;
  expect([code, told]).toEqual([0, expect.stringMatching(/Electron ended with 3[^]*in a browser/)]);
});
