import { join } from 'node:path';
import { evaluateAnomaly } from '../../main/learning/anomaly/evaluation.ts';
import { evaluateNovelty } from '../../main/learning/novelty-evaluation.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record } from './record.ts';

/*
 * Novelty (each class held out of training in turn) and anomaly (good parts alone) on every set, with the one set of defaults and the
 * shipped backbone. Test images are read for this report alone.
 * node main/host/build/launch.mjs test/bench/novelty.ts
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('novelty: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const SETS: readonly { name: string; okClass: string | null }[] = [
  { name: 'neu_steel', okClass: null },
  { name: 'deeppcb_crops', okClass: 'normal' },
  { name: 'magnetic_tile', okClass: 'free' },
  { name: 'ir_solar', okClass: 'no_anomaly' },
];
const backbone = await ensureShippedBackbone();
const asked = { novelty: { neu_steel: 0.9, deeppcb_crops: 0.8 }, anomaly: { magnetic_tile: 0.95 } };
const sets: Record<string, unknown> = {};
for (const { name, okClass } of SETS) {
  const options = { dir: join(data, name), backbone, threads: 2 };
  const anomaly = okClass === null ? null : await evaluateAnomaly({ ...options, okClass });
  sets[name] = { novelty: await evaluateNovelty(options), anomaly };
  process.stderr.write(`${name} done\n`);
}
record('novelty', 'node main/host/build/launch.mjs test/bench/novelty.ts', { backbone: backbone.id, asked, sets });
