import { getEventListeners, once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { addressOf, discover } from '../../../main/capture/gige/discovery.ts';

const local = ['127.0.0.1', '10.0.0.5'];

it('a camera is reached where it answered from, whatever it names', () => {
  expect(addressOf('192.168.7.20', '10.0.0.20', local)).toBe('10.0.0.20');
});

it('a program on this PC is reached where it listens: it answers from whichever interface asked', () => {
  expect(addressOf('127.0.0.1', '10.0.0.5', local)).toBe('127.0.0.1');
  expect(addressOf('0.0.0.0', '10.0.0.5', local)).toBe('10.0.0.5');
});

it('a camera is found that answered while this thread was held up until the search was over', async () => {
  const address = `127.${1 + (process.pid % 250)}.17.4`;
  const camera = new Worker(
    `const { parentPort } = require('node:worker_threads');
     const socket = require('node:dgram').createSocket('udp4');
     socket.on('message', (request, from) => {
       const answer = Buffer.alloc(8 + 0xf8);
       answer.writeUInt16BE(3, 2);
       answer.writeUInt16BE(0xf8, 4);
       request.copy(answer, 6, 6, 8);
       answer.write('S1', 8 + 0xd8);
       parentPort.postMessage('asked');
       setTimeout(() => socket.send(answer, from.port, from.address), 60);
     });
     socket.bind(3956, '${address}', () => parentPort.postMessage('ready'));`,
    { eval: true },
  );
  try {
    await once(camera, 'message');
    // Held up by what it reads: what became due meanwhile comes before what can be read by now.
    camera.once('message', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600));
    const search = discover({ addresses: [address], broadcast: false, waitMs: 300 });
    expect((await search).map(({ id }) => id)).toEqual(['S1']);
  } finally {
    await camera.terminate();
  }
});

it('of searches that are over nothing is left with the signal under which a camera is looked for until it comes', async () => {
  const { signal } = new AbortController();
  for (let n = 0; n < 3; n += 1) await discover({ addresses: ['127.0.0.1'], broadcast: false, waitMs: 1, signal });
  // Node's own, by its name: weak references to signals that were derived from this one.
  const kept = Object.getOwnPropertySymbols(signal)
    .filter(({ description }) => description === 'kDependantSignals')
    .map((name) => (signal as unknown as Record<symbol, Set<unknown>>)[name]?.size);
  expect(kept).toEqual([]);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});
