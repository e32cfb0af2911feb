import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { evaluateNovelty } from '../../../main/learning/novelty-evaluation.ts';
import { CLASSES, smallBackboneFile, writeDataset } from '../compression/small-data.ts';

/** Each picture of a folder three times more, in other bytes: what follows a PNG's end is not looked at. */
async function saveAgain(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const bytes = await readFile(join(folder, name));
    for (const again of ['a', 'b', 'c']) await writeFile(join(folder, `${again}-${name}`), [bytes, again]);
  }
}

it('copies of one shot are held out together: known parts do not become novel by them', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'mekiki-novelty-'));
  try {
    const backbone = await smallBackboneFile(dir);
    const set = join(dir, 'set');
    await writeDataset(set, { train: 12, test: 12 });
    const alone = await evaluateNovelty({ dir: set, backbone, threads: 1 });
    for (const name of CLASSES) await saveAgain(join(set, 'train', name));
    const copied = await evaluateNovelty({ dir: set, backbone, threads: 1 });
    // A copy that stays while the other is held out makes held-out parts look near, and the limit too tight.
    expect(copied.falseAlarms).toBeLessThan(alone.falseAlarms + 0.1);
    expect(copied.found).toBe(1);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
