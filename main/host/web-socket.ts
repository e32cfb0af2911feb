import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { createChannelCore, type Channel } from '../contract/rpc/channel.ts';
import { fromJson, toJson } from '../contract/rpc/json.ts';
import { MAX_MESSAGE_BYTES } from '../contract/rpc/web-socket-client.ts';
import { createRateLimit } from './rate-limit.ts';

/** A window that reads so slowly that this much waits for it, beside one answer of any size, is cut off; it connects again and refetches. */
const MAX_BUFFERED_BYTES = 16 * 1_048_576;
/** Messages of one window; labelling as fast as anybody can is a few a second. One that sends more is cut off. */
const MESSAGES = { burst: 2_000, perSecond: 500 };
/** Close code 1008 (RFC 6455, section 7.4.1): the peer broke a rule. */
const POLICY_VIOLATION = 1008;
/** A peer that does not answer a ping within this time is gone (a closed laptop lid sends no FIN). */
const PING_MS = 30_000;

export interface WebSocketWay {
  /** Of the request's URL. */
  path: RegExp;
  /** Of one message that comes in. Default: what the contract's clients send at most. */
  maxBytes?: number;
  /** Binary frames come in as typed arrays; default: they are no messages. */
  binary?: boolean;
  /** Who takes the connection that this URL asks for; null: nobody, and it is refused (403). Asked last, when nothing else speaks against it. */
  taker(url: string, request: IncomingMessage): ((channel: Channel) => void) | null;
}

export interface WebSocketOptions {
  server: Server;
  /** The first whose path matches; none: 404. */
  ways: readonly WebSocketWay[];
  /** An HTTP status to refuse the upgrade with, or null to let it through. Host, Origin and session are checked here. */
  refuse(request: IncomingMessage): number | null;
}

/** Takes WebSocket connections of an HTTP server; one JSON message per text frame. */
export function acceptWebSockets({ server, ways, refuse }: WebSocketOptions): { close(): void } {
  const accepting = ways.map((way) => ({
    ...way,
    sockets: new WebSocketServer({
      noServer: true,
      maxPayload: way.maxBytes ?? MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
    }),
  }));

  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    // Node has taken its own listener away: a peer that resets the connection would end this process, and with it every line.
    socket.on('error', () => {});
    const url = request.url ?? '';
    const way = accepting.find(({ path }) => path.test(url));
    const status = way ? refuse(request) : 404;
    const take = way && status === null ? way.taker(url, request) : null;
    if (!way || !take) {
      // Not left half open until the peer likes to close it: there are only so many connections.
      socket.once('finish', () => socket.destroy());
      socket.end(`HTTP/1.1 ${status ?? 403} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    way.sockets.handleUpgrade(request, socket, head, (opened) => take(channelOf(opened, way.binary ?? false)));
  };
  server.on('upgrade', upgrade);

  return {
    close() {
      server.off('upgrade', upgrade);
      for (const { sockets } of accepting) {
        for (const socket of sockets.clients) socket.terminate();
        sockets.close();
      }
    },
  };
}

function channelOf(socket: WebSocket, takesBinary: boolean): Channel {
  const core = createChannelCore();
  let answered = true;
  const ping = setInterval(() => {
    if (!answered) socket.terminate();
    answered = false;
    socket.ping();
  }, PING_MS);
  ping.unref();
  socket.on('pong', () => (answered = true));
  const messages = createRateLimit(MESSAGES);
  socket.on('message', (data, isBinary) => {
    if (socket.readyState !== socket.OPEN) return;
    // ws gives one Buffer per message (its binaryType `nodebuffer`).
    if (messages.take()) core.deliver(!isBinary ? fromJson(String(data)) : takesBinary ? data : undefined);
    else socket.close(POLICY_VIOLATION, 'too many messages');
  });
  // ws closes the connection itself (too large, not UTF-8, reset); `close` follows and tells everybody.
  socket.on('error', () => {});
  socket.on('close', () => {
    clearInterval(ping);
    core.closeNow();
  });
  /** Characters of the largest message among those that wait. Alone it says nothing of how the window reads: cut off for it, it would ask for the same again and again. */
  let largest = 0;
  return {
    binary: false,
    onMessage: core.onMessage,
    onClose: core.onClose,
    send(message) {
      if (core.closed) return;
      const waiting = socket.bufferedAmount;
      if (waiting - largest > MAX_BUFFERED_BYTES) return socket.terminate();
      const text = toJson(message);
      largest = Math.max(waiting === 0 ? 0 : largest, text.length);
      socket.send(text);
    },
    close() {
      socket.close();
      core.closeNow();
    },
  };
}
