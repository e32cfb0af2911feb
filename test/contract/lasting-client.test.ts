import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { AppError } from '../../main/contract/errors.ts';
import type { Channel } from '../../main/contract/rpc/channel.ts';
import { createLastingClient, type LastingClient } from '../../main/contract/rpc/lasting-client.ts';
import { createMemoryPair } from '../../main/contract/rpc/memory.ts';
import { createWebSocketClient } from '../../main/contract/rpc/web-socket-client.ts';
import { acceptWebSockets } from '../../main/host/web-socket.ts';
import { serveConformance, type events, type methods } from './conformance-server.ts';

type Lasting = LastingClient<typeof methods, typeof events>;
/** Whoever waits here gets what is waited for; who tests the waiting sets its end. */
const options = { peer: 'core', backOffMs: 10, waitMs: 30_000 };

describe('a client that outlives its connection', () => {
  let client: Lasting;
  let far: Channel | null = null;
  let refusals = 0;
  let attempts = 0;
  const connect = async () => {
    attempts += 1;
    if (refusals > 0) {
      refusals -= 1;
      throw new AppError('DISCONNECTED', { peer: 'core' });
    }
    const [near, other] = createMemoryPair();
    far = other;
    serveConformance(other);
    return near;
  };
  afterEach(() => {
    client.close();
    refusals = 0;
    attempts = 0;
  });

  test('subscriptions go on over a new connection, and one event says that there is one', async () => {
    client = createLastingClient(connect, { ...options, reconnectedEvent: 'tock.happened' });
    const ticks: number[] = [];
    let tocks = 0;
    client.on('tick.happened', ({ n }) => ticks.push(n));
    client.on('tock.happened', () => (tocks += 1));
    await client.call('emit.ticks', { count: 1 });
    expect(tocks).toBe(0);
    far!.close();
    await expect.poll(() => tocks).toBe(1);
    await client.call('emit.ticks', { count: 2 });
    await expect.poll(() => ticks).toEqual([1, 1, 2]);
  });

  test('a call under way fails when the connection is lost; a later one waits for the next connection', async () => {
    client = createLastingClient(connect, options);
    await client.call('sum.of', {});
    const states: string[] = [];
    client.onState((state) => states.push(state));
    const pending = client.call('wait.forever', {});
    refusals = 3;
    far!.close();
    await expect(pending).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(await client.call('sum.of', {})).toBe(42);
    expect(states).toEqual(['lost', 'open']);
    expect(attempts).toBe(5);
  });

  test('without a connection a call gives up after the time it may wait, or at once when cancelled', async () => {
    refusals = Infinity;
    client = createLastingClient(connect, { ...options, waitMs: 400 });
    const controller = new AbortController();
    const cancelled = client.call('sum.of', {}, { signal: controller.signal });
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    const started = Date.now();
    await expect(client.call('sum.of', {})).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(Date.now() - started).toBeGreaterThanOrEqual(390);
    // With growing pauses: 10, 20, 40 … ms.
    expect(attempts).toBeLessThan(12);
  });

  test('a refusal for good, and closing, end the attempts', async () => {
    client = createLastingClient<typeof methods, typeof events>(async () => {
      attempts += 1;
      throw new AppError('NOT_ALLOWED', { method: 'connect', roles: '' });
    }, options);
    await new Promise<void>((resolve) => client.onClose(resolve));
    expect(client.state).toBe('closed');
    await expect(client.call('sum.of', {})).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(attempts).toBe(1);
  });

  test('over WebSocket it comes back when the server does', async () => {
    const server = createHttpServer((_request, response) => response.writeHead(503).end());
    const accept = () =>
      acceptWebSockets({
        server,
        ways: [{ path: /^\/rpc$/, taker: () => serveConformance }],
        refuse: () => null,
      });
    let sockets = accept();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    client = createWebSocketClient(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/rpc`, options);
    expect(await client.call('sum.of', {})).toBe(42);
    sockets.close();
    await expect.poll(() => client.state).toBe('lost');
    sockets = accept();
    expect(await client.call('sum.of', {})).toBe(42);
    client.close();
    sockets.close();
    server.close();
  });
});
