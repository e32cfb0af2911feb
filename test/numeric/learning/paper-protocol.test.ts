import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Backbone } from '../../../main/contract/domain.ts';
import { runLearnProtocol, type ProtocolResult } from '../../../main/learning/protocol.ts';
import { ensureShippedBackbone } from '../../../native-models/shipped.ts';
import { classNames, writeCifarLayout } from '../../helpers/cifar-layout.ts';
import { pythonWithSklearn, sklearnRidge } from '../../helpers/sklearn-ridge.ts';

/** The protocol of the paper (arXiv 2505.08327) on a rendered set in the layout of CIFAR-100: a hundred classes of 32 px in ten tasks. */
describe("the paper's protocol in ten tasks", { timeout: 300_000 }, () => {
  let dir: string;
  let backbone: Backbone;
  let result: ProtocolResult;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mekiki-cifar-layout-'));
    await writeCifarLayout(dir, { train: 5, test: 2 });
    backbone = await ensureShippedBackbone();
    result = await runLearnProtocol({ dir, backbone, method: 'analytic', tasks: 10, threads: 2, seed: 0 });
  }, 600_000);
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test('a hundred classes in ten tasks of ten, each judged after every task', () => {
    expect(result.classes).toEqual(classNames.toSorted());
    expect(result.tasks.map((task) => task.length)).toEqual(Array(10).fill(10));
    expect(result.matrix.map((row) => row.filter((value) => value !== null).length)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
  });

  test('nothing is forgotten: it ends where learning all at once ends', () => {
    expect(result.maxWeightDifferenceToJoint).toBeLessThan(1e-6);
    expect(result.accuracy).toBe(result.joint.accuracy);
    // A hundred classes: chance is .01.
    expect(result.accuracy).toBeGreaterThan(0.3);
  });

  test.skipIf(!pythonWithSklearn)(
    "not worse than scikit-learn's ridge on the same features (needs python3-sklearn)",
    async () => {
      const peer = await sklearnRidge(dir, backbone, 2);
      expect(peer.accuracy).toBeGreaterThan(0.3);
      // Two hundred test pictures: a binomial share moves by .03 by chance alone.
      expect(result.accuracy).toBeGreaterThan(peer.accuracy - 0.07);
    },
  );
});
