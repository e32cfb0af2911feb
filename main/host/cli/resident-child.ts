import { openSession } from '../../runtime/session.ts';

/* A process that does nothing but run one model: what it holds then is what the model costs. Arguments: file, input size, threads. */

const RUNS = 10;
const [file, size, threads] = [process.argv[2]!, Number(process.argv[3]), Number(process.argv[4])];
await using session = await openSession(file, { threads });
const data = new Float32Array(3 * size * size);
for (let run = 0; run < RUNS; run++) {
  await session.run({ [session.inputs[0]!]: { type: 'float32', dims: [1, 3, size, size], data } });
}
process.stdout.write(String(process.memoryUsage.rss()));
