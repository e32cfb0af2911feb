import { AppError, isAppError } from '../errors.ts';
import { silentLog, type Logger } from '../log.ts';
import type { EventMap, EventOf, Handlers, MethodMap, NameOf } from './api.ts';
import type { Channel } from './channel.ts';
import { requestSchema, zodProblem, type Request, type Response } from './wire.ts';

/** Calls of one connection that may be under way at once; a window has a few dozen. */
const PENDING_LIMIT = 1000;

export interface ServerOptions<M extends MethodMap, E extends EventMap, S> {
  methods: M;
  events: E;
  handlers: Handlers<M, S>;
  channel: Channel;
  session: S;
  /** Throws NOT_ALLOWED; asked before the input is even parsed. */
  authorize?: (method: NameOf<M>, session: S) => void;
  log?: Logger;
  /** When the caller goes away with calls under way: `abort` their signal (default), or let them `continue`. */
  onDisconnect?: 'abort' | 'continue';
}

export interface Server<E extends EventMap> {
  /** Sends to this connection, if it subscribed. A payload that is not what the map says is logged and not sent. */
  emit<K extends NameOf<E>>(event: K, payload: EventOf<E, K>): void;
  close(): void;
}

const newRef = (): string => Math.random().toString(36).slice(2, 10).padEnd(8, '0');

/**
 * Serves one connection. Input is always parsed; output and events are parsed too, so that nothing leaves that the contract
 * does not name (a password hash in a row, say).
 */
export function createServer<M extends MethodMap, E extends EventMap, S>(options: ServerOptions<M, E, S>): Server<E> {
  const { methods, events, handlers, channel, session, authorize, log = silentLog, onDisconnect = 'abort' } = options;
  const pending = new Map<number, AbortController>();
  const subscribed = new Set<string>();

  const send = (response: Response) => channel.send(response);
  const fail = (id: number, method: string, error: unknown) => {
    const ref = newRef();
    if (isAppError(error)) {
      log.info('call failed', { ref, method, code: error.code, problem: error.message });
      send({ id, ok: false, error: error.toWire(ref) });
    } else {
      log.error('call threw', { ref, method, error });
      send({ id, ok: false, error: new AppError('INTERNAL', { ref }).toWire(ref) });
    }
  };

  const run = async (name: string, input: unknown, signal: AbortSignal): Promise<unknown> => {
    const definition = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (!definition || !Object.hasOwn(handlers, name)) throw new AppError('UNKNOWN_METHOD', { method: name });
    const method = name as NameOf<M>;
    authorize?.(method, session);
    const parsed = definition.input.safeParse(input);
    if (!parsed.success) throw new AppError('INVALID_INPUT', { what: name, problem: zodProblem(parsed.error) });
    // The map ties input and handler together; the compiler cannot follow a key that it does not know.
    const handler = handlers[method] as (input: unknown, session: S, signal: AbortSignal) => unknown;
    const value = await handler(parsed.data, session, signal);
    const checked = definition.output.safeParse(value);
    if (!checked.success)
      throw new Error(`${name} gave what its contract does not allow: ${zodProblem(checked.error)}`);
    return checked.data;
  };

  const serve = async ({ id, method, input }: Extract<Request, { method: string }>) => {
    if (pending.has(id)) {
      log.warn('message dropped: id in use', { id, method });
      return;
    }
    if (pending.size >= PENDING_LIMIT) {
      fail(id, method, new AppError('OVERLOADED', { what: 'connection', limit: PENDING_LIMIT }));
      return;
    }
    const controller = new AbortController();
    pending.set(id, controller);
    try {
      const value = await run(method, input, controller.signal);
      send({ id, ok: true, value });
    } catch (error) {
      // A handler that stopped because of the signal may throw anything; the caller asked for it.
      fail(id, method, controller.signal.aborted && !isAppError(error) ? new AppError('CANCELLED') : error);
    } finally {
      pending.delete(id);
    }
  };

  const disposeMessages = channel.onMessage((message) => {
    const request = requestSchema.safeParse(message);
    if (!request.success) {
      log.warn('message dropped: not of the wire form', { problem: zodProblem(request.error) });
      return;
    }
    const data = request.data;
    if ('method' in data) void serve(data);
    else if ('cancel' in data) pending.get(data.cancel)?.abort(new AppError('CANCELLED'));
    else if ('subscribe' in data) {
      if (Object.hasOwn(events, data.subscribe)) subscribed.add(data.subscribe);
    } else subscribed.delete(data.unsubscribe);
  });
  const disposeClose = channel.onClose(() => {
    disposeMessages();
    subscribed.clear();
    if (onDisconnect === 'continue') return;
    for (const controller of pending.values()) controller.abort(new AppError('DISCONNECTED', { peer: 'caller' }));
  });

  return {
    emit(event, payload) {
      if (!subscribed.has(event)) return;
      const checked = events[event]!.safeParse(payload);
      if (checked.success) send({ event, payload: checked.data });
      else log.error('event not sent: not what its contract allows', { event, problem: zodProblem(checked.error) });
    },
    close() {
      disposeMessages();
      disposeClose();
      for (const controller of pending.values()) controller.abort(new AppError('CANCELLED'));
      channel.close();
    },
  };
}
