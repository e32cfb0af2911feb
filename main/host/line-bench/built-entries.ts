import { fileURLToPath } from 'node:url';
import { ensureProcesses } from '../build/fresh.mjs';
import type { Entries } from '../children.ts';

const builtFile = (name: keyof Entries): string =>
  fileURLToPath(new URL(`../../../dist/processes/${name}.mjs`, import.meta.url));

/**
 * The process bundles as they are installed, built now where they are missing or old. Memory and start-up of a line are measured on
 * these: under plain Node each thread that loads TypeScript carries a compiler of its own.
 */
export async function builtEntries(): Promise<Entries> {
  await ensureProcesses();
  return { core: builtFile('core'), line: builtFile('line'), trainer: builtFile('trainer') };
}
