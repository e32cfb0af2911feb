import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { record } from './record.ts';

/*
 * Each way to compress alone, at four ratios, in floats, by the command line: `bench compress`, which draws the curves. A run that was stopped goes on with the job
 * that it was at, as long as the commit is the same.
 * node main/host/build/launch.mjs test/bench/trade-off.ts [set ...]
 */
const { MEKIKI_DATA: data, MEKIKI_MODELS: models } = process.env;
if (!data || !models) {
  process.stderr.write('trade-off: skipped, MEKIKI_DATA or MEKIKI_MODELS is not set\n');
  process.exit(0);
}
const BACKBONE = 'mobilenet_edgetpu_1.0_224.onnx';
const root = fileURLToPath(new URL('../../', import.meta.url));
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
const named = process.argv.slice(2);
for (const set of named.length > 0 ? named : ['neu_steel', 'magnetic_tile', 'deeppcb_crops']) {
  const backbone = ['--backbone', join(models, BACKBONE), '--precision', 'fp32', '--time-budget-s', '150'];
  const kept = ['--work', join(tmpdir(), `mekiki-trade-off-${commit}`), '--resume', '--json'];
  const drawn = ['--svg', join(root, `test/bench/results/trade-off-${set}.svg`)];
  const output = execFileSync(
    process.execPath,
    [join(root, 'main/host/cli/main.ts'), 'bench', 'compress', join(data, set), ...backbone, ...kept, ...drawn],
    { encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  record(`trade-off-${set}`, `node main/host/build/launch.mjs test/bench/trade-off.ts ${set}`, JSON.parse(output));
}
