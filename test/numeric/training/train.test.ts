import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError, isAppError } from '../../../main/contract/errors.ts';
import { nodeFiles } from '../../../main/store/files.ts';
import { openCheckpoints } from '../../../main/training/checkpoint.ts';
import type { State } from '../../../main/training/engine.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import type { TrainingProgress } from '../../../main/training/progress.ts';
import { firstNotFinite, initialState } from '../../../main/training/state.ts';
import { train, type Position, type TrainOptions } from '../../../main/training/train.ts';
import { BATCH, PER_EPOCH, smallSource, smallStep } from './small-training.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mekiki-train-'));
  file = join(folder, 'run');
});
afterEach(() => rm(folder, { recursive: true }));

const run = (over: Partial<TrainOptions<null>> = {}) =>
  train<null>({ engine: createOrtEngine(), step: smallStep(), source: smallSource(), epochs: 4, threads: 1, ...over });
const checkpoints = () => openCheckpoints<Position<null>>(file, 'small');
const failure = async (promise: Promise<unknown>): Promise<AppError> => {
  const error = await promise.then(
    () => null,
    (cause: unknown) => cause,
  );
  if (!isAppError(error)) throw new Error('it did not fail as expected', { cause: error });
  return error;
};

describe('ORT engine', () => {
  it('keeps the state apart from what it was given and from what it gives', async () => {
    const step = smallStep();
    const before = initialState(step);
    const untouched = structuredClone(before);
    await using opened = await createOrtEngine().open(step, { threads: 1, state: before });
    expect(await opened.readState()).toEqual(untouched);
    const states: State[] = [];
    for await (const batch of smallSource().batches(0, 0, 1)) {
      await opened.step(batch);
      states.push(await opened.readState());
    }
    expect(before).toEqual(untouched);
    // Three steps later the first copy is still what it was: both buffers have been written to since.
    await using again = await createOrtEngine().open(step, { threads: 1, state: before });
    for await (const batch of smallSource().batches(0, 0, 1)) {
      await again.step(batch);
      expect(await again.readState()).toEqual(states[0]);
      break;
    }
    expect(states[0]).not.toEqual(states[1]);
  });

  it('counts steps and follows the schedule', async () => {
    const step = smallStep(0.05);
    await using opened = await createOrtEngine().open(step, { threads: 1 });
    let at = 0;
    for await (const batch of smallSource().batches(0, 0, 1)) {
      const { learningRate, loss } = await opened.step(batch);
      expect(learningRate).toBeCloseTo(0.025 * (1 + Math.cos((Math.PI * at) / 1000)), 7);
      expect(loss).toBeGreaterThan(0);
      at += 1;
    }
    const count = step.state.find(({ role }) => role === 'stepCount')!;
    expect(Number((await opened.readState()).get(count.name)!.data[0])).toBe(PER_EPOCH);
  });

  it('refuses the state of another network by name', async () => {
    const step = smallStep();
    const state = new Map(initialState(step));
    const { name } = step.state[0]!;
    state.set(name, { type: 'float32', dims: [1], data: new Float32Array(1) });
    const error = await failure(createOrtEngine().open(step, { threads: 1, state }));
    expect(error.code).toBe('CHECKPOINT_OTHER_RUN');
    expect(error.message).toContain(name);
  });
});

