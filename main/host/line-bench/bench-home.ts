import { cp, mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { activeFolder } from '../../audit/activation.ts';
import { diskFullOr } from '../../store/files.ts';

/** A data folder for a measurement: the keys and one approved model of another, none of its records. */
export interface BenchHome {
  home: string;
  bundleDir: string;
}

/**
 * @param folder empty, becomes the data folder
 * @param home the data folder that the model was approved in
 * @throws DISK_FULL
 */
export async function makeBenchHome(folder: string, home: string, bundleDir: string): Promise<BenchHome> {
  const copy = join(folder, 'bundles', basename(bundleDir));
  try {
    await mkdir(join(folder, 'trust'));
    // What a line proves by: the public half, and what was activated. It signs nothing.
    await cp(join(home, 'trust', 'root.pub'), join(folder, 'trust', 'root.pub'));
    await cp(activeFolder(home), activeFolder(folder), { recursive: true });
    await cp(join(home, 'mekiki.json'), join(folder, 'mekiki.json'));
    await cp(bundleDir, copy, { recursive: true });
  } catch (error) {
    throw diskFullOr(error, folder);
  }
  return { home: folder, bundleDir: copy };
}
