/*
 * A long story whose steps have names of their own, each going on where the one before ended. What a step that failed leaves behind is no
 * part of its next try: that one begins in a new world, in which the story is told again up to it.
 */

type Step<World> = (world: World) => Promise<void>;

export interface Tellings<World> {
  /** @returns its place in the story */
  add(step: Step<World>): number;
  /** Goes through the steps up to this place: the last one alone where the story has come so far, else all of them in a new world. */
  upTo(place: number): Promise<void>;
  /** A story that failed twice in a row, told anew in between, is broken: what follows would only fail as well. */
  readonly broken: boolean;
  /** Removes the world that is left. */
  end(): Promise<void>;
}

export function createTellings<World extends AsyncDisposable>(begin: () => Promise<World>): Tellings<World> {
  const steps: Step<World>[] = [];
  /** `next`: place of the step that comes next; null before the first, while one is under way, and after one that failed. */
  let telling: { readonly world: Promise<World>; next: number | null } | null = null;
  let failures = 0;

  const end = async () => {
    const ended = telling;
    telling = null;
    // One that could not be set up has told so itself.
    const world = await ended?.world.catch(() => null);
    await world?.[Symbol.asyncDispose]();
  };
  return {
    add: (step) => steps.push(step) - 1,
    async upTo(place) {
      failures += 1;
      if (telling?.next !== place) {
        await end();
        telling = { world: begin(), next: null };
      }
      const own = telling;
      const world = await own.world;
      // A try whose time is over may still be under way: it goes no further once there is another telling.
      for (let at = own.next ?? 0; at <= place && telling === own; at += 1) {
        own.next = null;
        await steps[at]!(world);
        own.next = at + 1;
      }
      if (telling === own) failures = 0;
    },
    get broken() {
      return failures > 1;
    },
    end,
  };
}
