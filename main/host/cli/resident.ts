import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const child = fileURLToPath(new URL('./resident-child.ts', import.meta.url));

/** Resident memory of a process of its own that runs one model, bytes; Node and ONNX Runtime are in it. Null: it did not run. */
export async function residentBytes(model: Uint8Array, inputSize: number, threads: number): Promise<number | null> {
  const folder = await mkdtemp(join(tmpdir(), 'mekiki-resident-'));
  try {
    const file = join(folder, 'model.onnx');
    await writeFile(file, model);
    const { stdout } = await promisify(execFile)(process.execPath, [child, file, `${inputSize}`, `${threads}`]);
    const bytes = Number(stdout);
    return Number.isFinite(bytes) && bytes > 0 ? bytes : null;
  } catch {
    // A figure beside others: without it the report is still whole.
    return null;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
