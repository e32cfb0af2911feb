import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AppError, problemOf } from '../contract/errors.ts';
import type { Logger } from '../contract/log.ts';
import type { Channel } from '../contract/rpc/channel.ts';
import { securityHeaders, type Content } from './content.ts';
import { MAX_FEED_BYTES } from '../contract/feed.ts';
import { createRateLimit } from './rate-limit.ts';
import { acceptWebSockets } from './web-socket.ts';

export interface ServerOptions {
  /** On 127.0.0.1; 0: any free one. */
  port: number;
  /** Made when the port is known, for the content policy. */
  content(port: number): Content;
  log: Logger;
  /** A window connected and may talk to the core. */
  onWindow(channel: Channel): void;
  /** A tab wants to read a USB camera: who takes its connection by this ticket, which is used up by asking; null: nobody. */
  feed(ticket: string): ((channel: Channel) => void) | null;
  /** While false, windows are told to try again. */
  coreUp(): boolean;
}

export interface WindowServer {
  port: number;
  /** The address to open, with the launch token. */
  url: string;
  close(): Promise<void>;
}

/** Browsers that exchanged the token; more than this many on one PC are not people. */
const MAX_BROWSERS = 100;
/** Requests of browsers that were admitted, all together: a gallery of thumbnails comes at once. */
const BROWSERS = { burst: 3_000, perSecond: 1_000 };
/** Requests of whoever was not: enough to mistype an address, too few to guess or to keep the supervisor busy. */
const STRANGERS = { burst: 100, perSecond: 20 };
/** Connections at a time; a browser opens a handful. */
const MAX_CONNECTIONS = 256;
export const RPC_PATH = /^\/rpc$/;
export const FEED_PATH = /^\/feed\/([\w-]{16,64})$/;

/** One that was admitted. */
interface Browser {
  secret: string;
  /** Its connections: a window that only shows a line at rest asks for nothing. */
  connections: number;
}

const secret = () => randomBytes(32).toString('base64url');
const same = (a: string, b: string) => {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
};

function cookieOf(request: IncomingMessage, name: string): string | null {
  for (const part of (request.headers.cookie ?? '').split(';')) {
    const [key, ...value] = part.trim().split('=');
    if (key === name) return value.join('=');
  }
  return null;
}

/**
 * The listener of browser mode, for this PC alone. Who knows the launch token gets a cookie for it; every other request needs
 * the cookie. The Host header is checked against DNS rebinding, Origin against pages of other sites.
 * @throws PORT_IN_USE
 */
export async function listen({ port, content, log, onWindow, feed, coreUp }: ServerOptions): Promise<WindowServer> {
  const token = secret();
  const browsers: Browser[] = [];
  const server = createHttpServer({ requestTimeout: 30_000, headersTimeout: 10_000, maxHeaderSize: 16_384 });
  server.maxConnections = MAX_CONNECTIONS;
  const known = createRateLimit(BROWSERS);
  const strange = createRateLimit(STRANGERS);
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new AppError('PORT_IN_USE', { port, problem: problemOf(cause) }, { cause });
  }
  const { port: own } = server.address() as AddressInfo;
  // Cookies do not know ports: two Mekiki on one PC must not overwrite each other's.
  const cookie = `mekiki-${own}`;
  const hosts = new Set([`127.0.0.1:${own}`, `localhost:${own}`]);
  const answer = content(own);
  const safe = securityHeaders();

  const refuse = (response: ServerResponse, status: number, text: string) =>
    response.writeHead(status, { ...safe, 'Content-Type': 'text/plain; charset=utf-8' }).end(text);
  /** It is the one that was there last. */
  const touch = (browser: Browser) => {
    const place = browsers.indexOf(browser);
    if (place >= 0) browsers.push(...browsers.splice(place, 1));
  };
  const knownAs = (request: IncomingMessage): Browser | null => {
    const value = cookieOf(request, cookie);
    const browser = value === null ? undefined : browsers.find((each) => same(each.secret, value));
    if (browser === undefined) return null;
    touch(browser);
    return browser;
  };
  const isKnown = (request: IncomingMessage) => knownAs(request) !== null;
  const admit = (response: ServerResponse) => {
    const browser = { secret: secret(), connections: 0 };
    browsers.push(browser);
    // The one without a connection that was there longest ago makes room: a command line that asks again and again takes a cookie each time.
    const idle = browsers.findIndex(({ connections }) => connections === 0);
    if (browsers.length > MAX_BROWSERS) browsers.splice(idle, 1);
    // The address without the token: it stays out of the history, the tab's title and the next Referer.
    response.writeHead(303, {
      ...safe,
      Location: '/',
      'Set-Cookie': `${cookie}=${browser.secret}; HttpOnly; SameSite=Strict; Path=/`,
      'Cache-Control': 'no-store',
    });
    response.end();
  };

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    if (!(isKnown(request) ? known : strange).take()) {
      response.setHeader('Retry-After', '1');
      return refuse(response, 429, 'Too many requests.');
    }
    if (!hosts.has(request.headers.host ?? '')) return refuse(response, 403, 'This address is not served.');
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'GET only.');
    let url: URL;
    try {
      url = new URL(request.url ?? '/', `http://127.0.0.1:${own}`);
    } catch {
      return refuse(response, 400, 'The address is not valid.');
    }
    const given = url.searchParams.get('token');
    if (url.pathname === '/' && given !== null && same(given, token)) return admit(response);
    if (!isKnown(request)) return refuse(response, 403, 'Open the address that Mekiki printed when it started.');
    const { status, headers, body } = await answer(url);
    response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) });
    return response.end(request.method === 'HEAD' ? undefined : body);
  };
  server.on('request', (request, response) => {
    serve(request, response).catch((error: unknown) => {
      log.error('request failed', { path: request.url?.split('?')[0], error });
      if (!response.headersSent) refuse(response, 500, 'Internal error; see the log.');
      else response.destroy();
    });
  });
  // A broken request line is the sender's problem; without a listener Node answers 400 as well, but says nothing.
  server.on('clientError', (error, socket) => {
    log.debug('broken request', { error: problemOf(error) });
    socket.once('finish', () => socket.destroy());
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    else socket.destroy();
  });

  const sockets = acceptWebSockets({
    server,
    ways: [
      {
        path: RPC_PATH,
        taker: (_url, request) => (channel) => {
          const browser = knownAs(request);
          if (browser) {
            browser.connections += 1;
            channel.onClose(() => {
              browser.connections -= 1;
              touch(browser);
            });
          }
          onWindow(channel);
        },
      },
      {
        path: FEED_PATH,
        maxBytes: MAX_FEED_BYTES,
        binary: true,
        // Before the upgrade: whoever has no ticket sends no pictures that would have to be read.
        taker: (url) => feed(FEED_PATH.exec(url)![1]!),
      },
    ],
    refuse(request) {
      const host = request.headers.host ?? '';
      const admitted = isKnown(request);
      if (!(admitted ? known : strange).take()) return 429;
      if (!hosts.has(host) || request.headers.origin !== `http://${host}`) return 403;
      if (!admitted) return 401;
      return coreUp() ? null : 503;
    },
  });

  return {
    port: own,
    url: `http://127.0.0.1:${own}/?token=${token}`,
    async close() {
      sockets.close();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
