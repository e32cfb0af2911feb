import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isAppError } from '../../../main/contract/errors.ts';
import { openCheckpoints } from '../../../main/training/checkpoint.ts';
import type { State } from '../../../main/training/engine.ts';
import { nodeFiles, type FilePort } from '../../../main/store/files.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-checkpoint-'));
  file = join(folder, 'run');
});
afterEach(() => rm(folder, { recursive: true }));

const state = (seed: number): State =>
  new Map([
    ['w', { type: 'float32', dims: [3, 2], data: Float32Array.from({ length: 6 }, (_, i) => Math.sin(seed + i)) }],
    ['odd', { type: 'float32', dims: [1], data: Float32Array.of(seed, 9).subarray(0, 1) }],
    ['step', { type: 'int64', dims: [], data: BigInt64Array.of(BigInt(seed)) }],
  ]);
interface At {
  step: number;
}
const fill = async (count: number) => {
  const store = openCheckpoints<At>(file, 'run 1');
  for (let i = 1; i <= count; i += 1) await store.save(state(i), { step: i });
};
const load = () => openCheckpoints<At>(file, 'run 1').load();

describe('checkpoints', () => {
  it('give back what was saved, to the bit, the newest of them', async () => {
    expect(await load()).toBeNull();
    for (const count of [1, 2, 3]) {
      await rm(folder, { recursive: true });
      await fill(count);
      expect(await load()).toEqual({ state: state(count), position: { step: count } });
    }
    // Two files and no more.
    expect((await readdir(folder)).sort()).toEqual(['run.a', 'run.b']);
    await openCheckpoints(file, 'run 1').remove();
    expect(await readdir(folder)).toEqual([]);
  });

  it('go on with the numbers of an earlier process', async () => {
    await fill(3);
    await openCheckpoints<At>(file, 'run 1').save(state(4), { step: 4 });
    expect((await load())!.position).toEqual({ step: 4 });
  });

  it('recognise any altered byte and any cut, and take the one before', async () => {
    await fill(2);
    const newest = `${file}.b`;
    const whole = await readFile(newest);
    const damages: Buffer[] = [whole.subarray(0, whole.length - 1), whole.subarray(0, 20), Buffer.alloc(0)];
    for (let at = 0; at < whole.length; at += 7) {
      const altered = Buffer.from(whole);
      altered[at]! ^= 1;
      damages.push(altered);
    }
    for (const damaged of damages) {
      await writeFile(newest, damaged);
      const told: string[] = [];
      const found = await openCheckpoints<At>(file, 'run 1').load((error) =>
        told.push(`${error.code} ${error.message}`),
      );
      expect(found).toEqual({ state: state(1), position: { step: 1 } });
      expect(told).toHaveLength(1);
      expect(told[0]).toMatch(/^CHECKPOINT_DAMAGED .*run\.b/);
    }
    // The damaged one is the next to be written over.
    await openCheckpoints<At>(file, 'run 1').save(state(5), { step: 5 });
    expect((await load())!.position).toEqual({ step: 5 });
    expect((await readFile(`${file}.a`)).length).toBeGreaterThan(0);
  });

  it('refuse to begin anew in silence when both are damaged, and another run', async () => {
    await fill(2);
    await expect(openCheckpoints(file, 'run 2').load()).rejects.toSatisfy((e) => isAppError(e, 'CHECKPOINT_OTHER_RUN'));
    for (const slot of ['a', 'b']) await writeFile(`${file}.${slot}`, 'x'.repeat(100));
    await expect(load()).rejects.toSatisfy((e) => isAppError(e, 'CHECKPOINT_DAMAGED'));
  });

  it('on a full disk leave the earlier ones as they were', async () => {
    await fill(2);
    // The device that is always full stands for the disk: half of the file goes to the real one.
    const full: FilePort = {
      ...nodeFiles,
      async writeNew(path, bytes) {
        await writeFile(path, bytes.subarray(0, bytes.length / 2));
        if (process.platform !== 'linux') throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        const device = await open('/dev/full', 'w');
        try {
          await device.writeFile(bytes.subarray(bytes.length / 2));
        } finally {
          await device.close();
        }
      },
    };
    const store = openCheckpoints<At>(file, 'run 1', full);
    await expect(store.save(state(3), { step: 3 })).rejects.toSatisfy((e) => isAppError(e, 'DISK_FULL'));
    await expect(store.save(state(3), { step: 3 })).rejects.toSatisfy((e) => isAppError(e, 'DISK_FULL'));
    expect((await readdir(folder)).sort()).toEqual(['run.a', 'run.b']);
    expect(await load()).toEqual({ state: state(2), position: { step: 2 } });
    expect((await openCheckpoints<At>(file, 'run 1').load())!.state).toEqual(state(2));
  });

  it('say when the folder cannot be written', async () => {
    await writeFile(join(folder, 'file'), '');
    const store = openCheckpoints<At>(join(folder, 'file', 'run'), 'run 1');
    await expect(store.save(state(1), { step: 1 })).rejects.toSatisfy((e) => isAppError(e, 'HOME_NOT_WRITABLE'));
  });
});
