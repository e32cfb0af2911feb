import { z } from 'zod';
import type { Disposer } from './api.ts';
import { createChannelCore, type Channel, type ChannelCore } from './channel.ts';

/**
 * Many channels over one. The supervisor has one wire to each child and relays windows, line processes and the trainer over it.
 * Each side numbers the channels that it opens; `side` keeps the numbers apart.
 */
export interface Multiplexer {
  /** The other side hears of it by onOpen. */
  open(name: string): Channel;
  onOpen(listener: (name: string, channel: Channel) => void): Disposer;
  /** The wire below is gone; every channel over it is closed by then. */
  onClose(listener: () => void): Disposer;
  close(): void;
}

const frameSchema = z.union([
  z.object({ on: z.number().int(), message: z.unknown() }),
  z.object({ open: z.number().int(), name: z.string().max(200) }),
  z.object({ close: z.number().int() }),
]);
type Frame = z.infer<typeof frameSchema>;

export function createMultiplexer(wire: Channel, side: 'parent' | 'child'): Multiplexer {
  const cores = new Map<number, ChannelCore>();
  const openListeners = new Set<(name: string, channel: Channel) => void>();
  const early: [string, Channel][] = [];
  let closed = false;
  let next = side === 'parent' ? 2 : 1;

  const tell = (frame: Frame) => wire.send(frame);
  const make = (number: number): Channel => {
    const core = createChannelCore();
    cores.set(number, core);
    return {
      binary: wire.binary,
      onMessage: core.onMessage,
      onClose: core.onClose,
      send(message) {
        if (!core.closed) tell({ on: number, message });
      },
      close() {
        if (core.closed) return;
        tell({ close: number });
        cores.delete(number);
        core.closeNow();
      },
    };
  };

  wire.onMessage((message) => {
    const parsed = frameSchema.safeParse(message);
    // The wires below join processes of one program; what is not a frame is not for us.
    if (!parsed.success) return;
    const frame = parsed.data;
    if ('open' in frame) {
      if (cores.has(frame.open)) return;
      const channel = make(frame.open);
      if (openListeners.size === 0) early.push([frame.name, channel]);
      for (const listener of openListeners) listener(frame.name, channel);
    } else if ('close' in frame) {
      const core = cores.get(frame.close);
      cores.delete(frame.close);
      core?.closeNow();
    } else cores.get(frame.on)?.deliver(frame.message);
  });
  // Registered first, so that everything above is closed before onClose listeners hear of it.
  wire.onClose(() => {
    closed = true;
    const open = [...cores.values()];
    cores.clear();
    for (const core of open) core.closeNow();
  });

  return {
    open(name) {
      const number = next;
      next += 2;
      tell({ open: number, name });
      const channel = make(number);
      // Nobody would ever answer on it.
      if (closed) channel.close();
      return channel;
    },
    onOpen(listener) {
      openListeners.add(listener);
      for (const [name, channel] of early.splice(0)) listener(name, channel);
      return () => void openListeners.delete(listener);
    },
    onClose: (listener) => wire.onClose(listener),
    close: () => wire.close(),
  };
}

/** Hands everything from one channel to the other, both ways; closing either closes both. */
export function bridge(a: Channel, b: Channel): void {
  const hand = (to: Channel) => (message: unknown) => {
    try {
      to.send(message);
    } catch {
      // What the other wire cannot carry would leave a call without an answer: both ends hear DISCONNECTED instead.
      a.close();
      b.close();
    }
  };
  a.onMessage(hand(b));
  b.onMessage(hand(a));
  a.onClose(() => b.close());
  b.onClose(() => a.close());
}
