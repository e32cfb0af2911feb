import { expect, test } from 'vitest';
import { silentLog } from '../../../main/contract/log.ts';
import type { Channel } from '../../../main/contract/rpc/channel.ts';
import { createMemoryPair } from '../../../main/contract/rpc/memory.ts';
import { createFeeds } from '../../../main/host/feeds.ts';

const heard = (channel: Channel) => {
  const messages: unknown[] = [];
  let closed = false;
  channel.onMessage((message) => messages.push(message));
  channel.onClose(() => (closed = true));
  return { messages, isClosed: () => closed };
};
const settle = () => new Promise((resolve) => setImmediate(resolve));
const picture = new Uint8Array(40);

test('a page sends what the line wanted; what nobody wanted, or what is no message, ends it', async () => {
  for (const offence of [picture, { lost: 'no reason' }, 'text', null]) {
    const feeds = createFeeds(silentLog);
    const [line, lineEnd] = createMemoryPair();
    const [page, pageEnd] = createMemoryPair();
    feeds.offer('st-1', lineEnd);
    const [atLine, atPage] = [heard(line), heard(page)];
    expect(feeds.join('st-1', pageEnd)).toBe(true);
    line.send({ want: 7, discard: 0 });
    await settle();
    expect(atPage.messages).toEqual([{ want: 7, discard: 0 }]);
    page.send({ delivering: { label: 'a camera', width: 4, height: 6 } });
    page.send(picture);
    page.send(offence);
    page.send({ delivering: { label: 'too late', width: 4, height: 6 } });
    await settle();
    expect(atLine.messages).toEqual([
      { page: 'joined' },
      { delivering: { label: 'a camera', width: 4, height: 6 } },
      picture,
      { page: 'left' },
    ]);
    expect(atPage.isClosed()).toBe(true);
  }
});

test('one page reads for a line; the next may when it has gone, and none when the line wants nothing any more', async () => {
  const feeds = createFeeds(silentLog);
  const told: [string, boolean][] = [];
  feeds.onWanted((...what) => told.push(what));
  const [line, lineEnd] = createMemoryPair();
  const pages = [createMemoryPair(), createMemoryPair(), createMemoryPair()];
  expect(feeds.join('st-1', pages[0]![1])).toBe(false);
  feeds.offer('st-1', lineEnd);
  expect(feeds.join('st-1', pages[0]![1])).toBe(true);
  expect(feeds.join('st-1', pages[1]![1])).toBe(false);
  expect(feeds.ticket('st-1')).toBeNull();
  pages[0]![0].close();
  await settle();
  expect(feeds.join('st-1', pages[1]![1])).toBe(true);
  const second = heard(pages[1]![0]);
  line.close();
  await settle();
  expect(second.isClosed()).toBe(true);
  expect(feeds.join('st-1', pages[2]![1])).toBe(false);
  expect(told).toEqual([
    ['st-1', true],
    ['st-1', false],
  ]);
});

test('a ticket is for one connection, one station, and half a minute', () => {
  let now = 0;
  const feeds = createFeeds(silentLog, () => now);
  expect(feeds.ticket('st-1')).toBeNull();
  feeds.offer('st-1', createMemoryPair()[1]);
  const ticket = feeds.ticket('st-1')!;
  const late = feeds.ticket('st-1')!;
  expect(feeds.taker(`${ticket}x`)).toBeNull();
  const take = feeds.taker(ticket)!;
  expect(feeds.taker(ticket)).toBeNull();
  now = 30_001;
  expect(feeds.taker(late)).toBeNull();
  take(createMemoryPair()[1]);
  expect(feeds.ticket('st-1')).toBeNull();
});
