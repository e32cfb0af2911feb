import { expect, it } from 'vitest';
import { analysePruning } from '../../../main/compression/prune/analyse.ts';
import { cutChannels } from '../../../main/compression/prune/cut.ts';
import { findGroups } from '../../../main/compression/prune/groups.ts';
import { pruneModel } from '../../../main/compression/prune/prune.ts';
import {
  encodeModel,
  foldConstants,
  inferShapes,
  setOutputs,
  value,
  withGraph,
  type Model,
} from '../../../main/onnx/index.ts';
import { openSession, type Tensor } from '../../../main/runtime/session.ts';
import { mulberry32 } from '../../../main/vision/random.ts';
import { noise, randomImages, relativeError, zeroed } from './networks.ts';
import { BATCH, randomNetwork, SIDE } from './random-networks.ts';

const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1);

async function run(of: Model): Promise<Record<string, Tensor>> {
  await using session = await openSession(encodeModel(of), { threads: 1, optimization: 'disabled' });
  const dims = [BATCH, 3, SIDE, SIDE];
  return await session.run({ image: { type: 'float32', dims, data: noise(BATCH * 3 * SIDE * SIDE, 5) } });
}

it('inferred shapes are those that the runtime gives, and folded constants change no bit', async () => {
  for (const seed of SEEDS) {
    const model = randomNetwork(seed);
    const infos = inferShapes(model);
    const names = model.graph.nodes.flatMap(({ outputs }) => outputs);
    const all = withGraph(
      model,
      setOutputs(
        model.graph,
        names.map((name) => value(name, infos.get(name)!.type!)),
      ),
    );
    const found = await run(all);
    for (const name of names) expect(infos.get(name)!.shape, `${seed}: ${name}`).toEqual([...found[name]!.dims]);
    expect((await run(foldConstants(model)))['out']!.data, `${seed}`).toEqual(found['out']!.data);
  }
});

it('channels that are zero may be cut: the outputs stay', async () => {
  let cuts = 0;
  for (const seed of SEEDS) {
    const model = foldConstants(randomNetwork(seed));
    const groups = findGroups(model);
    const random = mulberry32(seed);
    const free = groups.filter(
      ({ frozen, outputs, channels }) => frozen === null && outputs.length === 0 && channels > 1,
    );
    const keep = new Map(
      free.map(({ id, channels, columns }) => {
        // One of each tensor stays, as where channels are chosen.
        const held = new Set([...columns.values()].map((list) => list.find((channel) => channel >= 0)));
        const stay = Int32Array.from({ length: channels }, (_, c) => c).filter(
          (c) => held.has(c) || random() % 2 === 0,
        );
        return [id, stay];
      }),
    );
    const [a, b] = [await run(zeroed(model, groups, keep)), await run(cutChannels(model, groups, keep))];
    const [wanted, cut] = [a, b].map(({ out }) => out!.data as Float32Array);
    expect(relativeError(wanted!, cut!), `${seed}`).toBeLessThan(1e-8);
    cuts += free.filter(({ id, channels }) => keep.get(id)!.length < channels).length;
  }
  expect(cuts).toBeGreaterThan(SEEDS.length);
});

it('what is left after most is cut can be fitted and run', async () => {
  const images = randomImages(8);
  const options = { images: [0, 1, 2, 3, 4, 5, 6, 7], size: SIDE, batch: BATCH, threads: 1, seed: 1 };
  for (const seed of SEEDS.slice(0, 12)) {
    const analysis = await analysePruning(randomNetwork(seed), images, options);
    const { out } = await run((await pruneModel(analysis, images, 0.7, options)).model);
    expect((out!.data as Float32Array).every(Number.isFinite), `${seed}`).toBe(true);
  }
});
