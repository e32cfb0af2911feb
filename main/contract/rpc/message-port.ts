import { createChannelCore, type Channel } from './channel.ts';

/*
 * Channels over what runtimes call a port. The shapes are written out, because the contract imports no runtime: a port of
 * the web platform, of worker_threads, Electron's MessagePortMain, a utility process's parentPort, a forked child's IPC.
 */

/** The closing of a port is not told on every platform (a web MessagePort in Chromium < 122): so it is also said. */
const CLOSING = { closing: true } as const;
const isClosing = (message: unknown): boolean =>
  typeof message === 'object' && message !== null && Object.keys(message).length === 1 && 'closing' in message;

/** MessagePort of the web platform. */
export interface WebPort {
  postMessage(message: unknown): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(type: 'close', listener: () => void): void;
  start(): void;
  close(): void;
}

export function createWebPortChannel(port: WebPort): Channel {
  const core = createChannelCore();
  port.addEventListener('message', (event) => (isClosing(event.data) ? core.closeNow() : core.deliver(event.data)));
  port.addEventListener('close', () => core.closeNow());
  port.start();
  return portChannel(core, port);
}

/** MessagePort of worker_threads (`on('message', value)`) or Electron's MessagePortMain (`on('message', {data})`). */
export interface EmitterPort {
  postMessage(message: unknown): void;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- the runtimes differ in what they hand to a listener
  on(event: 'message' | 'close', listener: (message: any) => void): unknown;
  start?(): void;
  close(): void;
}

/** @param wrapped true where the listener gets an event with `data` (Electron). */
export function createEmitterPortChannel(port: EmitterPort, { wrapped }: { wrapped: boolean }): Channel {
  const core = createChannelCore();
  port.on('message', (received: unknown) => {
    const message: unknown = wrapped ? (received as { data: unknown }).data : received;
    if (isClosing(message)) core.closeNow();
    else core.deliver(message);
  });
  port.on('close', () => core.closeNow());
  port.start?.();
  return portChannel(core, port);
}

function portChannel(
  core: ReturnType<typeof createChannelCore>,
  port: { postMessage(message: unknown): void; close(): void },
): Channel {
  return {
    binary: true,
    onMessage: core.onMessage,
    onClose: core.onClose,
    send(message) {
      if (!core.closed) port.postMessage(message);
    },
    close() {
      if (core.closed) return;
      port.postMessage(CLOSING);
      core.closeNow();
      port.close();
    },
  };
}

/** `process` in a child made by child_process.fork, or the ChildProcess in its parent; serialization must be 'advanced'. */
export interface IpcPeer {
  readonly connected: boolean;
  send?(message: unknown, callback: (error: Error | null) => void): boolean;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  on(event: 'disconnect', listener: () => void): unknown;
  disconnect?(): void;
}

export function createIpcChannel(peer: IpcPeer): Channel {
  const core = createChannelCore();
  peer.on('message', (message) => core.deliver(message));
  peer.on('disconnect', () => core.closeNow());
  return {
    binary: true,
    onMessage: core.onMessage,
    onClose: core.onClose,
    send(message) {
      if (core.closed || !peer.connected) return;
      // An error here (EPIPE) means that the other side died: `disconnect` follows and tells everybody.
      peer.send?.(message, () => {});
    },
    close() {
      if (core.closed) return;
      core.closeNow();
      if (peer.connected) peer.disconnect?.();
    },
  };
}
