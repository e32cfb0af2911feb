import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { activeFolder } from '../../audit/activation.ts';

/** A data folder for a measurement: the keys and one approved model of another, none of its records. */
export interface BenchHome extends AsyncDisposable {
  home: string;
  bundleDir: string;
}

/** @param home the data folder that the model was approved in */
export async function makeBenchHome(home: string, bundleDir: string): Promise<BenchHome> {
  const folder = await mkdtemp(join(tmpdir(), 'mekiki-line-bench-'));
  await mkdir(join(folder, 'trust'));
  // What a line proves by: the public half, and what was activated. It signs nothing.
  await cp(join(home, 'trust', 'root.pub'), join(folder, 'trust', 'root.pub'));
  await cp(activeFolder(home), activeFolder(folder), { recursive: true });
  await cp(join(home, 'mekiki.json'), join(folder, 'mekiki.json'));
  const copy = join(folder, 'bundles', basename(bundleDir));
  await cp(bundleDir, copy, { recursive: true });
  return {
    home: folder,
    bundleDir: copy,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
