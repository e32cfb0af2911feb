import { join } from 'node:path';
import { measureLabelCurve } from '../../main/learning/label-curve.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record } from './record.ts';

/*
 * What the order of the queue is worth: labels of training images revealed by the queue or at random, balanced accuracy on test images.
 * node main/host/build/launch.mjs test/bench/label-curve.ts [set ...]
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('label-curve: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const backbone = await ensureShippedBackbone();
const sets: Record<string, unknown> = {};
const named = process.argv.slice(2);
for (const set of named.length > 0 ? named : ['deeppcb_crops', 'ir_solar', 'magnetic_tile', 'neu_steel']) {
  sets[set] = await measureLabelCurve({ dir: join(data, set), backbone, threads: 2 });
  process.stderr.write(`${set}\n`);
}
record('label-curve', 'node main/host/build/launch.mjs test/bench/label-curve.ts', { backbone: backbone.id, sets });
