import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

const errorOf = ({ json }: CliRun) => (json() as { error: { code: string; message: string } }).error;

/** The command line on one data folder, its answers read. @throws AssertionError, with all that it said, where it ends otherwise */
export function commandLine(home: string, env: NodeJS.ProcessEnv) {
  const ends = async (code: number, args: readonly string[]): Promise<CliRun> => {
    const run = await cli([...args, '--home', home, '--json'], env);
    assert.equal(run.code, code, `${args.join(' ')}: ${run.stdout}${run.stderr}`);
    return run;
  };
  return {
    home,
    done: async <T = unknown>(...args: string[]): Promise<T> => (await ends(0, args)).json() as T,
    failed: async (...args: string[]) => errorOf(await ends(1, args)),
    /** What a wrong call is answered with. */
    misused: async (...args: string[]) => errorOf(await ends(2, args)),
  };
}
export type CommandLine = ReturnType<typeof commandLine>;

/** On a data folder of its own that is not there yet, in a temporary one. */
export async function newCommandLine(env: NodeJS.ProcessEnv): Promise<CommandLine & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'mekiki-cli-'));
  return {
    ...commandLine(join(folder, 'home'), env),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
