import { isIP, isIPv4 } from 'node:net';
import { InvalidArgumentError } from 'commander';
import type { Output } from './output.ts';

/** What every command gets beside its own arguments. */
export interface Context {
  out: Output;
  home: string;
  threads: number;
  signal: AbortSignal;
}

export type Run<A extends unknown[]> = (context: Context, ...args: A) => Promise<void>;

/** Parses a whole number within limits; commander turns the refusal into exit code 2. */
export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < least || value > most) {
      throw new InvalidArgumentError(`give a whole number from ${least} to ${most}`);
    }
    return value;
  };

export const decimalNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < least || value > most) {
      throw new InvalidArgumentError(`give a number from ${least} to ${most}`);
    }
    return value;
  };

/** Of `--home "$DIR"` with no DIR nothing is left, and of `--home $DIR --json` the next option: the folder that was meant is no other one. */
export const namesNothing = (text: string): boolean => text.trim() === '' || text.startsWith('--');

export const namedFolder = (text: string): string => {
  if (namesNothing(text)) throw new InvalidArgumentError('name a folder');
  return text;
};

export const ipAddress = (text: string): string => {
  if (isIP(text) === 0) throw new InvalidArgumentError('give an IP address');
  return text;
};

/** Of an option that is given several times, or several values at once. */
export const ipv4Addresses = (text: string, before: readonly string[] = []): string[] => {
  if (!isIPv4(text)) throw new InvalidArgumentError('give an IPv4 address');
  return [...before, text];
};

const ISO_TIME = /^(\d{4})-(\d\d)-(\d\d)(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/;
/** ISO 8601; without an offset it is a time of this PC, a date alone its midnight. @returns milliseconds since the epoch */
export const isoTime = (text: string): number => {
  const [, year, month, day, clock] = ISO_TIME.exec(text) ?? [];
  // Date takes 30 February for 2 March.
  const lastDay = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  const at = Number(day) <= lastDay ? Date.parse(clock === undefined ? `${text}T00:00` : text) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError(`"${text}" is no time like 2026-05-01 or 2026-05-01T06:00`);
  return at;
};

export type Action = <A extends unknown[]>(run: Run<A>) => (...args: unknown[]) => Promise<void>;
