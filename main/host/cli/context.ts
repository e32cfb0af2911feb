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

export type Action = <A extends unknown[]>(run: Run<A>) => (...args: unknown[]) => Promise<void>;
