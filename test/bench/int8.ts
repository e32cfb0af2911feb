import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { integerWeightBits } from '../../main/compression/environment.ts';
import { measureInterleaved } from '../../main/compression/evidence/latency.ts';
import { balancedDropBounds } from '../../main/compression/evidence/statistics.ts';
import { createImageSource, readableImages } from '../../main/compression/image-source.ts';
import {
  classCounts,
  discordantOf,
  featuresOf,
  judgedOf,
  stagesOf,
  validate,
} from '../../main/compression/plan/evaluate.ts';
import { groupedMeasures, judgeGrouped } from '../../main/compression/grouped-validation.ts';
import { balancedAccuracy } from '../../main/compression/evidence/statistics.ts';
import { prepareBase } from '../../main/compression/plan/workshop.ts';
import { openContender } from '../../main/compression/plan/contender.ts';
import { describeRule } from '../../main/compression/quantize/calibrate.ts';
import { chooseInteger, TOLERANCE } from '../../main/compression/quantize/choose.ts';
import { rangeImages } from '../../main/compression/quantize/range-images.ts';
import { spread } from '../../main/compression/spread.ts';
import { importBackbone } from '../../main/learning/backbone-file.ts';
import type { Backbone } from '../../main/contract/domain.ts';
import { scanDataset, type DatasetImage } from '../../main/learning/dataset.ts';
import { openProducts } from '../../main/learning/dense.ts';
import { embed } from '../../main/learning/embedding.ts';
import { crossValidate } from '../../main/learning/selection.ts';
import { encodeModel } from '../../main/onnx/index.ts';
import { record } from './record.ts';

/*
 * INT8 with accuracy control of the two backbones of MEKIKI_MODELS on three sets of MEKIKI_DATA, at 224 px, 2 threads. Training images only:
 * calibration on 64 of them, choices on 32 others, accuracy of the closed-form head held out over five folds of (at most) 1,200 in all. As the search does it: every
 * layer in integers, and where that costs more than half a point of accuracy, also with the worst layers kept float; the more accurate of the two counts. `grouped`: the same model
 * on training and test images together, which no choice saw.
 * The gain is the ratio of interleaved medians of the whole inference, resize included.
 */

const { MEKIKI_DATA, MEKIKI_MODELS } = process.env;
if (!MEKIKI_DATA || !MEKIKI_MODELS) throw new Error('set MEKIKI_DATA and MEKIKI_MODELS');
const THREADS = 2;
const SIZE = 224;
const MOST = 1200;
const ROUNDS = 300;
const MOST_LOST_PP = 0.5;

type Labelled = Awaited<ReturnType<typeof labelled>>;

async function labelled(entries: readonly DatasetImage[], backbone: Backbone) {
  const source = createImageSource(
    entries.map(({ file }) => ({ file, region: null })),
    backbone,
    { rotation: 0, maxPixels: 1e8 },
  );
  const { indices, looks } = await readableImages(source);
  const at = spread(
    indices.map((_, i) => i),
    MOST,
  );
  const ledger = await Promise.all(
    at.map(async (i) => {
      const { file, className } = entries[indices[i]!]!;
      const sha = createHash('sha256')
        .update(await readFile(file))
        .digest('hex');
      return { classId: className, sha, look: looks[i]! };
    }),
  );
  return { source, images: at.map((i) => indices[i]!), ledger };
}

const folder = await mkdtemp(join(tmpdir(), 'mekiki-int8-'));
const rows: unknown[] = [];
try {
  for (const name of ['mobilenet_edgetpu_1.0_224', 'mobilenet_v2_1.0_224']) {
    const backbone = await importBackbone(join(MEKIKI_MODELS, `${name}.onnx`), { folder, threads: THREADS });
    const base = prepareBase(await readFile(backbone.file), backbone);
    for (const set of ['neu_steel', 'magnetic_tile', 'deeppcb_crops']) {
      const dataset = await scanDataset(join(MEKIKI_DATA, set), {});
      const train = await labelled(dataset.train, backbone);
      const test = await labelled(dataset.test, backbone);
      const { source, images, ledger } = train;
      const classOf = (image: number) => dataset.train[image]!.className;
      const whole = encodeModel(base);
      await using products = openProducts({ threads: THREADS });
      const featuresIn = (part: Labelled, model: Uint8Array) =>
        featuresOf(backbone, model, SIZE, part.source, part.images, { threads: THREADS });
      const judge = async (model: Uint8Array) => {
        const features = await featuresIn(train, model);
        const held = await validate(features, backbone, ledger, products);
        const parts = [
          { features, ledger },
          { features: await featuresIn(test, model), ledger: test.ledger },
        ];
        const stages = stagesOf(backbone);
        const knowledge = { ...(await crossValidate(embed(features, stages), ledger, products)), stages };
        return { train: judgedOf(held, ledger), all: (await judgeGrouped({ knowledge }, parts, products, {}))! };
      };
      const before = await judge(whole);
      const inIntegers = async (tolerance: number) => {
        const started = performance.now();
        const choice = await chooseInteger(base, source, {
          ...rangeImages(images, classOf),
          size: SIZE,
          threads: THREADS,
          seed: 0,
          weightBits: integerWeightBits(),
          tolerance,
        });
        const chooseSeconds = (performance.now() - started) / 1000;
        const integer = encodeModel(choice.model);
        const after = await judge(integer);
        const bounds = balancedDropBounds(discordantOf(before.train, after.train));
        return { choice, chooseSeconds, integer, after, bounds, dropPp: 100 * bounds.drop };
      };
      const all = await inIntegers(Infinity);
      const careful = all.dropPp > MOST_LOST_PP && all.choice.fullError > TOLERANCE ? await inIntegers(TOLERANCE) : all;
      const { choice, chooseSeconds, integer, after, bounds, dropPp } = careful.dropPp < all.dropPp ? careful : all;
      const common = { inputName: backbone.inputName, inputSize: SIZE, backbone, source, image: 0, threads: THREADS };
      await using float = await openContender('fp32', whole, common);
      await using int8 = await openContender('int8', integer, common);
      const times = await measureInterleaved([float, int8], { rounds: ROUNDS, warmUp: 10 });
      const [fp32Ms, int8Ms] = [times.get('fp32')!.p50, times.get('int8')!.p50];
      const row = {
        model: name,
        set,
        images: images.length,
        balancedAccuracy: {
          fp32: balancedAccuracy(classCounts(before.train)),
          int8: balancedAccuracy(classCounts(after.train)),
        },
        dropPp,
        dropPp95: [100 * bounds.lower, 100 * bounds.upper],
        grouped: groupedMeasures(before.all, after.all),
        rule: describeRule(choice.rule),
        levelling: choice.levelling,
        compensated: choice.compensated,
        fullError: choice.fullError,
        error: choice.error,
        keptFloat: choice.keptFloat.map(({ node }) => node),
        integers: choice.integers,
        chooseSeconds,
        bytes: { fp32: whole.length, int8: integer.length },
        latencyMsP50: { fp32: fp32Ms, int8: int8Ms },
        speedup: fp32Ms / int8Ms,
      };
      process.stderr.write(`${JSON.stringify(row)}\n`);
      rows.push(row);
    }
  }
} finally {
  await rm(folder, { recursive: true });
}
record('int8', 'node main/host/build/launch.mjs test/bench/int8.ts', {
  threads: THREADS,
  inputSize: SIZE,
  rounds: ROUNDS,
  rows,
});
