import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { record } from './record.ts';

/*
 * Tests again and again: what passes by luck fails sometime in twenty. A test that passed only when it was tried anew counts as failed.
 *   repeat.ts                       process, socket and browser tests 20 times each, the whole suite 3 times: most of a day
 *   repeat.ts 20 test/contract      what is named, so often; recorded beside the whole
 *   repeat.ts 5 test/e2e --add      five rounds more than were recorded before
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
        if (failureMessages.length === 0) continue;
        failed.push(`${of}: ${fullName.trim()}`);
        // A test that passed when it was tried anew is not explained anywhere else.
        process.stderr.write(`${of}: ${fullName.trim()}\n${failureMessages.join('\n')}\n`);
      }
    }
    if (status !== 0 && failed.length === 0) failed.push(`vitest ended with ${status}`);
    return { ran, failed };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

interface Repeated {
  times: number;
  tests: number;
  failed: number;
  failures: Record<string, number>;
  /** Rounds by commit: a day's work may span several. */
  commits: Record<string, number>;
}

const none: Repeated = { times: 0, tests: 0, failed: 0, failures: {}, commits: {} };

/** Tells what is known after each round, so that a run that is stopped is not lost. */
function repeat(paths: readonly string[], times: number, before: Repeated, told: (so: Repeated) => void): void {
  const commit = execFileSync('git', ['rev-parse', '--short=7', 'HEAD'], { encoding: 'utf8' }).trim();
  let so = before;
  for (let round = 1; round <= times; round += 1) {
    const { ran, failed } = runOnce(paths);
    const failures = { ...so.failures };
    for (const name of failed) failures[name] = (failures[name] ?? 0) + 1;
    so = {
      times: so.times + 1,
      tests: Math.max(so.tests, ran),
      failed: so.failed + failed.length,
      failures,
      commits: { ...so.commits, [commit]: (so.commits[commit] ?? 0) + 1 },
    };
    told(so);
    process.stderr.write(`${paths.join(' ') || 'everything'}: ${round} of ${times}, ${failed.length} failed\n`);
  }
}

const args = process.argv.slice(2).filter((arg) => arg !== '--add');
const adding = process.argv.includes('--add');
const [times, ...paths] = args;

/** What was recorded under this name, where rounds are to be added to it. */
const recorded = (name: string): Record<string, Repeated> => {
  const file = join(root, 'test/bench/results', `${name}.json`);
  return adding && existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8')) as { result: Record<string, Repeated> }).result
    : {};
};

const command = ['node main/host/build/launch.mjs test/bench/repeat.ts', ...process.argv.slice(2)].join(' ');
const name =
  times === undefined
    ? 'repeat'
    : `repeat-${paths.map((path) => path.replaceAll(/^test\/|\/$|\.test\.ts$/g, '').replaceAll('/', '-')).join('-') || 'all'}`;
const wanted: readonly (readonly [paths: readonly string[], times: number])[] =
  times === undefined
    ? [
        [['test/process'], TIMES],
        [['test/contract'], TIMES],
        [['test/capture'], TIMES],
        [['test/e2e'], TIMES],
        [[], TIMES_WHOLE],
      ]
    : [[paths, Number(times)]];
const result = { ...recorded(name) };
for (const [some, count] of wanted) {
  const key = some.join(' ') || 'everything';
  repeat(some, count, result[key] ?? none, (so) => {
    result[key] = so;
    record(name, command, result);
  });
}
