import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  fitLine,
  layersOf,
  layerTimes,
  costModelOf,
  measureLayers,
  narrowed,
  type Layer,
} from '../../../main/compression/cost/cost-model.ts';
import { operationsScore } from '../../../main/compression/evidence/operations-score.ts';
import { allocate, type NodeCost } from '../../../main/compression/prune/allocate.ts';
import { smallDisk } from '../../helpers/small-disk.ts';
import { smallBackbone } from './networks.ts';

const layer = (macs: number, bytes: number): Layer => ({
  kind: 'pointwise',
  precision: 'fp32',
  macs,
  bytes: { input: bytes, weight: 0, output: 0 },
});

describe('cost of layers', () => {
  it('a line through measured layers is found again, and never has a negative part', () => {
    const rows = [1, 2, 3, 5, 8, 13].map((n) => {
      const of = layer(1e6 * n, 1e4 * ((n * n) % 7));
      return { ...of, ms: 0.02 + 3e-7 * of.macs + 1e-6 * of.bytes.input };
    });
    const [fixed, perMac, perByte] = fitLine(rows);
    expect(fixed).toBeCloseTo(0.02, 6);
    expect(perMac).toBeCloseTo(3e-7, 12);
    expect(perByte).toBeCloseTo(1e-6, 11);
    // Falls with bytes: that would be a negative part.
    const falling = rows.map((row, i) => ({ ...row, ms: 1 + i }));
    expect(fitLine(falling).every((part) => part >= 0)).toBe(true);
  });

  it('knows a kernel by its channels and rows, with channels first or last; the rest lies between', () => {
    const layers = [
      { ...layer(1, 1), key: 'conv 16 16 32' },
      { ...layer(2, 1), key: 'conv 16 32 16' },
    ];
    const kernel = (op: string, input: number[], output: number[], ms: number) => ({
      op,
      inputs: [{ type: 'float', dims: input }],
      outputs: [{ type: 'float', dims: output }],
      ms,
    });
    const { layers: times, restMs } = layerTimes(layers, [
      kernel('ReorderInput', [1, 3, 64, 64], [1, 3, 64, 64], 5),
      kernel('Conv', [1, 3, 64, 64], [1, 16, 32, 32], 7),
      kernel('QLinearConv', [1, 32, 32, 16], [1, 16, 16, 24], 9),
      kernel('Conv', [1, 99, 32, 32], [1, 16, 16, 16], 11),
    ]);
    expect(times.map(({ macs, ms }) => [macs, ms])).toEqual([
      [1, 7],
      [2, 9],
    ]);
    expect(restMs).toBe(16);
  });

  it('a narrower layer has less of what depends on its channels', () => {
    const of: Layer = { ...layer(100, 0), bytes: { input: 10, weight: 40, output: 20 } };
    expect(narrowed(of, 0.5, 0.25)).toMatchObject({ macs: 12.5, bytes: { input: 5, weight: 5, output: 5 } });
  });

  it('profiles a real network: every convolution once, and a time for sizes that were not measured', async () => {
    const model = smallBackbone();
    const costs = costModelOf(await measureLayers([{ model, size: 64 }], { threads: 1 }));
    expect(costs.layers).toBe(layersOf(model, 64).length);
    const [small, large] = [costs.network(model, 64)!, costs.network(model, 256)!];
    expect(small).toBeGreaterThan(0);
    expect(large).toBeGreaterThan(small);
    // Nothing was measured in integers.
    expect(costs.layer({ ...layer(1, 1), precision: 'int8' })).toBeNull();
  });

  describe('where no temporary file can be written it says so, and a search goes by multiply-accumulates', () => {
    const refused = (folder: string) => {
      for (const name of ['TMPDIR', 'TEMP']) vi.stubEnv(name, folder);
      return expect(measureLayers([{ model: smallBackbone(), size: 64 }], { threads: 1 })).rejects.toMatchObject({
        code: 'HOME_NOT_WRITABLE',
        details: { home: folder },
      });
    };
    afterEach(() => vi.unstubAllEnvs());

    it('without the folder', () => refused(join(tmpdir(), 'no such folder')));

    it('on a full disk', async () => {
      const disk = mkdtempSync(join(tmpdir(), 'mekiki-costs-'));
      const unmount = smallDisk(disk, '8k');
      try {
        if (unmount !== null) await refused(disk);
      } finally {
        unmount?.();
        rmSync(disk, { recursive: true });
      }
    });
  });

  it('pruning goes where time is saved, not where multiply-accumulates are', () => {
    const group = (id: string) => ({ id, channels: 64, unit: 1, columns: new Map() }) as never;
    const curves = ['a', 'b'].map((id) => ({
      group: group(id),
      order: Int32Array.from({ length: 56 }, (_, i) => i),
      error: Float64Array.from({ length: 57 }, (_, i) => i / 56),
    }));
    const costs = (slow: string): NodeCost[] =>
      ['a', 'b'].map((id) => ({
        node: id,
        macs: 100,
        input: [],
        output: [[id, 1] as const],
        ms: (_, output) => (id === slow ? 10 : 1) * output,
      }));
    expect([...allocate(curves, costs('a'), { ratio: 0.2, floor: 0.125 }).keep.keys()]).toEqual(['a']);
    expect([...allocate(curves, costs('b'), { ratio: 0.2, floor: 0.125 }).keep.keys()]).toEqual(['b']);
  });
});

describe('operations score', () => {
  it('is the weighted geometric mean of the parts that were measured', () => {
    const { value, parts, weights } = operationsScore({
      balancedAccuracy: 0.9,
      latencyMs: 2,
      latencyLimitMs: 10,
      minutes: 30,
    });
    expect(parts).toMatchObject({ accuracy: 0.9, latencyHeadroom: 0.8, updateEffort: 0.5, explanation: null });
    const sum = weights.accuracy + weights.latencyHeadroom + weights.updateEffort;
    expect(value).toBeCloseTo((0.9 ** 0.4 * 0.8 ** 0.25 * 0.5 ** 0.15) ** (1 / sum), 12);
    expect(operationsScore({ balancedAccuracy: 1, latencyMs: 20, latencyLimitMs: 10, minutes: 0 }).value).toBeLessThan(
      0.1,
    );
  });
});
