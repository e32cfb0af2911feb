/** Values of a log line beside its message. `error` may be any thrown value; it is written with its stack. */
export type LogFields = Record<string, unknown>;

/**
 * What a service writes its log with; handed in, never imported (main/host/log.ts makes one per process).
 * `error`: somebody has to look. `warn`: it went on, but not as planned. `info`: what an engineer reads the next day.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each line. */
  child(fields: LogFields): Logger;
}

/** For code that has nobody to tell. */
export const silentLog: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
};
