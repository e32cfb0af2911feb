import type { z } from 'zod';

/*
 * What the two ends of a connection have in common: a map of methods and a map of events (methods.ts, line.ts, trainer.ts).
 * Every type of client and server is derived from these maps; nobody names a message by hand.
 */

export type MethodMap = Record<string, { input: z.ZodType; output: z.ZodType }>;
export type EventMap = Record<string, z.ZodType>;
export type NameOf<T> = keyof T & string;

/** Ends a subscription; calling it again does nothing. */
export type Disposer = () => void;

/** What a caller passes: defaults may be left out. */
export type CallInput<M extends MethodMap, K extends NameOf<M>> = z.input<M[K]['input']>;
export type CallOutput<M extends MethodMap, K extends NameOf<M>> = z.output<M[K]['output']>;
export type EventOf<E extends EventMap, K extends NameOf<E>> = z.output<E[K]>;

/**
 * One function per method: parsed input, the connection's session, and a signal that is aborted when the caller cancels or
 * goes away. Throws AppError for an expected failure; anything else reaches the caller as INTERNAL.
 */
export type Handlers<M extends MethodMap, S> = {
  [K in NameOf<M>]: (
    input: z.output<M[K]['input']>,
    session: S,
    signal: AbortSignal,
  ) => Promise<z.input<M[K]['output']>> | z.input<M[K]['output']>;
};

export interface CallOptions {
  /** Aborting it tells the server, and ends the call with CANCELLED at once. */
  signal?: AbortSignal;
  /** TIMED_OUT after so long; default: as long as the connection lasts. */
  timeoutMs?: number;
}

export interface Client<M extends MethodMap, E extends EventMap> {
  /** @throws what the handler threw, or DISCONNECTED, CANCELLED, TIMED_OUT, INVALID_INPUT, UNKNOWN_METHOD, NOT_ALLOWED. */
  call<K extends NameOf<M>>(method: K, input: CallInput<M, K>, options?: CallOptions): Promise<CallOutput<M, K>>;
  on<K extends NameOf<E>>(event: K, listener: (payload: EventOf<E, K>) => void): Disposer;
  /** Told once, when the connection is gone; at once if it is gone already. */
  onClose(listener: () => void): Disposer;
  close(): void;
}
