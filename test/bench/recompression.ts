import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cli } from '../helpers/cli.ts';
import { record } from './record.ts';

/*
 * A new class on a station: from its labels to a candidate that can be approved, by the command line and with the quick budget. All classes but one are learnt
 * and compressed first; then the images of the last one are imported with their labels.
 * node main/host/build/launch.mjs test/bench/recompression.ts [set ...]
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('recompression: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const named = process.argv.slice(2);
const env = { MEKIKI_PASSWORD: 'correct horse battery' };
const sets: Record<string, unknown> = {};
for (const set of named.length > 0 ? named : ['neu_steel', 'magnetic_tile', 'deeppcb_crops']) {
  const folder = await mkdtemp(join(tmpdir(), 'mekiki-recompression-'));
  try {
    const home = join(folder, 'home');
    const run = async <T>(...args: string[]): Promise<{ seconds: number; json: T }> => {
      const before = performance.now();
      const { code, stdout, stderr, json } = await cli([...args, '--home', home, '--json'], env);
      if (code !== 0) throw new Error(`${args.join(' ')}: ${stdout}${stderr}`);
      return { seconds: (performance.now() - before) / 1000, json: json() as T };
    };
    const classes = (await readdir(join(data, set, 'train'))).toSorted();
    const fresh = classes.at(-1)!;
    for (const name of classes) {
      await cp(join(data, set, 'train', name), join(folder, name === fresh ? 'late' : 'early', name), {
        recursive: true,
      });
    }
    await run('init', '--user', 'hana');
    await run('import', join(folder, 'early'), '--as-labels');
    await run('update');
    const first = await run('candidates', 'create');
    const labels = await run('import', join(folder, 'late'), '--as-labels');
    const update = await run('update');
    const second = await run<{ id: string; recommended: boolean }[]>('candidates', 'create');
    sets[set] = {
      classes: classes.length,
      newClass: fresh,
      updateSeconds: update.seconds,
      firstCompressionSeconds: first.seconds,
      recompressionSeconds: second.seconds,
      toCandidateSeconds: labels.seconds + update.seconds + second.seconds,
      candidates: second.json.length,
    };
    process.stderr.write(`${set} ${JSON.stringify(sets[set])}\n`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
record('recompression', `node main/host/build/launch.mjs test/bench/recompression.ts ${named.join(' ')}`.trim(), {
  budget: 'quick',
  sets,
});
