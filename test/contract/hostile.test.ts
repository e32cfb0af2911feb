import { expect, test } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import { events, methods, type MethodName } from '../../main/contract/methods.ts';
import { fromJson } from '../../main/contract/rpc/json.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createServer } from '../../main/contract/rpc/server.ts';
import { hostileInputs, isPolluted } from '../helpers/hostile.ts';

/* Some of what test/bench/hostile.ts sends by the hundred thousand: no handler may ever see it. */

const INPUTS = 1_500;

test('what breaks the contract reaches no handler, and every one of it is answered', { timeout: 60_000 }, async () => {
  let reached = 0;
  const handlers = Object.fromEntries(
    (Object.keys(methods) as MethodName[]).map((name) => [
      name,
      () => {
        reached += 1;
        throw new AppError('CANCELLED');
      },
    ]),
  ) as never;
  const [near, far] = createMemoryPair();
  createServer({ methods, events, handlers, channel: far, session: null });
  const codes = new Map<string, number>();
  near.onMessage((message) => {
    const { ok, error } = message as { ok: boolean; error?: { code: string } };
    const code = ok ? 'done' : error!.code;
    codes.set(code, (codes.get(code) ?? 0) + 1);
  });
  let seed = 1;
  const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const inputs = hostileInputs(random);
  for (let id = 1; id <= INPUTS; id += 1) {
    const { method, inputJson } = inputs.next().value!;
    const message = fromJson(`{"id":${id},"method":${JSON.stringify(method)},"input":${inputJson}}`);
    // Nested deeper than any message: it ends at the wire.
    if (message === undefined) codes.set('dropped', (codes.get('dropped') ?? 0) + 1);
    else near.send(message);
    if (id % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  while ([...codes.values()].reduce((sum, n) => sum + n, 0) < INPUTS)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(reached).toBe(0);
  expect([...codes.keys()].toSorted()).toEqual(['INVALID_INPUT', 'UNKNOWN_METHOD', 'dropped']);
  expect(isPolluted()).toBe(false);
});
