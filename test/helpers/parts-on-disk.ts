import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderDataset } from '../../main/capture/simulated/render.ts';
import type { Surface } from '../../main/contract/domain.ts';
import { encodePng } from '../../main/vision/decode.ts';

export interface PartsOptions {
  surface?: Surface;
  seed?: number;
  perClass: number;
  /** Side in pixels. */
  size?: number;
  classes?: readonly string[];
}

/** Writes rendered parts as <folder>/<class>/<n>.png; returns the files by class. */
export async function writeParts(folder: string, options: PartsOptions): Promise<Map<string, string[]>> {
  const { surface = 'brushed-metal', seed = 7, perClass, size = 192, classes } = options;
  const files = new Map<string, string[]>();
  for (const part of renderDataset({
    surface,
    seed,
    perClass,
    width: size,
    height: size,
    ...(classes ? { classes } : {}),
  })) {
    const list = files.get(part.className) ?? [];
    files.set(part.className, list);
    const file = join(folder, part.className, `${String(list.length).padStart(3, '0')}.png`);
    await mkdir(join(folder, part.className), { recursive: true });
    await writeFile(file, await encodePng(part.image));
    list.push(file);
  }
  return files;
}
