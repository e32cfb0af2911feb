import { createChannelCore, type Channel } from './channel.ts';

/** Two ends of one channel within a thread. Messages are cloned, as every other wire does, and arrive later. */
export function createMemoryPair(): [Channel, Channel] {
  const cores = [createChannelCore(), createChannelCore()] as const;
  const end = (own: 0 | 1, other: 0 | 1): Channel => ({
    binary: true,
    send(message) {
      if (cores[own].closed) return;
      const copy: unknown = structuredClone(message);
      queueMicrotask(() => cores[other].deliver(copy));
    },
    onMessage: cores[own].onMessage,
    onClose: cores[own].onClose,
    close() {
      cores[own].closeNow();
      // After the messages that are on their way.
      queueMicrotask(() => cores[other].closeNow());
    },
  });
  return [end(0, 1), end(1, 0)];
}
