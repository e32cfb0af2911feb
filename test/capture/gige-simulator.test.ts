import { describe, expect, it } from 'vitest';
import { receiveFrom, type Reception } from '../helpers/simulated-gige.ts';

const until =
  (frames: number) =>
  async ({ ids }: Reception) => {
    await expect.poll(() => ids.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(frames);
  };
const consecutive = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

/** Few packets a second: simulator and driver share a thread here, and whatever else this machine does takes from both. */
const small = { width: 128, height: 96, framesPerSecond: 25 };

describe('the driver against the simulated camera', () => {
  it('takes every frame of a line without faults, byte for byte', async () => {
    const { ids, wrong, lost } = await receiveFrom(small, {}, until(60));
    expect(ids).toEqual(consecutive(1, ids.length));
    expect(wrong).toEqual([]);
    expect(lost).toEqual({});
  });

  it('takes every frame though packets are lost, overtaken and doubled', async () => {
    const faults = { lossPerMille: 10, reorderPerMille: 20, duplicatePerMille: 20 };
    const { simulator, acquisition, ids, wrong, lost } = await receiveFrom(
      { ...small, ...faults, largestPacket: 576 },
      {},
      until(200),
    );
    expect(ids).toEqual(consecutive(1, ids.length));
    expect(wrong).toEqual([]);
    expect(lost).toEqual({});
    const { dropped, reordered, duplicated, resent } = simulator.status();
    for (const count of [dropped, reordered, duplicated, resent]) expect(count).toBeGreaterThan(30);
    expect(acquisition.packetSize).toBe(576);
    expect(acquisition.counts.resendRequests).toBeGreaterThanOrEqual(resent);
  });
});
