import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import type { Client } from '../../main/contract/rpc/api.ts';
import { createClient } from '../../main/contract/rpc/client.ts';
import type { events, methods } from './conformance-server.ts';
import type { Connection } from './transports.ts';

type ConformanceClient = Client<typeof methods, typeof events>;

const failure = async (call: Promise<unknown>): Promise<AppError> => {
  try {
    await call;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('the call did not fail');
};
const eventually = async (look: () => boolean | Promise<boolean>) => {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline;) {
    if (await look()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('did not happen within 30 s');
};

/** Holds one transport against everything that rpc promises. */
export const describeConformance = (name: string, connect: () => Promise<Connection>) =>
  describe(`rpc over ${name}`, () => {
    let connection: Connection;
    let client: ConformanceClient;
    beforeEach(async () => {
      connection = await connect();
      client = createClient(connection.channel, { peer: 'conformance server' });
      // A forked server takes a moment to start.
      await client.call('sum.of', {});
    });
    afterEach(() => connection.close());

    test('a call carries its value there and back', async () => {
      const value = { text: 'キズ \u0000 "quoted"', nested: [{ deep: [1, -0.5, null, true] }], empty: {} };
      expect((await client.call('echo.value', { value })).value).toEqual(value);
    });

    test('input is parsed on the server: defaults are filled in, a wrong value names its path', async () => {
      expect(await client.call('sum.of', {})).toBe(42);
      const error = await failure(client.call('sum.of', { numbers: [1, 'two' as never] }));
      expect(error.code).toBe('INVALID_INPUT');
      expect(error.message).toContain('sum.of');
      expect(error.message).toContain('numbers.1');
    });

    test('typed arrays arrive intact, or are refused where the wire cannot carry them', async () => {
      const values = Float32Array.from([1.5, -2, 1e-30]);
      if (connection.channel.binary) {
        const doubled = (await client.call('sum.doubled', { values })).values;
        expect(doubled).toBeInstanceOf(Float32Array);
        expect([...doubled]).toEqual([...values].map((v) => Math.fround(v * 2)));
      } else {
        expect((await failure(client.call('sum.doubled', { values }))).code).toBe('INVALID_INPUT');
        // The connection goes on.
        expect(await client.call('sum.of', {})).toBe(42);
      }
    });

    test('an expected failure arrives with code, words and details', async () => {
      const error = await failure(client.call('fail.expected', { id: '7' }));
      expect(error.code).toBe('NOT_FOUND');
      expect(error.message).toBe('station "7" does not exist.');
      expect(error.nextAction).not.toBe('');
      expect(error.details).toEqual({ kind: 'station', id: '7' });
    });

    test('a bug arrives as INTERNAL with the reference of its log line, and without its words', async () => {
      const error = await failure(client.call('fail.bug', {}));
      expect(error.code).toBe('INTERNAL');
      expect(error.message).not.toContain('secret');
      const ref = error.details['ref'];
      expect(ref).toMatch(/^[0-9a-z]{8}$/);
      expect((await client.call('probe.seen', {})).log.some((line) => line.includes(String(ref)))).toBe(true);
    });

    test('an answer that the contract does not allow is a bug; keys that it does not name are left out', async () => {
      expect((await failure(client.call('fail.output', {}))).code).toBe('INTERNAL');
      expect(await client.call('strip.output', {})).toEqual({ name: 'Kimura' });
    });

    test('unknown methods are refused by name, also those that every object has', async () => {
      for (const method of ['no.such', 'constructor', '__proto__', 'toString']) {
        const error = await failure(client.call(method as 'sum.of', {}));
        expect([method, error.code]).toEqual([method, 'UNKNOWN_METHOD']);
      }
    });

    test('a method is refused without the role, before its input is looked at, and allowed with it', async () => {
      expect((await failure(client.call('only.supervisors', { ignored: 7 as never }))).code).toBe('NOT_ALLOWED');
      await client.call('sign.in', { role: 'supervisor' });
      expect(await client.call('only.supervisors', {})).toBe('signed');
    });

    test('answers may come in another order than the calls', async () => {
      const order: string[] = [];
      const call = async (tag: string) => order.push(await client.call('echo.held', { tag }));
      const calls = ['slow', 'middle', 'fast'].map(call);
      for (const tag of ['fast', 'middle', 'slow']) await client.call('echo.release', { tag });
      await Promise.all(calls);
      expect(order).toEqual(['fast', 'middle', 'slow']);
    });

    test('aborting ends the call with CANCELLED at once and reaches the handler', async () => {
      const controller = new AbortController();
      const call = failure(client.call('wait.forever', {}, { signal: controller.signal }));
      await client.call('sum.of', {});
      controller.abort();
      expect((await call).code).toBe('CANCELLED');
      await eventually(async () => (await client.call('probe.seen', {})).aborted === 1);
    });

    test('a call with a signal that is aborted already never leaves', async () => {
      const error = await failure(client.call('wait.forever', {}, { signal: AbortSignal.abort() }));
      expect(error.code).toBe('CANCELLED');
      expect((await client.call('probe.seen', {})).aborted).toBe(0);
    });

    test('a call may have a time limit', async () => {
      const error = await failure(client.call('wait.forever', {}, { timeoutMs: 30 }));
      expect(error.code).toBe('TIMED_OUT');
      await eventually(async () => (await client.call('probe.seen', {})).aborted === 1);
    });

    test('events come in order to those who asked, until they dispose', async () => {
      const first: number[] = [];
      const second: number[] = [];
      await client.call('emit.ticks', { count: 2 });
      const disposeFirst = client.on('tick.happened', ({ n }) => first.push(n));
      const disposeSecond = client.on('tick.happened', ({ n }) => second.push(n));
      await client.call('emit.ticks', { count: 3 });
      await eventually(() => second.length === 3);
      disposeFirst();
      disposeFirst();
      await client.call('emit.ticks', { count: 1 });
      await eventually(() => second.length === 4);
      disposeSecond();
      await client.call('emit.ticks', { count: 5 });
      expect(first).toEqual([1, 2, 3]);
      expect(second).toEqual([1, 2, 3, 1]);
      // Both listeners shared one subscription.
      expect((await client.call('probe.seen', {})).subscriptions).toBe(1);
    });

    test('an event that the contract does not allow is not sent', async () => {
      const seen: unknown[] = [];
      client.on('tick.happened', (payload) => seen.push(payload));
      await client.call('emit.wrong', {});
      await client.call('emit.ticks', { count: 1 });
      await eventually(() => seen.length > 0);
      expect(seen).toEqual([{ n: 1 }]);
    });

    test('a cut wire ends calls under way with DISCONNECTED, tells onClose once, and later calls fail alike', async () => {
      let closed = 0;
      client.onClose(() => (closed += 1));
      const pending = [failure(client.call('wait.forever', {})), failure(client.call('wait.forever', {}))];
      connection.cut();
      for (const error of await Promise.all(pending)) {
        expect(error.code).toBe('DISCONNECTED');
        expect(error.message).toContain('conformance server');
      }
      expect((await failure(client.call('sum.of', {}))).code).toBe('DISCONNECTED');
      await eventually(() => closed === 1);
      // Whoever asks after the fact is told too.
      await new Promise<void>((resolve) => client.onClose(resolve));
      expect(closed).toBe(1);
    });

    test('the server hanging up closes the client, the client hanging up ends its own calls', async () => {
      const other = await connect();
      const otherClient: ConformanceClient = createClient(other.channel);
      await otherClient.call('sum.of', {});
      const ended = failure(otherClient.call('wait.forever', {}));
      otherClient.close();
      expect((await ended).code).toBe('DISCONNECTED');
      await other.close();

      const closed = new Promise<void>((resolve) => client.onClose(resolve));
      await client.call('probe.hangUp', {});
      await closed;
    });

    test('garbage in either direction is dropped and the connection goes on', async () => {
      const { channel } = connection;
      for (const garbage of [
        'text',
        7,
        null,
        [],
        {},
        { id: -1, method: 'sum.of' },
        { id: 1e99, method: 'sum.of' },
        { id: 5, method: 7 },
        { cancel: 'all' },
        { cancel: 999 },
        { subscribe: 'constructor' },
        { subscribe: 'x'.repeat(1000) },
        { unsubscribe: 'never.subscribed' },
      ])
        channel.send(garbage);
      await client.call('probe.garbage', {});
      expect(await client.call('sum.of', {})).toBe(42);
      const dropped = (await client.call('probe.seen', {})).log.filter((line) => line.includes('not of the wire form'));
      expect(dropped.length).toBeGreaterThanOrEqual(8);
    });

    test('a message near the limit passes; one above it fails that call alone, where there is a limit', async () => {
      const near = 'x'.repeat(1_000_000);
      expect((await client.call('echo.value', { value: near })).value).toBe(near);
      const above = 'あ'.repeat(400_000);
      if (connection.channel.binary) expect((await client.call('echo.value', { value: above })).value).toBe(above);
      else {
        const error = await failure(client.call('echo.value', { value: above }));
        expect(error.code).toBe('INVALID_INPUT');
        expect(error.message).toContain('larger than');
      }
      expect(await client.call('sum.of', {})).toBe(42);
    });

    test('more calls at once than the limit are refused, those within it are served', async () => {
      const controller = new AbortController();
      const { signal } = controller;
      const calls = Array.from({ length: 1001 }, () => failure(client.call('wait.forever', {}, { signal })));
      expect((await calls[1000]!).code).toBe('OVERLOADED');
      controller.abort();
      const codes = new Set((await Promise.all(calls.slice(0, 1000))).map((error) => error.code));
      expect([...codes]).toEqual(['CANCELLED']);
      // The cancellations may still be on their way: until they arrive there is no room for this call either.
      const aborted = () =>
        client.call('probe.seen', {}).then(
          (seen) => seen.aborted,
          () => null,
        );
      await eventually(async () => (await aborted()) === 1000);
    });
  });
