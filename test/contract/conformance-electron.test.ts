import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe } from 'vitest';
import { createIpcChannel } from '../../main/contract/rpc/message-port.ts';
import { createMultiplexer, type Multiplexer } from '../../main/contract/rpc/multiplex.ts';
import { electronFile, electronFolder, openDisplay } from '../e2e/electron-app.ts';
import { describeConformance } from './conformance-suite.ts';

const source = (name: string) => fileURLToPath(new URL(`./${name}.ts`, import.meta.url));

describe.skipIf(!electronFolder)('in a real Electron (needs ELECTRON_OVERRIDE_DIST_PATH)', () => {
  let folder: string;
  let display: Awaited<ReturnType<typeof openDisplay>>;
  let electron: ChildProcess;
  let relay: Multiplexer;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mekiki-electron-'));
    display = await openDisplay();
    await build({
      entryPoints: [source('electron-relay'), source('conformance-server')],
      outdir: folder,
      outExtension: { '.js': '.cjs' },
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node20',
      external: ['electron'],
      logLevel: 'error',
    });
    writeFileSync(join(folder, 'package.json'), '{"name": "relay", "main": "electron-relay.cjs"}');
    electron = spawn(electronFile, [folder, '--no-sandbox'], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
      env: {
        ...process.env,
        DISPLAY: display.display,
        CONFORMANCE_SERVER: join(folder, 'conformance-server.cjs'),
      },
    });
    relay = createMultiplexer(createIpcChannel(electron), 'parent');
    await new Promise<void>((resolve, reject) => {
      relay.onOpen(() => resolve());
      relay.onClose(() => reject(new Error('Electron ended before it was ready')));
    });
  });
  afterAll(async () => {
    const ended = once(electron, 'exit');
    relay.close();
    await ended;
    await display.close();
    rmSync(folder, { recursive: true });
  });

  const connect = (wire: string) => async () => {
    const channel = relay.open(wire);
    return { channel, cut: () => void relay.open('cut'), close: async () => channel.close() };
  };
  describeConformance('a utility process of Electron', connect('utility-process'));
  describeConformance("Electron's MessagePortMain", connect('message-port-main'));
});
