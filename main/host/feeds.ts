import { randomBytes } from 'node:crypto';
import { feedAskSchema, feedSaysSchema, MAX_FEED_BYTES, type FeedRelay } from '../contract/feed.ts';
import type { Logger } from '../contract/log.ts';
import type { Disposer } from '../contract/rpc/api.ts';
import type { Channel } from '../contract/rpc/channel.ts';

/** A ticket is for the connection that follows at once. */
const TICKET_MS = 30_000;
/** Tickets out at a time; there are no more cameras on one PC. */
const MAX_TICKETS = 64;

/**
 * Lines that want pictures of a USB camera, and the pages that read it: a window of the shell's own, or a tab in browser mode. One page
 * per line; what it sends without being asked ends its connection, so that a page can fill no queue.
 */
export interface Feeds {
  /** A line opened its camera; until the channel closes. */
  offer(stationId: string, line: Channel): void;
  /** False: the line wants nothing, or another page reads for it. */
  join(stationId: string, page: Channel): boolean;
  /** For one connection of a page; null: as join's false. */
  ticket(stationId: string): string | null;
  /** Who takes the connection that the ticket is for; null: it is none, was used, or is too old. */
  taker(ticket: string): ((page: Channel) => void) | null;
  wanted(): string[];
  /** Told when a line begins to want pictures (true), and when it ends (false). */
  onWanted(listener: (stationId: string, wanted: boolean) => void): Disposer;
}

interface Feed {
  line: Channel;
  page: Channel | null;
  /** Pictures that the page was asked for and has not sent. */
  owed: number;
}

export function createFeeds(log: Logger, nowMs: () => number = () => performance.now()): Feeds {
  const feeds = new Map<string, Feed>();
  const tickets = new Map<string, { stationId: string; until: number }>();
  const listeners = new Set<(stationId: string, wanted: boolean) => void>();
  const tell = (stationId: string, wanted: boolean) => {
    for (const listener of listeners) listener(stationId, wanted);
  };
  const isFree = (stationId: string) => feeds.get(stationId)?.page === null;

  const self: Feeds = {
    offer(stationId, line) {
      feeds.get(stationId)?.line.close();
      const feed: Feed = { line, page: null, owed: 0 };
      feeds.set(stationId, feed);
      line.onMessage((message) => {
        const ask = feedAskSchema.safeParse(message);
        if (!ask.success || feed.page === null) return;
        if ('want' in ask.data) feed.owed += 1;
        feed.page.send(ask.data);
      });
      line.onClose(() => {
        feed.page?.close();
        if (feeds.get(stationId) !== feed) return;
        feeds.delete(stationId);
        tell(stationId, false);
      });
      tell(stationId, true);
    },
    join(stationId, page) {
      const feed = feeds.get(stationId);
      if (!feed || feed.page !== null) return false;
      feed.page = page;
      feed.owed = 0;
      const refuse = (problem: string) => {
        log.warn('a page that reads a camera is cut off', { stationId, problem });
        page.close();
      };
      page.onClose(() => {
        feed.page = null;
        feed.line.send({ page: 'left' } satisfies FeedRelay);
      });
      feed.line.send({ page: 'joined' } satisfies FeedRelay);
      page.onMessage((message) => {
        if (message instanceof Uint8Array) {
          if (feed.owed === 0) return refuse('a picture that was not asked for');
          if (message.length > MAX_FEED_BYTES) return refuse(`a picture of ${message.length} bytes`);
          feed.owed -= 1;
          feed.line.send(message);
          return;
        }
        const says = feedSaysSchema.safeParse(message);
        if (says.success) feed.line.send(says.data);
        else refuse('a message of no known form');
      });
      log.info('a page reads a camera', { stationId });
      return true;
    },
    ticket(stationId) {
      if (!isFree(stationId)) return null;
      for (const [ticket, { until }] of tickets) if (until < nowMs()) tickets.delete(ticket);
      if (tickets.size >= MAX_TICKETS) return null;
      const ticket = randomBytes(24).toString('base64url');
      tickets.set(ticket, { stationId, until: nowMs() + TICKET_MS });
      return ticket;
    },
    taker(ticket) {
      const found = tickets.get(ticket);
      tickets.delete(ticket);
      if (!found || found.until < nowMs()) return null;
      return (page) => {
        if (!self.join(found.stationId, page)) page.close();
      };
    },
    wanted: () => [...feeds.keys()],
    onWanted(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  return self;
}
