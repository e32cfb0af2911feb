import { AppError } from '../errors.ts';
import type { EventMap, MethodMap } from './api.ts';
import { createChannelCore, type Channel } from './channel.ts';
import { fromJson, toJson } from './json.ts';
import { createLastingClient, type LastingClient, type LastingOptions } from './lasting-client.ts';

/** Largest message that the server takes, in bytes of UTF-8. Inputs are names and numbers; images never ride here. */
export const MAX_MESSAGE_BYTES = 1_048_576;

/** A server that takes the connection and says nothing is not waited for longer than this. */
const OPEN_MS = 5000;

/**
 * Opens one WebSocket (the global one: browser, Node >= 22). Rejects with DISCONNECTED when it does not open.
 * @param open outside a browser: with the headers that a page would send
 */
export function connectWebSocket(url: string, open = (at: string) => new WebSocket(at)): Promise<Channel> {
  return new Promise((resolve, reject) => {
    const socket = open(url);
    const core = createChannelCore();
    const limit = setTimeout(() => socket.close(), OPEN_MS);
    socket.addEventListener('message', (event: { data: unknown }) => {
      if (typeof event.data === 'string') core.deliver(fromJson(event.data));
    });
    socket.addEventListener('close', () => {
      clearTimeout(limit);
      reject(new AppError('DISCONNECTED', { peer: 'core' }));
      core.closeNow();
    });
    socket.addEventListener('open', () => {
      clearTimeout(limit);
      resolve({
        binary: false,
        onMessage: core.onMessage,
        onClose: core.onClose,
        send(message) {
          if (core.closed) return;
          const text = toJson(message);
          // The server would cut the connection; refusing here fails this call alone.
          if (text.length > MAX_MESSAGE_BYTES / 4 && new TextEncoder().encode(text).length > MAX_MESSAGE_BYTES)
            throw new AppError('INVALID_INPUT', {
              what: 'message',
              problem: `larger than ${MAX_MESSAGE_BYTES} bytes`,
            });
          socket.send(text);
        },
        close() {
          socket.close();
          core.closeNow();
        },
      });
    });
  });
}

/** @param url `ws://host/rpc`; the cookie of the page that runs this goes with it. */
export const createWebSocketClient = <M extends MethodMap, E extends EventMap>(
  url: string,
  options: LastingOptions<E> = {},
): LastingClient<M, E> => createLastingClient<M, E>(() => connectWebSocket(url), options);
