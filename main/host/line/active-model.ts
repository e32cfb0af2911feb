import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { verifyActiveBundle } from '../../audit/activation.ts';
import { AppError, problemOf } from '../../contract/errors.ts';
import { openInspector, type Inspector } from '../../inspection/inspector.ts';

const homeMarkSchema = z.object({ demo: z.boolean() });

/** Whether a home is a demo. HOME_NOT_WRITABLE is what an unreadable one is called everywhere. */
export async function isDemoHome(home: string): Promise<boolean> {
  try {
    return homeMarkSchema.parse(JSON.parse(await readFile(join(home, 'mekiki.json'), 'utf8'))).demo;
  } catch (cause) {
    throw new AppError('HOME_NOT_WRITABLE', { home, problem: problemOf(cause) }, { cause });
  }
}

export interface ApprovedModelOptions {
  home: string;
  stationId: string;
  bundleDir: string;
  threads: number;
}

/**
 * Opens a model after proving its approval, and that a supervisor activated it last; there is no other way into the line, whatever core and
 * database say. The bytes that were hashed are those that are loaded.
 * @param loaded the model that judges now, and its threads: where the proof is for the very same one, it is given back
 * @throws NOT_APPROVED, BUNDLE_ALTERED, MODEL_UNREADABLE
 */
export async function openApprovedModel(
  options: ApprovedModelOptions,
  loaded: { model: Inspector; threads: number } | null = null,
): Promise<Inspector> {
  const { home, stationId, bundleDir, threads } = options;
  let rootPublicKey: string;
  try {
    rootPublicKey = await readFile(join(home, 'trust', 'root.pub'), 'utf8');
  } catch (cause) {
    const problem = `the key of this data folder cannot be read: ${problemOf(cause)}`;
    throw new AppError('NOT_APPROVED', { model: bundleDir, problem }, { cause });
  }
  const demo = await isDemoHome(home);
  const { card, model } = await verifyActiveBundle({ home, bundleDir, rootPublicKey, demo, stationId });
  // The card names the hash of the model's bytes, and both were proved.
  if (loaded?.threads === threads && JSON.stringify(loaded.model.card) === JSON.stringify(card)) return loaded.model;
  return await openInspector({ card, model, threads });
}
