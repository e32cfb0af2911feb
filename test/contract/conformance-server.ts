import { z } from 'zod';
import { AppError } from '../../main/contract/errors.ts';
import type { Logger } from '../../main/contract/log.ts';
import type { Channel } from '../../main/contract/rpc/channel.ts';
import { createEmitterPortChannel, createIpcChannel, type EmitterPort } from '../../main/contract/rpc/message-port.ts';
import { createServer } from '../../main/contract/rpc/server.ts';

/* The server that every transport is held against. It tells what it saw by its own methods, so that it may run anywhere. */

export const methods = {
  'echo.value': { input: z.object({ value: z.unknown() }), output: z.object({ value: z.unknown() }) },
  'echo.held': { input: z.object({ tag: z.string() }), output: z.string() },
  'echo.release': { input: z.object({ tag: z.string() }), output: z.null() },
  'sum.of': { input: z.object({ numbers: z.array(z.number()).default([40, 2]) }), output: z.number() },
  'sum.doubled': {
    input: z.object({ values: z.instanceof(Float32Array) }),
    output: z.object({ values: z.instanceof(Float32Array) }),
  },
  'fail.expected': { input: z.object({ id: z.string() }), output: z.null() },
  'fail.bug': { input: z.object({}), output: z.null() },
  'fail.output': { input: z.object({}), output: z.object({ count: z.number() }) },
  'strip.output': { input: z.object({}), output: z.object({ name: z.string() }) },
  'wait.forever': { input: z.object({}), output: z.null() },
  'only.supervisors': { input: z.object({ ignored: z.string().optional() }), output: z.string() },
  'sign.in': { input: z.object({ role: z.string() }), output: z.null() },
  'emit.ticks': { input: z.object({ count: z.number().int() }), output: z.null() },
  'emit.wrong': { input: z.object({}), output: z.null() },
  'probe.seen': {
    input: z.object({}),
    output: z.object({ aborted: z.number(), subscriptions: z.number(), log: z.array(z.string()) }),
  },
  'probe.garbage': { input: z.object({}), output: z.null() },
  'probe.hangUp': { input: z.object({}), output: z.null() },
};
export const events = { 'tick.happened': z.object({ n: z.number().int() }), 'tock.happened': z.object({}) };

export function serveConformance(channel: Channel): void {
  const session = { role: 'operator' };
  let aborted = 0;
  let received = 0;
  const held = new Map<string, () => void>();
  const lines: string[] = [];
  const note = (message: string, fields: object = {}) => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const log: Logger = { debug: note, info: note, warn: note, error: note, child: () => log };
  channel.onMessage((message) => {
    if (typeof message === 'object' && message !== null && 'subscribe' in message) received += 1;
  });
  const server = createServer({
    methods,
    events,
    channel,
    session,
    log,
    authorize(method, { role }) {
      if (method === 'only.supervisors' && role !== 'supervisor')
        throw new AppError('NOT_ALLOWED', { method, roles: 'supervisor' });
    },
    handlers: {
      'echo.value': ({ value }) => ({ value }),
      'echo.held': ({ tag }) => new Promise((resolve) => held.set(tag, () => resolve(tag))),
      'echo.release': ({ tag }) => {
        held.get(tag)!();
        return null;
      },
      'sum.of': ({ numbers }) => numbers.reduce((sum, n) => sum + n, 0),
      'sum.doubled': ({ values }) => ({ values: values.map((v) => v * 2) }),
      'fail.expected': ({ id }) => {
        throw new AppError('NOT_FOUND', { kind: 'station', id });
      },
      'fail.bug': () => {
        throw new Error('the secret reason');
      },
      'fail.output': () => ({ count: 'many' }) as never,
      'strip.output': () => ({ name: 'Kimura', passwordHash: 'x' }),
      'wait.forever': (_input, _session, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            aborted += 1;
            reject(new Error('stopped half-way'));
          });
        }),
      'only.supervisors': () => 'signed',
      'sign.in': ({ role }, own) => {
        own.role = role;
        return null;
      },
      'emit.ticks': ({ count }) => {
        for (let n = 1; n <= count; n += 1) server.emit('tick.happened', { n });
        return null;
      },
      'emit.wrong': () => {
        server.emit('tick.happened', { n: 'one' } as never);
        return null;
      },
      'probe.seen': () => ({ aborted, subscriptions: received, log: lines }),
      'probe.garbage': () => {
        for (const garbage of ['text', 7, null, [], {}, { id: 'x', ok: true }, { id: 1, ok: false, error: 'no' }])
          channel.send(garbage);
        return null;
      },
      'probe.hangUp': () => {
        setTimeout(() => channel.close(), 20);
        return null;
      },
    },
  });
}

// As a child: serve the parent. In Electron's utility process the wire is parentPort.
const { parentPort } = process as unknown as { parentPort?: EmitterPort };
if (parentPort) serveConformance(createEmitterPortChannel(parentPort, { wrapped: true }));
else if (process.argv.includes('--serve-parent')) serveConformance(createIpcChannel(process));
