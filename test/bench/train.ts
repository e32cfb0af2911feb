import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { record, spread } from './record.ts';

/*
 * Training speed and memory against PyTorch on the CPU: the same networks, batch, threads and conditions, in turns, so that a busy moment
 * meets both. Needs a python3 that has torch (Debian: python3-torch); without one nothing is compared, which is said.
 * node main/host/build/launch.mjs test/bench/train.ts [rounds] [steps] [threads]
 */
interface Speed {
  imagesPerSecond: number;
  forwardImagesPerSecond: number;
  peakRssBytes: number;
}

const [rounds = 3, steps = 20, threads = 2] = process.argv.slice(2).map(Number);
const [size, batch] = [128, 32];
const cli = fileURLToPath(new URL('../../main/host/cli/main.ts', import.meta.url));
const peer = fileURLToPath(new URL('./train_torch.py', import.meta.url));

const python = ['python3', '/usr/bin/python3'].find((candidate) => {
  try {
    execFileSync(candidate, ['-c', 'import torch'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});
if (!python) process.stderr.write('no python3 with torch: the comparison with PyTorch is skipped\n');

const json = (command: string, args: readonly string[]): Speed =>
  JSON.parse(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })) as Speed;

const result: Record<string, unknown> = { size, batch, steps, threads };
for (const arch of ['mobilenet_v2', 'resnet18']) {
  const ours: Speed[] = [];
  const torch: Speed[] = [];
  for (let round = 0; round < rounds; round++) {
    const options = ['--arch', arch, '--size', `${size}`, '--batch', `${batch}`, '--steps', `${steps}`];
    ours.push(json(process.execPath, [cli, 'bench', 'train', ...options, '--threads', `${threads}`, '--json']));
    if (python) torch.push(json(python, [peer, arch, `${size}`, `${batch}`, `${steps}`, `${threads}`]));
  }
  const summary = (runs: readonly Speed[]) => ({
    imagesPerSecond: spread(runs.map((run) => run.imagesPerSecond)),
    forwardImagesPerSecond: spread(runs.map((run) => run.forwardImagesPerSecond)),
    peakRssBytes: spread(runs.map((run) => run.peakRssBytes)),
  });
  result[arch] = {
    ours: summary(ours),
    ...(python
      ? {
          torch: summary(torch),
          // Of neighbours in time.
          speedRatio: spread(ours.map((run, i) => run.imagesPerSecond / torch[i]!.imagesPerSecond)),
          memoryRatio: spread(ours.map((run, i) => run.peakRssBytes / torch[i]!.peakRssBytes)),
        }
      : {}),
  };
}
record('train', `node main/host/build/launch.mjs test/bench/train.ts ${rounds} ${steps} ${threads}`, result);
