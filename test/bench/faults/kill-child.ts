import { startWorker } from './acts.ts';

/* Works until it is killed; each act that was answered is a line on stdout. */

const [base, seed] = process.argv.slice(2);
const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);
const worker = await startWorker(base!, Number(seed), say);
for (;;) await worker.step();