describe('training loop', () => {
  it('learns, and says loss, speed and time left', async () => {
    const said: TrainingProgress[] = [];
    const evaluated: number[] = [];
    const result = await run({
      epochs: 6,
      onProgress: (progress) => said.push(progress),
      evaluate: async (_, epoch) => {
        evaluated.push(epoch);
        return null;
      },
    });
    expect(result.epochs.at(-1)!.loss).toBeLessThan(0.7 * result.epochs[0]!.loss);
    expect(evaluated).toEqual([0, 1, 2, 3, 4, 5]);
    expect(said.map(({ step }) => step)).toEqual(Array.from({ length: 6 * PER_EPOCH }, (_, i) => i + 1));
    const last = said.at(-1)!;
    expect(last).toMatchObject({ epoch: 6, epochs: 6, steps: 6 * PER_EPOCH });
    expect(last.imagesPerSecond).toBeGreaterThan(BATCH);
    expect(said[3]!.secondsLeft).toBeGreaterThan(last.secondsLeft);
  });

  it('gives the same to the bit when run again', async () => {
    expect((await run()).state).toEqual((await run()).state);
  });

  it('stops between two steps when told to, and goes on from there as if it had not', async () => {
    const whole = await run();
    const abort = new AbortController();
    const options = { checkpoints: checkpoints(), checkpointEvery: 1000 };
    const error = await failure(
      run({ ...options, signal: abort.signal, onProgress: ({ step }) => step === 9 && abort.abort() }),
    );
    expect(error.code).toBe('CANCELLED');
    const resumed = await run({ checkpoints: checkpoints() });
    expect(resumed.resumedAt).toBe(9);
    expect(resumed.state).toEqual(whole.state);
    expect(resumed.epochs.map(({ loss }) => loss)).toEqual(whole.epochs.map(({ loss }) => loss));
    // Done is done: nothing is trained again.
    const done = await run({ checkpoints: checkpoints(), onProgress: () => expect.unreachable() });
    expect(done.state).toEqual(whole.state);
  });

  it('after SIGKILL in the middle gives the weights of a run that was never stopped, to the bit', async () => {
    const child = (checkpoint: string, out: string, pauseMs: number, killAt?: number) =>
      new Promise<{ signal: string | null; resumedAt: number }>((resolve, reject) => {
        const entry = fileURLToPath(new URL('./train-child.ts', import.meta.url));
        const started = spawn(process.execPath, [entry, checkpoint, out, String(pauseMs)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        let said = '';
        started.stdout.on('data', (chunk: Buffer) => {
          said += chunk.toString();
          if (killAt !== undefined && said.split('\n').includes(String(killAt))) started.kill('SIGKILL');
        });
        started.on('error', reject);
        started.on('close', (code, signal) => {
          if (code !== 0 && signal !== 'SIGKILL') reject(new Error(`the child ended with ${code}`));
          else resolve({ signal, resumedAt: Number(/resumed at (\d+)/.exec(said)?.[1] ?? Number.NaN) });
        });
      });
    const [first, second] = [join(folder, 'first.bin'), join(folder, 'second.bin')];
    await child(join(folder, 'never-stopped'), first, 0);
    expect((await child(file, second, 15, 10)).signal).toBe('SIGKILL');
    // Once more, later, and then to the end.
    expect((await child(file, second, 15, 19)).signal).toBe('SIGKILL');
    const { resumedAt } = await child(file, second, 0);
    expect(resumedAt).toBeGreaterThanOrEqual(16);
    expect(resumedAt).toBeLessThan(24);
    expect((await readFile(second)).equals(await readFile(first))).toBe(true);
  });

  it('takes the checkpoint before when the newest was half-written, and says so', async () => {
    const whole = await run();
    await failure(run({ checkpoints: checkpoints(), checkpointEvery: 2, source: smallSource(stopAt(1, 4)) }));
    const slots = await Promise.all(
      ['a', 'b'].map(async (slot) => ({ slot, position: (await openSlot(slot)).position as Position<null> })),
    );
    const newest = slots.toSorted(
      (x, y) => y.position.epoch * 100 + y.position.batch - x.position.epoch * 100 - x.position.batch,
    )[0]!;
    const bytes = await readFile(`${file}.${newest.slot}`);
    await writeFile(`${file}.${newest.slot}`, bytes.subarray(0, bytes.length - 40));
    const told: string[] = [];
    const resumed = await run({ checkpoints: checkpoints(), onWarning: ({ code }) => told.push(code) });
    expect(told).toEqual(['CHECKPOINT_DAMAGED']);
    expect(resumed.resumedAt).toBe(8);
    expect(resumed.state).toEqual(whole.state);
  });

  it('stops at a loss that is no number and keeps the last good state', async () => {
    const good: { step: number; state: State }[] = [];
    const poisoned = smallSource((epoch, batch, input) => {
      if (epoch === 1 && batch === 3) input[5] = Number.NaN;
    });
    const error = await failure(
      run({
        source: poisoned,
        checkpoints: checkpoints(),
        checkpointEvery: 4,
        onGoodState: (state, step) => good.push({ step, state }),
      }),
    );
    expect(error.code).toBe('TRAINING_DIVERGED');
    expect(error.details).toMatchObject({ step: 10, kept: 8 });
    expect(error.nextAction).toMatch(/learning rate/);
    const last = good.at(-1)!;
    expect(last.step).toBe(8);
    expect(firstNotFinite(last.state)).toBeNull();
    const loaded = await checkpoints().load();
    expect(loaded!.state).toEqual(last.state);
    // With sound data it goes on from there.
    expect((await run({ checkpoints: checkpoints() })).state).toEqual((await run()).state);
  });

  it('stops when the weights run away, before the end', async () => {
    const error = await failure(run({ step: smallStep(1e6), epochs: 20 }));
    expect(error.code).toBe('TRAINING_DIVERGED');
    expect(error.details.step).toBeLessThan(60);
  });

  it('stops on a full disk with the earlier checkpoint intact', async () => {
    let writes = 0;
    const files = {
      ...nodeFiles,
      async writeNew(path: string, bytes: Uint8Array, mode: number) {
        writes += 1;
        if (writes < 3) return nodeFiles.writeNew(path, bytes, mode);
        await nodeFiles.writeNew(path, bytes.subarray(0, 100), mode);
        throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      },
    };
    const store = openCheckpoints<Position<null>>(file, 'small', files);
    const error = await failure(run({ checkpoints: store, checkpointEvery: 2 }));
    expect(error.code).toBe('DISK_FULL');
    expect((await readdir(folder)).sort()).toEqual(['run.a', 'run.b']);
    const resumed = await run({ checkpoints: checkpoints() });
    expect(resumed.resumedAt).toBe(4);
    expect(resumed.state).toEqual((await run()).state);
  });
});

const stopAt = (epoch: number, batch: number) => (e: number, b: number) => {
  if (e === epoch && b === batch) throw new AppError('IMAGE_UNREADABLE', { file: 'x', problem: 'the test stops here' });
};
async function openSlot(slot: string) {
  const { decodeCheckpoint } = await import('../../../main/training/checkpoint.ts');
  return decodeCheckpoint(await readFile(`${file}.${slot}`), slot);
}
