import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { onnxruntimeVersion } from '../../main/runtime/session.ts';

const results = fileURLToPath(new URL('./results/', import.meta.url));

/**
 * Writes results/<name>.json: what was measured, with which command, at which commit, on what kind of machine. Sets are named,
 * folders never.
 */
export function record(name: string, command: string, result: unknown): void {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  const file = {
    command,
    commit: git('rev-parse', 'HEAD'),
    changed: git('status', '--porcelain', '--untracked-files=no', '--', 'main', 'renderer', 'native-models') !== '',
    at: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      node: process.version,
      onnxruntime: onnxruntimeVersion(),
    },
    result,
  };
  mkdirSync(results, { recursive: true });
  writeFileSync(`${results}${name}.json`, `${JSON.stringify(file, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** Smallest, median (of an even number: the mean of the middle two) and largest of several runs. */
export function spread(values: readonly number[]): { min: number; median: number; max: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (rank: number): number => sorted[rank] ?? NaN;
  const median = (at(Math.floor((sorted.length - 1) / 2)) + at(Math.floor(sorted.length / 2))) / 2;
  return { min: at(0), median, max: at(sorted.length - 1) };
}
