import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import util from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { graph, model, node, value } from '../../../main/onnx/index.ts';
import { chooseBackend } from '../../../main/training/tfjs/backend.ts';
import { createTfjsEngine, type Estimate } from '../../../main/training/tfjs/engine.ts';
import { planGraph } from '../../../main/training/tfjs/graph-run.ts';
import { tfjsNodeIn } from '../../../main/training/tfjs/tfjs-node.ts';
import { batchOf, plainNet, stepOf } from '../../numeric/training-tfjs/small-nets.ts';

const require = createRequire(import.meta.url);
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tfjs-node-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A package that stands in for tfjs-node: registers "tensorflow" over the CPU kernels and calls the removed function at load and in every kernel. */
function writePackage(at: string, manifest: object = {}): void {
  mkdirSync(join(at, 'dist'), { recursive: true });
  writeFileSync(
    join(at, 'package.json'),
    JSON.stringify({ name: '@tensorflow/tfjs-node', version: '4.22.0', main: 'dist/index.js', ...manifest }),
  );
  writeFileSync(
    join(at, 'dist', 'index.js'),
    `const util = require('util');
    if (!util.isNullOrUndefined(null) || require('node:util').isNullOrUndefined(0)) throw new Error('wrong');
    const tf = require(${JSON.stringify(require.resolve('@tensorflow/tfjs-core'))});
    const { MathBackendCPU } = require(${JSON.stringify(require.resolve('@tensorflow/tfjs-backend-cpu'))});
    tf.registerBackend('tensorflow', () => new MathBackendCPU(), 3);
    for (const kernel of tf.getKernelsForBackend('cpu')) {
      tf.registerKernel({ ...kernel, backendName: 'tensorflow', kernelFunc: (args) => {
        if (util.isNullOrUndefined(args.backend)) throw new Error('no backend');
        globalThis.standInKernels = (globalThis.standInKernels ?? 0) + 1;
        return kernel.kernelFunc(args);
      } });
    }`,
  );
}

describe('which backend', () => {
  test('without tfjs-node it is WASM, read from disk, and says why', async () => {
    const fetched = globalThis.fetch;
    globalThis.fetch = () => {
      throw new Error('the network was asked');
    };
    const handlers = process.listenerCount('uncaughtException');
    try {
      const choice = await chooseBackend();
      expect(choice.name).toBe('wasm');
      expect(choice.why).toContain('@tensorflow/tfjs-node is not installed');
      expect(choice.refused.map(({ name }) => name)).toEqual(['native']);
      expect(process.listenerCount('uncaughtException')).toBe(handlers);
    } finally {
      globalThis.fetch = fetched;
    }
  });

  test('native asked for and not there is an error, not another backend', async () => {
    await expect(chooseBackend({ backend: 'native' })).rejects.toMatchObject({ code: 'TRAINER_FAILED' });
  });

  test('the time is told before the first step on WASM and CPU', async () => {
    for (const backend of ['wasm', 'cpu'] as const) {
      const told: Estimate[] = [];
      const engine = createTfjsEngine({ backend, steps: 50, onEstimate: (estimate) => told.push(estimate) });
      const step = stepOf(plainNet());
      await using run = await engine.open(step, { threads: 1 });
      expect(told).toHaveLength(1);
      expect(told[0]).toMatchObject({ backend, secondsLeft: told[0]!.secondsPerStep * 50 });
      expect(told[0]!.secondsPerStep).toBeGreaterThan(0);
      // The trial steps did not move the state.
      const state = await run.readState();
      for (const { name, initial } of step.state) expect([...state.get(name)!.data], name).toEqual([...initial]);
    }
  });
});

describe('a named folder', () => {
  const refused = (problem: RegExp) => {
    try {
      tfjsNodeIn(folder);
    } catch (error) {
      expect(error).toMatchObject({ code: 'TFJS_NODE_UNUSABLE' });
      expect(String(error)).toMatch(problem);
      return;
    }
    throw new Error('it was accepted');
  };

  test('is checked: name, version, main file, links out of it', async () => {
    refused(/package.json cannot be read/);
    writePackage(folder, { name: 'other' });
    refused(/it holds "other"/);
    writePackage(folder, { version: '3.1.0' });
    refused(/version is 3\.1\.0; 4\.22\.x is needed/);
    writePackage(folder, { main: 'dist/none.js' });
    refused(/main file/);
    const outside = mkdtempSync(join(tmpdir(), 'outside-'));
    try {
      writePackage(outside);
      writePackage(folder, { main: 'dist/link.js' });
      symlinkSync(join(outside, 'dist', 'index.js'), join(folder, 'dist', 'link.js'));
      refused(/lies outside/);
      mkdirSync(join(folder, 'node_modules', '@tensorflow'), { recursive: true });
      symlinkSync(outside, join(folder, 'node_modules', '@tensorflow', 'tfjs-node'));
      refused(/link to outside/);
    } finally {
      rmSync(outside, { recursive: true, force: true });
    }
    await expect(chooseBackend({ tfjsNodeFolder: folder })).rejects.toMatchObject({ code: 'TFJS_NODE_UNUSABLE' });
  });

  test('is loaded behind a util of its own, and trains', async () => {
    writePackage(join(folder, 'node_modules', '@tensorflow', 'tfjs-node'));
    const before = 'isNullOrUndefined' in util;
    const told: Estimate[] = [];
    const step = stepOf(plainNet());
    const engine = createTfjsEngine({ tfjsNodeFolder: folder, onEstimate: (estimate) => told.push(estimate) });
    await using run = await engine.open(step, { threads: 1 });
    expect(run.backend.name).toBe('native');
    expect('isNullOrUndefined' in util).toBe(before);
    const losses = [];
    for (let at = 0; at < 3; at++) losses.push((await run.step(batchOf(step, at))).loss);
    expect((globalThis as { standInKernels?: number }).standInKernels).toBeGreaterThan(100);
    expect(told).toEqual([]);
    await using cpu = await createTfjsEngine({ backend: 'cpu' }).open(step, { threads: 1 });
    for (const [at, loss] of losses.entries()) expect((await cpu.step(batchOf(step, at))).loss).toBeCloseTo(loss, 6);
  });
});

test('a missing row names op, opset, node and engine before anything runs', () => {
  const made = model(
    graph({
      nodes: [node('Hardmax', ['x'], ['y'], {}, { name: 'the last' })],
      inputs: [value('x', 'float32', [2, 3])],
      outputs: [value('y', 'float32', [2, 3])],
    }),
  );
  expect(() => planGraph(made, ['y'])).toThrowError(/Hardmax \(opset 17, node "the last"\).*tfjs training engine/);
});
