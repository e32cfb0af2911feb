import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const entry = fileURLToPath(new URL('../../main/host/cli/main.ts', import.meta.url));

export interface CliRun {
  code: number | null;
  /** The one JSON document of --json. */
  json: () => unknown;
  stdout: string;
  stderr: string;
}

/** Runs the command line in a process of its own, as a user does. */
export function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CliRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [entry, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => {
      const json = (): unknown => {
        if (stdout.split('\n').filter(Boolean).length !== 1) throw new Error(`not one document: ${stdout}\n${stderr}`);
        return JSON.parse(stdout);
      };
      resolve({ code, json, stdout, stderr });
    });
  });
}
