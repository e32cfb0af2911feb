import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inTemporaryFolder } from './temporary-folder.ts';

const child = fileURLToPath(new URL('./resident-child.ts', import.meta.url));

/** Resident memory of a process of its own that runs one model, bytes; Node and ONNX Runtime are in it. Null: it did not run. */
export async function residentBytes(model: Uint8Array, inputSize: number, threads: number): Promise<number | null> {
  try {
    return await inTemporaryFolder('resident', async (folder) => {
      const file = join(folder, 'model.onnx');
      await writeFile(file, model);
      const { stdout } = await promisify(execFile)(process.execPath, [child, file, `${inputSize}`, `${threads}`]);
      const bytes = Number(stdout);
      return Number.isFinite(bytes) && bytes > 0 ? bytes : null;
    });
  } catch {
    // A figure beside others: without it the report is still whole.
    return null;
  }
}
