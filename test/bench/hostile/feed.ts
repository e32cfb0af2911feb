import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import {
  blankFrame,
  feedAskSchema,
  feedSaysSchema,
  MAX_FEED_BYTES,
  type FeedAsk,
} from '../../../main/contract/feed.ts';
import { fromJson } from '../../../main/contract/rpc/json.ts';
import { hostileJson } from '../../helpers/hostile.ts';
import type { Window } from './windows.ts';

/*
 * Pages that read a USB camera and mean no good: pictures that nobody wanted, pictures that lie about themselves, words of the others,
 * frames that are no WebSocket's. A real line process is at the other end and must never judge one of them.
 */

export interface FeedTarget {
  port: number;
  cookie: string;
  stationId: string;
  /** Signed in as one who may have a ticket. */
  window: Window;
}

export interface FeedOutcome {
  inputs: number;
  pages: number;
  /** How each kind ended. */
  ended: Record<string, Record<string, number>>;
  accepted: string[];
  usedTickets: string[];
}

/** What the supervisor does not answer within this time it took. */
const PATIENCE_MS = 5_000;
const LIES_PER_PAGE = 20;
const DELIVERING = JSON.stringify({ delivering: { label: 'x', width: 8, height: 8 } });

/** Pictures under the number that was wanted, none of which is one. */
const lie = (want: number, random: () => number): Uint8Array => {
  const head = (width: number, height: number, channels: number, bytes: number) => {
    const message = new Uint8Array(16 + bytes);
    const view = new DataView(message.buffer);
    for (const [i, value] of [want, width, height, channels].entries()) view.setUint32(4 * i, value, true);
    return message;
  };
  const { message: whole } = blankFrame({ want, width: 8, height: 8, channels: 1 });
  const lies: (() => Uint8Array)[] = [
    () => new Uint8Array(Math.floor(random() * 16)),
    () => whole.subarray(0, 16),
    () => whole.subarray(0, whole.length - 1),
    () => Buffer.concat([whole, whole]),
    () => head(0, 8, 1, 64),
    () => head(8, 0, 1, 64),
    () => head(8, 8, 0, 64),
    () => head(8, 8, 2, 128),
    () => head(8, 8, 0xffff_ffff, 64),
    () => head(65_535, 65_537, 1, 64),
    () => head(0xffff_ffff, 0xffff_ffff, 3, 64),
    () => head(100_000, 100_000, 1, 1_000),
  ];
  return lies[Math.floor(random() * lies.length)]!();
};

/** Ends a page's connection: nobody asked for it, or it is no word of a page. */
function offence(
  random: () => number,
  json: Iterator<[kind: string, json: string]>,
): [kind: string, message: string | Uint8Array] {
  const words: [string, string | Uint8Array][] = [
    ['picture nobody wanted', randomBytes([0, 1, 15, 16, 80, 1_000_000][Math.floor(random() * 6)]!)],
    ['the relay’s word', '{"page":"left"}'],
    ['the line’s word', '{"want":1,"discard":0}'],
    ['too long', JSON.stringify({ lost: { reason: 'device', problem: 'x'.repeat(501) } })],
    ['too many', JSON.stringify({ devices: Array.from({ length: 65 }, () => ({ deviceId: 'a', label: 'b' })) })],
    ['no reason', '{"lost":{"reason":"__proto__","problem":""}}'],
    ['no number', '{"delivering":{"label":"x","width":1e300,"height":8}}'],
  ];
  const n = Math.floor(random() * 2 * words.length);
  if (n < words.length) return words[n]!;
  for (;;) {
    const [kind, text] = json.next().value as [string, string];
    if (!feedSaysSchema.safeParse(fromJson(text)).success) return [kind, text];
  }
}

/** Bytes after the upgrade that are no frames of a client (RFC 6455, sections 5.1, 5.2, 5.5, 7.4, 8.1). */
function brokenFrame(random: () => number): [kind: string, bytes: Buffer] {
  const mask = Buffer.from([1, 2, 3, 4]);
  const masked = (first: number, payload: Buffer) =>
    Buffer.concat([Buffer.from([first, 0x80 | payload.length]), mask, payload.map((byte, i) => byte ^ mask[i % 4]!)]);
  const claims = (bytes: bigint) => {
    const head = Buffer.alloc(10);
    head.writeUInt16BE(0x82_ff);
    head.writeBigUInt64BE(bytes, 2);
    return Buffer.concat([head, mask]);
  };
  const frames: [string, Buffer][] = [
    ['not masked', Buffer.from([0x81, 0x02, 0x7b, 0x7d])],
    ['reserved bits', masked(0xb1, Buffer.from('{}'))],
    ['compressed', masked(0xc1, Buffer.from('{}'))],
    ['unknown opcode', masked(0x83, Buffer.from('{}'))],
    ['ping in pieces', masked(0x09, Buffer.from('x'))],
    ['continuation of nothing', masked(0x80, Buffer.from('x'))],
    ['not UTF-8', masked(0x81, Buffer.from([0xc3, 0x28]))],
    ['close with a bad code', masked(0x88, Buffer.from([0x00, 0x05]))],
    ['longer than any picture', claims(BigInt(MAX_FEED_BYTES) + 1n)],
    ['longer than any number', claims(2n ** 63n - 1n)],
  ];
  return frames[Math.floor(random() * frames.length)]!;
}

