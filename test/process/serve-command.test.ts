import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { withDescendants } from '../helpers/listening.ts';

const entry = fileURLToPath(new URL('../../main/host/cli/main.ts', import.meta.url));

test.skipIf(process.platform !== 'linux')(
  'serve --threads: what it starts has that many, by the command lines in /proc',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mekiki-serve-'));
    const args = ['serve', '--json', '--threads', '3', '--home', join(folder, 'home')];
    const served = spawn(process.execPath, [entry, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(served, 'exit');
    try {
      // The address, once the core serves.
      await once(served.stdout, 'data');
      const settings = withDescendants(served.pid!)
        .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').at(-2)!)
        .filter((last) => last.startsWith('{'));
      expect(settings.length).toBeGreaterThan(0);
      for (const each of settings) expect(JSON.parse(each)).toMatchObject({ trainerThreads: 3 });
    } finally {
      served.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
