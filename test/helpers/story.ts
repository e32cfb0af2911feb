import { afterAll, test } from 'vitest';
import { createTellings } from './tellings.ts';

/** ms. Ends what hangs: the second try of the last step tells all of the story, on a machine with other work. */
const LIMIT = 900_000;

/**
 * The steps of one story as tests with names of their own (tellings.ts).
 * @param begin makes the world that the steps change
 * @returns names and adds the next step
 */
export function story<World extends AsyncDisposable>(begin: () => Promise<World>) {
  const tellings = createTellings(begin);
  afterAll(tellings.end);
  return (name: string, step: (world: World) => Promise<void>): void => {
    const place = tellings.add(step);
    test(name, { timeout: LIMIT }, async ({ skip }) => {
      skip(tellings.broken, 'an earlier step failed');
      await tellings.upTo(place);
    });
  };
}
