import { AppError } from '../contract/errors.ts';

/**
 * A demo's models and knowledge are of parts that there are not: no real data folder takes them, and no demo what is real.
 * @param made what the file is marked as
 * @throws CONFLICT
 */
export const refuseOtherMark = (home: { demo: boolean }, file: string, made: { demo: boolean }): void => {
  if (made.demo === home.demo) return;
  const state = made.demo ? 'made in a demo' : 'made in a real data folder';
  const needed = home.demo ? 'what a demo has made' : 'what a real data folder has made';
  throw new AppError('CONFLICT', { what: file, state, needed });
};
