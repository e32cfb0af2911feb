import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { Channel } from '../../../main/contract/rpc/channel.ts';
import { acceptWebSockets } from '../../../main/host/web-socket.ts';

const MB = 1_048_576;
let server: Server;
let sockets: { close(): void };
let window: WebSocket;
/** The server's end. */
let channel: Channel;
let closed: boolean;
beforeEach(async () => {
  server = createServer();
  const taken = Promise.withResolvers<Channel>();
  sockets = acceptWebSockets({
    server,
    ways: [{ path: /^\/rpc$/, taker: () => taken.resolve }],
    refuse: () => null,
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  window = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/rpc`);
  channel = await taken.promise;
  closed = false;
  channel.onClose(() => (closed = true));
  if (window.readyState !== WebSocket.OPEN) await once(window, 'open');
  // It reads nothing from here on.
  window.pause();
});
afterEach(async () => {
  window.terminate();
  sockets.close();
  server.close();
  await once(server, 'close');
});

test('an answer of any size reaches a window that reads, and what comes after it', async () => {
  const lengths: number[] = [];
  const all = new Promise<void>((resolve) =>
    window.on('message', (data) => {
      lengths.push(String(data).length);
      if (lengths.length === 12) resolve();
    }),
  );
  channel.send('x'.repeat(40 * MB));
  for (let n = 0; n < 10; n += 1) channel.send('y'.repeat(MB));
  channel.send('');
  window.resume();
  await all;
  expect(lengths).toEqual([40 * MB + 2, ...Array<number>(10).fill(MB + 2), 2]);
  expect(closed).toBe(false);
});

test('a window that does not read is cut off when too much waits for it', async () => {
  for (let n = 0; n < 60 && !closed; n += 1) {
    channel.send('y'.repeat(MB));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(closed).toBe(true);
});
