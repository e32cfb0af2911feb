import { benchInspect } from '../../main/inspection/bench.ts';
import { mobilenetModel } from '../helpers/small-models.ts';
import { record } from './record.ts';

/*
 * What the pipeline adds to the bare model run (PRODUCT, "Numbers it is held to"): MobileNetV2 0.35 at 224 px, 58 MMACs, 512 x 512
 * Mono8 frames, 1,000 alternating pairs. Run it on a quiet machine: MEKIKI_MODELS=… node main/host/build/launch.mjs test/bench/inspect.ts [pairs] [threads]
 */
const models = process.env['MEKIKI_MODELS'];
if (!models) {
  process.stderr.write('MEKIKI_MODELS names no folder with mobilenet_v2_0.35_224.onnx: nothing measured\n');
  process.exit(1);
}
const pairs = Number(process.argv[2] ?? 1000);
const threads = Number(process.argv[3] ?? 2);
const { bytes, card } = mobilenetModel(models);
const result = await benchInspect({ model: bytes, card, pairs, threads });
const added = { p50: result.pipelineMsP50 - result.bareMsP50, p99: result.pipelineMsP99 - result.bareMsP99 };
const allowed = { p50: Math.max(0.15 * result.bareMsP50, 0.6), p99: Math.max(0.5 * result.bareMsP99, 3) };
record('inspect', `node main/host/build/launch.mjs test/bench/inspect.ts ${pairs} ${threads}`, {
  ...result,
  addedMs: added,
  allowedMs: allowed,
  held: added.p50 <= allowed.p50 && added.p99 <= allowed.p99,
});
