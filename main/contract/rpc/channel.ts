import type { Disposer } from './api.ts';

/**
 * Two-way, ordered, message by message; all that rpc knows of a wire. Messages are structured-clone values (JSON values
 * where `binary` is false). What `onMessage` hands out comes from the other side: it is not to be trusted.
 */
export interface Channel {
  /**
   * After the channel closed: does nothing (its owner hears of it by onClose).
   * @throws INVALID_INPUT when the message is larger than the wire takes.
   */
  send(message: unknown): void;
  onMessage(listener: (message: unknown) => void): Disposer;
  /** Told once; at once (in a microtask) if the channel is closed already. */
  onClose(listener: () => void): Disposer;
  close(): void;
  /** False: no typed arrays (JSON wires). */
  readonly binary: boolean;
}

/** Listener bookkeeping that every channel needs. Messages that come before the first listener wait for it. */
export interface ChannelCore extends Pick<Channel, 'onMessage' | 'onClose'> {
  readonly closed: boolean;
  deliver(message: unknown): void;
  /** Tells the listeners, once. */
  closeNow(): void;
}

/** More waiting messages than this mean that nobody ever listens. */
const WAITING_LIMIT = 10_000;

export function createChannelCore(): ChannelCore {
  const messageListeners = new Set<(message: unknown) => void>();
  const closeListeners = new Set<() => void>();
  let waiting: unknown[] = [];
  let closed = false;
  return {
    get closed() {
      return closed;
    },
    onMessage(listener) {
      messageListeners.add(listener);
      const early = waiting;
      waiting = [];
      for (const message of early) listener(message);
      return () => void messageListeners.delete(listener);
    },
    onClose(listener) {
      if (closed) {
        let wanted = true;
        queueMicrotask(() => wanted && listener());
        return () => {
          wanted = false;
        };
      }
      closeListeners.add(listener);
      return () => void closeListeners.delete(listener);
    },
    deliver(message) {
      if (closed) return;
      if (messageListeners.size === 0) {
        if (waiting.length < WAITING_LIMIT) waiting.push(message);
        return;
      }
      for (const listener of messageListeners) listener(message);
    },
    closeNow() {
      if (closed) return;
      closed = true;
      waiting = [];
      const listeners = [...closeListeners];
      closeListeners.clear();
      messageListeners.clear();
      for (const listener of listeners) listener();
    },
  };
}
