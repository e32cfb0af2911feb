import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { importBackbone } from '../../main/learning/backbone-file.ts';
import { runLearnProtocol } from '../../main/learning/protocol.ts';
import { ensureShippedBackbone } from '../../native-models/shipped.ts';
import { record } from './record.ts';

/*
 * The class-incremental protocol, one class per task, on every set of MEKIKI_DATA with the shipped backbone and with the file that --backbone names.
 * node main/host/build/launch.mjs test/bench/learn.ts [--backbone FILE] [set ...]
 */
const data = process.env['MEKIKI_DATA'];
if (!data) {
  process.stderr.write('learn: skipped, MEKIKI_DATA is not set\n');
  process.exit(0);
}
const args = process.argv.slice(2);
const at = args.indexOf('--backbone');
const file = at < 0 ? null : args.splice(at, 2)[1]!;
const threads = 2;
const backbone = file
  ? await importBackbone(file, { folder: join(tmpdir(), 'mekiki-backbones'), threads })
  : await ensureShippedBackbone();
const sets = args.length > 0 ? args : readdirSync(data).sort();
const rows: Record<string, unknown> = {};
for (const set of sets) {
  const r = await runLearnProtocol({
    dir: join(data, set),
    backbone,
    method: 'analytic',
    threads,
    seed: 0,
    onProgress: () => {},
  });
  rows[set] = {
    accuracy: r.accuracy,
    balancedAccuracy: r.balancedAccuracy,
    averageAccuracy: r.averageAccuracy,
    bwt: r.bwt,
    joint: r.joint,
    maxWeightDifferenceToJoint: r.maxWeightDifferenceToJoint,
    updateSeconds: r.updateSeconds,
    images: r.images,
  };
  process.stderr.write(`${set}: ${r.accuracy.toFixed(4)} (${r.balancedAccuracy.toFixed(4)})\n`);
}
const name = file ? basename(file, '.onnx') : 'shipped';
record(
  `learn-${name}`,
  `node main/host/build/launch.mjs test/bench/learn.ts${file ? ` --backbone ${basename(file)}` : ''}`,
  {
    backbone: { id: backbone.id, sha256: backbone.sha256 },
    sets: rows,
  },
);
