import { closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { LogFields, Logger } from '../contract/log.ts';

/* The only place that writes to a log file, and to stderr for a process that serves. One JSON object per line: {at, level, process, message, ...fields}. */

const levels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof levels)[number];

export interface LogOptions {
  /** Named in every line: supervisor, core, line:<id>, trainer, cli. */
  process: string;
  /** Made with its folder when missing; null: no file. */
  file: string | null;
  /** The file is opened by openFile(), not at once: whether the home may be written is the core's to decide. */
  deferred?: boolean;
  /** Least level that goes to the file. Default info. */
  level?: LogLevel;
  /** Least level that also goes to stderr; null: none. Default warn. */
  stderrLevel?: LogLevel | null;
  /** A file of this size is put aside as <file>.1, and so on. Default 5 MiB. */
  maxBytes?: number;
  /** Files put aside that are kept. Default 4. */
  keep?: number;
}

export interface FileLogger extends Logger {
  /** Opens the file of a deferred log; the lines until then (the last 500) are written now. */
  openFile(): void;
  close(): void;
}

const EARLY_LINES = 500;

const HIDDEN = /password|secret|token|privatekey/i;
const MAX_TEXT = 4000;

/** Errors with stack and cause; secrets by the name of their field left out; long text cut. Depth is bounded. */
function plain(value: unknown, key = '', depth = 0): unknown {
  if (HIDDEN.test(key)) return '[hidden]';
  if (typeof value === 'string')
    return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}… (${value.length})` : value;
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > 5) return '[deep]';
  if (value instanceof Error) {
    const { code, details } = value as { code?: unknown; details?: unknown };
    return plain(
      {
        name: value.name,
        message: value.message,
        ...(code === undefined ? {} : { code }),
        ...(details === undefined ? {} : { details }),
        stack: value.stack,
        ...(value.cause === undefined ? {} : { cause: value.cause }),
      },
      key,
      depth + 1,
    );
  }
  if (ArrayBuffer.isView(value)) return `[${value.constructor.name} of ${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.slice(0, 50).map((item) => plain(item, '', depth + 1));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item, name, depth + 1)]));
}

interface LogFile {
  append(line: string): void;
  close(): void;
}

function putAside(file: string, keep: number): void {
  rmSync(`${file}.${keep}`, { force: true });
  for (let n = keep - 1; n >= 1; n -= 1) if (existsSync(`${file}.${n}`)) renameSync(`${file}.${n}`, `${file}.${n + 1}`);
  if (keep > 0) renameSync(file, `${file}.1`);
  else rmSync(file);
}

/**
 * Appends lines to a file and puts it aside when it is full; one that cannot be put aside (somebody has it open, or deleted it) is gone on with.
 * A disk that is full loses log lines, never the caller's work.
 */
function openLogFile(file: string, maxBytes: number, keep: number): LogFile {
  mkdirSync(dirname(file), { recursive: true });
  // -1: closed. The number of a closed file may be that of somebody else's by now.
  let descriptor = -1;
  let size = 0;
  const open = () => {
    descriptor = openSync(file, 'a', 0o600);
    size = fstatSync(descriptor).size;
  };
  const close = () => {
    const closing = descriptor;
    descriptor = -1;
    if (closing >= 0) closeSync(closing);
  };
  const tell = (error: unknown) => void process.stderr.write(`log file ${file}: ${String(error)}\n`);
  const rotate = () => {
    close();
    try {
      putAside(file, keep);
    } catch (error) {
      tell(error);
    }
    open();
  };
  open();
  return {
    append(line: string) {
      try {
        if (descriptor < 0) open();
        if (size > 0 && size + Buffer.byteLength(line) > maxBytes) rotate();
        size += writeSync(descriptor, line);
      } catch (error) {
        tell(error);
      }
    },
    close,
  };
}

/** Without it the next line would end the program, once whoever read stderr is gone (a closed terminal, `| head`). The file has the lines. */
const unread = (): void => {};

export function createLogger(options: LogOptions): FileLogger {
  if (!process.stderr.listeners('error').includes(unread)) process.stderr.on('error', unread);
  const { level = 'info', stderrLevel = 'warn', maxBytes = 5 * 1_048_576, keep = 4 } = options;
  let file: LogFile | null = null;
  let early: string[] | null = options.file !== null && options.deferred === true ? [] : null;
  const open = () => {
    if (options.file === null || file) return;
    try {
      file = openLogFile(options.file, maxBytes, keep);
    } catch (error) {
      // A read-only home is reported by whoever needs it; the log goes on to stderr.
      process.stderr.write(`log file ${options.file}: ${String(error)}\n`);
    }
    for (const line of early ?? []) file?.append(line);
    early = null;
  };
  if (!early) open();
  const fileFrom = levels.indexOf(level);
  const stderrFrom = stderrLevel === null ? levels.length : levels.indexOf(stderrLevel);

  const write = (rank: number, message: string, fixed: LogFields, fields: LogFields) => {
    if (rank < fileFrom && rank < stderrFrom) return;
    const head = { at: new Date().toISOString(), level: levels[rank], process: options.process, message };
    const line = `${JSON.stringify({ ...head, ...(plain({ ...fixed, ...fields }) as LogFields) })}\n`;
    if (rank >= fileFrom) {
      if (!early) file?.append(line);
      else if (early.push(line) > EARLY_LINES) early.shift();
    }
    if (rank >= stderrFrom) process.stderr.write(line);
  };
  const make = (fixed: LogFields): Logger => ({
    debug: (message, fields = {}) => write(0, message, fixed, fields),
    info: (message, fields = {}) => write(1, message, fixed, fields),
    warn: (message, fields = {}) => write(2, message, fixed, fields),
    error: (message, fields = {}) => write(3, message, fixed, fields),
    child: (fields) => make({ ...fixed, ...fields }),
  });
  return {
    ...make({}),
    openFile: open,
    close() {
      file?.close();
      file = null;
    },
  };
}
