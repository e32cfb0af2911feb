import { describe, expect, it } from 'vitest';
import { createTellings } from '../../helpers/tellings.ts';

/** A story of three steps that fail as often as told, and what happened, in order. */
function threeSteps(failures: Record<string, number> = {}) {
  const happened: string[] = [];
  let worlds = 0;
  const tellings = createTellings(async () => {
    const number = (worlds += 1);
    return { number, [Symbol.asyncDispose]: async () => void happened.push(`${number} ends`) };
  });
  const places = ['a', 'b', 'c'].map((name) =>
    tellings.add(async ({ number }) => {
      happened.push(`${number}${name}`);
      if ((failures[name] ??= 0) > 0) {
        failures[name]! -= 1;
        throw new Error(name);
      }
    }),
  );
  return { happened, tellings, places };
}

describe('a story in steps', () => {
  it('goes on in one world', async () => {
    const { happened, tellings, places } = threeSteps();
    for (const place of places) await tellings.upTo(place);
    await tellings.end();
    expect(happened).toEqual(['1a', '1b', '1c', '1 ends']);
  });

  it('is told anew, in another world, up to the step that failed, and goes on there', async () => {
    const { happened, tellings, places } = threeSteps({ b: 1 });
    const [a, b, c] = places as [number, number, number];
    await tellings.upTo(a);
    await expect(tellings.upTo(b)).rejects.toThrow('b');
    expect(tellings.broken).toBe(false);
    await tellings.upTo(b);
    await tellings.upTo(c);
    await tellings.end();
    expect(happened).toEqual(['1a', '1b', '1 ends', '2a', '2b', '2c', '2 ends']);
  });

  it('is begun anew where it could not be begun', async () => {
    let worlds = 0;
    const tellings = createTellings(async () => {
      worlds += 1;
      if (worlds === 1) throw new Error('no room');
      return { [Symbol.asyncDispose]: async () => {} };
    });
    const place = tellings.add(async () => {});
    await expect(tellings.upTo(place)).rejects.toThrow('no room');
    await tellings.upTo(place);
    expect(worlds).toBe(2);
  });

  it('is told from its beginning to whoever comes in later', async () => {
    const { happened, tellings, places } = threeSteps();
    await tellings.upTo(places[2]!);
    expect(happened).toEqual(['1a', '1b', '1c']);
  });

  it('is broken when the second telling fails too, at whatever step; one that comes through is not', async () => {
    const { tellings, places } = threeSteps({ a: 1, b: 1 });
    const [a, b] = places as [number, number];
    await expect(tellings.upTo(a)).rejects.toThrow('a');
    await expect(tellings.upTo(b)).rejects.toThrow('b');
    expect(tellings.broken).toBe(true);
    await tellings.upTo(b);
    expect(tellings.broken).toBe(false);
  });

  it('does not go on in an old world for a try whose time was over', async () => {
    const steps: string[] = [];
    const [begun, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let worlds = 0;
    const tellings = createTellings(async () => ({ number: (worlds += 1), [Symbol.asyncDispose]: async () => {} }));
    tellings.add(({ number }) => {
      steps.push(`${number}a`);
      begun.resolve();
      return number === 1 ? released.promise : Promise.resolve();
    });
    const last = tellings.add(async ({ number }) => void steps.push(`${number}b`));
    const hanging = tellings.upTo(last);
    await begun.promise;
    await tellings.upTo(last);
    released.resolve();
    await hanging;
    expect(steps).toEqual(['1a', '2a', '2b']);
    expect(tellings.broken).toBe(false);
  });
});
