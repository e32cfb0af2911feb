import { AppError, assert, isAppError } from '../errors.ts';
import type { CallOptions, Client, Disposer, EventMap, MethodMap, NameOf } from './api.ts';
import type { Channel } from './channel.ts';
import { responseSchema, type Request } from './wire.ts';

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}
type Listener = (payload: unknown) => void;

/** Calls and subscriptions that outlive a channel; createClient and createLastingClient are made of it. */
export interface Caller {
  attach(channel: Channel): void;
  /** The channel is gone: what is under way ends with DISCONNECTED. */
  detach(): void;
  call(method: string, input: unknown, options?: CallOptions): Promise<unknown>;
  on(event: string, listener: Listener): Disposer;
  /** An event that this side makes itself. */
  dispatch(event: string, payload: unknown): void;
}

/** @param peer who is at the other end, for DISCONNECTED. */
export function createCaller(peer: string): Caller {
  const pending = new Map<number, Pending>();
  const listeners = new Map<string, Set<Listener>>();
  let channel: Channel | null = null;
  let disposeMessages: Disposer = () => {};
  let nextId = 1;

  const tell = (request: Request) => channel?.send(request);
  const dispatch = (event: string, payload: unknown) => {
    for (const listener of listeners.get(event) ?? []) listener(payload);
  };
  const receive = (message: unknown) => {
    const parsed = responseSchema.safeParse(message);
    if (!parsed.success) return;
    const data = parsed.data;
    if ('event' in data) {
      dispatch(data.event, data.payload);
      return;
    }
    const call = pending.get(data.id);
    // An answer to a call that was cancelled in the meantime has no one waiting.
    if (!call) return;
    if (data.ok) call.resolve(data.value);
    else call.reject(AppError.fromWire(data.error));
  };

  return {
    attach(next) {
      assert(channel === null, 'a caller is attached to one channel at a time');
      channel = next;
      disposeMessages = next.onMessage(receive);
      for (const event of listeners.keys()) tell({ subscribe: event });
    },
    detach() {
      disposeMessages();
      channel = null;
      for (const call of pending.values()) call.reject(new AppError('DISCONNECTED', { peer }));
    },
    dispatch,
    call(method, input, { signal, timeoutMs } = {}) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(new AppError('CANCELLED', {}, { cause: signal.reason }));
        if (!channel) return reject(new AppError('DISCONNECTED', { peer }));
        const id = nextId;
        nextId += 1;
        const settle = () => {
          pending.delete(id);
          signal?.removeEventListener('abort', abort);
          clearTimeout(timer);
        };
        const giveUp = (error: AppError) => {
          settle();
          tell({ cancel: id });
          reject(error);
        };
        const abort = () => giveUp(new AppError('CANCELLED', {}, { cause: signal?.reason }));
        const timer =
          timeoutMs === undefined
            ? undefined
            : setTimeout(
                () => giveUp(new AppError('TIMED_OUT', { what: method, seconds: timeoutMs / 1000 })),
                timeoutMs,
              );
        signal?.addEventListener('abort', abort, { once: true });
        pending.set(id, {
          resolve: (value) => (settle(), resolve(value)),
          reject: (error) => (settle(), reject(error)),
        });
        try {
          tell({ id, method, input });
        } catch (cause) {
          settle();
          reject(
            isAppError(cause)
              ? cause
              : new AppError('INVALID_INPUT', { what: method, problem: String(cause) }, { cause }),
          );
        }
      });
    },
    on(event, listener) {
      // The same function may be given twice: each subscription is its own.
      const entry: Listener = (payload) => listener(payload);
      const known = listeners.get(event) ?? new Set();
      if (known.size === 0) {
        listeners.set(event, known);
        tell({ subscribe: event });
      }
      known.add(entry);
      return () => {
        if (!known.delete(entry) || known.size > 0) return;
        listeners.delete(event);
        tell({ unsubscribe: event });
      };
    },
  };
}

/**
 * A client for as long as its channel lasts. Types come from the maps:
 * `createClient<typeof lineMethods, typeof lineEvents>(channel)`.
 */
export function createClient<M extends MethodMap, E extends EventMap>(
  channel: Channel,
  { peer = 'core' }: { peer?: string } = {},
): Client<M, E> {
  const caller = createCaller(peer);
  caller.attach(channel);
  channel.onClose(() => caller.detach());
  return {
    call: (method, input, options) => caller.call(method, input, options) as Promise<never>,
    on: (event: NameOf<E>, listener) => caller.on(event, listener as Listener),
    onClose: (listener) => channel.onClose(listener),
    close: () => channel.close(),
  };
}
