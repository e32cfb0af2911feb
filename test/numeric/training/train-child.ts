import { writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { encodeCheckpoint, openCheckpoints } from '../../../main/training/checkpoint.ts';
import { createOrtEngine } from '../../../main/training/ort/engine.ts';
import { train, type Position } from '../../../main/training/train.ts';
import { smallSource, smallStep } from './small-training.ts';

/* Trains the small network to the end and writes what came out. Killed by its test in between: it says each step on stdout and waits a little. */
const [checkpoint, out, pauseMs] = process.argv.slice(2) as [string, string, string];
const result = await train({
  engine: createOrtEngine(),
  step: smallStep(),
  source: smallSource(async () => void (await setTimeout(Number(pauseMs)))),
  epochs: 4,
  threads: 2,
  checkpoints: openCheckpoints<Position<number>>(checkpoint, 'small'),
  checkpointEvery: 4,
  evaluate: async (state) => Number(state.size),
  onProgress: ({ step }) => process.stdout.write(`${step}\n`),
});
const losses = result.epochs.map(({ loss }) => loss);
await writeFile(out, encodeCheckpoint({ run: 'out', state: result.state, position: losses }, 0));
process.stdout.write(`resumed at ${result.resumedAt}\n`);
