import { AppError, isAppError } from '../errors.ts';
import type { Client, Disposer, EventMap, MethodMap, NameOf } from './api.ts';
import type { Channel } from './channel.ts';
import { createCaller } from './client.ts';

export type ConnectionState = 'connecting' | 'open' | 'lost' | 'closed';

/** A client that outlives its connection: it connects again by itself, and its subscriptions go on. */
export interface LastingClient<M extends MethodMap, E extends EventMap> extends Client<M, E> {
  readonly state: ConnectionState;
  onState(listener: (state: ConnectionState) => void): Disposer;
}

export interface LastingOptions<E extends EventMap> {
  peer?: string;
  /** Given to this side's listeners after each re-connection: what was fetched before may be stale. */
  reconnectedEvent?: NameOf<E>;
  /** A call made while there is no connection waits so long for one; then DISCONNECTED. */
  waitMs?: number;
  /** Pause before the first new attempt; doubled up to 5 s. */
  backOffMs?: number;
}

const MAX_BACK_OFF_MS = 5000;

/** @param connect opens a channel; rejecting it means: not now, try again later. NOT_ALLOWED: never again. */
export function createLastingClient<M extends MethodMap, E extends EventMap>(
  connect: () => Promise<Channel>,
  options: LastingOptions<E> = {},
): LastingClient<M, E> {
  const { peer = 'core', reconnectedEvent, waitMs = 10_000, backOffMs = 200 } = options;
  const caller = createCaller(peer);
  const stateListeners = new Set<(state: ConnectionState) => void>();
  const closeListeners = new Set<() => void>();
  let state: ConnectionState = 'connecting';
  let channel: Channel | null = null;
  let pause = backOffMs;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let connectedBefore = false;

  const enter = (next: ConnectionState) => {
    if (state === next || state === 'closed') return;
    state = next;
    for (const listener of stateListeners) listener(next);
    if (next !== 'closed') return;
    clearTimeout(timer);
    for (const listener of closeListeners) listener();
    closeListeners.clear();
  };
  const again = () => {
    if (state === 'closed') return;
    enter('lost');
    timer = setTimeout(() => void open(), pause);
    pause = Math.min(pause * 2, MAX_BACK_OFF_MS);
  };
  const open = async () => {
    let opened: Channel;
    try {
      opened = await connect();
    } catch (error) {
      if (isAppError(error, 'NOT_ALLOWED')) enter('closed');
      else again();
      return;
    }
    if (state === 'closed') {
      opened.close();
      return;
    }
    channel = opened;
    opened.onClose(() => {
      channel = null;
      caller.detach();
      again();
    });
    caller.attach(opened);
    pause = backOffMs;
    enter('open');
    if (connectedBefore && reconnectedEvent !== undefined) caller.dispatch(reconnectedEvent, {});
    connectedBefore = true;
  };

  /** Resolves when open; rejects with DISCONNECTED after so long, or when it never will be. */
  const whenOpen = (withinMs: number, signal: AbortSignal | undefined) =>
    new Promise<void>((resolve, reject) => {
      const done = (act: () => void) => {
        clearTimeout(limit);
        stateListeners.delete(look);
        signal?.removeEventListener('abort', abort);
        act();
      };
      const lost = () => done(() => reject(new AppError('DISCONNECTED', { peer })));
      const abort = () => done(() => reject(new AppError('CANCELLED', {}, { cause: signal?.reason })));
      const look = () => {
        if (state === 'open') done(resolve);
        else if (state === 'closed') lost();
      };
      const limit = setTimeout(lost, withinMs);
      stateListeners.add(look);
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort, { once: true });
      look();
    });

  void open();
  return {
    get state() {
      return state;
    },
    onState(listener) {
      stateListeners.add(listener);
      return () => void stateListeners.delete(listener);
    },
    async call(method, input, callOptions) {
      // It may be lost again by the time that the waiting one comes to its turn.
      for (const deadline = performance.now() + waitMs; state !== 'open';)
        await whenOpen(deadline - performance.now(), callOptions?.signal);
      return caller.call(method, input, callOptions) as Promise<never>;
    },
    on: (event: NameOf<E>, listener) => caller.on(event, listener as (payload: unknown) => void),
    onClose(listener) {
      if (state === 'closed') queueMicrotask(listener);
      else closeListeners.add(listener);
      return () => void closeListeners.delete(listener);
    },
    close() {
      enter('closed');
      channel?.close();
    },
  };
}
