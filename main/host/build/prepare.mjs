// After `npm install`: makes the shipped backbone, so that the first start has nothing to wait for. Never fails the
// installation: `npm start` makes what is missing.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findNode, root } from './launch.mjs';

const SCRIPT = 'native-models/make.ts';

/** @returns {string | null} why it could not be made; null: it is there. */
export function makeBackbone() {
  if (!existsSync(join(root, SCRIPT))) return `${SCRIPT} is missing`;
  const node = findNode();
  if (!node) return `needs Node 22.18 or newer, and this is ${process.versions.node}`;
  const made = spawnSync(node, [join(root, SCRIPT)], { cwd: root, encoding: 'utf8', timeout: 120_000 });
  if (made.status === 0) return null;
  const said = `${made.stderr ?? ''}`.trim().split('\n').filter(Boolean);
  return made.error?.message ?? said.find((line) => /error/i.test(line)) ?? said.at(-1) ?? `exit status ${made.status}`;
}

if (process.argv[1] && pathToFileURL(process.argv[1]).href === import.meta.url) {
  const problem = makeBackbone();
  console.log(
    problem === null
      ? 'Mekiki: the shipped backbone is ready.'
      : `Mekiki: the shipped backbone is not made yet (${problem}); "npm run models" tries again.`,
  );
}
