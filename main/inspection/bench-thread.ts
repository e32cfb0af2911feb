import { parentPort, workerData } from 'node:worker_threads';
import { createRingWriter, type RingMemory } from '../capture/ring.ts';
import { assert } from '../contract/errors.ts';

/* The camera's side of the benchmark: puts one frame into the ring each time it is asked to, as a capture thread does. */

assert(parentPort, 'this file is the entry of a worker thread');
const main = parentPort;
const { memory, width, height } = workerData as { memory: RingMemory; width: number; height: number };
const data = new Uint8Array(width * height);
for (let i = 0; i < data.length; i += 1) data[i] = 96 + ((i * 31 + (i >> 9) * 7) & 63);
const writer = createRingWriter(
  memory,
  () => Number(process.hrtime.bigint()) / 1e6,
  (notice) => main.postMessage(notice),
);
main.on('message', () => {
  const taken = writer.offer({
    image: { width, height, channels: 1, data },
    capturedAt: new Date(),
    notes: [],
    source: 'bench',
  });
  assert(taken, 'the benchmark asks for one frame at a time');
});
