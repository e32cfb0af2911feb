import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { record } from './record.ts';

/*
 * Tests again and again: what passes by luck fails sometime in twenty. A test that passed only when it was tried anew counts as failed.
 *   repeat.ts                       process, socket and browser tests 20 times each, the whole suite 3 times: most of a day
 *   repeat.ts 20 test/contract      what is named, so often; recorded beside the whole
 */

const TIMES = 20;
const TIMES_WHOLE = 3;
const root = fileURLToPath(new URL('../../', import.meta.url));

interface Outcome {
  name: string;
  message: string;
  assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
}

/** One run of vitest. @returns number of tests that ran, and the names of those that failed */
function runOnce(paths: readonly string[]): { ran: number; failed: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'mekiki-repeat-'));
  const file = join(folder, 'results.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    const { status } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...paths, ...reporters], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as { testResults: Outcome[] };
    const failed: string[] = [];
    let ran = 0;
    for (const { name, message, assertionResults } of testResults) {
      const of = relative(root, name);
      if (message !== '') failed.push(`${of}: ${message.split('\n')[0]}`);
      for (const { fullName, status: state, failureMessages } of assertionResults) {
        if (state === 'passed' || state === 'failed') ran += 1;
        if (failureMessages.length > 0) failed.push(`${of}: ${fullName.trim()}`);
      }
    }
    if (status !== 0 && failed.length === 0) failed.push(`vitest ended with ${status}`);
    return { ran, failed };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function repeat(paths: readonly string[], times: number) {
  const failures: Record<string, number> = {};
  let tests = 0;
  for (let round = 1; round <= times; round += 1) {
    const { ran, failed } = runOnce(paths);
    tests = Math.max(tests, ran);
    for (const name of failed) failures[name] = (failures[name] ?? 0) + 1;
    process.stderr.write(`${paths.join(' ') || 'everything'}: ${round} of ${times}, ${failed.length} failed\n`);
  }
  return { times, tests, failed: Object.values(failures).reduce((sum, n) => sum + n, 0), failures };
}

const [times, ...paths] = process.argv.slice(2);
if (times !== undefined) {
  const name = paths.map((path) => path.replaceAll(/^test\/|\/$|\.test\.ts$/g, '').replaceAll('/', '-')).join('-');
  record(`repeat-${name || 'all'}`, ['node test/bench/repeat.ts', times, ...paths].join(' '), {
    [paths.join(' ') || 'everything']: repeat(paths, Number(times)),
  });
} else {
  record('repeat', 'node test/bench/repeat.ts', {
    'test/process': repeat(['test/process'], TIMES),
    'test/contract': repeat(['test/contract'], TIMES),
    'test/capture': repeat(['test/capture'], TIMES),
    'test/e2e': repeat(['test/e2e'], TIMES),
    everything: repeat([], TIMES_WHOLE),
  });
}
