import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readResults } from './report/results.ts';
import { sections } from './report/sections.ts';
import { reportOf } from './report/write-report.ts';

/*
 * `npm run bench`: every bench in turn, each in a process of its own, then the report. Hours on a quiet machine; what a bench needs and does not find (images,
 * backbones, PyTorch) it says, and is skipped.
 *   npm run bench -- --report              the report alone, from the results at hand
 *   npm run bench -- --only learn,train    these alone, then the report
 *   npm run bench -- --list                their names
 */

const here = fileURLToPath(new URL('.', import.meta.url));
const results = join(here, 'results');

/** Arguments of the recorded runs, where a bench needs some; several: one run each. */
const runs: Record<string, string[][]> = {
  'few-shot': [['neu_steel']],
  'compress-auto': [
    [],
    ['shipped'],
    ['mobilenet_edgetpu_1.0_224', '--max-drop-pp', '2'],
    ['mobilenet_edgetpu_1.0_224', '--max-drop-pp', '2', 'deeppcb_crops'],
    ['shipped', 'ir_solar'],
    ['mobilenet_edgetpu_1.0_224', 'ir_solar'],
    ['mobilenet_v2_1.0_224', 'magnetic_tile'],
  ],
  faults: [
    ['kills', '500', '1'],
    ['full', '40', '1'],
    ['power', '500', '1'],
  ],
  importance: [['shipped', '--rows', '300']],
  'large-frames': [['40']],
  learn: [[], ['--backbone', 'mobilenet_edgetpu_1.0_224.onnx']],
  'line-faults': [
    ['kills', '50'],
    ['swaps', '100'],
  ],
  repeat: [['2']],
  stations: [['40', '10']],
  window: [[], ['heap', '22']],
};
/** Whatever records a result is a bench. */
const benches = readdirSync(here)
  .filter(
    (name) => name.endsWith('.ts') && /^import .* from '\.\/record\.ts'/m.test(readFileSync(join(here, name), 'utf8')),
  )
  .map((name) => basename(name, '.ts'));

function writeReport(): void {
  for (const old of readdirSync(results).filter((name) => /^chart-.*\.svg$/.test(name))) rmSync(join(results, old));
  const { markdown, drawings, missing, unrecorded } = reportOf(readResults(results), sections, results);
  for (const [name, svg] of drawings) writeFileSync(join(results, name), svg);
  writeFileSync(join(results, 'REPORT.md'), markdown);
  for (const file of unrecorded) process.stderr.write(`not recorded yet: ${file}.json\n`);
  for (const what of missing) process.stderr.write(`not in its file: ${what}\n`);
  process.stdout.write(`test/bench/results/REPORT.md: ${sections.length} sections, ${drawings.size} drawings\n`);
}

const { values } = parseArgs({
  options: {
    report: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
});
if (values.list) process.stdout.write(`${benches.join('\n')}\n`);
else {
  const wanted = values.report ? [] : (values.only?.split(',') ?? benches);
  const unknown = wanted.filter((name) => !benches.includes(name));
  if (unknown.length > 0) {
    process.stderr.write(`no such bench: ${unknown.join(', ')}; --list names them\n`);
    process.exit(2);
  }
  for (const name of wanted)
    for (const args of runs[name] ?? [[]]) {
      process.stderr.write(`bench ${name} ${args.join(' ')}\n`);
      const { status } = spawnSync(process.execPath, [join(here, `${name}.ts`), ...args], { stdio: 'inherit' });
      if (status !== 0) {
        process.stderr.write(`${name} ended with ${status}\n`);
        process.exitCode = 1;
      }
    }
  writeReport();
}
