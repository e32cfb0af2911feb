import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError, asAppError } from '../../contract/errors.ts';
import { printable } from '../../contract/printable.ts';
import type { SkippedFile } from '../../learning/dataset.ts';
import { nodeFiles, outError, requireWritable, writeDurably } from '../../store/files.ts';

/** Exit codes of the command line. */
export const EXIT = { done: 0, failed: 1, usage: 2, cancelled: 130, unread: 141 } as const;

/** A command was called wrongly: in a way that only the command itself can tell, or in one that commander has told in words of its own. */
export class UsageError extends AppError<'INVALID_INPUT'> {
  constructor(what: string, problem: string) {
    super('INVALID_INPUT', { what, problem });
  }
}

/** Where results and progress go: exactly one JSON document on stdout with --json, everything else on stderr. */
export interface Output {
  readonly json: boolean;
  /** Ends the command's result: the document with --json, else the lines that `text` makes of it. */
  result<T>(value: T, text: (value: T) => string): void;
  progress(line: string): void;
}

/**
 * `mekiki … | head`: who read the result is gone, and the command ends without a word as by SIGPIPE. `mekiki … > FILE` on a full disk: it says so. Progress that nobody reads
 * stops no work.
 */
export function endWhenUnread(): void {
  process.stderr.on('error', () => {});
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.unread);
    // Never as a document: that would go the same way.
    process.exit(reportFailure(outError(error, STDOUT, STDOUT), false));
  });
}
const STDOUT = 'standard output';

export function createOutput(json: boolean): Output {
  const terminal = process.stderr.isTTY === true;
  let last = 0;
  return {
    json,
    result(value, text) {
      process.stdout.write(`${printable(json ? JSON.stringify(value) : text(value))}\n`);
    },
    progress(line) {
      // A log file is not a terminal: a line a second is enough there.
      if (terminal) process.stderr.write(`\r\x1b[2K${printable(line)}`);
      else if (Date.now() - last > 1000) {
        last = Date.now();
        warn(line);
      }
    },
  };
}

/** Makes a folder that an option names, for what will be written there when long work is done. @throws INVALID_INPUT of the option where it cannot be, DISK_FULL */
export async function readyFolder(folder: string, option = '--out'): Promise<void> {
  try {
    await nodeFiles.makeDirectory(folder);
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw outError(error, folder, option);
  }
}

/**
 * Makes the folder of a file that `writeOut` will write when long work is done, and asks whether it can.
 * @throws INVALID_INPUT of the option where it cannot, DISK_FULL
 */
export async function readyOut(file: string, option = '--out'): Promise<void> {
  await readyFolder(dirname(file), option);
  await requireWritable(file, option);
}

/**
 * Writes a file that an option names, whole or not at all.
 * @throws INVALID_INPUT of the option where it cannot be written, DISK_FULL
 */
export async function writeOut(file: string, bytes: Uint8Array | string, option = '--out'): Promise<void> {
  try {
    await writeDurably(file, bytes);
  } catch (error) {
    // The system's own words lie below those for a data folder.
    throw outError((error as Error).cause ?? error, file, option);
  }
}

/** A line on stderr that stays, as progress does not. */
export const warn = (line: string): void => void process.stderr.write(`${printable(line)}\n`);

/** Says on stderr which files were left out, and why. */
export const tellSkipped = (skipped: readonly SkippedFile[]): void =>
  skipped.forEach(({ name, problem }) => warn(`${name} is left out: ${problem}`));

/** Prints what went wrong and returns the exit code for it. */
export function reportFailure(error: unknown, json: boolean): number {
  const known = asAppError(error, 'cli');
  if (json) {
    const { code, message, nextAction, details } = known.toWire('cli');
    process.stdout.write(`${printable(JSON.stringify({ error: { code, message, nextAction, details } }))}\n`);
  } else {
    warn(`${known.message} ${known.nextAction}`);
  }
  // A bug is worth its stack; an expected failure is worth its words alone.
  if (known.code === 'INTERNAL') warn((error as Error)?.stack ?? String(error));
  if (known instanceof UsageError) return EXIT.usage;
  return known.code === 'CANCELLED' ? EXIT.cancelled : EXIT.failed;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Columns of equal width; the first row is the head. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, String(cell).length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => String(cell).padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export const format = { percent, table };
