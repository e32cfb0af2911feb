import { startWorker } from './acts.ts';

/* So many acts, then the orderly end; each act that was answered is a line on stdout. Run under strace. */

const [base, seed, steps] = process.argv.slice(2);
const worker = await startWorker(base!, Number(seed), (line) => process.stdout.write(`${JSON.stringify(line)}\n`));
for (let n = 0; n < Number(steps); n += 1) await worker.step();
await worker.world.core.close();
process.exit(0);
