import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { surfaces } from '../../main/capture/simulated/render.ts';
import { writeCifarLayout } from './cifar-layout.ts';
import { writeParts } from './parts-on-disk.ts';

/*
 * `npm run fixtures -- DIR`: rendered sets to try things on, {train,test}/<class>/*.png each: a folder per surface of the simulated line, and cifar-layout, a hundred
 * classes of 32 px.
 */
const { positionals } = parseArgs({ allowPositionals: true });
const [folder] = positionals;
if (folder === undefined || existsSync(folder)) {
  process.stderr.write(folder === undefined ? 'npm run fixtures -- DIR\n' : `${folder} exists: give a new folder\n`);
  process.exit(2);
}
for (const surface of surfaces) {
  await writeParts(join(folder, surface, 'train'), { surface, perClass: 40, seed: 1 });
  await writeParts(join(folder, surface, 'test'), { surface, perClass: 20, seed: 2 });
}
await writeCifarLayout(join(folder, 'cifar-layout'), { train: 50, test: 10 });
process.stdout.write(`${surfaces.join(', ')} and cifar-layout are in ${resolve(folder)}\n`);
