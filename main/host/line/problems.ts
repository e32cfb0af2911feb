import type { LineStatus } from '../../contract/domain.ts';
import { AppError, type WireError } from '../../contract/errors.ts';

/**
 * Where a problem comes from, the gravest first: the status shows one. `room`: pictures are not to be stored; `pictures`: one could not be. Apart, for one that
 * was under way when they were refused says that it was stored.
 */
const sources = ['camera', 'model', 'disk', 'output', 'control', 'room', 'pictures', 'frames'] as const;
export type ProblemSource = (typeof sources)[number];

/** What is wrong with the line now; each source has one problem at most, and takes it back itself. */
export interface Problems {
  /** null: it is over. */
  set(source: ProblemSource, error: AppError | WireError | null): void;
  shown(): LineStatus['problem'];
}

/** @param onChange hears of a problem that is new or another one, and of one that is over (null). */
export function createProblems(onChange: (source: ProblemSource, error: WireError | null) => void): Problems {
  const now = new Map<ProblemSource, WireError>();
  return {
    set(source, error) {
      const before = now.get(source);
      const next = error instanceof AppError ? error.toWire('line') : error;
      if (next === null) now.delete(source);
      else now.set(source, next);
      if (before?.code !== next?.code || before?.message !== next?.message) onChange(source, next);
    },
    shown() {
      const [first] = sources.flatMap((source) => now.get(source) ?? []);
      return first
        ? { code: first.code, message: first.message, nextAction: first.nextAction, details: first.details }
        : null;
    },
  };
}
