import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { AppError, problemOf } from '../contract/errors.ts';

/* Where the account's Chromium keeps what is not the data folder's. No Electron here, so that it can be tested without one. */

/**
 * Makes the folder of the lock that a second start meets. Where that cannot be made, Electron answers as if another start had it, and the
 * program would end without a word. A full disk is no reason: the lock needs no room.
 * @returns PROFILE_NOT_WRITABLE; null: it is there
 */
export function whyNotKept(folder: string): AppError | null {
  try {
    make(folder);
    accessSync(folder, constants.W_OK | constants.X_OK);
    return null;
  } catch (cause) {
    return new AppError('PROFILE_NOT_WRITABLE', { folder, problem: problemOf(cause) }, { cause });
  }
}

/** Step by step: Node's recursive form does not return where the system answers ENOENT below a folder that exists. */
function make(folder: string): void {
  if (existsSync(folder)) return;
  make(dirname(folder));
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    // Another start may have made it meanwhile.
    if (!existsSync(folder)) throw error;
  }
}