export async function hostilePages(
  { port, cookie, stationId, window }: FeedTarget,
  count: number,
  random: () => number,
  onPage: (n: number) => void,
): Promise<FeedOutcome> {
  const outcome: FeedOutcome = { inputs: 0, pages: 0, ended: {}, accepted: [], usedTickets: [] };
  const json = hostileJson(random);
  const note = (kind: string, how: string) => {
    outcome.inputs += 1;
    const row = (outcome.ended[kind] ??= {});
    row[how] = (row[how] ?? 0) + 1;
    if (how === 'taken') outcome.accepted.push(`camera page: ${kind}`);
  };
  const ticket = async (): Promise<string> => {
    // The page before may not have left yet.
    for (const until = performance.now() + PATIENCE_MS; performance.now() < until; await sleep(2)) {
      const { ok, value } = await window.call('cameras.feed', JSON.stringify({ stationId }));
      if (!ok) continue;
      const { ticket: given } = value as { ticket: string };
      outcome.usedTickets = [...outcome.usedTickets.slice(-99), given];
      outcome.pages += 1;
      return given;
    }
    throw new Error('no page may read the camera any more');
  };
  const within = async (what: Promise<unknown>): Promise<boolean> => {
    const stop = new AbortController();
    const late = sleep(PATIENCE_MS, false, { signal: stop.signal }).catch(() => false);
    const inTime = await Promise.race([what.then(() => true), late]);
    stop.abort();
    return inTime;
  };
  const openPage = async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/feed/${await ticket()}`, {
      headers: { cookie, origin: `http://127.0.0.1:${port}` },
    });
    const asked: FeedAsk[] = [];
    let wake: () => void = () => {};
    socket.on('message', (data) => {
      asked.push(feedAskSchema.parse(JSON.parse(String(data))));
      wake();
    });
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await once(socket, 'open');
    /** The number of the next picture that is wanted; null: none within the time. */
    const wanted = async (): Promise<number | null> => {
      for (const until = performance.now() + PATIENCE_MS; performance.now() < until;) {
        const found = asked.findIndex((ask) => 'want' in ask);
        if (found >= 0) return (asked.splice(0, found + 1).at(-1) as { want: number }).want;
        await Promise.race([new Promise<void>((resolve) => (wake = resolve)), sleep(50)]);
      }
      return null;
    };
    return { socket, closed, wanted };
  };

  const liars = async () => {
    const { socket, closed, wanted } = await openPage();
    socket.send(DELIVERING);
    let want = await wanted();
    for (let n = 0; n < LIES_PER_PAGE && want !== null; n += 1) {
      socket.send(lie(want, random));
      want = await wanted();
      // The line knows that it was none, and wants the next.
      note('picture that lies', want === null ? 'silence' : 'asked for the next');
    }
    if (want === null) throw new Error('the line wants no pictures any more');
    socket.send(blankFrame({ want: (want + 7) % 2 ** 32, width: 8, height: 8, channels: 1 }).message);
    socket.send(blankFrame({ want, width: 8, height: 8, channels: 1 }).message);
    note('picture under another number', (await within(closed)) ? 'closed' : 'taken');
  };
  const offenders = async () => {
    const { socket, closed } = await openPage();
    const [kind, message] = offence(random, json);
    socket.send(message);
    note(kind, (await within(closed)) ? 'closed' : 'taken');
    socket.terminate();
  };
  const breakers = async () => {
    const [kind, bytes] = brokenFrame(random);
    const socket = connect(port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.write(
      `GET /feed/${await ticket()} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${cookie}\r\nOrigin: http://127.0.0.1:${port}\r\n` +
        'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    );
    const [opened] = (await once(socket, 'data')) as [Buffer];
    if (!opened.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(`no page: ${opened.toString('latin1')}`);
    socket.write(bytes);
    // The other side closes, and says why (code 1000 to 1011).
    socket.on('data', (data: Buffer) => {
      if (data.some((byte, i) => byte === 0x88 && data[i + 2] === 0x03 && data[i + 3]! >= 0xe8)) socket.end();
    });
    note(kind, (await within(closed)) ? 'closed' : 'taken');
    socket.destroy();
  };

  while (outcome.inputs < count) {
    await liars();
    for (let n = 0; n < LIES_PER_PAGE / 2; n += 1) {
      await offenders();
      await breakers();
    }
    onPage(outcome.inputs);
  }
  return outcome;
}
